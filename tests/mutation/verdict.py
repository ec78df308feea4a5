"""In the forked process: pytest on chosen tests, in their order, with each result reported to the parent at once."""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest


class Verdict:
    """Runs the chosen tests in their order; writes a line of JSON for the begin of each, and for a failure."""

    def __init__(self, tests: list[str], stream: int) -> None:
        self._rank = {test: number for number, test in enumerate(tests)}
        self._stream = stream
        self.files = list(dict.fromkeys(test.split("::", 1)[0] for test in tests))

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in self._rank])
        items[:] = sorted((item for item in items if item.nodeid in self._rank), key=lambda i: self._rank[i.nodeid])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[Any]:
        self._tell(begins=item.nodeid)
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._tell(failed=report.nodeid)

    def _tell(self, **said: str) -> None:
        os.write(self._stream, json.dumps(said).encode() + b"\n")
