"""`pytest -p tests.mutation.tracing --trace-into FOLDER`: which test executes which lines, and in what time."""

import json
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import coverage
import pytest

OPTION: Final = "trace_into"
FOLDER: Final = "TRADEPIPE_TRACE_INTO"
"""The variable that tells a test's own processes where to leave their lines; see child/sitecustomize.py."""
TEST: Final = "TRADEPIPE_TRACED_TEST"
INCLUDED: Final = "TRADEPIPE_TRACED_FILES"

Lines = dict[str, set[int]]
"""The lines executed, by file."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--trace-into", metavar="FOLDER", help="write down which test executes which lines")
    parser.addoption("--traced", metavar="FOLDER", help="where those lines are")


def pytest_configure(config: pytest.Config) -> None:
    folder = config.getoption(OPTION)
    # Under xdist the workers run the tests.
    if folder and (hasattr(config, "workerinput") or not config.getoption("numprocesses", 0)):
        config.pluginmanager.register(Tracer(Path(folder), Path.cwd(), config.getoption("traced")))


class Tracer:
    """Traces each test of this process; its session's end writes them all into one file."""

    def __init__(self, folder: Path, root: Path, traced: str) -> None:
        self._folder = folder
        self._root = root
        self._passed: dict[str, bool] = {}
        self._seconds: dict[str, float] = {}
        included = f"{root / traced}/*"
        os.environ |= {FOLDER: str(folder), INCLUDED: included}
        # Its own processes find sitecustomize.py, which starts the same for them.
        child = str(Path(__file__).with_name("child"))
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [child, os.environ.get("PYTHONPATH")]))
        self._coverage = coverage.Coverage(data_file=None, config_file=False, include=[included])
        self._coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[Any]:
        os.environ[TEST] = item.nodeid
        self._coverage.switch_context(item.nodeid)
        begun = time.monotonic()
        try:
            return (yield)
        finally:
            self._seconds[item.nodeid] = time.monotonic() - begun
            self._coverage.switch_context("")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._passed[report.nodeid] = self._passed.get(report.nodeid, True) and report.passed

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        self._coverage.stop()
        lines = lines_by_test(self._coverage.get_data(), self._root)
        traces = {
            test: {
                "passed": self._passed.get(test, False),
                "seconds": round(seconds, 3),
                "lines": {path: sorted(executed) for path, executed in lines.get(test, {}).items()},
            }
            for test, seconds in self._seconds.items()
        }
        (self._folder / f"{os.getpid()}.json").write_text(json.dumps(traces))


def lines_by_test(data: coverage.CoverageData, root: Path) -> dict[str, Lines]:
    """What a process executed, by the test that it was for."""
    found: dict[str, Lines] = defaultdict(lambda: defaultdict(set))
    for path in data.measured_files():
        for line, tests in data.contexts_by_lineno(path).items():
            for test in filter(None, tests):
                found[test][os.path.relpath(path, root)].add(line)
    return found
