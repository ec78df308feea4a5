"""Python source as it is generated: its lines, what each is about, and the names they use."""

import linecache
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

_INDENT: Final = "    "


class Source:
    """
    Lines of generated Python, compiled at the end.

    Names with a leading underscore are the generator's own, names without are
    fields: a `NamedTuple` takes no field with one, so they never meet.

    Attributes:
        about: what the lines now added are about; told when one of them fails.

        names: what the lines may use, by name.
    """

    def __init__(self) -> None:
        self.about = ""
        self.names: dict[str, Any] = {}
        self._lines: list[tuple[str, str]] = []
        self._depth = 0

    @property
    def text(self) -> str:
        """The source so far."""
        return "".join(f"{line}\n" for line, _ in self._lines)

    def line(self, text: str) -> None:
        """Add a line to the block that is open."""
        self._lines.append((_INDENT * self._depth + text, self.about))

    @contextmanager
    def block(self, opening: str) -> Iterator[None]:
        """A line that opens a block; what is added within is the block."""
        self.line(opening)
        self._depth += 1
        yield
        self._depth -= 1

    def append(self, other: "Source") -> None:
        """Put another source behind this one, an empty line between the two."""
        if self._lines and other._lines:
            self._lines.append(("", ""))
        self._lines += other._lines
        self.names |= other.names

    def subject_of(self, number: int) -> str:
        """What a line is about, by its number from 1."""
        return self._lines[number - 1][1]

    def compiled(self, function: str, title: str) -> Any:
        """
        One of the functions, ready to be called.

        A traceback shows its lines under the title; the same title given again
        shows those of the last.
        """
        file = f"<tradepipe: {title}>"
        text = self.text
        exec(compile(text, file, "exec"), self.names)
        # No time of change: linecache then never looks for a file.
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        return self.names[function]
