"""Files of text: their size and progress."""

from types import TracebackType
from typing import Final, Self

from tradepipe.cli.input.lines import LineReader
from tradepipe.cli.terminal import FileProgress

_UNITS: Final = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


class TextFile:
    """A file whose progress is measured in bytes."""

    unit = "line"

    def __init__(self, source: LineReader) -> None:
        self._source = source
        self.name = source.name
        self.headers: list[str] = []

    def __enter__(self) -> Self:
        self._source.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._source.__exit__(kind, error, trace)

    def progress(self) -> FileProgress:
        """Return the bytes read, and the size if it is known."""
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
    return f"{number} bytes"
