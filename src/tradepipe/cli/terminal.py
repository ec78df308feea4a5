"""Terminal output: tables, the status line, progress."""

import io
import json
import logging
import os
import re
import shlex
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from textwrap import fill
from typing import Final, Literal, Self

import typer

from tradepipe.files.records import FileProgress
from tradepipe.redaction import escape, escape_lines, redact

logger = logging.getLogger(__name__)


LogFormat = Literal["text", "json"]
OutputFormat = Literal["text", "json"]

log_format: ContextVar[LogFormat] = ContextVar("tradepipe-log-format", default="text")
"""Format of everything the command prints to stderr."""

MIN_LAST_WIDTH: Final = 12
"""Minimum width of a table's last column, however narrow the terminal is."""

MAX_WIDTH: Final = 100_000
"""Width of a table without a terminal: each row is a line."""


def echo(text: str, *, err: bool = False) -> None:
    """Print text; characters that a terminal or a CI server would execute are escaped."""
    typer.echo(escape_lines(redact(as_typed(text) if err else text)), err=err)


def wrap(text: str, *, indent: str = "", margin: int = 0, err: bool = True) -> str:
    """
    Wrap each line of a text between words, if its stream is a terminal, which would break words itself.

    A command at the end of a long line gets lines of its own, from which it can be copied.

    Args:
        indent: begins each line after the first.
        margin: columns that the caller puts before the text.
        err: the stream is stderr, otherwise stdout.
    """
    if (err and log_format.get() == "json") or not (sys.stderr if err else sys.stdout).isatty():
        return text
    width = typer.get_terminal_size()[0] - margin
    return "\n".join(
        # Lines with an indentation are tracebacks and examples.
        line if line.startswith(" ") or len(line) <= width else _wrap_line(line, width, indent)
        for line in text.split("\n")
    )


_COMMANDS: Final = r"(produce|validate|demo|embedded|sink|migrate|schema|topics|dlq)\b"
_names_command = re.compile(rf"\btradepipe (?={_COMMANDS})")
_ends_in_command = re.compile(rf"(?P<prose>.*:) (?P<command>(\S+ -m )?tradepipe[ .]{_COMMANDS}[^;]*)").fullmatch


def _wrap_line(line: str, width: int, indent: str) -> str:
    found = _ends_in_command(line)
    prose = fill(
        found["prose"] if found else line,
        width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return f"{prose}\n{_continue_lines(found['command'], width)}" if found else prose


def _continue_lines(command: str, width: int) -> str:
    """Break a command before its options, where a shell reads on after a backslash."""
    lines: list[str] = []
    for part in re.split(r" (?=--?[A-Za-z])", command):
        if lines and (len(lines[-1]) + len(part) + len("  \\") <= width or not _is_balanced(lines[-1])):
            lines[-1] += f" {part}"
        else:
            lines.append(f"{'    ' if lines else '  '}{part}")
    return " \\\n".join(lines)


def _is_balanced(words: str) -> bool:
    """Return whether no quotation is open after these words."""
    try:
        return bool(shlex.split(words))
    except ValueError:
        return False


def as_typed(text: str) -> str:
    """
    Name the commands of a message as this one was typed: `tradepipe sink` or `python -m tradepipe.sink`.

    Messages of all packages name them in the first way.
    """
    file = Path(sys.argv[0])
    if file.suffix != ".py" or "tradepipe" not in (file.parent.name, file.parent.parent.name):
        return text
    python = f"{Path(sys.orig_argv[0]).name} -m tradepipe"
    is_package = file.parts[-2:] == ("tradepipe", "__main__.py")
    return _names_command.sub(f"{python} " if is_package else f"{python}.", text)


def wants_color() -> bool:
    """Return whether the user wants colors (see no-color.org); typer removes them where there is no terminal."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def can_rewrite_line() -> bool:
    """Return whether stderr is a terminal that understands escape sequences; that of Emacs, for one, prints them."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def to_json(value: object, *, indent: int | None = 2) -> str:
    """Convert to JSON; everything but printable ASCII is escaped, and so is what GitHub's runner would execute."""
    return json.dumps(value, indent=indent).replace("##[", r"##\u005b")


def print_result(text: str, document: Mapping[str, object], output: OutputFormat) -> None:
    """Print the result of a command to stdout, as text or as a JSON document."""
    echo(to_json(document) if output == "json" else text)


def format_table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    left: Collection[int] = (),
    truncate: bool = False,
    wrap: bool = False,
) -> str:
    """
    Format rows below their headings, in the width of the terminal; without one, each row is a line.

    Args:
        left: numbers of the left-aligned columns.
        truncate: cut the last column at the width of the terminal, or at 80 characters, instead of wrapping it.
        wrap: wrap the last column without a terminal too.

    >>> print(format_table(("partition", "owner"), [("0", "a"), ("10", "bc")], left={1}))
    partition  owner
            0  a
           10  bc
    """
    # Imported here, because it takes longer than most commands need to start.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    cells = [[Text(escape(cell)) for cell in row] for row in (headings, *rows)]
    widths = [max(row[column].cell_len for row in cells) for column in range(len(headings))]
    # Without a terminal its size is that of COLUMNS, or 80.
    available = typer.get_terminal_size()[0] if truncate or wrap or sys.stdout.isatty() else MAX_WIDTH
    before_last = sum(widths[:-1]) + 2 * (len(widths) - 1)
    width = max(available, before_last + min(widths[-1], MIN_LAST_WIDTH))
    # Only the last column may be narrower than its cells; rich would shorten all of them.
    widths[-1] = min(widths[-1], width - before_last)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for column in range(len(headings)):
        table.add_column(
            justify="left" if column in left else "right",
            width=widths[column],
            no_wrap=truncate or column < len(headings) - 1,
            overflow="ellipsis" if truncate else "fold",
        )
    for row in cells:
        table.add_row(*row)
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(table)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined]  # the StringIO


CLEAR_LINE: Final = "\r\x1b[K"


class StatusLine:
    """The last line of stderr, rewritten in place, with log lines above it; not live without a terminal."""

    def __init__(self) -> None:
        self.is_live = can_rewrite_line() and log_format.get() == "text"
        self._text = ""
        # Log lines of all threads and the progress share the line. Reentrant, because `clear` calls `show`.
        self._lock = threading.RLock()

    def show(self, text: str) -> None:
        """Replace the status line."""
        with self._lock:
            self._text = text
            sys.stderr.write(CLEAR_LINE + text)
            sys.stderr.flush()

    def write(self, line: str) -> None:
        """Write a line above the status line."""
        with self._lock:
            before = CLEAR_LINE if self._text else ""
            sys.stderr.write(f"{before}{line}\n{self._text}")
            sys.stderr.flush()

    def clear(self) -> None:
        """Remove the status line."""
        with self._lock:
            if self._text:
                self.show("")


REFRESH_SECONDS: Final = 0.25
"""Interval of status line updates on a terminal."""

LOG_SECONDS: Final = 10.0
"""Interval of progress log lines without a terminal."""

_RATE_SAMPLES: Final = 8
"""Updates over which the rate is averaged: two seconds."""

_BAR_WIDTH: Final = 10
"""Characters between the brackets of a progress bar."""


class Progress:
    """
    Show progress while the block runs: a status line on a terminal, otherwise a log line every ten seconds
    if something changed.

    Args:
        counts: returns the number of records, for the rate, and a description; called in another thread.
        file: returns the progress through the input file, if its size is known; called in another thread.
    """

    def __init__(
        self,
        status: StatusLine,
        counts: Callable[[], tuple[int, str]],
        *,
        file: Callable[[], FileProgress] | None = None,
    ) -> None:
        self._status = status
        self._counts = counts
        self._file = file
        self._started_at = time.monotonic()
        self._ended = threading.Event()
        watch = self._refresh if status.is_live else self._log
        self._thread = threading.Thread(target=watch, name="tradepipe-progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._status.clear()

    def _refresh(self) -> None:
        samples = deque([(time.monotonic(), self._counts()[0])], maxlen=_RATE_SAMPLES)
        while not self._ended.wait(REFRESH_SECONDS):
            number, text = self._counts()
            samples.append((time.monotonic(), number))
            rate = (number - samples[0][1]) / (samples[-1][0] - samples[0][0])
            # A full line would wrap, and the next update would rewrite only its second half.
            self._status.show(escape(self._line(text, rate))[: typer.get_terminal_size()[0] - 1])

    def _log(self) -> None:
        last_number, last_text = self._counts()
        while not self._ended.wait(LOG_SECONDS):
            number, text = self._counts()
            # An idle stage would otherwise fill the log with equal lines.
            if text != last_text:
                rate = f"{(number - last_number) / LOG_SECONDS:,.0f} records/s"
                logger.info("%s", f"{self._file().text}: {text}, {rate}" if self._file else f"{text}, {rate}")
            last_number, last_text = number, text

    def _line(self, text: str, rate: float) -> str:
        if self._file is None:
            return f"{text}, {rate:,.0f} records/s"
        file = self._file()
        full = int(file.share * _BAR_WIDTH)
        bar = f"[{'#' * full}{'-' * (_BAR_WIDTH - full)}]"
        left, elapsed = "", time.monotonic() - self._started_at
        if file.done and elapsed >= 1:  # the average speed of less is not known
            seconds = round(elapsed * (file.total - file.done) / file.done)
            left = f", {seconds // 60}:{seconds % 60:02d} left" if seconds < 3600 else f", {seconds / 3600:.1f} h left"
        return f"{bar} {file.text}, {text}, {rate:,.0f}/s{left}"
