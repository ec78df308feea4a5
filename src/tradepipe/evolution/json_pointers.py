"""Where in a JSON text each value stands, and which keys stand there twice."""

import re
from bisect import bisect_right
from json import JSONDecoder
from typing import Final, NamedTuple

_blank = re.compile(r"[ \t\r\n]*")
_DECODER: Final = JSONDecoder()


class JsonPositions(NamedTuple):
    """
    The layout of a JSON text.

    Attributes:
        lines: JSON pointer (RFC 6901) → line, from 1.

        twice: pointers of keys that an object has more than once; a parser keeps one of them, and not every parser
            the same.
    """

    lines: dict[str, int]
    duplicate_keys: tuple[str, ...]

    def line(self, pointer: str) -> int:
        """The line where somebody looks for it: that of its name, where it has one; that of its beginning else."""
        while pointer not in self.lines:
            pointer = pointer.rpartition("/")[0]
        return self.lines.get(f"{pointer}/name", self.lines[pointer])


def locate(text: str) -> JsonPositions:
    """The layout of a text that is JSON."""
    scan = _Scan(text)
    scan.value(0, "")
    return JsonPositions(scan.lines, tuple(scan.twice))


class _Scan:
    def __init__(self, text: str) -> None:
        self._text = text
        self._breaks = [match.start() for match in re.finditer("\n", text)]
        self.lines: dict[str, int] = {}
        self.twice: list[str] = []

    def value(self, at: int, pointer: str) -> int:
        """Read a value; where it ends."""
        at = self._skip(at)
        self.lines[pointer] = bisect_right(self._breaks, at) + 1
        if self._text[at] == "{":
            return self._object(at, pointer)
        if self._text[at] == "[":
            return self._array(at, pointer)
        return _DECODER.raw_decode(self._text, at)[1]

    def _object(self, at: int, pointer: str) -> int:
        at = self._skip(at + 1)
        while self._text[at] != "}":
            key, at = _DECODER.raw_decode(self._text, at)
            below = f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
            if below in self.lines:
                self.twice.append(below)
            at = self._after(self.value(self._skip(at) + 1, below))
        return at + 1

    def _array(self, at: int, pointer: str) -> int:
        at, index = self._skip(at + 1), 0
        while self._text[at] != "]":
            at = self._after(self.value(at, f"{pointer}/{index}"))
            index += 1
        return at + 1

    def _after(self, at: int) -> int:
        """Where the next item begins, or the end is."""
        at = self._skip(at)
        return self._skip(at + 1) if self._text[at] == "," else at

    def _skip(self, at: int) -> int:
        match = _blank.match(self._text, at)
        assert match is not None, "it matches nothing too"
        return match.end()
