"""Files of a user that hide a module which a command imports."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

WRONG_PORT = ["sink", "--bootstrap-servers", "127.0.0.1:x"]


def run(arguments, folder, **env):
    """Run Python in a folder."""
    environment = {**os.environ, **env}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", ["json", "logging", "typer", "confluent_kafka", "httpx", "sqlalchemy", "psycopg2"])
@pytest.mark.parametrize("content", ["x = 1", "raise SystemError('a script')", "1 +"], ids=["empty", "script", "typo"])
def test_a_file_that_hides_a_module_is_named(tmp_path, name, content):
    file = tmp_path / f"{name}.py"
    file.write_text(content)

    done = run(["-m", "tradepipe", *WRONG_PORT], tmp_path)

    assert 78 == done.returncode
    advice = "rename it, or run the command in another folder"
    assert f"Error: {file} hides the module {name} that tradepipe needs: {advice}\n" == done.stderr


def test_a_package_in_pythonpath_that_hides_a_module_is_named(tmp_path):
    package = tmp_path / "typer"
    package.mkdir()
    (package / "__init__.py").touch()

    done = run(["-m", "tradepipe.sink", "--help"], "/", PYTHONPATH=str(tmp_path))

    assert 78 == done.returncode
    advice = "rename it, or unset PYTHONPATH"
    assert f"Error: {package / '__init__.py'} hides the module typer that tradepipe needs: {advice}\n" == done.stderr


def test_a_file_of_another_name_is_not_blamed(tmp_path):
    (tmp_path / "desk.py").write_text("x = 1")

    done = run(["-m", "tradepipe", *WRONG_PORT], tmp_path)

    assert "the port 'x'" in done.stderr
    assert "hides" not in done.stderr
