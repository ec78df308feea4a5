"""What stands between a writer's schema and a reader's: Avro's resolution, logical types, and what is not portable."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from tradepipe.evolution.schema_tree import Logical, SchemaField, SchemaType

STRUCTURAL: Final = frozenset(
    {"type", "name", "fixed-size", "enum-symbol", "missing-default", "null-is-no-default", "renamed", "union-branch"}
)
"""The rules by which Avro's resolution itself fails; `ambiguous-alias` is Java's alone."""

_PROMOTIONS: Final = {
    "int": ("long", "float", "double"),
    "long": ("float", "double"),
    "float": ("double",),
    "string": ("bytes",),
    "bytes": ("string",),
}


class Mismatch(NamedTuple):
    """
    One obstacle.

    Attributes:
        rule: which one.

        path: from the types compared, as pieces such as `.legs`, `[]` and `(Leg)`.

        written, read: what stands in the writer's and in the reader's schema.

        written_at, read_at: where, as JSON pointers.
    """

    rule: str
    path: tuple[str, ...]
    writer: str
    reader: str
    writer_pointer: str
    reader_pointer: str


def find_mismatches(reads: SchemaType, writes: SchemaType) -> tuple[Mismatch, ...]:
    """
    All that keeps a reader from getting what was written.

    Raises:
        ValueError: the schemas are nested too deep.
    """
    try:
        return _Resolver().compare(reads, writes)
    except RecursionError as error:
        raise ValueError("the schemas are nested too deep") from error


class _Resolver:
    """One comparison; each pair of types is walked once, wherever it is met."""

    def __init__(self) -> None:
        self._between: dict[tuple[int, int], tuple[Mismatch, ...]] = {}

    def compare(self, reads: SchemaType, writes: SchemaType) -> tuple[Mismatch, ...]:
        """The obstacles between two types; none while a type that holds itself is being walked."""
        pair = id(reads), id(writes)
        if pair not in self._between:
            self._between[pair] = ()
            self._between[pair] = tuple(self._compare_kinds(reads, writes))
        return self._between[pair]

    def _compare_kinds(self, reads: SchemaType, writes: SchemaType) -> Iterator[Mismatch]:
        if writes.kind == "union":
            yield from self._compare_each_branch(reads, writes)
        elif reads.kind == "union":
            yield from self._compare_best_branch(reads, writes)
        elif reads.kind == writes.kind:
            yield from self._compare_same_kind(reads, writes)
        elif reads.kind not in _PROMOTIONS.get(writes.kind, ()):
            yield _mismatch("type", reads, writes)
        else:
            yield from _compare_promoted(reads, writes)

    def _compare_each_branch(self, reads: SchemaType, writes: SchemaType) -> Iterator[Mismatch]:
        """Whatever branch was written must be read."""
        for branch in writes.branches:
            for found in self.compare(reads, branch):
                if reads.kind == "union":
                    yield found
                elif found.rule == "type" and not found.path:
                    yield _mismatch("union-branch", reads, branch)
                else:
                    yield _below(found, _branch(writes, branch))

    def _compare_best_branch(self, reads: SchemaType, writes: SchemaType) -> Iterator[Mismatch]:
        """The branch that Avro would take, or of those it cannot take the one that was meant."""
        tried = [(branch, self.compare(branch, writes)) for branch in reads.branches]
        alike = [each for each in tried if _is_alike(each[0], writes)]
        fitting = [each for each in tried if not any(found.rule in STRUCTURAL for found in each[1])]
        best = [each for each in alike if each in fitting] + fitting + alike
        if not best:
            yield _mismatch("union-branch", reads, writes)
        for branch, found in best[:1]:
            yield from (_below(each, _branch(reads, branch)) for each in found)

    def _compare_same_kind(self, reads: SchemaType, writes: SchemaType) -> Iterator[Mismatch]:
        if reads.name:
            yield from _compare_names(reads, writes)
        if reads.kind == "record":
            yield from self._compare_records(reads, writes)
        elif reads.kind == "enum":
            yield from _compare_enums(reads, writes)
        elif reads.kind == "fixed" and reads.size != writes.size:
            yield _mismatch("fixed-size", reads, writes, f"{writes.size} bytes", f"{reads.size} bytes")
        elif reads.inner:
            piece = "[]" if reads.kind == "array" else "{}"
            yield from (_below(found, piece) for found in self.compare(reads.inner[0], writes.inner[0]))
        yield from _compare_logical_types(reads, writes)

    def _compare_records(self, reads: SchemaType, writes: SchemaType) -> Iterator[Mismatch]:
        written = {field.name: field for field in writes.fields}
        for field in reads.fields:
            # As Java does: each alias counts, also one that is the field's own name.
            met = [written[name] for name in (field.name, *dict.fromkeys(field.aliases)) if name in written]
            yield from (_below(found, f".{field.name}") for found in self._compare_field(field, met, writes))

    def _compare_field(self, field: SchemaField, met: Sequence[SchemaField], writes: SchemaType) -> Iterator[Mismatch]:
        if not met:
            yield from _compare_missing(field, writes)
            return
        if len(met) > 1:
            names = " and ".join(each.name for each in met)
            yield Mismatch("ambiguous-alias", (), names, field.name, met[0].pointer, field.pointer)
        elif met[0].name != field.name:
            yield Mismatch("alias", (), met[0].name, field.name, met[0].pointer, field.pointer)
        yield from self.compare(field.type, met[0].type)


def _compare_missing(field: SchemaField, writes: SchemaType) -> Iterator[Mismatch]:
    """The reader's field that was not written, unless its default is what it should be."""
    renamed = next((each for each in writes.fields if field.name in each.aliases), None)
    told = f"{renamed.name}, alias {field.name}" if renamed else "no field"
    at = renamed.pointer if renamed else writes.pointer
    if field.has_default:
        if renamed:
            yield Mismatch("renamed-reads-default", (), told, field.default_json, at, field.pointer)
        return
    rule = "renamed" if renamed else "null-is-no-default" if _is_nullable(field.type) else "missing-default"
    yield Mismatch(rule, (), told, f"{field.type} without a default", at, field.pointer)


def _compare_names(reads: SchemaType, writes: SchemaType) -> Iterator[Mismatch]:
    if reads.name == writes.name:
        return
    alias = "name-alias" if writes.name in reads.aliases else "name"
    rule = "namespace" if reads.short == writes.short else alias
    yield _mismatch(rule, reads, writes, f"{writes.kind} {writes.name}", f"{reads.kind} {reads.name}")


def _compare_enums(reads: SchemaType, writes: SchemaType) -> Iterator[Mismatch]:
    unknown = [symbol for symbol in writes.symbols if symbol not in reads.symbols]
    if unknown and reads.default not in reads.symbols:
        yield _mismatch("enum-symbol", reads, writes, ", ".join(unknown), f"{reads} without a default")


def _compare_promoted(reads: SchemaType, writes: SchemaType) -> Iterator[Mismatch]:
    if {reads.kind, writes.kind} == {"string", "bytes"}:
        yield _mismatch("string-bytes", reads, writes)
    yield from _compare_logical_types(reads, writes)


def _compare_logical_types(reads: SchemaType, writes: SchemaType) -> Iterator[Mismatch]:
    read, written = reads.logical, writes.logical
    if read == written or (read is None and written == Logical("uuid")):
        return
    if read and written and read.name == written.name == "decimal":
        yield from _compare_decimals(reads, writes, read, written)
    else:
        yield _mismatch("uuid" if read == Logical("uuid") else "logical-type", reads, writes)


def _compare_decimals(reads: SchemaType, writes: SchemaType, read: Logical, written: Logical) -> Iterator[Mismatch]:
    if read.scale != written.scale:
        yield _mismatch("decimal-scale", reads, writes)
    if read.precision - read.scale < written.precision - written.scale:
        yield _mismatch("decimal-precision", reads, writes)


def _is_alike(reads: SchemaType, writes: SchemaType) -> bool:
    """Whether a branch was meant for a type: of the same kind, and known by the same name."""
    return reads.kind == writes.kind and (reads.short == writes.short or writes.name in reads.aliases)


def _is_nullable(schema: SchemaType) -> bool:
    return any(branch.kind == "null" for branch in schema.branches)


def _branch(union: SchemaType, branch: SchemaType) -> str:
    """How a branch is named in a path; nothing where null is the only other one."""
    others: Iterable[SchemaType] = (each for each in union.branches if each.kind != "null")
    return f"({branch.short or branch.kind})" if len(list(others)) > 1 else ""


def _below(found: Mismatch, piece: str) -> Mismatch:
    return found._replace(path=(piece, *found.path)) if piece else found


def _mismatch(rule: str, reads: SchemaType, writes: SchemaType, written: str = "", read: str = "") -> Mismatch:
    return Mismatch(rule, (), written or str(writes), read or str(reads), writes.pointer, reads.pointer)
