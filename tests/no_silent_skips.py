"""`pytest -p tests.no_silent_skips`: a test that skips, or fails as expected, without saying why has failed."""

from collections.abc import Generator
from typing import Any

import pytest

# What pytest itself says for want of a reason.
_SILENT = ("", "Skipped", "unconditional skip", "unconditional skip.")


def _has_no_reason(report: pytest.TestReport | pytest.CollectReport) -> bool:
    if hasattr(report, "wasxfail"):
        return not report.wasxfail.removeprefix("reason:").strip()
    message = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return message.removeprefix("Skipped:").strip() in _SILENT


def _checked(report: Any) -> Any:
    if report.skipped and _has_no_reason(report):
        report.outcome, report.longrepr = "failed", "skipped or expected to fail without a reason"
        report.__dict__.pop("wasxfail", None)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    return _checked((yield))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    return _checked((yield))
