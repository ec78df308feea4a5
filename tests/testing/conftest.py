"""The kit's fixtures, as a service gets them by naming the plugin; it starts its services itself."""

import subprocess
import sys

import pytest

from tradepipe.testing import (  # noqa: F401 - fixtures are found by their names
    assert_every_version_decodes,
    broker_unavailable,
    frozen_record,
    make_trade,
    produced,
    producer_settings,
    publish,
    sink_settings,
    tradepipe_broker,
    tradepipe_database,
    tradepipe_databases,
    tradepipe_registry,
    tradepipe_subject,
    tradepipe_topic,
)

WITHOUT = ("-p", "no:randomly", "-p", "no:hypothesispytest", "-p", "no:xdist")
"""Plugins of these tests that a service's tests do without: loading them takes longer than the tests."""

collect_ignore = ["example_service"]  # it is run as a separate package


@pytest.fixture
def suite(tmp_path):
    """Runs a file of tests as a service's own, by default with the plugin; returns its exit code and what it said."""

    def run(tests: str, *options: str, conftest: str = 'pytest_plugins = ["tradepipe.testing"]\n'):
        (tmp_path / "conftest.py").write_text(conftest)
        (tmp_path / "test_service.py").write_text(tests)
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *WITHOUT, "-W", "error", *options]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
        return done.returncode, done.stdout + done.stderr

    return run
