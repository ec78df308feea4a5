"""Fixtures for the tests of the embedded services."""

import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def temporary(monkeypatch):
    """Folder for temporary folders that no other program uses and that any user may traverse."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        monkeypatch.setattr(tempfile, "tempdir", place)
        monkeypatch.setenv("TMPDIR", place)
        yield Path(place)
