"""Lines of a file or of stdin, decompressed and decoded, one in memory at a time."""

import codecs
import gzip
import io
import os
import select
import stat
import sys
import threading
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final, Self, cast

from tradepipe.files.errors import BadInput, translate_open_errors, unusable
from tradepipe.files.file_kinds import ZIP, open_member
from tradepipe.files.mapping import FileMapping
from tradepipe.files.records import FileProgress, Notify, Reader
from tradepipe.plural import format_count

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
_CHUNK: Final = 1 << 16
_UNITS: Final = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))
_READ_ERRORS: Final = (EOFError, zlib.error, zipfile.BadZipFile, OSError)


class LineReader:
    """
    Read the lines of a file as text, with their line ends.

    gzip and zip are detected by their first bytes, and a byte order mark is removed.
    Bytes that the encoding lacks become lone surrogates, so that errors can quote the line.

    Args:
        path: the file, or `-` for stdin.

        encoding: an encoding whose line ends are those of ASCII; UTF-16 is detected by its byte order mark.

        stopped: ends the iteration when set, also while waiting for a pipe.

    Attributes:
        name: the file's name in messages.

        size: size of the file in bytes, before decompression; None for a pipe.

        number: number of lines read.

        has_mark: whether the first line began with UTF-8's byte order mark.

    Raises:
        InvalidOption: the file is unreadable or not text.
    """

    def __init__(self, path: str, *, encoding: str = "utf-8", stopped: threading.Event | None = None) -> None:
        self.name = "stdin" if path == STDIN else path
        self.encoding = encoding
        self.number = 0
        self.has_mark = self._is_zip = False
        self._decoder: codecs.IncrementalDecoder | None = None
        if path == STDIN and (sys.stdin is None or sys.stdin.closed):
            raise unusable(self.name, "stdin is closed")
        with translate_open_errors(path):
            self._file: BinaryIO = sys.stdin.buffer if path == STDIN else open(path, "rb", buffering=0)  # noqa: SIM115 - `_close` does it
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

    def __exit__(self, *raised: object) -> None:
        self._lines.close()
        self._close()

    @property
    def read(self) -> int:
        """Bytes read so far, before decompression."""
        # zipfile seeks in the file itself, past the counting reader.
        return self._file.tell() if self._is_zip else self._counted.bytes

    def read_text(self, size: int) -> str:
        """Read about `size` bytes; an empty text is the end of the file, and a damaged archive a `BadInput`."""
        try:
            chunk = self._lines.read(size)
        except _READ_ERRORS as error:
            raise self._unreadable(error) from error
        if not self._decoder:
            chunk = chunk.removeprefix(_BOM)
            self._decoder = codecs.getincrementaldecoder(self.encoding)("surrogateescape")
        return self._decoder.decode(chunk, not chunk)

    def begins_with(self, character: bytes) -> bool:
        """Return whether the first character that is not blank is this one."""
        head: bytes = self._lines.peek(_HEAD)  # type: ignore[attr-defined]  # all three have it
        return head.removeprefix(_BOM).lstrip()[:1] == character

    def __iter__(self) -> Iterator[str]:
        """Yield the lines; one that is too long, a damaged archive and a failing disk are a `BadInput`."""
        encoding = self.encoding
        while True:
            try:
                # A limit, or a file of one endless line would fill the memory.
                line = self._lines.readline(MAX_LINE_BYTES + 1)
            except _READ_ERRORS as error:
                raise self._unreadable(error) from error
            if not line:
                return
            self.number += 1
            if len(line) > MAX_LINE_BYTES:
                raise BadInput(
                    f"{self.name}:{self.number}: the line is longer than {MAX_LINE_BYTES:,} bytes; the file must have "
                    "one trade per line"
                )
            if self.number == 1 and line.startswith(_BOM):
                line, self.has_mark = line.removeprefix(_BOM), True
            yield line.decode(encoding, "surrogateescape")

    def _close(self) -> None:
        # stdin belongs to the process.
        if self._file is not sys.stdin.buffer:
            self._file.close()

    def _unreadable(self, error: Exception) -> BadInput:
        match error:
            case EOFError():
                text = "the archive is truncated, copy it again"
            case gzip.BadGzipFile() | zlib.error() | zipfile.BadZipFile():
                text = f"the archive is damaged: {error}"
            case OSError():
                text = f"reading failed: {error.strerror or error}"
        return BadInput(f"{self.name}:{self.number + 1}: {text}")

    def _open_text(self, path: str) -> BinaryIO:
        """Open the decompressed file, after checking that its first bytes are text."""
        raw = io.BufferedReader(self._counted, _BUFFER)
        lines: BinaryIO = cast(BinaryIO, raw)
        try:
            head = raw.peek(len(ZIP))[: len(ZIP)]
            if head.startswith(_GZIP):
                lines = cast(BinaryIO, gzip.GzipFile(fileobj=raw))
            # A zip's directory is at its end, so a pipe is never one.
            elif head == ZIP and self.size is not None:
                self._file.seek(0)
                lines = io.BufferedReader(open_member(self.name, self._file), _BUFFER)  # type: ignore[type-var]  # a member is a raw file to it
                self._is_zip = True
            elif path.endswith(".gz"):
                raise unusable(self.name, "not a gzip file, despite its name")
            if lines.peek(2)[:2] in _UTF_16:  # type: ignore[attr-defined]  # all three have it
                # Excel's "Unicode text"; rejects are written as UTF-8 with a mark, which Excel reads too.
                lines = io.BufferedReader(_Utf16Reader(lines), _BUFFER)
                self.encoding, self.has_mark = "utf-8", True
            head = lines.peek(_HEAD)[:_HEAD]  # type: ignore[attr-defined]  # all three have it
        except (EOFError, gzip.BadGzipFile, zlib.error, zipfile.BadZipFile) as error:
            raise unusable(self.name, f"the archive is truncated or damaged: {error}") from None
        except OSError as error:
            raise unusable(self.name, f"cannot be opened: {error.strerror or error}") from error
        if not head:
            raise unusable(self.name, "the file is empty")
        if head.startswith(ZIP):
            raise unusable(self.name, "a zip archive or a workbook is not read from a pipe: pass the path of a file")
        if b"\x00" in head:
            raise unusable(self.name, "the file is binary, not text")
        if head.lstrip()[:1] == b"<":
            raise unusable(self.name, "the file is HTML or XML: save it as CSV UTF-8")
        return lines


class TextFile(Reader):
    """A file whose progress is measured in bytes."""

    unit = "line"

    def __init__(self, source: LineReader, mapping: FileMapping, notify: Notify) -> None:
        super().__init__(source.name, mapping, notify)
        self._source = source

    def __exit__(self, *raised: object) -> None:
        self._source.__exit__(*raised)

    def progress(self) -> FileProgress:
        read, size = self._source.read, self._source.size
        progress = FileProgress(read, size or 0, "")
        if size is None:
            return progress._replace(text=f"{format_size(read)} read")
        return progress._replace(text=f"{progress.share:.0%} of {format_size(size)}")


def format_size(number: int) -> str:
    """Format a number of bytes."""
    for size, unit in _UNITS:
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return format_count(number, "byte")


class _Utf16Reader(io.RawIOBase):
    """A file of UTF-16 as UTF-8, whose lines end with the byte of a line feed; what is not UTF-16 becomes invalid."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-16")("surrogatepass")
        self._decoded = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # as in _CountingReader
        while not self._decoded:
            chunk = self._file.read(_CHUNK)
            try:
                text = self._decoder.decode(chunk, not chunk)
            except UnicodeDecodeError:  # the file ends within a character
                self._decoded = b"\xff"
                self._decoder.reset()
                break
            self._decoded = text.encode("utf-8", "surrogatepass")
            if not chunk:
                break
        count = min(len(buffer), len(self._decoded))
        buffer[:count], self._decoded = self._decoded[:count], self._decoded[count:]
        return count


class _CountingReader(io.RawIOBase):
    """A file that counts the bytes read, including buffered ones, and ends when stopped."""

    def __init__(self, file: BinaryIO, stopped: threading.Event) -> None:
        self._file = file
        self._stopped = stopped
        self.bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # memoryview is the buffer type that BufferedReader passes
        # A read of a pipe would block until its writer sends, even after a stop. A regular file is always ready.
        while not select.select([self._file], [], [], PIPE_POLL_SECONDS)[0]:
            if self._stopped.is_set():
                return 0
        count = os.readv(self._file.fileno(), [buffer])
        self.bytes += count
        return count
