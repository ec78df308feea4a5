"""`pytest -p tests.without_services`: only the tests that start neither a service nor a build."""

import pytest

NEEDED = {"session_services", "sources", "suite", "tradepipe_broker", "tradepipe_registry"}
"""The fixtures through which a test gets a service, a wheel, or a pytest process."""

STARTERS = ("tests/embedded/", "tests/services/", "tests/test_readme.py")
"""Where tests start services by themselves."""


def _is_alone(item: pytest.Item) -> bool:
    fixtures = set(getattr(item, "fixturenames", ()))
    return not fixtures & NEEDED and not item.nodeid.startswith(STARTERS)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    config.hook.pytest_deselected(items=[item for item in items if not _is_alone(item)])
    items[:] = [item for item in items if _is_alone(item)]
