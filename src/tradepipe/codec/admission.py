"""Admission of writer schemas: which of them this build can decode without loss, within limits."""

import json
import re
from collections.abc import Sequence
from typing import Any, Final, Literal

from tradepipe.codec.writer_schema import PRIMITIVES, Difference, ParsedSchema, differences, kind_of, parse
from tradepipe.errors import UnsupportedSchema
from tradepipe.evolution.history import current, fingerprint, versions

MAX_DEPTH: Final = 16
"""Types within types."""

MAX_FIELDS: Final = 500
"""Fields and union branches, each counted as often as a value can hold it."""

_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_is_name = re.compile(_NAME).fullmatch
_is_full_name = re.compile(rf"{_NAME}(\.{_NAME})*").fullmatch


def check_limits(parsed: ParsedSchema) -> None:
    """
    Refuse a schema that is malformed, or whose values can exhaust the stack or the memory.

    Raises:
        ValueError: with the limit that is broken.
    """
    root = parsed.resolve(parsed.root)
    if not isinstance(root, dict) or kind_of(root) != "record":
        raise ValueError("it is not a record")
    _LimitChecker(parsed).has_nonzero_size(parsed.root, 0, frozenset())


class _LimitChecker:
    """One walk over all a value can hold; a named type is walked as often as it is used."""

    def __init__(self, parsed: ParsedSchema) -> None:
        self._parsed = parsed
        self._fields = 0

    def has_nonzero_size(self, schema: Any, depth: int, within: frozenset[str]) -> bool:
        """Whether each value takes at least one byte."""
        if depth > MAX_DEPTH:
            raise ValueError(f"its types are nested more than {MAX_DEPTH} deep")
        schema = self._parsed.resolve(schema)
        if isinstance(schema, list):
            return self._union_has_nonzero_size(schema, depth, within)
        kind = kind_of(schema)
        if kind == "record":
            return self._record_has_nonzero_size(schema, depth, within)
        if kind in ("array", "map"):
            if not self.has_nonzero_size(schema["items" if kind == "array" else "values"], depth + 1, within):
                raise ValueError(f"it has {kind} items that take no bytes")
            return True
        if kind == "fixed":
            return _fixed_has_nonzero_size(schema)
        if kind == "enum":
            _check_full_name(schema["name"])
            _check_distinct("symbols", schema["symbols"])
        return kind != "null"

    def _union_has_nonzero_size(self, branches: list[Any], depth: int, within: frozenset[str]) -> bool:
        kinds = []
        for branch in branches:
            self._count()
            self.has_nonzero_size(branch, depth + 1, within)
            found = self._parsed.resolve(branch)
            if isinstance(found, list):
                raise ValueError("it has a union within a union")
            kinds.append(found["name"] if isinstance(found, dict) and "name" in found else kind_of(found))
        _check_distinct("branches of a union", kinds)
        return True

    def _record_has_nonzero_size(self, schema: dict[str, Any], depth: int, within: frozenset[str]) -> bool:
        name = schema["name"]
        if name in within:
            raise ValueError(f"its type {name} holds itself")
        _check_full_name(name)
        sizes, names = [], []
        for field in schema["fields"]:
            self._count()
            sizes.append(self.has_nonzero_size(field["type"], depth + 1, within | {name}))
            names.append(field["name"])
        _check_field_names(names)
        return any(sizes)

    def _count(self) -> None:
        self._fields += 1
        if self._fields > MAX_FIELDS:
            raise ValueError(f"it has more than {MAX_FIELDS} fields")


def _fixed_has_nonzero_size(schema: dict[str, Any]) -> bool:
    _check_full_name(schema["name"])
    size = schema["size"]
    if type(size) is not int or size < 0:
        raise ValueError(f"it has a fixed type of {size!r} bytes")
    return size > 0


def _check_full_name(name: Any) -> None:
    if not isinstance(name, str) or not _is_full_name(name) or name in PRIMITIVES:
        raise ValueError(f"it has a type named {name!r}")


def _check_field_names(names: list[Any]) -> None:
    for name in names:
        if not isinstance(name, str) or not _is_name(name):
            raise ValueError(f"it has a field named {name!r}")
    if len(set(names)) < len(names):
        raise ValueError("it has two fields of one name")


def _check_distinct(what: str, found: Sequence[str]) -> None:
    if not found or len(set(found)) < len(found):
        raise ValueError(f"it has {what} that are none, or are not distinct")


UnknownFields = Literal["stop", "drop"]

MAX_TEXT: Final = 256_000
"""Characters of a schema's text."""

_MAX_SHOWN: Final = 5


def admit_schema(text: str, schema_id: int, *, unknown_fields: UnknownFields = "stop") -> ParsedSchema:
    """
    A writer schema of the subject, its names resolved, if this build can hold its records.

    Every frozen version is admitted, and every other one that resolves to the
    current version; with `unknown_fields="drop"` also one that loses fields,
    symbols or logical types on the way.

    Raises:
        UnsupportedSchema: the schema lies outside the limits of `bounds`,
            cannot be resolved, or would lose values.
    """
    parsed = _parse_within_limits(text, schema_id)
    if fingerprint(text) not in {version.sha256 for version in versions()}:
        _check_lossless(parsed, schema_id, unknown_fields)
    return parsed


def _parse_within_limits(text: str, schema_id: int) -> ParsedSchema:
    """The parsed schema, if it lies within the limits."""
    if len(text) > MAX_TEXT:
        raise UnsupportedSchema(f"schema id {schema_id} has {len(text)} characters, more than {MAX_TEXT}")
    try:
        schema = json.loads(text)
        if not isinstance(schema, dict):
            raise ValueError("it is not a record")
        parsed = parse(schema)
        check_limits(parsed)
    except Exception as error:  # a decode guard: parsers raise anything on a hostile schema
        problem = str(error)[:200] or type(error).__name__
        raise UnsupportedSchema(f"schema id {schema_id} is not decoded here: {problem}") from error
    return parsed


def _check_lossless(writer: ParsedSchema, schema_id: int, unknown_fields: UnknownFields) -> None:
    found = list(differences(writer, parse(current().schema)))
    fatal = [difference for difference in found if difference.is_fatal]
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
    """The first differences, each cut: names are the writer's choice, of any length and number."""
    shown = [f"{_cut(difference.description)} (at {_cut(difference.path)})" for difference in found[:_MAX_SHOWN]]
    return "; ".join([*shown, f"{len(found) - _MAX_SHOWN} more"] if len(found) > _MAX_SHOWN else shown)


def _cut(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:100]}…"
