"""Rows for PostgreSQL's binary COPY: the number of fields, those of the trade, and those of its record."""

from collections.abc import Callable
from functools import cache
from struct import Struct
from typing import Any, Final, cast

from tradepipe.codec.codegen import CodeBuilder
from tradepipe.codec.copy_fields import FIRST_DAY, NULL, UTC_FIRST, enum_fields, int4, int8, length, packer, refuse_nul
from tradepipe.trade.declaration import Declaration, Field
from tradepipe.trade.model import DECLARATION, Trade
from tradepipe.trade.record import Record
from tradepipe.trade.validated import ROW_COLUMNS

_pack_start = Struct(">hi").pack
_pack_coordinates = Struct(">iiiqii").pack

PackFields = Callable[[tuple[Any, ...]], bytes]
"""Packs the fields of a record's values, in declared order."""


def pack_row(record: Record, schema_id: int, trade: Trade) -> bytes:
    """
    Pack a row of `ROW_COLUMNS`.

    Raises:
        OutOfRange: a value is one that PostgreSQL does not store.
    """
    coordinates = _pack_coordinates(4, record.partition, 8, record.offset, 4, schema_id)
    return _start(record.topic) + _pack_trade(trade) + coordinates


@cache
def _start(topic: str) -> bytes:
    encoded = topic.encode()
    return _pack_start(len(ROW_COLUMNS), len(encoded)) + encoded


def fields_packer(declaration: Declaration) -> PackFields:
    """Generate the function that packs the fields of a declared record."""
    out = CodeBuilder()
    out.names |= _NAMES
    with out.block("def pack_fields(_record):"):
        out.line(f"{', '.join(field.name for field in declaration.fields)}, = _record")
        for field in declaration.fields:
            _emit_field(out, field)
        out.line(f"return _join(({', '.join(field.name for field in declaration.fields)},))")
    return cast("PackFields", out.compile("pack_fields", f"pack {declaration.record.__name__}"))


def _emit_field(out: CodeBuilder, field: Field) -> None:
    if field.type.kind == "enum":
        packed = f"{out.bind(f'fields_of_{field.name}', enum_fields(field.type))}[{field.name}]"
    elif field.type.postgres in _INLINE:
        packed = _INLINE[field.type.postgres].format(field.name)
    else:
        packed = f"{out.bind(f'pack_{field.name}', packer(field.type))}({field.name})"
    missing = f"_NULL if {field.name} is None else " if field.is_nullable else ""
    out.line(f"{field.name} = {missing}{packed}")


# The types of most fields, without a call of Python code for each value.
_INLINE: Final = {
    "text": "_length(_len(_bytes := {0}.encode())) + _bytes if '\\0' not in {0} else _refuse_nul()",
    "integer": "_int4(4, {0})",
    "date": f"_int4(4, {{0}}.toordinal() - {FIRST_DAY})",
    "timestamptz": (
        "_int8(8, ((_past := {0} - _FIRST).days * 86_400 + _past.seconds) * 1_000_000 + _past.microseconds)"
    ),
}

_NAMES: Final = {
    "_FIRST": UTC_FIRST,
    "_NULL": NULL,
    "_int4": int4,
    "_int8": int8,
    "_join": b"".join,
    "_len": len,
    "_length": length,
    "_refuse_nul": refuse_nul,
}

_pack_trade: Final = fields_packer(DECLARATION)
