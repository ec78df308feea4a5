"""Codec description of a record's fields: the declaration joined with the schema that readers use."""

from functools import cache
from typing import Any, NamedTuple

from tradepipe.codec.steps import value_branch
from tradepipe.errors import ConfigurationError
from tradepipe.evolution.history import current
from tradepipe.evolution.schema_tree import SchemaType, build_schema_tree
from tradepipe.trade.avro_types import from_member_default
from tradepipe.trade.declaration import Declaration
from tradepipe.trade.model import DECLARATION
from tradepipe.trade.types import REQUIRED, Member, Type


class FieldCodec(NamedTuple):
    """
    Codec of one field.

    Attributes:
        schema: the type in the reader schema.

        default: value for a record without the field; `REQUIRED` for a field without one.
    """

    name: str
    type: Type
    schema: SchemaType
    default: Any = REQUIRED

    @property
    def branches(self) -> tuple[str, ...]:
        """ "value" and "null" in the order of the schema's union, or "value" alone."""
        return tuple("null" if each.kind == "null" else "value" for each in self.schema.branches) or ("value",)

    @property
    def code(self) -> str:
        """Violation code of the field."""
        return self.name.upper()

    @property
    def kind(self) -> str:
        """Kind of the field's type."""
        return self.type.kind

    @property
    def member(self) -> Member:
        """The field as a member of the record."""
        return Member(self.name, self.type, "null" in self.branches)


class RecordCodec(NamedTuple):
    """Codec of a declared record: the reader schema, and the fields in declared order and in the schema's."""

    declaration: Declaration
    reader: SchemaType
    fields: tuple[FieldCodec, ...]
    in_schema: tuple[FieldCodec, ...]

    @property
    def record(self) -> type[tuple[Any, ...]]:
        """Class of the records."""
        return self.declaration.record


@cache
def trade_codec() -> RecordCodec:
    """Return the codec of `Trade` with the current schema; `ConfigurationError` if they differ."""
    version = current()
    try:
        return record_codec(version.schema, DECLARATION)
    except TypeError as error:
        raise ConfigurationError(
            f"Trade differs from version {version.number} of its schema: {error}; release a version as "
            "docs/schema.md describes, with tradepipe schema draft, or undo the change of Trade"
        ) from error


def record_codec(schema: dict[str, Any], declaration: Declaration) -> RecordCodec:
    """Build the codec of a declared record with a schema; TypeError if that has other fields or types."""
    reader = build_schema_tree(schema)
    declared = {field.name: field.member for field in declaration.fields}
    written = {field.name for field in reader.fields}
    if differing := [*(declared.keys() - written), *(written - declared.keys())]:
        where = "declaration" if differing[0] in written else "schema"
        raise TypeError(f"field {differing[0]} is missing from the {where} of {declaration.record.__name__}")
    codecs: dict[str, FieldCodec] = {}
    for field in reader.fields:
        member = declared[field.name]
        _check_type(f"field {field.name}", field.type, member)
        default = from_member_default(member, field.default) if field.has_default else REQUIRED
        codecs[field.name] = FieldCodec(field.name, member.type, field.type, default)
    return RecordCodec(declaration, reader, tuple(codecs[name] for name in declared), tuple(codecs.values()))


def _check_type(place: str, schema: SchemaType, member: Member) -> None:
    """Require the declared type: the codec reads and writes no other."""
    type_ = member.type
    try:
        found = value_branch(schema)
    except TypeError as error:
        raise TypeError(f"{place} is {error} in the schema, which the codec does not support") from None
    logical = found.logical
    shape = (logical.name if logical else found.kind, found.kind, found.size)
    digits = (logical.precision, logical.scale) if logical else (0, 0)
    is_nullable = any(branch.kind == "null" for branch in schema.branches)
    if shape != (type_.kind, type_.base, type_.size) or digits != (type_.precision, type_.scale):
        raise TypeError(f"{place} is {found} in the schema, but {type_.kind} by its declaration as {type_}")
    if is_nullable != member.is_nullable:
        may = "may" if member.is_nullable else "may not"
        raise TypeError(f"{place} is {schema} in the schema, but by its declaration it {may} be null")
    if found.kind == "enum" and (unknown := set(found.symbols) - set(type_.symbols)):
        raise TypeError(f"{place} has the symbol {min(unknown)} in the schema, which {type_} lacks")
    if found.inner:
        _check_type(f"{place}[]", found.inner[0], type_.item)
    if found.kind == "record":
        names = [field.name for field in found.fields]
        if names != [member.name for member in type_.members]:
            raise TypeError(f"{place} has the fields {', '.join(names)} in the schema, not those of {type_}")
        for field, inner in zip(found.fields, type_.members, strict=True):
            _check_type(f"{place}.{field.name}", field.type, inner)
