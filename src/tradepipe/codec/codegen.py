"""Source builder for generated functions."""

import linecache
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

_INDENT: Final = "    "


class CodeBuilder:
    """
    Source of generated Python functions, line by line.

    Names with a leading underscore belong to the generator, names without one
    are fields. A `NamedTuple` allows no field with a leading underscore, so the
    two never collide.

    Attributes:
        current_field: field that the next lines belong to; errors of those lines name it.

        names: globals of the generated functions.
    """

    def __init__(self) -> None:
        self.current_field = ""
        self.names: dict[str, Any] = {}
        self._lines: list[tuple[str, str]] = []
        self._depth = 0

    @property
    def text(self) -> str:
        """Source of the lines added so far."""
        return "".join(f"{line}\n" for line, _ in self._lines)

    def line(self, text: str) -> None:
        """Add a line to the open block."""
        self._lines.append((_INDENT * self._depth + text, self.current_field))

    def lines(self, text: str) -> None:
        """Add lines to the open block."""
        for line in text.splitlines():
            self.line(line)

    @contextmanager
    def block(self, opening: str) -> Iterator[None]:
        """Add a line that opens a block; lines added within the context belong to the block."""
        self.line(opening)
        self._depth += 1
        yield
        self._depth -= 1

    def bind(self, stem: str, value: Any) -> str:
        """Add a global of an unused name; return the name."""
        name = f"_{stem}_{len(self.names)}"
        self.names[name] = value
        return name

    def field_of_line(self, number: int) -> str:
        """Return the field that a line belongs to, by the line's number from 1."""
        return self._lines[number - 1][1]

    def compile(self, function: str, title: str) -> Any:
        """
        Compile the source and return one of its functions.

        Tracebacks show the source under the title. If a title is used again,
        they show the source that was compiled last.
        """
        file = f"<tradepipe: {title}>"
        text = self.text
        exec(compile(text, file, "exec"), self.names)
        # Without a modification time linecache does not look for a file of this name and keeps the entry.
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        return self.names[function]
