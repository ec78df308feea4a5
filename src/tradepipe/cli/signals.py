"""Signals: the first one asks to stop, a second one ends at once."""

import json
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Final, Self

from tradepipe.cli.exit_codes import SIGNAL_BASE
from tradepipe.cli.settings import current_settings

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class StopOnSignal:
    """
    Within the block the first SIGINT or SIGTERM calls `stop`, and a second one ends the process.

    Args:
        stop: makes the block end soon; called in a signal handler.

        doing: what is still done before it ends, for the message.
    """

    def __init__(self, stop: Callable[[], None], doing: str) -> None:
        self._stop = stop
        self._doing = doing
        self.asked = False

    def __enter__(self) -> Self:
        self._former = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self.asked:
            os._exit(SIGNAL_BASE + number)
        self.asked = True
        # Not through sys.stderr: the signal may have interrupted a write to it.
        start = b"\r\x1b[K" if sys.stderr.isatty() else b""
        os.write(2, start + f"{_log_line(f'{self._doing}; a second signal ends at once')}\n".encode())
        self._stop()


def _log_line(text: str) -> str:
    """Not by a logger either: the signal may have interrupted one that holds its lock."""
    return json.dumps({"level": "INFO", "message": text}) if current_settings().log_format == "json" else text
