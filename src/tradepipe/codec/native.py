"""The executor and the encoder of the compiled core, which execute plans."""

from typing import TYPE_CHECKING, Any, NamedTuple

from tradepipe import compiled_core
from tradepipe.codec.fields import FieldCodec, RecordCodec
from tradepipe.codec.plan import make_plan
from tradepipe.codec.steps import value_branch

if TYPE_CHECKING:
    from tradepipe._native import Encoder, Executor


def make_executor() -> "Executor | None":
    """
    Return an executor without plans; None if there is no compiled core, or if it is turned off.

    Its `add` raises `ValueError` for a plan that only Python can execute.
    """
    native = compiled_core.load()
    executor: Executor | None = None if native is None else native.Executor()
    return executor


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
