"""The compiled core is optional: where it is not, nothing fails and nothing is printed."""

import os
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from tradepipe import compiled_core
from tradepipe.codec import native
from tradepipe.codec.fields import trade_codec

CORE = "tradepipe/_native.abi3.so"


def test_the_environment_turns_it_off(monkeypatch):
    monkeypatch.setenv("TRADEPIPE_NATIVE", "0")

    assert (None, "Python") == (native.make_executor(trade_codec()), compiled_core.executor_name())


def test_one_of_another_interface_is_not_used(monkeypatch):
    monkeypatch.setattr(compiled_core, "INTERFACE", -1)

    assert (None, "Python") == (native.make_executor(trade_codec()), compiled_core.executor_name())


def test_it_is_built_where_cargo_has_its_crates(pytestconfig):
    manifest = pytestconfig.rootpath / "native" / "Cargo.toml"
    command = ["cargo", "fetch", "--locked", "--offline", "--manifest-path", manifest]
    has_crates = shutil.which("cargo") and not subprocess.run(command, capture_output=True, check=False).returncode

    assert find_spec("tradepipe._native") or not has_crates, "run: make native"


def built(sources: Path, folder: Path, **environment: str) -> tuple[int, str, list[str]]:
    """Build a wheel as pip does; return the exit status, what is printed, and the names of the files."""
    # Another copy: a core that an earlier build left among the sources would be taken into the wheel.
    copy = shutil.copytree(sources, folder / "sources", ignore=shutil.ignore_patterns("build"))
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, copy]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    (wheel,) = folder.glob("*.whl")
    return done.returncode, done.stdout + done.stderr, zipfile.ZipFile(wheel).namelist()


@pytest.mark.slow
def test_a_wheel_is_built_silently_without_cargo(sources, tmp_path):
    status, printed, names = built(sources, tmp_path, PATH="/usr/bin:/bin", CARGO="cargo-is-missing")

    assert (0, "", False) == (status, printed, CORE in names)


@pytest.mark.slow
def test_a_wheel_is_built_silently_without_crates(sources, tmp_path):
    (tmp_path / "home").mkdir()
    status, printed, names = built(
        sources, tmp_path, CARGO_HOME=str(tmp_path / "home"), CARGO_NET_OFFLINE="true", CARGO_TARGET_DIR=str(tmp_path)
    )

    assert (0, "", False) == (status, printed, CORE in names)
