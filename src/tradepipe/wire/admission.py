"""
Which writer schemas are decoded.

The writer of a record chooses its schema, so a schema is hostile until it was
looked at: a recursive one can end the process from inside the codec, and one
with items of zero bytes can make gigabytes of five bytes. And a schema newer
than this build may hold what this build would silently lose.
"""

import json
from typing import Any, Final, Literal

from tradepipe.contract.history import current, fingerprint, versions
from tradepipe.errors import UnsupportedSchema
from tradepipe.wire.resolution import Difference, Parsed, differences, parse

UnknownFields = Literal["stop", "drop"]

MAX_TEXT: Final = 256_000
"""Characters of a schema's text."""

MAX_DEPTH: Final = 16
"""Types within types."""

MAX_FIELDS: Final = 500
"""Fields and union branches, each counted as often as a value can hold it."""


def admit(text: str, schema_id: int, *, unknown_fields: UnknownFields = "stop") -> Parsed:
    """
    A writer schema of the subject, its names resolved, if this build can hold its records.

    Every frozen version is admitted, and every other one that resolves to the
    current version; with `unknown_fields="drop"` also one that loses fields,
    symbols or logical types on the way.

    Raises:
        UnsupportedSchema: the schema lies outside the limits of this module,
            cannot be resolved, or would lose values.
    """
    parsed = _bounded(text, schema_id)
    if fingerprint(text) not in {version.sha256 for version in versions()}:
        _require_lossless(parsed, schema_id, unknown_fields)
    return parsed


def _bounded(text: str, schema_id: int) -> Parsed:
    """The parsed schema, if it lies within the limits."""
    if len(text) > MAX_TEXT:
        raise UnsupportedSchema(f"schema id {schema_id} has {len(text)} characters, more than {MAX_TEXT}")
    try:
        schema = json.loads(text)
        if not isinstance(schema, dict):
            raise ValueError("it is not a record")
        parsed = parse(schema)
        require_bounds(parsed)
    except Exception as error:  # a decode guard: parsers raise anything on a hostile schema
        problem = str(error)[:200] or type(error).__name__
        raise UnsupportedSchema(f"schema id {schema_id} is not decoded here: {problem}") from error
    return parsed


def require_bounds(parsed: Parsed) -> None:
    """
    Refuse a schema whose values can exhaust the stack or the memory.

    Raises:
        ValueError: with the limit that is broken.
    """
    root = parsed.at(parsed.root)
    if not isinstance(root, dict) or root["type"] != "record":
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
        if isinstance(schema, str):
            return schema != "null"
        if isinstance(schema, list):
            for branch in schema:
                self._count()
                self.takes_bytes(branch, depth + 1, within)
            return True
        return self._complex_takes_bytes(schema, depth, within)

    def _complex_takes_bytes(self, schema: dict[str, Any], depth: int, within: frozenset[str]) -> bool:
        kind = schema["type"]
        if kind in ("record", "error"):
            return self._record_takes_bytes(schema, depth, within)
        if kind in ("array", "map"):
            if not self.takes_bytes(schema["items" if kind == "array" else "values"], depth + 1, within):
                raise ValueError(f"it has {kind} items that take no bytes")
            return True
        if kind == "fixed":
            return bool(schema["size"] > 0)
        return bool(kind != "null")

    def _record_takes_bytes(self, schema: dict[str, Any], depth: int, within: frozenset[str]) -> bool:
        name = schema["name"]
        if name in within:
            raise ValueError(f"its type {name} holds itself")
        sizes = []
        for field in schema["fields"]:
            self._count()
            sizes.append(self.takes_bytes(field["type"], depth + 1, within | {name}))
        return any(sizes)

    def _count(self) -> None:
        self._fields += 1
        if self._fields > MAX_FIELDS:
            raise ValueError(f"it has more than {MAX_FIELDS} fields")


def _require_lossless(writer: Parsed, schema_id: int, unknown_fields: UnknownFields) -> None:
    found = list(differences(writer, parse(current().schema)))
    fatal = [difference for difference in found if difference.fatal]
    if fatal:
        raise UnsupportedSchema(
            f"schema id {schema_id} cannot be read as version {current().number} of the trade schema: "
            f"{_told(fatal)}; upgrade tradepipe here"
        )
    if found and unknown_fields == "stop":
        raise UnsupportedSchema(
            f"schema id {schema_id} holds more than version {current().number} of the trade schema, which would lose "
            f"{_told(found)}; upgrade tradepipe here, or choose --unknown-fields drop"
        )


def _told(found: list[Difference]) -> str:
    return "; ".join(f"{difference.told} (at {difference.path})" for difference in found)
