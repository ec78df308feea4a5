"""The trades of a file on their way to Kafka: what is wrong stops the run, or is skipped and kept."""

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tradepipe.cli.input.layout import Form, Layout
from tradepipe.cli.input.records import Record, records, told
from tradepipe.cli.input.rejects import Rejects
from tradepipe.cli.input.source import BadInput, Source
from tradepipe.cli.mixture import New
from tradepipe.cli.terminal import Way

logger = logging.getLogger(__name__)

TOLD: Final = 5
"""Skipped records that are told one by one."""

_UNITS: Final = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


class FileOfTrades:
    """
    The trades of a file.

    On entering, all is checked that the beginning of the file tells; nothing
    is sent if that is wrong.

    Args:
        path: the file, or `-` for stdin.

        rejects: where skipped records go; None stops at the first that is wrong.

        stopped: ends the file where it is.

    Attributes:
        good: trades that were read.

        bad: records that were skipped, or that stopped it.

        line: where the last record began.

        place: where skipped records go, or None.

    Raises:
        BadParameter: the file is none of trades, or the rejects cannot be written.
    """

    def __init__(
        self, path: str, *, form: Form, layout: Layout, rejects: Path | None, stopped: threading.Event
    ) -> None:
        self._path = path
        self._form = form
        self._layout = layout
        self.place = rejects
        self._stopped = stopped
        self._opened = ExitStack()
        self._rejects: Rejects | None = None
        self.good = self.bad = self.line = 0

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            self._source = opened.enter_context(Source(self._path, stopped=self._stopped))
            found = records(self._source, self._form, self._layout)
            first = next(found, None)
            if self.place is not None:
                self._rejects = opened.enter_context(Rejects(self.place))
            self._records = chain(() if first is None else (first,), found)
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)

    @property
    def name(self) -> str:
        """How messages call it."""
        return self._source.name

    def __iter__(self) -> Iterator[New]:
        """
        The trades.

        Raises:
            BadInput: a record is wrong, and such are not skipped; or the file cannot be read on.

            Misconfigured: a skipped record cannot be kept.
        """
        try:
            for record in self._records:
                if self._stopped.is_set():
                    return
                self.line = record.line
                if record.trade is None:
                    self._refuse(record)
                else:
                    self.good += 1
                    yield New(record.trade)
        except BadInput:
            # A file that was ended in the midst of a record looks like one that is wrong.
            if not self._stopped.is_set():
                raise

    @property
    def is_sized(self) -> bool:
        """Whether somebody knows how large it is: of a pipe nobody does."""
        return self._source.size is not None

    def way(self) -> Way:
        """How far a file was read whose size is known."""
        way = Way(self._source.read, self._source.size or 0, "")
        return way._replace(text=f"{way.share:.0%} of {_bytes(way.all)}")

    def so_far(self) -> str:
        """How much was read of a file whose size nobody knows, and how many records were skipped."""
        read = "" if self.is_sized else f", {_bytes(self._source.read)} read"
        return read + (f", {self.bad:,} skipped" if self._rejects and self.bad else "")

    def _refuse(self, record: Record) -> None:
        self.bad += 1
        message = told(self.name, record)
        if self._rejects is None:
            raise BadInput(message)
        self._rejects.add(self.name, record)
        if self.bad <= TOLD:
            logger.warning("skipped: %s", message)
        elif self.bad == TOLD + 1:
            logger.warning("further ones are only written to %s", self._rejects.place)


def _bytes(number: int) -> str:
    for size, unit in _UNITS:
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number} bytes"
