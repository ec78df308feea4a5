"""A trade's fields as the codec sees them: one description, from which decoders, rows and the encoder are generated."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Any, Final, NamedTuple, get_args, get_type_hints

from tradepipe.codec.primitives import EXACT_CONTEXT
from tradepipe.evolution.history import current
from tradepipe.evolution.schema_tree import SchemaType, build_schema_tree
from tradepipe.trade.model import Trade
from tradepipe.trade.record import Code

NO_DEFAULT: Final = object()
"""The default of a field that has none."""

_KINDS: Final = {
    ("string", None): "string",
    ("int", None): "int",
    ("int", "date"): "date",
    ("long", "timestamp-micros"): "instant",
    ("enum", None): "symbol",
    ("bytes", "decimal"): "decimal",
}


class FieldCodec(NamedTuple):
    """
    One field of a trade.

    Attributes:
        kind: string, int, date, instant, symbol or decimal.

        branches: "value" and "null" in the order of the schema's union, or just "value".

        default: for a writer that lacks the field; `REQUIRED` if there is none.

        members: of an enum, its members by their symbols.

        fallback: of an enum, the member for a symbol that is not known.

        precision, scale: of a decimal.
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
    def code(self) -> Code:
        """The code of the field's rule."""
        return Code[self.name.upper()]

    @property
    def limit(self) -> int:
        """What the unscaled value of a decimal stays below, whatever its sign."""
        return int(10**self.precision)


class RecordCodec(NamedTuple):
    """A record type, its columns in the order of its fields, and their names in the order of the schema."""

    record: type[tuple[Any, ...]]
    fields: tuple[FieldCodec, ...]
    schema_order: tuple[str, ...]


@cache
def trade_codec() -> RecordCodec:
    """The current schema as `Trade` holds it."""
    return record_codec(current().schema, Trade)


def record_codec(schema: dict[str, Any], record: type[tuple[Any, ...]]) -> RecordCodec:
    """
    The columns of a schema whose fields are those of a `NamedTuple`.

    Raises:
        TypeError: a field of a type that the codec has no code for.
    """
    columns = {column.name: column for column in _field_codecs(schema, get_type_hints(record))}
    fields: tuple[str, ...] = record._fields  # type: ignore[attr-defined]  # a NamedTuple
    return RecordCodec(record, tuple(columns[field] for field in fields), tuple(columns))


def _field_codecs(schema: dict[str, Any], hints: dict[str, Any]) -> Iterator[FieldCodec]:
    for field in build_schema_tree(schema).fields:
        union = field.type.branches or (field.type,)
        values = [branch for branch in union if branch.kind != "null"]
        if len(values) != 1:
            raise TypeError(f"the codec has no code for field {field.name}: a union of more than null and one type")
        branches = tuple("null" if branch.kind == "null" else "value" for branch in union)
        column = _field_codec(field.name, values[0], branches, hints[field.name])
        yield column._replace(default=_default(column, field.default)) if field.has_default else column


def _field_codec(name: str, schema: SchemaType, branches: tuple[str, ...], hint: Any) -> FieldCodec:
    logical = schema.logical
    kind = _KINDS.get((schema.kind, logical.name if logical else None))
    if kind is None:
        raise TypeError(f"the codec has no code for field {name} of type {schema}")
    if kind == "symbol":
        return _enum_codec(FieldCodec(name, kind, branches), schema, hint)
    if logical and kind == "decimal":
        return FieldCodec(name, kind, branches, precision=logical.precision, scale=logical.scale)
    return FieldCodec(name, kind, branches)


def _enum_codec(column: FieldCodec, schema: SchemaType, hint: Any) -> FieldCodec:
    """Add an enum's members; its class is the one that the field's annotation names."""
    (members,) = (found for found in get_args(hint) or (hint,) if issubclass(found, Enum))
    known = {symbol: members(symbol) for symbol in schema.symbols}
    return column._replace(members=known, fallback=known[schema.default] if schema.default is not None else None)


def _default(column: FieldCodec, default: Any) -> Any:
    if column.kind == "symbol" and default is not None:
        return column.members[default]
    if default is None or column.kind in ("string", "int"):
        return default
    if column.kind == "decimal":
        unscaled = int.from_bytes(default.encode("latin-1"), "big", signed=True)
        return EXACT_CONTEXT.scaleb(Decimal(unscaled), -column.scale)
    raise TypeError(f"the codec has no code for the default of field {column.name}")
