"""The executor and the encoder of the compiled core, which execute plans."""

from collections.abc import Callable
from datetime import timedelta
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from tradepipe import compiled_core
from tradepipe.codec import primitives
from tradepipe.codec.fields import FieldCodec, RecordCodec
from tradepipe.codec.plan import make_plan
from tradepipe.codec.steps import value_branch
from tradepipe.trade.avro_types import EPOCH, EXACT
from tradepipe.trade.types import Type

if TYPE_CHECKING:
    from tradepipe._native import Encoder, Executor

_CONVERSIONS: Final[dict[str, tuple[Callable[[Any], Any], ...]]] = {
    "uuid": (lambda found: UUID(bytes=found),),
    "date": (lru_cache(primitives.CACHE_SIZE)(primitives.to_date),),
    "time-millis": (partial(primitives.to_time, "millis"),),
    "time-micros": (partial(primitives.to_time, "micros"),),
}
"""The functions from what is in Avro to a value, by kind; a value of another kind is made below, or is the same."""


def make_executor(codec: RecordCodec) -> "Executor | None":
    """
    Return an executor without plans; None if there is no compiled core, or if it is turned off.

    Its `add` raises `ValueError` for a plan that only Python can execute.
    """
    native = compiled_core.load()
    if native is None:
        return None
    executor: Executor = native.Executor(codec.record, tuple(_conversions(field.type) for field in codec.fields))
    return executor


def _conversions(type_: Type) -> tuple[Callable[[Any], Any], ...]:
    """Return the functions that make a value of a type; those of frequent kinds are not Python code."""
    if type_.kind == "enum":
        return ({symbol: type_.python(symbol) for symbol in type_.symbols}.__getitem__,)
    if type_.kind == "decimal":
        return (partial(EXACT.multiply, primitives.quantum(type_.scale)),)
    name, _, unit = type_.kind.rpartition("-")
    if name in _EPOCHS:
        in_micros = () if unit == "micros" else (partial(primitives.to_micros, unit),)
        # Positional arguments: keywords take twice as long.
        return (*in_micros, partial(timedelta, 0, 0), _EPOCHS[name].__add__)
    return _CONVERSIONS.get(type_.kind, ())


_EPOCHS: Final = {"timestamp": primitives.EPOCH, "local-timestamp": EPOCH}


class Write(NamedTuple):
    """
    How one field is written, in the order of the schema.

    Attributes:
        place: of the field in the record.

        base: the Avro type that holds the bytes.

        null, before: indexes of the union's branches, of null and of the value; None without that branch or a union.

        members: of an enum, in the order of the schema's symbols.
    """

    place: int
    kind: str
    base: str
    size: int
    precision: int
    scale: int
    null: int | None
    before: int | None
    members: tuple[Any, ...]


def make_encoder(codec: RecordCodec) -> "Encoder | None":
    """Return an encoder of records; None without a compiled core, or if only Python can encode one of the types."""
    native = compiled_core.load()
    if native is None:
        return None
    places = {field.name: place for place, field in enumerate(codec.fields)}
    writes = tuple(_write(field, places[field.name]) for field in codec.in_schema)
    try:
        encoder: Encoder = native.Encoder(codec.record, writes, make_plan(codec.reader, codec))
    except native.Unsupported:
        return None
    return encoder


def _write(field: FieldCodec, place: int) -> Write:
    branches = ["null" if each.kind == "null" else "value" for each in field.schema.branches]
    null, before = (branches.index(name) if name in branches else None for name in ("null", "value"))
    type_ = field.type
    symbols = value_branch(field.schema).symbols if type_.kind == "enum" else ()
    members = tuple(type_.python(symbol) for symbol in symbols)
    return Write(place, type_.kind, type_.base, type_.size, type_.precision, type_.scale, null, before, members)
