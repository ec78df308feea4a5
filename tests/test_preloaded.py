"""Processes that are forked, compared with those that a new interpreter begins."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.preloaded import TRACED, Command

pytestmark = pytest.mark.slow

STATE = """
import json, os, signal, sys, threading

if __name__ == "__main__":
    streams = (sys.stdin, sys.stdout, sys.stderr)
    state = {
        "argv": sys.argv,
        "typed": sys.orig_argv,
        "path": sys.path,
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "module": __spec__.name,
        "file": __file__,
        "signals": [str(signal.getsignal(each)) for each in sorted(signal.valid_signals()) if each < 32],
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "status": [line for line in open("/proc/self/status") if line.startswith(("SigB", "SigC", "SigI"))],
        "streams": [
            [each.encoding, each.errors, each.line_buffering, each.write_through, each.fileno(), str(type(each.buffer))]
            for each in streams
        ],
        "files": sorted(os.listdir("/proc/self/fd"))[:-1],
        "group": os.getpgid(0),
        "session": os.getsid(0),
        "parent": os.getppid(),
        "threads": [each.name for each in threading.enumerate()],
        "tradepipe": [name for name in sys.modules if name.startswith("tradepipe")],
    }
    with open(sys.argv[1], "w") as file:
        json.dump(state, file)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The folder in which programs start."""
    (tmp_path / "state.py").write_text(STATE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("variables", [{}, {"PYTHONUNBUFFERED": "1"}, {"TRADEPIPE_TOPIC": "Börse"}], ids=str)
def test_it_begins_as_in_a_new_interpreter(folder, variables):
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | variables
    states = {}
    for is_forked in (False, True):
        leader, follower = pty.openpty()
        streams = {"stdin": follower, "stdout": follower}
        process = Command("state", str(folder / "written"), env=env, is_forked=is_forked, **streams)
        assert 0 == process.wait(60)
        for each in (leader, follower):
            os.close(each)
        states[is_forked] = json.loads((folder / "written").read_text())

    assert states[False] == states[True]
    assert os.getpid() == states[True]["parent"]
    assert states[True]["environment"].items() >= variables.items()


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("", 0),
        ("import sys; sys.exit(3)", 3),
        ("import os; os._exit(78)", 78),
        ("raise KeyError", 1),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
    ],
    ids=str,
)
def test_its_exit_code_is_that_of_a_new_interpreter(folder, program, code):
    (folder / "program.py").write_text(program)
    process = Command("program", env=os.environ, stderr=subprocess.DEVNULL)

    assert code == process.wait(60)


def test_it_is_a_process_that_signals_reach(folder):
    (folder / "program.py").write_text("import os, time; os.write(1, b'begun'); time.sleep(60)")
    with Command("program", env=os.environ, stdout=subprocess.PIPE) as process:
        assert b"begun" == process.stdout.read(5)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert -signal.SIGTERM == process.wait(60)
        assert b"" == process.stdout.read(1)


@pytest.mark.parametrize("variable", ["TRADEPIPE_TOPIC", TRACED, "PYTHONPATH", "LC_ALL", "TZ"])
def test_it_is_forked_unless_a_variable_is_read_by_the_interpreter_at_its_start(folder, variable):
    (folder / "program.py").write_text("import sys; sys.exit('sqlalchemy' in sys.modules)")
    process = Command("program", env={**os.environ, variable: str(folder)})

    assert (variable == "TRADEPIPE_TOPIC") == process.wait(60)


def run_client(folder: Path, program: str) -> str:
    """Run a program that starts commands in `folder`, and return what it prints."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), str(folder)])
    client = f"import os, signal; from tests.preloaded import Command; {program}"
    env = os.environ | {"PYTHONPATH": path}
    return subprocess.run([sys.executable, "-c", client], env=env, stdout=subprocess.PIPE, text=True, check=True).stdout


def test_a_signal_right_after_the_start_is_not_lost(folder):
    """In a client of its own, as pytest may ignore SIGINT: a shell starts programs in the background so."""
    (folder / "program.py").write_text("import time; time.sleep(60)")
    program = "signal.signal(signal.SIGINT, signal.default_int_handler); command = Command('program', env=os.environ); "
    program += "command.send_signal(signal.SIGINT); print(command.wait())"

    assert -signal.SIGINT == int(run_client(folder, program))


def test_the_process_that_forks_ends_with_the_one_that_asks(folder):
    (folder / "program.py").touch()
    program = "Command('program', env=os.environ).wait(); "
    program += "print(open(f'/proc/self/task/{os.getpid()}/children').read(), flush=True); os._exit(0)"
    server = int(run_client(folder, program))

    eventually(lambda: not Path(f"/proc/{server}").exists())
