"""`pytest -p tests.without_parts`: only the tests that start neither a part nor a build."""

import pytest

NEEDED = {"parts", "sources", "suite", "tradepipe_broker", "tradepipe_registry"}
"""The fixtures through which a test comes by a part, by a wheel, or by a pytest of its own."""

STARTERS = ("tests/embedded/", "tests/services/", "tests/test_readme.py")
"""Where tests start parts by themselves."""


def _is_alone(item: pytest.Item) -> bool:
    fixtures = set(getattr(item, "fixturenames", ()))
    return not fixtures & NEEDED and not item.nodeid.startswith(STARTERS)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    config.hook.pytest_deselected(items=[item for item in items if not _is_alone(item)])
    items[:] = [item for item in items if _is_alone(item)]
