"""
Which tests a run selects, and which of them begin.

`make test`, `make test-slow` and `make test-real` together run each test.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import pytest

LONGEST: Final = (
    "tests/pipeline/test_chaos.py",
    "tests/pipeline/test_sink_faults.py",
    "tests/pipeline/test_poison.py",
    "tests/pipeline/test_validator_acls.py",
    "tests/pipeline/test_producer.py",
    "tests/pipeline/test_validator_faults.py",
    "tests/test_document_blocks.py",
    "tests/testing/test_example_service.py",
    "tests/test_compose.py",
    "tests/services/test_real.py",
)
"""Files of which single tests take most of a minute or more, the longest first, and files whose tests share servers."""


class Traits(NamedTuple):
    """What decides in which runs a test is selected."""

    real: bool
    embedded: bool
    slow: bool
    is_property: bool
    uses_services: bool
    output: bool


def runs_on_real(test: Traits) -> bool:
    """Return whether real services can show more than embedded ones: the test uses them, or is a property."""
    return not test.embedded and not test.output and (test.real or test.is_property or test.uses_services)


def is_quick(test: Traits) -> bool:
    """Return whether `make test` runs a test."""
    return not (test.real or test.slow)


def is_slow(test: Traits) -> bool:
    """Return whether `make test-slow` runs a test: `make test` does not, and neither does `make test-real`."""
    return test.slow and not runs_on_real(test)


def traits(item: pytest.Item) -> Traits:
    marks = {mark.name for mark in item.iter_markers()}
    if "real" in marks and marks & {"embedded", "output"}:
        raise pytest.UsageError(f"{item.nodeid} is marked real, and embedded or output: no run would select it")
    if "slow" in marks and not names_slow(item.path):
        raise pytest.UsageError(f"{item.nodeid} is marked slow, but not in its file: --part slow would not find it")
    return Traits(
        real="real" in marks,
        embedded="embedded" in marks,
        slow="slow" in marks,
        is_property="hypothesis" in marks,
        uses_services="session_services" in getattr(item, "fixturenames", ()),
        output="output" in marks,
    )


@cache
def names_slow(file: Path) -> bool:
    """Return whether a file may have slow tests."""
    return "mark.slow" in file.read_text()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--services", choices=("embedded", "real"), default="embedded", help="what the tests run on")
    parser.addoption("--chaos-seconds", type=float, default=20.0, help="how long test_chaos.py causes random faults")
    parser.addoption(
        "--interrupts", type=int, default=1, help="at how many random moments test_random_interrupts.py ends a command"
    )
    parser.addoption(
        "--part",
        choices=("all", "quick", "slow"),
        default="all",
        help="on embedded services: all tests, the quick ones, or the slow ones that --services real leaves out",
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the files without slow tests where only these run: importing all takes longer than many a test."""
    is_for_slow = config.getoption("part") == "slow" and not _is_named(config)
    return True if is_for_slow and collection_path.suffix == ".py" and not names_slow(collection_path) else None


@pytest.hookimpl(trylast=True)  # hypothesis has marked its tests by then
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what is not part of this run; a skip would count as a test that should have run."""
    selected, deselected = [], []
    for item in items:
        (selected if _is_selected(traits(item), config) else deselected).append(item)
    config.hook.pytest_deselected(items=deselected)
    if hasattr(config, "workerinput"):
        files = [item.nodeid.partition("::")[0] for item in selected]
        selected = [selected[number] for number in longest_first(files, config.workerinput["workercount"])]
    items[:] = selected


def longest_first(files: Sequence[str], workers: int) -> list[int]:
    """
    Return an order in which each worker begins with its share of `LONGEST`, so that no long test is left at the end.

    worksteal gives each worker a part of the list, one after the other, and moves tests from the end of a part: so the
    tests of a file in `LONGEST`, which may share a cluster of brokers, stay on one worker too.

    Args:
        files: the file of each test.
    """
    shares: list[list[int]] = [[] for _ in range(workers)]
    for number, file in enumerate(LONGEST):
        shares[number % workers] += [test for test, each in enumerate(files) if each == file]
    others = [test for test, each in enumerate(files) if each not in LONGEST]
    ordered: list[int] = []
    for number, share in enumerate(shares):
        part = (len(files) - len(ordered)) // (workers - number)
        rest = max(0, part - len(share))
        ordered += share + others[:rest]
        del others[:rest]
    return ordered


def _is_selected(test: Traits, config: pytest.Config) -> bool:
    """Return whether a test runs on these services and is of the chosen part; a file that is named runs all of it."""
    is_named = _is_named(config)
    if config.getoption("services") == "real":
        return runs_on_real(test) or (is_named and not test.embedded)
    part = config.getoption("part")
    if is_named or part == "all":
        return not test.real
    return is_quick(test) if part == "quick" else is_slow(test)


def _is_named(config: pytest.Config) -> bool:
    """Return whether the run names a file, all of whose tests it wants."""
    return any(".py" in argument for argument in config.args)
