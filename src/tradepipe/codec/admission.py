"""Admission of writer schemas: size limits, and decoding without loss."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from fastavro import parse_schema

from tradepipe.errors import UnsupportedSchema
from tradepipe.evolution.history import current, fingerprint, versions
from tradepipe.evolution.resolution import PORTABILITY, Mismatch, find_mismatches
from tradepipe.evolution.schema_tree import PRIMITIVES, SchemaType, build_schema_tree

MAX_DEPTH: Final = 16
"""Nesting depth of types."""

MAX_FIELDS: Final = 500
"""Fields and union branches; those of a named type count each time the type is used."""

MAX_TEXT: Final = 256_000
"""Characters of a schema's text."""

UnknownFields = Literal["stop", "drop"]

_MAX_LISTED: Final = 5

_ATTRIBUTES: Final = ("name", "namespace", "symbols", "size", "default", "logicalType", "precision", "scale")
_NESTED: Final = ("type", "items", "values", "fields")

RULE_KINDS: Final = ("domainRules", "encodingRules")
"""Rules of a rule set that may make records unreadable without them."""

_READ_MODES: Final = ("READ", "WRITEREAD")
"""Modes of a rule that readers apply, in the rule sets of Confluent's registry."""

_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_is_name = re.compile(_NAME).fullmatch
_is_full_name = re.compile(rf"{_NAME}(\.{_NAME})*").fullmatch


def admit_schema(text: str, schema_id: int, *, unknown_fields: UnknownFields) -> SchemaType:
    """
    Parse a writer schema whose records this build can decode.

    Every released version is admitted, and every schema that resolves to the
    current version without loss. With `unknown_fields="drop"`, a schema is also
    admitted if fields, symbols or logical types are lost.

    Raises:
        UnsupportedSchema: the schema is invalid, exceeds a limit, does not
            resolve to the current version, or would lose values.
    """
    # Checked before parsing: the parsers recurse and copy.
    if len(text) > MAX_TEXT:
        raise UnsupportedSchema(f"schema id {schema_id} has {len(text)} characters, more than {MAX_TEXT}")
    try:
        schema = json.loads(text)
        if not isinstance(schema, dict):
            raise ValueError("it is not a record")
        writer = parse_writer_schema(schema)
        check_limits(writer)
    except Exception as error:  # a decode guard: parsers raise anything on a hostile schema
        problem = str(error)[:200] or type(error).__name__
        raise UnsupportedSchema(f"schema id {schema_id} is refused: {problem}") from error
    # A released version may drop a field that the current one lacks: the history check has accepted that loss.
    if fingerprint(text) not in {version.sha256 for version in versions()}:
        reader = build_schema_tree(current().schema)
        found = [each for each in find_mismatches(reader, writer) if each.rule not in PORTABILITY]
        root = writer.short
        if fatal := [each for each in found if not each.dropped]:
            raise UnsupportedSchema(
                f"schema id {schema_id} does not resolve to version {current().number} of the trade schema: "
                f"{_format_mismatches(fatal, root)}; upgrade tradepipe here"
            )
        if found and unknown_fields == "stop":
            raise UnsupportedSchema(
                f"schema id {schema_id} holds more than version {current().number} of the trade schema, which would "
                f"lose {_format_mismatches(found, root)}; upgrade tradepipe here, or choose --unknown-fields drop"
            )
    return writer


def check_rules(rule_set: Mapping[str, Any], schema_id: int) -> None:
    """
    Refuse a schema whose rules change the records that clients write, since only those clients can read them.

    Rules that change a trade before it is encoded, or that check it, and migration rules leave the records readable.

    Raises:
        UnsupportedSchema: the records are encrypted, or are changed again when they are read.
    """
    for kind in RULE_KINDS:
        for rule in rule_set.get(kind) or ():
            if rule.get("disabled"):
                continue
            encrypts = str(rule.get("type", "")).upper().startswith("ENCRYPT")
            if kind == "encodingRules" or encrypts or rule.get("mode") in _READ_MODES:
                name, what = (_shorten(str(rule.get(key))) for key in ("name", "type"))
                raise UnsupportedSchema(
                    f"schema id {schema_id} has the rule {name!r} ({what}), which readers must apply and tradepipe "
                    "does not: its records would be stored as they are, for example encrypted; produce with a version "
                    "without that rule"
                )


def parse_writer_schema(schema: Any) -> SchemaType:
    """Parse a schema of unknown origin; raise whatever fastavro raises on an invalid one."""
    # fastavro does not validate a schema that carries its own marks of a parsed schema.
    return build_schema_tree(parse_schema(_without_foreign_keys(schema), {}))


def _without_foreign_keys(schema: Any) -> Any:
    """Copy a schema with only the keys that determine its bytes and their meaning."""
    if isinstance(schema, list):
        return [_without_foreign_keys(branch) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    attributes = {key: schema[key] for key in _ATTRIBUTES if key in schema}
    return attributes | {key: _without_foreign_keys(schema[key]) for key in _NESTED if key in schema}


def check_limits(writer: SchemaType) -> None:
    """Raise a ValueError for a malformed schema, or one whose records can exhaust the stack or the memory."""
    if writer.kind != "record":
        raise ValueError("it is not a record")
    _LimitChecker().has_nonzero_size(writer, 0, frozenset())


class _LimitChecker:
    """One walk over everything a record can hold; a named type is walked each time it is used."""

    def __init__(self) -> None:
        self._fields = 0

    def has_nonzero_size(self, schema: SchemaType, depth: int, within: frozenset[str]) -> bool:
        """Check a type; return whether each of its values takes at least one byte."""
        if depth > MAX_DEPTH:
            raise ValueError(f"its types are nested more than {MAX_DEPTH} deep")
        if schema.kind == "union":
            for branch in schema.branches:
                self._count_field()
                if branch.kind == "union":
                    raise ValueError("it has a union within a union")
                self.has_nonzero_size(branch, depth + 1, within)
            _check_distinct("branches of a union", [branch.name or branch.kind for branch in schema.branches])
            return True
        if schema.name and (not _is_full_name(schema.name) or schema.name in PRIMITIVES):
            raise ValueError(f"it has a type named {schema.name!r}")
        if schema.kind == "record":
            return self._record_has_nonzero_size(schema, depth, within)
        if schema.inner:
            # A block's item count is limited by the bytes that are left, so an item must take one.
            if not self.has_nonzero_size(schema.inner[0], depth + 1, within):
                raise ValueError(f"it has {schema.kind} items that take no bytes")
            return True
        if schema.kind == "fixed":
            if type(schema.size) is not int or schema.size < 0:
                raise ValueError(f"it has a fixed type of {schema.size!r} bytes")
            return schema.size > 0
        if schema.kind == "enum":
            _check_distinct("symbols", schema.symbols)
        return schema.kind != "null"

    def _record_has_nonzero_size(self, record: SchemaType, depth: int, within: frozenset[str]) -> bool:
        if record.name in within:
            raise ValueError(f"its type {record.name} holds itself")
        sizes = []
        for field in record.fields:
            self._count_field()
            if not isinstance(field.name, str) or not _is_name(field.name):
                raise ValueError(f"it has a field named {field.name!r}")
            sizes.append(self.has_nonzero_size(field.type, depth + 1, within | {record.name}))
        if len({field.name for field in record.fields}) < len(record.fields):
            raise ValueError("it has two fields of one name")
        return any(sizes)

    def _count_field(self) -> None:
        self._fields += 1
        if self._fields > MAX_FIELDS:
            raise ValueError(f"it has more than {MAX_FIELDS} fields")


def _check_distinct(elements: str, found: Sequence[str]) -> None:
    if not found:
        raise ValueError(f"it has no {elements}")
    if len(set(found)) < len(found):
        raise ValueError(f"it has duplicate {elements}")


def _format_mismatches(found: Sequence[Mismatch], root: str) -> str:
    """List the first mismatches, each shortened: names are the writer's choice, of any length and number."""
    listed = []
    for each in found[:_MAX_LISTED]:
        text = each.dropped or f"{each.writer} is not {each.reader}"
        if each.rule in ("missing-default", "null-is-no-default"):
            text = "the field is missing"
        elif each.rule == "enum-symbol":
            text = f"unknown symbol {each.writer}"
        listed.append(f"{_shorten(text)} (at {_shorten(root + ''.join(each.path))})")
    return "; ".join([*listed, f"{len(found) - _MAX_LISTED} more"] if len(found) > _MAX_LISTED else listed)


def _shorten(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:100]}…"
