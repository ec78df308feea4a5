"""Which tests a run selects: `make test`, `make test-slow` and `make test-real` together run each of them."""

from typing import NamedTuple

import pytest


class Traits(NamedTuple):
    """What decides in which runs a test is selected."""

    real: bool
    embedded: bool
    slow: bool
    is_property: bool
    uses_services: bool


def runs_on_real(test: Traits) -> bool:
    """Return whether real services can show more than embedded ones: the test uses them, or is a property."""
    return not test.embedded and (test.real or test.is_property or test.uses_services)


def is_quick(test: Traits) -> bool:
    """Return whether `make test` runs a test."""
    return not (test.real or test.slow)


def is_slow(test: Traits) -> bool:
    """Return whether `make test-slow` runs a test: `make test` does not, and neither does `make test-real`."""
    return test.slow and not runs_on_real(test)


def traits(item: pytest.Item) -> Traits:
    marks = {name: item.get_closest_marker(name) is not None for name in ("real", "embedded", "slow", "hypothesis")}
    if marks["real"] and marks["embedded"]:
        raise pytest.UsageError(f"{item.nodeid} is marked real and embedded: no run would select it")
    return Traits(*marks.values(), uses_services="services" in getattr(item, "fixturenames", ()))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--services", choices=("embedded", "real"), default="embedded", help="what the tests run on")
    parser.addoption("--chaos-seconds", type=float, default=20.0, help="how long test_chaos.py causes random faults")
    parser.addoption(
        "--interrupts", type=int, default=2, help="at how many random moments test_random_interrupts.py ends a command"
    )
    parser.addoption(
        "--part",
        choices=("all", "quick", "slow"),
        default="all",
        help="on embedded services: all tests, the quick ones, or the slow ones that --services real leaves out",
    )


@pytest.hookimpl(trylast=True)  # hypothesis has marked its tests by then
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what is not part of this run; a skip would count as a test that should have run."""
    selected, deselected = [], []
    for item in items:
        (selected if _is_selected(traits(item), config) else deselected).append(item)
    config.hook.pytest_deselected(items=deselected)
    items[:] = selected


def _is_selected(test: Traits, config: pytest.Config) -> bool:
    """Return whether a test runs on these services and is of the chosen part; a file that is named runs all of it."""
    is_named = any(".py" in argument for argument in config.args)
    if config.getoption("services") == "real":
        return runs_on_real(test) or (is_named and not test.embedded)
    part = config.getoption("part")
    if is_named or part == "all":
        return not test.real
    return is_quick(test) if part == "quick" else is_slow(test)
