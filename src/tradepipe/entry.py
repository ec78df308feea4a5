"""Start of every command: a signal that arrives during the imports ends the process without a traceback."""

import os
import signal
from importlib import import_module
from typing import NoReturn


def run() -> NoReturn:
    """Run the command line `tradepipe`."""
    _exit_on_signals()
    import_module("tradepipe.cli.main").run()
    raise AssertionError("a command line ends with SystemExit")


def run_command(name: str) -> NoReturn:
    """Run `tradepipe NAME`."""
    _exit_on_signals()
    commands = import_module("tradepipe.cli.main").COMMANDS
    import_module("tradepipe.cli.exit_codes").run(import_module(commands[name]).app, f"tradepipe {name}")
    raise AssertionError("a command line ends with SystemExit")


def _exit_on_signals() -> None:
    # The imports take half a second, in which Python's own handler would print a traceback. There is nothing to flush
    # or to close yet. `exit_codes.run` installs the command's handlers.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _frame: os._exit(128 + received))
