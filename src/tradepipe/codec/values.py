"""Emitters of the code that builds a record's values, and the record."""

from datetime import timedelta
from functools import partial
from struct import Struct
from typing import Any, Final

from tradepipe.codec import codegen, primitives
from tradepipe.codec.codegen import CodeBuilder
from tradepipe.codec.fields import FieldCodec, RecordCodec
from tradepipe.codec.readers import WIDTHS
from tradepipe.codec.steps import Step
from tradepipe.trade.avro_types import EXACT, from_member_default, to_member_default

_NAMES: Final[dict[str, Any]] = {
    "_EPOCH": primitives.EPOCH,
    "_cached_date": primitives.DATES.get,
    "_new": tuple.__new__,
    "_read_date": primitives.read_date,
    "_timedelta": timedelta,
    "_multiply": EXACT.multiply,
}


def emit_value(out: CodeBuilder, field: FieldCodec, step: Step) -> None:
    """Emit a read of the value at `_at` into the field's name."""
    emit = _VALUES.get(field.kind) if codegen.is_direct(field, step) else None
    (emit or codegen.emit_read)(out, field, step)


def emit_constant(out: CodeBuilder, field: FieldCodec, value: Any) -> None:
    """Emit an assignment of a value that is not in the body."""
    if value is None:
        out.line(f"{field.name} = None")
    elif field.type.is_nested:
        # Made for each record: a list that two records share could be changed in one of them.
        make = partial(from_member_default, field.member, to_member_default(field.member, value))
        out.line(f"{field.name} = {out.bind(f'make_{field.name}', make)}()")
    else:
        out.names[f"_{field.name}_default"] = value
        out.line(f"{field.name} = _{field.name}_default")


def emit_record(out: CodeBuilder, codec: RecordCodec) -> None:
    """Emit the return of the record."""
    # tuple.__new__ skips the NamedTuple's own __new__, which is a Python function.
    out.names |= _NAMES | {"_record": codec.record}
    out.line(f"return _new(_record, ({', '.join(field.name for field in codec.fields)},))")


def _emit_string(out: CodeBuilder, field: FieldCodec, _step: Step) -> None:
    codegen.emit_length(out)
    out.line(f"{field.name} = _body[_at : (_at := _at + _size)].decode()")


def _emit_bytes(out: CodeBuilder, field: FieldCodec, _step: Step) -> None:
    codegen.emit_length(out)
    out.line(f"{field.name} = _body[_at : (_at := _at + _size)]")


def _emit_long(out: CodeBuilder, field: FieldCodec, _step: Step) -> None:
    codegen.emit_varint(out, field.name, "_read_long(_body, _at)")


def _emit_float(out: CodeBuilder, field: FieldCodec, _step: Step) -> None:
    unpack = out.bind("unpack", Struct("<f" if field.kind == "float" else "<d").unpack)
    out.line(f"{field.name}, = {unpack}(_body[_at : (_at := _at + {WIDTHS[field.kind]})])")


def _emit_date(out: CodeBuilder, field: FieldCodec, _step: Step) -> None:
    codegen.emit_date(out, field, "_cached_date", "_read_date")


def _emit_timestamp(out: CodeBuilder, field: FieldCodec, _step: Step) -> None:
    codegen.emit_micros(out)
    # Positional arguments: keywords take twice as long.
    out.line(f"{field.name} = _EPOCH + _timedelta(0, 0, _number)")


def _emit_decimal(out: CodeBuilder, field: FieldCodec, _step: Step) -> None:
    codegen.emit_unscaled(out, field)
    out.names[f"_{field.name}_quantum"] = primitives.quantum(field.type.scale)
    out.line(f"{field.name} = _multiply(_number, _{field.name}_quantum)")


_VALUES: Final = {
    "string": _emit_string,
    "bytes": _emit_bytes,
    "int": codegen.emit_int,
    "long": _emit_long,
    "float": _emit_float,
    "double": _emit_float,
    "date": _emit_date,
    "timestamp-micros": _emit_timestamp,
    "decimal": _emit_decimal,
    "enum": codegen.emit_enum_member,
}
