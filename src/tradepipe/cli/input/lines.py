"""The lines of a file, or of what is piped in: decoded, counted, and never more than one in memory."""

import gzip
import io
import os
import select
import stat
import sys
import threading
import zlib
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO, Final, Self, cast

import typer

from tradepipe.errors import TradepipeError

STDIN: Final = "-"

MAX_LINE_BYTES: Final = 1 << 20
"""Bytes of a line; a trade has a few hundred, so a longer one is something else."""

READ_BYTES: Final = 0.5
"""Seconds to wait for a pipe before a stop is looked for."""

_BUFFER: Final = 1 << 18
_GZIP: Final = b"\x1f\x8b"
_BOM: Final = b"\xef\xbb\xbf"
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_HEAD: Final = 4096


class BadInput(TradepipeError):
    """A file cannot be read as trades; trades read before the error have been sent."""

    exit_code = 1


class LineReader:
    """
    The lines of a file as text, each with its end, one after the other.

    gzip is known by its first bytes and a byte order mark is left out. Bytes
    that are not UTF-8 come as lone surrogates, so that the line can be told.

    Args:
        path: the file, or `-` for stdin.

        stopped: ends the file where it is, also while it waits for a pipe.

    Attributes:
        name: how messages call it.

        size: bytes of the file as it lies there, None where nobody knows.

        number: how many lines were read.

    Raises:
        BadParameter: it cannot be read, or is no text in UTF-8.
    """

    def __init__(self, path: str, *, stopped: threading.Event | None = None) -> None:
        self.name = "stdin" if path == STDIN else path
        self.number = 0
        self._file = _open_file(path)
        self._counted = _CountingReader(self._file, stopped or threading.Event())
        status = os.fstat(self._file.fileno())
        self.size = status.st_size if stat.S_ISREG(status.st_mode) else None
        try:
            self._lines = self._text(path)
        except BaseException:
            self._close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()
        self._close()

    @property
    def read(self) -> int:
        """Bytes read so far, of the file as it lies there."""
        return self._counted.bytes

    def __iter__(self) -> Iterator[str]:
        """
        The lines.

        Raises:
            BadInput: a line is too long, or the file ends before its gzip does, or cannot be read any more.
        """
        while line := self._line():
            self.number += 1
            if self.number == 1:
                line = line.removeprefix(_BOM)
            yield line.decode("utf-8", "surrogateescape")

    def _close(self) -> None:
        if self._file is not sys.stdin.buffer:
            self._file.close()

    def _line(self) -> bytes:
        place = f"{self.name}:{self.number + 1}"
        try:
            line = self._lines.readline(MAX_LINE_BYTES + 1)
        except EOFError:
            raise BadInput(f"{place}: the file ends before its gzip does: it is truncated, copy it again") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise BadInput(f"{place}: the gzip is damaged: {error}") from None
        except OSError as error:
            raise BadInput(f"{place}: the file cannot be read any further: {error.strerror or error}") from error
        if len(line) > MAX_LINE_BYTES:
            raise BadInput(
                f"{place}: the line has more than {MAX_LINE_BYTES:,} bytes: is that a file of trades, a line each?"
            )
        return line

    def _text(self, path: str) -> BinaryIO:
        """The file as it reads when it is unpacked, once its first bytes have said that it is text."""
        packed = io.BufferedReader(self._counted, _BUFFER)
        lines: gzip.GzipFile | io.BufferedReader[_CountingReader] = packed
        try:
            if packed.peek(len(_GZIP))[: len(_GZIP)] == _GZIP:
                lines = gzip.GzipFile(fileobj=packed)
            elif path.endswith(".gz"):
                raise _unusable(self.name, "it is named .gz, but is no gzip")
            _require_text(self.name, lines.peek(_HEAD)[:_HEAD])
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise _unusable(self.name, f"its gzip is truncated or damaged: {error}") from None
        except OSError as error:
            raise _unusable(self.name, f"it cannot be read: {error.strerror or error}") from error
        return cast(BinaryIO, lines)


class _CountingReader(io.RawIOBase):
    """A file that counts what is read of it, what is buffered included, and that ends when it is told to."""

    def __init__(self, file: BinaryIO, stopped: threading.Event) -> None:
        self._file = file
        self._stopped = stopped
        self.bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any writable buffer, as memory is
        while not select.select([self._file], [], [], READ_BYTES)[0]:
            if self._stopped.is_set():
                return 0
        got = os.readv(self._file.fileno(), [buffer])
        self.bytes += got
        return got


def _open_file(path: str) -> BinaryIO:
    if path == STDIN:
        if sys.stdin is None or sys.stdin.closed:
            raise _unusable("stdin", "it is closed")
        return sys.stdin.buffer
    try:
        # Kept in `Source`, which closes it.
        return open(path, "rb", buffering=0)
    except OSError as error:
        raise _unusable(path, f"it cannot be read: {error.strerror}") from None
    except ValueError as error:  # a NUL in the name
        raise _unusable(path, f"it cannot be read: {error}") from None


def _require_text(name: str, head: bytes) -> None:
    if head[:2] in _UTF_16:
        raise _unusable(name, "it is in UTF-16: save it as UTF-8")
    if b"\x00" in head:
        raise _unusable(name, "it is binary, and no text in UTF-8")


def _unusable(name: str, why: str) -> typer.BadParameter:
    return typer.BadParameter(f"{name}: {why}", param_hint="'--input'")
