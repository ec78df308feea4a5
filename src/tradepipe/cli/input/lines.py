"""Lines of a file or of stdin, decompressed and decoded, one in memory at a time."""

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
"""Maximum length of a line; a trade has a few hundred bytes."""

PIPE_POLL_SECONDS: Final = 0.5
"""Seconds to wait for a pipe before checking whether the run was stopped."""

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
    Read the lines of a file as text, with their line ends.

    gzip is detected by its first bytes, and a byte order mark is removed. Bytes
    that are not UTF-8 become lone surrogates, so that errors can quote the line.

    Args:
        path: the file, or `-` for stdin.

        stopped: ends the iteration when set, also while waiting for a pipe.

    Attributes:
        name: the file's name in messages.

        size: size of the file in bytes, before decompression; None for a pipe.

        number: number of lines read.

    Raises:
        BadParameter: the file is unreadable or not UTF-8 text.
    """

    def __init__(self, path: str, *, stopped: threading.Event | None = None) -> None:
        self.name = "stdin" if path == STDIN else path
        self.number = 0
        self._file = _open_file(path)
        self._counted = _CountingReader(self._file, stopped or threading.Event())
        status = os.fstat(self._file.fileno())
        self.size = status.st_size if stat.S_ISREG(status.st_mode) else None
        try:
            self._lines = self._open_text(path)
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
        """Bytes read so far, before decompression."""
        return self._counted.bytes

    def __iter__(self) -> Iterator[str]:
        """
        Yield the lines.

        Raises:
            BadInput: a line is too long, the gzip is truncated or damaged, or reading fails.
        """
        while line := self._read_line():
            self.number += 1
            if self.number == 1:
                line = line.removeprefix(_BOM)
            yield line.decode("utf-8", "surrogateescape")

    def _close(self) -> None:
        if self._file is not sys.stdin.buffer:
            self._file.close()

    def _read_line(self) -> bytes:
        position = f"{self.name}:{self.number + 1}"
        try:
            line = self._lines.readline(MAX_LINE_BYTES + 1)
        except EOFError:
            raise BadInput(f"{position}: the gzip file is truncated, copy it again") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise BadInput(f"{position}: the gzip file is damaged: {error}") from None
        except OSError as error:
            raise BadInput(f"{position}: reading failed: {error.strerror or error}") from error
        if len(line) > MAX_LINE_BYTES:
            raise BadInput(
                f"{position}: the line is longer than {MAX_LINE_BYTES:,} bytes; the file must have one trade per line"
            )
        return line

    def _open_text(self, path: str) -> BinaryIO:
        """Open the decompressed file, after checking that its first bytes are text."""
        raw = io.BufferedReader(self._counted, _BUFFER)
        lines: gzip.GzipFile | io.BufferedReader[_CountingReader] = raw
        try:
            if raw.peek(len(_GZIP))[: len(_GZIP)] == _GZIP:
                lines = gzip.GzipFile(fileobj=raw)
            elif path.endswith(".gz"):
                raise _unusable(self.name, "not a gzip file, despite its name")
            _require_text(self.name, lines.peek(_HEAD)[:_HEAD])
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise _unusable(self.name, f"the gzip file is truncated or damaged: {error}") from None
        except OSError as error:
            raise _unusable(self.name, f"cannot be opened: {error.strerror or error}") from error
        return cast(BinaryIO, lines)


class _CountingReader(io.RawIOBase):
    """A file that counts the bytes read, including buffered ones, and ends when stopped."""

    def __init__(self, file: BinaryIO, stopped: threading.Event) -> None:
        self._file = file
        self._stopped = stopped
        self.bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # memoryview is the buffer type that BufferedReader passes
        while not select.select([self._file], [], [], PIPE_POLL_SECONDS)[0]:
            if self._stopped.is_set():
                return 0
        count = os.readv(self._file.fileno(), [buffer])
        self.bytes += count
        return count


def _open_file(path: str) -> BinaryIO:
    if path == STDIN:
        if sys.stdin is None or sys.stdin.closed:
            raise _unusable("stdin", "stdin is closed")
        return sys.stdin.buffer
    try:
        # `LineReader` closes it.
        return open(path, "rb", buffering=0)
    except OSError as error:
        raise _unusable(path, f"cannot be opened: {error.strerror}") from None
    except ValueError as error:  # a NUL in the name
        raise _unusable(path, f"cannot be opened: {error}") from None


def _require_text(name: str, head: bytes) -> None:
    if head[:2] in _UTF_16:
        raise _unusable(name, "the file is UTF-16: save it as UTF-8")
    if b"\x00" in head:
        raise _unusable(name, "the file is binary, not UTF-8 text")


def _unusable(name: str, why: str) -> typer.BadParameter:
    return typer.BadParameter(f"{name}: {why}", param_hint="'--input'")
