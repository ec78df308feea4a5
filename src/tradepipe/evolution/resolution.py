"""Avro schema resolution: the mismatches between a writer schema and a reader schema."""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from tradepipe.evolution.schema_tree import Logical, SchemaField, SchemaType

STRUCTURAL: Final = frozenset(
    {"type", "name", "fixed-size", "enum-symbol", "missing-default", "null-is-no-default", "renamed", "union-branch"}
)
"""The rules by which Avro's resolution itself fails; only Java applies `ambiguous-alias`."""

PORTABILITY: Final = frozenset({"alias", "name-alias", "namespace", "string-bytes"})
"""The rules by which some readers and registries resolve and others fail."""

PROMOTIONS: Final = {
    "int": ("long", "float", "double"),
    "long": ("float", "double"),
    "float": ("double",),
    "string": ("bytes",),
    "bytes": ("string",),
}
"""The Avro types as which a written one may be read (Avro 1.12, Schema Resolution)."""


class Mismatch(NamedTuple):
    """
    One difference that matters to a reader.

    Attributes:
        rule: id of the rule, such as `missing-default`.

        path: path from the compared types, in pieces such as `.legs`, `[]` and `(Leg)`.

        writer, reader: definition in the writer schema and in the reader schema.

        writer_pointer, reader_pointer: their JSON pointers.

        dropped: the part of a readable value that the reader does not get, such as `field note`.
    """

    rule: str
    path: tuple[str, ...]
    writer: str
    reader: str
    writer_pointer: str
    reader_pointer: str
    dropped: str = ""


def find_mismatches(reader: SchemaType, writer: SchemaType) -> tuple[Mismatch, ...]:
    """Find everything that keeps a reader from getting the values that were written; ValueError if nested too deep."""
    try:
        return _Resolver().compare(reader, writer)
    except RecursionError as error:
        raise ValueError("the schemas are nested too deep") from error


class _Resolver:
    """One comparison; each pair of types is walked once, however often it occurs."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, int], tuple[Mismatch, ...]] = {}

    def compare(self, reader: SchemaType, writer: SchemaType) -> tuple[Mismatch, ...]:
        """Find the mismatches between two types."""
        pair = id(reader), id(writer)
        if pair not in self._found:
            # A recursive type meets its own pair again while it is walked: it must end there.
            self._found[pair] = ()
            self._found[pair] = tuple(self._compare_kinds(reader, writer))
        return self._found[pair]

    def _compare_kinds(self, reader: SchemaType, writer: SchemaType) -> Iterator[Mismatch]:
        if writer.kind == "union":
            # Every branch of the writer's union: any of them may have been written.
            for branch in writer.branches:
                for found in self.compare(reader, branch):
                    if reader.kind == "union":
                        yield found
                    elif found.rule == "type" and not found.path:
                        yield _mismatch("union-branch", reader, branch)
                    else:
                        yield _below(found, _branch_piece(writer, branch))
        elif reader.kind == "union":
            yield from self._compare_best_branch(reader, writer)
        elif reader.kind == writer.kind:
            yield from self._compare_same_kind(reader, writer)
        elif reader.kind not in PROMOTIONS.get(writer.kind, ()):
            yield _mismatch("type", reader, writer)
        else:
            if {reader.kind, writer.kind} == {"string", "bytes"}:
                yield _mismatch("string-bytes", reader, writer)
            yield from _compare_logical_types(reader, writer)

    def _compare_best_branch(self, reader: SchemaType, writer: SchemaType) -> Iterator[Mismatch]:
        """Compare the branch that Avro resolves to, or else the one of the writer's kind and name."""
        tried = [(branch, self.compare(branch, writer)) for branch in reader.branches]
        alike = [each for each in tried if is_same_type(each[0], writer)]
        # Findings on logical types and portability do not affect which branch Avro resolves to.
        fitting = [each for each in tried if not any(found.rule in STRUCTURAL for found in each[1])]
        best = [each for each in alike if each in fitting] + fitting + alike
        if not best:
            yield _mismatch("union-branch", reader, writer)
        for branch, found in best[:1]:
            yield from (_below(each, _branch_piece(reader, branch)) for each in found)

    def _compare_same_kind(self, reader: SchemaType, writer: SchemaType) -> Iterator[Mismatch]:
        if reader.name != writer.name:
            # Avro ignores namespaces, so equal short names resolve; an alias is only followed by the reader.
            alias = "name-alias" if writer.name in reader.aliases else "name"
            rule = "namespace" if reader.short == writer.short else alias
            yield _mismatch(rule, reader, writer, f"{writer.kind} {writer.name}", f"{reader.kind} {reader.name}")
        if reader.kind == "record":
            yield from self._compare_records(reader, writer)
        elif reader.kind == "enum":
            unknown = ", ".join(symbol for symbol in writer.symbols if symbol not in reader.symbols)
            if unknown and reader.default not in reader.symbols:
                yield _mismatch("enum-symbol", reader, writer, unknown, f"{reader} without a default")
            elif unknown:
                yield _mismatch(
                    "symbol-dropped", reader, writer, unknown, str(reader.default), dropped=f"symbol {unknown}"
                )
        elif reader.kind == "fixed" and reader.size != writer.size:
            yield _mismatch("fixed-size", reader, writer, f"{writer.size} bytes", f"{reader.size} bytes")
        elif reader.inner:
            piece = "[]" if reader.kind == "array" else "{}"
            yield from (_below(found, piece) for found in self.compare(reader.inner[0], writer.inner[0]))
        yield from _compare_logical_types(reader, writer)

    def _compare_records(self, reader: SchemaType, writer: SchemaType) -> Iterator[Mismatch]:
        written = {field.name: field for field in writer.fields}
        # Several reader fields may match one writer field by aliases, so it stays in `written`.
        unread = dict(written)
        for field in reader.fields:
            # Java counts every alias, also one that equals the field's own name.
            sources = [written[name] for name in (field.name, *dict.fromkeys(field.aliases)) if name in written]
            for source in sources:
                unread.pop(source.name, None)
            if not sources:
                found = tuple(_compare_missing(field, writer))
            else:
                found = self.compare(field.type, sources[0].type)
                if len(sources) > 1 or sources[0].name != field.name:
                    rule = "ambiguous-alias" if len(sources) > 1 else "alias"
                    names = " and ".join(each.name for each in sources)
                    renamed = Mismatch(rule, (), names, field.name, sources[0].pointer, field.pointer)
                    found = (renamed, *found)
            yield from (_below(each, f".{field.name}") for each in found)
        for field in unread.values():
            dropped = f"field {field.name}"
            yield Mismatch(
                "field-dropped", (f".{field.name}",), dropped, "no field", field.pointer, reader.pointer, dropped
            )


def _compare_missing(field: SchemaField, writer: SchemaType) -> Iterator[Mismatch]:
    """Compare a reader's field that was not written: its default takes the place of the value."""
    renamed = next((each for each in writer.fields if field.name in each.aliases), None)
    written = f"{renamed.name}, alias {field.name}" if renamed else "no field"
    pointer = renamed.pointer if renamed else writer.pointer
    if field.has_default:
        if renamed:
            yield Mismatch("renamed-reads-default", (), written, field.default_json, pointer, field.pointer)
        return
    is_nullable = any(branch.kind == "null" for branch in field.type.branches)
    rule = "renamed" if renamed else "null-is-no-default" if is_nullable else "missing-default"
    yield Mismatch(rule, (), written, f"{field.type} without a default", pointer, field.pointer)


def _compare_logical_types(reader: SchemaType, writer: SchemaType) -> Iterator[Mismatch]:
    read, written = reader.logical, writer.logical
    if read == written:
        return
    if read and written and read.name == written.name == "decimal":
        if read.scale != written.scale:
            yield _mismatch("decimal-scale", reader, writer)
        # Only the digits before the point matter: those after it are the scale, compared above.
        if read.precision - read.scale < written.precision - written.scale:
            yield _mismatch("decimal-precision", reader, writer)
    elif read is None:
        # A UUID keeps its meaning without the annotation; a number of days or a decimal does not.
        rule = "uuid-dropped" if written == Logical("uuid") else "logical-type"
        yield _mismatch(rule, reader, writer, dropped=f"logical type {written}")
    elif read != Logical("uuid"):
        yield _mismatch("logical-type", reader, writer)
    elif written or reader.kind != "fixed":
        # Any 16 bytes are a UUID; of texts only some.
        yield _mismatch("uuid", reader, writer)


def is_same_type(reader: SchemaType, writer: SchemaType) -> bool:
    """Return whether two types have the same kind and the same name, or an alias for it."""
    return reader.kind == writer.kind and (reader.short == writer.short or writer.name in reader.aliases)


def _branch_piece(union: SchemaType, branch: SchemaType) -> str:
    """Name a branch in a path; an empty text where null is the only other branch."""
    others: Iterable[SchemaType] = (each for each in union.branches if each.kind != "null")
    return f"({branch.short or branch.kind})" if len(list(others)) > 1 else ""


def _below(found: Mismatch, piece: str) -> Mismatch:
    return found._replace(path=(piece, *found.path)) if piece else found


def _mismatch(
    rule: str, reader: SchemaType, writer: SchemaType, written: str = "", read: str = "", *, dropped: str = ""
) -> Mismatch:
    return Mismatch(
        rule, (), written or str(writer), read or str(reader), writer.pointer, reader.pointer, dropped=dropped
    )
