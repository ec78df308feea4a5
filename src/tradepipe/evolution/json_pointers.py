"""Lines of the values in a JSON text, and its duplicate keys."""

import re
from bisect import bisect_right
from functools import lru_cache
from json import JSONDecoder
from typing import Final, NamedTuple

_blank = re.compile(r"[ \t\r\n]*")
_DECODER: Final = JSONDecoder()


class JsonPositions(NamedTuple):
    """
    Positions of the values in a JSON text.

    Attributes:
        lines: line numbers, from 1, by JSON pointer (RFC 6901).

        duplicate_keys: pointers of keys that occur more than once in an object;
            parsers differ in which value they keep.
    """

    lines: dict[str, int]
    duplicate_keys: tuple[str, ...]

    def line(self, pointer: str) -> int:
        """Return the line of the value's `name`, if it has one, else the line of its start."""
        while pointer not in self.lines:
            pointer = pointer.rpartition("/")[0]
        return self.lines.get(f"{pointer}/name", self.lines[pointer])


# A report locates each of its findings, and a schema can have thousands: one scan for each took minutes.
@lru_cache(maxsize=16)
def locate(text: str) -> JsonPositions:
    """Locate the values of a valid JSON text."""
    scan = _Scan(text)
    scan.value(0, "")
    return JsonPositions(scan.lines, tuple(scan.duplicate_keys))


class _Scan:
    def __init__(self, text: str) -> None:
        self._text = text
        self._breaks = [match.start() for match in re.finditer("\n", text)]
        self.lines: dict[str, int] = {}
        self.duplicate_keys: list[str] = []

    def value(self, at: int, pointer: str) -> int:
        """Scan a value; return the offset after it."""
        at = self._skip_blanks(at)
        self.lines[pointer] = bisect_right(self._breaks, at) + 1
        if self._text[at] == "{":
            return self._object(at, pointer)
        if self._text[at] == "[":
            return self._array(at, pointer)
        return _DECODER.raw_decode(self._text, at)[1]

    def _object(self, at: int, pointer: str) -> int:
        at = self._skip_blanks(at + 1)
        while self._text[at] != "}":
            key, at = _DECODER.raw_decode(self._text, at)
            below = f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
            if below in self.lines:
                self.duplicate_keys.append(below)
            at = self._skip_comma(self.value(self._skip_blanks(at) + 1, below))
        return at + 1

    def _array(self, at: int, pointer: str) -> int:
        at, index = self._skip_blanks(at + 1), 0
        while self._text[at] != "]":
            at = self._skip_comma(self.value(at, f"{pointer}/{index}"))
            index += 1
        return at + 1

    def _skip_comma(self, at: int) -> int:
        """Return the offset of the next item, or of the closing bracket."""
        at = self._skip_blanks(at)
        return self._skip_blanks(at + 1) if self._text[at] == "," else at

    def _skip_blanks(self, at: int) -> int:
        match = _blank.match(self._text, at)
        assert match is not None, "the pattern matches an empty text"
        return match.end()
