"""
The compiled core: it does what the plans say, many times faster than Python.

It is built from `native/` where cargo is, and shipped in wheels; the package is
the same without it. `TRADEPIPE_NATIVE=0` turns it off.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tradepipe.codec.fields import FieldCodec, RecordCodec
from tradepipe.codec.plan import make_plan
from tradepipe.codec.steps import value_branch

if TYPE_CHECKING:
    from tradepipe._native import Encoder, Executor

INTERFACE: Final = 2
"""
Number of the interface between Python and the compiled core: its functions, and the plans that it takes.

It changes with them in both places. In a working copy, the core may have been
built from older sources; one with another number is not used.
"""


def make_executor() -> "Executor | None":
    """
    Return an executor without plans; None if there is no compiled core, or if it is turned off.

    Its `add` raises `ValueError` for a plan that only Python does.
    """
    native = _load()
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
    """Return an encoder of records; None if there is no compiled core, or if only Python does what their types need."""
    native = _load()
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


def executor_name() -> str:
    """Return what does what the plans say: "compiled" or "Python"."""
    return "Python" if _load() is None else "compiled"


def _load() -> Any:
    if os.environ.get("TRADEPIPE_NATIVE") == "0":
        return None
    try:
        native = import_module("tradepipe._native")
    except ImportError:
        return None
    return native if native.INTERFACE == INTERFACE else None
