"""Codec description of a trade's fields: the source of the generated decoders and encoder."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Any, Final, NamedTuple, get_args, get_type_hints

from tradepipe.codec.primitives import EXACT_CONTEXT
from tradepipe.evolution.history import current
from tradepipe.evolution.schema_tree import SchemaType, build_schema_tree
from tradepipe.trade.model import Trade

NO_DEFAULT: Final = object()
"""Default of a field without one."""

_KINDS: Final = {
    ("string", None): "string",
    ("int", None): "int",
    ("int", "date"): "date",
    ("long", "timestamp-micros"): "timestamp",
    ("enum", None): "enum",
    ("bytes", "decimal"): "decimal",
}


class FieldCodec(NamedTuple):
    """
    Codec of one field.

    Attributes:
        kind: string, int, date, timestamp, enum or decimal.

        branches: "value" and "null" in the order of the schema's union, or "value" alone.

        default: value for a record without the field; `NO_DEFAULT` if there is none.

        members: an enum's members by symbol.

        fallback: an enum's member for unknown symbols.

        precision, scale: a decimal's.
    """

    name: str
    kind: str
    branches: tuple[str, ...] = ("value",)
    default: Any = NO_DEFAULT
    members: Mapping[str, Enum] = {}
    fallback: Enum | None = None
    precision: int = 0
    scale: int = 0

    @property
    def code(self) -> str:
        """Violation code of the field."""
        return self.name.upper()

    @property
    def limit(self) -> int:
        """Exclusive upper bound of the absolute value of a decimal's unscaled integer."""
        return int(10**self.precision)


class RecordCodec(NamedTuple):
    """Codec of a record type: its fields in declared order, and their names in schema order."""

    record: type[tuple[Any, ...]]
    fields: tuple[FieldCodec, ...]
    schema_order: tuple[str, ...]


@cache
def trade_codec() -> RecordCodec:
    """Return the codec of `Trade` with the current schema."""
    return record_codec(current().schema, Trade)


def record_codec(schema: dict[str, Any], record: type[tuple[Any, ...]]) -> RecordCodec:
    """
    Build the codec of a schema whose fields are those of a `NamedTuple`.

    Raises:
        TypeError: the codec does not support the type of a field.
    """
    codecs = {field.name: field for field in _field_codecs(schema, get_type_hints(record))}
    names: tuple[str, ...] = record._fields  # type: ignore[attr-defined]  # a NamedTuple
    return RecordCodec(record, tuple(codecs[name] for name in names), tuple(codecs))


def _field_codecs(schema: dict[str, Any], hints: dict[str, Any]) -> Iterator[FieldCodec]:
    for field in build_schema_tree(schema).fields:
        union = field.type.branches or (field.type,)
        values = [branch for branch in union if branch.kind != "null"]
        if len(values) != 1:
            raise TypeError(f"the codec does not support field {field.name}: a union of more than null and one type")
        branches = tuple("null" if branch.kind == "null" else "value" for branch in union)
        codec = _field_codec(field.name, values[0], branches, hints[field.name])
        yield codec._replace(default=_parse_default(codec, field.default)) if field.has_default else codec


def _field_codec(name: str, schema: SchemaType, branches: tuple[str, ...], hint: Any) -> FieldCodec:
    logical = schema.logical
    kind = _KINDS.get((schema.kind, logical.name if logical else None))
    if kind is None:
        raise TypeError(f"the codec does not support field {name} of type {schema}")
    if kind == "enum":
        return _enum_codec(FieldCodec(name, kind, branches), schema, hint)
    if logical and kind == "decimal":
        return FieldCodec(name, kind, branches, precision=logical.precision, scale=logical.scale)
    return FieldCodec(name, kind, branches)


def _enum_codec(field: FieldCodec, schema: SchemaType, hint: Any) -> FieldCodec:
    """Add an enum's members; its class is the one that the field's annotation names."""
    (members,) = (found for found in get_args(hint) or (hint,) if issubclass(found, Enum))
    known = {symbol: members(symbol) for symbol in schema.symbols}
    return field._replace(members=known, fallback=known[schema.default] if schema.default is not None else None)


def _parse_default(field: FieldCodec, default: Any) -> Any:
    if field.kind == "enum" and default is not None:
        return field.members[default]
    if default is None or field.kind in ("string", "int"):
        return default
    if field.kind == "decimal":
        unscaled = int.from_bytes(default.encode("latin-1"), "big", signed=True)
        return EXACT_CONTEXT.scaleb(Decimal(unscaled), -field.scale)
    raise TypeError(f"the codec does not support the default of field {field.name}")
