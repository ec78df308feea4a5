"""
Decode target of the quick check: the rules applied to encoded fields, without building values.

A body that passes can be decoded and satisfies every rule. One that does not
pass may still be valid; a full decode decides.
"""

from functools import partial
from typing import Any, Final

from tradepipe.codec import codegen
from tradepipe.codec.codegen import CodeBuilder
from tradepipe.codec.fields import FieldCodec, RecordCodec
from tradepipe.codec.primitives import EPOCH_ORDINAL, BoundedCache, read_date
from tradepipe.codec.steps import Step
from tradepipe.trade.model import KAFKA_KEY
from tradepipe.trade.quick_check import encode_value
from tradepipe.trade.rules import encoded_passes_quick_check

_DAYS: Final[BoundedCache[bytes, int]] = BoundedCache()
"""Days since 1970 by their three bytes."""


class QuickCheckTarget:
    """Code that reads each field in its encoded form and passes all of them to the rules."""

    function: Final = "quick_check"

    @property
    def names(self) -> dict[str, Any]:
        """Globals of the generated code."""
        return _NAMES

    def emit_value(self, out: CodeBuilder, field: FieldCodec, step: Step) -> None:
        """Emit a read of the value at `_at` into the field's name."""
        if field.kind in _VALUES and codegen.is_direct(field, step):
            _VALUES[field.kind](out, field, step)
        else:
            codegen.emit_read(out, field, step)
            if field.kind in _VALUES:
                encode = out.bind(f"encode_{field.name}", partial(encode_value, field.type))
                out.line(f"{field.name} = {encode}({field.name})")

    def emit_constant(self, out: CodeBuilder, field: FieldCodec, value: Any) -> None:
        """Emit an assignment of a value that is not in the body."""
        encoded = None if value is None else encode_value(field.type, value)
        out.names[f"_{field.name}_default"] = encoded
        out.line(f"{field.name} = _{field.name}_default")

    def emit_result(self, out: CodeBuilder, codec: RecordCodec) -> None:
        """Emit the return of the `KAFKA_KEY` bytes, or of None."""
        names = ", ".join(field.name for field in codec.fields)
        out.line(f"return {KAFKA_KEY} if _passes(({names},)) else None")


def _emit_string(out: CodeBuilder, field: FieldCodec, _step: Step) -> None:
    codegen.emit_length(out)
    out.line(f"{field.name} = _body[_at : (_at := _at + _size)]")


def _emit_date(out: CodeBuilder, field: FieldCodec, _step: Step) -> None:
    codegen.emit_date(out, field, "_cached_days", "_read_days")


def _emit_timestamp(out: CodeBuilder, field: FieldCodec, _step: Step) -> None:
    codegen.emit_micros(out)
    out.line(f"{field.name} = _number")


def _emit_decimal(out: CodeBuilder, field: FieldCodec, _step: Step) -> None:
    codegen.emit_unscaled(out, field)
    out.line(f"{field.name} = _number")


def _read_days(body: bytes, at: int) -> tuple[int, int]:
    """Read the days since 1970 at an offset; return them and the offset after them."""
    day, end = read_date(body, at)
    days = day.toordinal() - EPOCH_ORDINAL
    if end - at == 3:
        _DAYS.remember(body[at:end], days)
    return days, end


_VALUES: Final = {
    "string": _emit_string,
    "int": codegen.emit_int,
    "date": _emit_date,
    "timestamp-micros": _emit_timestamp,
    "decimal": _emit_decimal,
    "enum": codegen.emit_enum_member,
}

_NAMES: Final = {"_passes": encoded_passes_quick_check, "_cached_days": _DAYS.get, "_read_days": _read_days}
