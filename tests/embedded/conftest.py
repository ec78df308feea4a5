"""What tests of the embedded services need."""

import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def temporary(monkeypatch):
    """A place for temporary folders that no other program uses, and that any user may pass through."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        monkeypatch.setattr(tempfile, "tempdir", place)
        monkeypatch.setenv("TMPDIR", place)
        yield Path(place)
