"""
The steps of a codec plan: how the values of a writer schema are read as those of the declared types.

A step is a plain value of tuples, texts and numbers. The steps are what Avro's
schema resolution of the writer schema against the reader schema leaves to do
for each record: which values to read, which to skip, and which defaults to use
for values that were not written. An executor needs neither schema.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from tradepipe.evolution.resolution import PROMOTIONS, is_same_type
from tradepipe.evolution.schema_tree import SchemaType

SKIPPED: Final = -1
"""Slot of a field that the reader lacks."""


class Null(NamedTuple):
    """A null, which takes no bytes."""


class Scalar(NamedTuple):
    """
    A value without inner values.

    Attributes:
        written: Avro type of the bytes: boolean, int, long, float, double, bytes, string or fixed.

        size: bytes of a fixed.

        kind: the declared kind, such as `timestamp-micros`; empty if the value is skipped.

        precision, scale: of a declared decimal.
    """

    written: str
    size: int = 0
    kind: str = ""
    precision: int = 0
    scale: int = 0


class Symbol(NamedTuple):
    """An enum: the declared symbol for each symbol of the writer, None for one that the reader cannot hold."""

    symbols: tuple[str | None, ...]


class Array(NamedTuple):
    """Blocks of items."""

    item: "Step"


class Map(NamedTuple):
    """Blocks of keys and values."""

    value: "Step"


class Union(NamedTuple):
    """A choice among the writer's branches."""

    branches: tuple["Step", ...]


class Mismatch(NamedTuple):
    """A branch that does not resolve: a record with it is refused."""

    problem: str


class Read(NamedTuple):
    """The next written field of a record, and the slot of its value."""

    name: str
    slot: int
    step: "Step"


class Missing(NamedTuple):
    """A field that is not written: the slot, and its default in the JSON form of Avro."""

    name: str
    slot: int
    default: Any


class Record(NamedTuple):
    """A record: its written fields in their order, then the fields that are not written."""

    reads: tuple[Read, ...]
    missing: tuple[Missing, ...] = ()


Step = Null | Scalar | Symbol | Array | Map | Union | Mismatch | Record
"""How one value is read; a null is read as None."""


def resolve(reader: SchemaType, writer: SchemaType) -> Step:  # noqa: PLR0911 - one case for each kind of type
    """
    Resolve a writer schema against a reader schema.

    Raises:
        TypeError: a field of the reader has no default and is not written, or its union has more than one branch
            beside null.
    """
    if writer.kind == "union":
        # The writer's union first: the bytes name one of its branches, and each resolves separately.
        return Union(tuple(resolve(reader, branch) for branch in writer.branches))
    if reader.kind == "union" and writer.kind != "null":
        return resolve(value_branch(reader), writer)
    if reader.kind == "union" and any(branch.kind == "null" for branch in reader.branches):
        return Null()
    if not is_same_type(reader, writer):
        if reader.kind in PROMOTIONS.get(writer.kind, ()):
            return _scalar(reader, writer)
        return Mismatch(f"holds {writer}, which does not resolve to {reader}")
    match reader.kind:
        case "null":
            return Null()
        case "enum":
            known = set(reader.symbols)
            # A symbol that the reader lacks is read as the reader's default, if it has one.
            return Symbol(tuple(each if each in known else reader.default for each in writer.symbols))
        case "array":
            return Array(resolve(reader.inner[0], writer.inner[0]))
        case "map":
            return Map(resolve(reader.inner[0], writer.inner[0]))
        case "record":
            return resolve_record(reader, writer)
        case "fixed" if reader.size != writer.size:
            return Mismatch(f"holds a fixed of {writer.size} bytes, not {reader.size}")
        case _:
            return _scalar(reader, writer)


def value_branch(schema: SchemaType) -> SchemaType:
    """Return the branch of a reader's union beside null; another schema unchanged."""
    branches = [branch for branch in schema.branches if branch.kind != "null"] or [schema]
    if len(branches) > 1 or branches[0].kind in ("null", "union"):
        raise TypeError("a union of more than null and one type")
    return branches[0]


def _scalar(reader: SchemaType, writer: SchemaType) -> Scalar:
    logical = reader.logical
    if logical is None:
        return Scalar(writer.kind, writer.size, reader.kind)
    # The reader's digits: the scales are equal, and the writer may have fewer before the point.
    return Scalar(writer.kind, writer.size, logical.name, logical.precision, logical.scale)


def resolve_record(reader: SchemaType, writer: SchemaType) -> Record:
    """Resolve a record; a slot is the place of a field in the reader's schema."""
    sources = dict(_sources(reader, writer))
    slots = {name: slot for slot, name in sources.items()}
    reads = tuple(
        Read(written.name, slots[written.name], resolve(reader.fields[slots[written.name]].type, written.type))
        if written.name in slots
        # Avro writes no lengths of fields, so a field that is not needed must be passed over by its type.
        else Read(written.name, SKIPPED, skip(written.type))
        for written in writer.fields
    )
    missing = [(slot, field) for slot, field in enumerate(reader.fields) if slot not in sources]
    if without := [field.name for _, field in missing if not field.has_default]:
        raise TypeError(f"field {without[0]} has no default and is missing from the writer schema")
    return Record(reads, tuple(Missing(field.name, slot, field.default) for slot, field in missing))


def _sources(reader: SchemaType, writer: SchemaType) -> Iterator[tuple[int, str]]:
    """Yield the slots that are written, each with the name of the writer's field."""
    written = {field.name for field in writer.fields}
    for slot, field in enumerate(reader.fields):
        found = [name for name in (field.name, *field.aliases) if name in written]
        if found:
            # A name is used once: of several readers of one field, the first has it.
            written.discard(found[0])
            yield slot, found[0]


def skip(schema: SchemaType) -> Step:  # noqa: PLR0911 - one case for each kind of type
    """Return the step that passes over a value of any type."""
    match schema.kind:
        case "null":
            return Null()
        case "enum":
            # The number of symbols is checked here too: a wrong index is a damaged record.
            return Symbol((None,) * len(schema.symbols))
        case "array":
            return Array(skip(schema.inner[0]))
        case "map":
            return Map(skip(schema.inner[0]))
        case "union":
            return Union(tuple(map(skip, schema.branches)))
        case "record":
            return Record(tuple(Read(field.name, SKIPPED, skip(field.type)) for field in schema.fields))
        case _:
            return Scalar(schema.kind, schema.size)
