"""Start and end of every command: signals during the imports, and an exit that does not wait for Python's teardown."""

import atexit
import faulthandler
import gc
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Final, NoReturn

MISCONFIGURED: Final = 78
"""Exit code if a file hides a module; `cli.exit_codes` has the others."""

OUTPUT_LOST: Final = 120
"""Exit code if buffered output cannot be written, as Python's own."""

_GC_THRESHOLD: Final = 200_000
"""Allocations between two garbage collections; more than the imports of a command make, of which nothing is garbage."""

_HTTPX_COMMAND: Final = "httpx._main"
"""The command line of httpx, which `import httpx` loads where click is installed, with rich and pygments."""


def run() -> NoReturn:
    """Run the command line `tradepipe`."""
    _prepare()
    _run_and_exit(lambda: import_module("tradepipe.cli.main").run())


def run_command(name: str) -> NoReturn:
    """Run `tradepipe NAME`."""
    _prepare()

    def command() -> None:
        module = import_module(import_module("tradepipe.cli.main").COMMANDS[name])
        exit_codes = import_module("tradepipe.cli.exit_codes")
        # What the imports made stays until the end.
        gc.freeze()
        exit_codes.run(module.app, f"tradepipe {name}")

    _run_and_exit(command)


def _prepare() -> None:
    """Prepare the process for the imports, which are most of what a command costs until it works."""
    _show_crashes()
    _exit_on_signals()
    gc.set_threshold(_GC_THRESHOLD)
    # For httpx its command line is then not installed. Nothing but the program `httpx` uses it.
    sys.modules.setdefault(_HTTPX_COMMAND, None)  # type: ignore[arg-type]  # None: a module that cannot be imported


def _show_crashes() -> None:
    """Print where every thread was if librdkafka, libpq or the compiled core crashes or aborts the process."""
    # A stderr that is closed has no descriptor of its own: 2 may become that of a connection.
    if sys.__stderr__ is not None and not faulthandler.is_enabled():
        # The descriptor, because `sys.stderr` may have been replaced by an object without one.
        faulthandler.enable(2)


def _exit_on_signals() -> None:
    # The imports take half a second, in which Python's own handler would print a traceback. There is nothing to flush
    # or to close yet. `exit_codes.run` installs the command's handlers.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _frame: os._exit(128 + received))


def _run_and_exit(command: Callable[[], None]) -> NoReturn:
    try:
        command()
    except SystemExit as ended:
        exit_process(int(ended.code or 0))
    except Exception as error:  # of an import; `exit_codes.run` reports all others
        if not (problem := _find_shadowing_file(error)):
            raise
        with suppress(OSError):
            os.write(2, f"Error: {problem}\n".encode())
        exit_process(MISCONFIGURED)
    raise AssertionError("a command line ends with SystemExit")


def _find_shadowing_file(error: Exception) -> str | None:
    try:
        return import_module("tradepipe.shadowing").find_shadowing_file(error)  # type: ignore[no-any-return]  # str | None
    except ImportError:  # of a module that the search itself needs
        return None


def exit_process(code: int) -> NoReturn:
    """
    End the process as Python does, but without taking its modules apart.

    That deallocates every object of SQLAlchemy, rich and the generated codecs, which is
    half a second of processor time on a small machine, and seconds on a busy one: too long after
    Ctrl-C. By now the command has closed its files and clients, and all threads are daemons, so
    what is left to do is what other code has registered, and what the streams hold.
    """
    # A debugger or a profiler continues after the program, in this process.
    is_observed = sys.gettrace() or sys.getprofile() or "cProfile" in sys.modules or sys.flags.inspect
    if not is_observed:
        atexit._run_exitfuncs()
        try:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
        except (OSError, ValueError) as error:
            code = OUTPUT_LOST
            # Not by `sys.stderr`: a thread that waits for the reader of the same pipe has its lock. For that reason
            # Python must not end the process either: it aborts when it does not get the lock within a second.
            with suppress(OSError):
                os.write(2, f"Error: cannot write the output: {error}\n".encode())
        os._exit(code)
    sys.exit(code)
