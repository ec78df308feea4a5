"""
The limits within which a schema may be decoded at all.

A recursive one can end the process from inside a codec, and one with items of
zero bytes can make gigabytes of five bytes. What the specification forbids and
fastavro's parser lets pass is refused here too: two fields of one name, a union
within a union, a name that is none.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

from tradepipe.wire.resolution import PRIMITIVES, Parsed, kind_of

MAX_DEPTH: Final = 16
"""Types within types."""

MAX_FIELDS: Final = 500
"""Fields and union branches, each counted as often as a value can hold it."""

_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_is_name = re.compile(_NAME).fullmatch
_is_full_name = re.compile(rf"{_NAME}(\.{_NAME})*").fullmatch


def require_bounds(parsed: Parsed) -> None:
    """
    Refuse a schema that is malformed, or whose values can exhaust the stack or the memory.

    Raises:
        ValueError: with the limit that is broken.
    """
    root = parsed.at(parsed.root)
    if not isinstance(root, dict) or kind_of(root) != "record":
        raise ValueError("it is not a record")
    _Walk(parsed).takes_bytes(parsed.root, 0, frozenset())


class _Walk:
    """One walk over all a value can hold; a named type is walked as often as it is used."""

    def __init__(self, parsed: Parsed) -> None:
        self._parsed = parsed
        self._fields = 0

    def takes_bytes(self, schema: Any, depth: int, within: frozenset[str]) -> bool:
        """Whether each value takes at least one byte."""
        if depth > MAX_DEPTH:
            raise ValueError(f"its types are nested more than {MAX_DEPTH} deep")
        schema = self._parsed.at(schema)
        if isinstance(schema, list):
            return self._union_takes_bytes(schema, depth, within)
        kind = kind_of(schema)
        if kind == "record":
            return self._record_takes_bytes(schema, depth, within)
        if kind in ("array", "map"):
            if not self.takes_bytes(schema["items" if kind == "array" else "values"], depth + 1, within):
                raise ValueError(f"it has {kind} items that take no bytes")
            return True
        if kind == "fixed":
            return _fixed_takes_bytes(schema)
        if kind == "enum":
            _require_full_name(schema["name"])
            _require_distinct("symbols", schema["symbols"])
        return kind != "null"

    def _union_takes_bytes(self, branches: list[Any], depth: int, within: frozenset[str]) -> bool:
        kinds = []
        for branch in branches:
            self._count()
            self.takes_bytes(branch, depth + 1, within)
            found = self._parsed.at(branch)
            if isinstance(found, list):
                raise ValueError("it has a union within a union")
            kinds.append(found["name"] if isinstance(found, dict) and "name" in found else kind_of(found))
        _require_distinct("branches of a union", kinds)
        return True

    def _record_takes_bytes(self, schema: dict[str, Any], depth: int, within: frozenset[str]) -> bool:
        name = schema["name"]
        if name in within:
            raise ValueError(f"its type {name} holds itself")
        _require_full_name(name)
        sizes, names = [], []
        for field in schema["fields"]:
            self._count()
            sizes.append(self.takes_bytes(field["type"], depth + 1, within | {name}))
            names.append(field["name"])
        _require_field_names(names)
        return any(sizes)

    def _count(self) -> None:
        self._fields += 1
        if self._fields > MAX_FIELDS:
            raise ValueError(f"it has more than {MAX_FIELDS} fields")


def _fixed_takes_bytes(schema: dict[str, Any]) -> bool:
    _require_full_name(schema["name"])
    size = schema["size"]
    if type(size) is not int or size < 0:
        raise ValueError(f"it has a fixed type of {size!r} bytes")
    return size > 0


def _require_full_name(name: Any) -> None:
    if not isinstance(name, str) or not _is_full_name(name) or name in PRIMITIVES:
        raise ValueError(f"it has a type named {name!r}")


def _require_field_names(names: list[Any]) -> None:
    for name in names:
        if not isinstance(name, str) or not _is_name(name):
            raise ValueError(f"it has a field named {name!r}")
    if len(set(names)) < len(names):
        raise ValueError("it has two fields of one name")


def _require_distinct(what: str, found: Sequence[str]) -> None:
    if not found or len(set(found)) < len(found):
        raise ValueError(f"it has {what} that are none, or are not distinct")
