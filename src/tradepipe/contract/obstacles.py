"""What stands between a writer's schema and a reader's: Avro's resolution, logical types, and what is not portable."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from tradepipe.contract.logical import Logical
from tradepipe.contract.shape import Field, Type

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


class Obstacle(NamedTuple):
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
    written: str
    read: str
    written_at: str
    read_at: str


def obstacles(reads: Type, writes: Type) -> tuple[Obstacle, ...]:
    """
    All that keeps a reader from getting what was written.

    Raises:
        ValueError: the schemas are nested too deep.
    """
    try:
        return _Walk().between(reads, writes)
    except RecursionError as error:
        raise ValueError("the schemas are nested too deep") from error


class _Walk:
    """One comparison; each pair of types is walked once, wherever it is met."""

    def __init__(self) -> None:
        self._between: dict[tuple[int, int], tuple[Obstacle, ...]] = {}

    def between(self, reads: Type, writes: Type) -> tuple[Obstacle, ...]:
        """The obstacles between two types; none while a type that holds itself is being walked."""
        pair = id(reads), id(writes)
        if pair not in self._between:
            self._between[pair] = ()
            self._between[pair] = tuple(self._found(reads, writes))
        return self._between[pair]

    def _found(self, reads: Type, writes: Type) -> Iterator[Obstacle]:
        if writes.kind == "union":
            yield from self._of_each(reads, writes)
        elif reads.kind == "union":
            yield from self._to_best(reads, writes)
        elif reads.kind == writes.kind:
            yield from self._of_one_kind(reads, writes)
        elif reads.kind not in _PROMOTIONS.get(writes.kind, ()):
            yield _obstacle("type", reads, writes)
        else:
            yield from _of_promoted(reads, writes)

    def _of_each(self, reads: Type, writes: Type) -> Iterator[Obstacle]:
        """Whatever branch was written must be read."""
        for branch in writes.branches:
            for found in self.between(reads, branch):
                if reads.kind == "union":
                    yield found
                elif found.rule == "type" and not found.path:
                    yield _obstacle("union-branch", reads, branch)
                else:
                    yield _below(found, _branch(writes, branch))

    def _to_best(self, reads: Type, writes: Type) -> Iterator[Obstacle]:
        """The branch that Avro would take, or of those it cannot take the one that was meant."""
        tried = [(branch, self.between(branch, writes)) for branch in reads.branches]
        alike = [each for each in tried if _is_alike(each[0], writes)]
        fitting = [each for each in tried if not any(found.rule in STRUCTURAL for found in each[1])]
        best = [each for each in alike if each in fitting] + fitting + alike
        if not best:
            yield _obstacle("union-branch", reads, writes)
        for branch, found in best[:1]:
            yield from (_below(each, _branch(reads, branch)) for each in found)

    def _of_one_kind(self, reads: Type, writes: Type) -> Iterator[Obstacle]:
        if reads.name:
            yield from _of_names(reads, writes)
        if reads.kind == "record":
            yield from self._of_records(reads, writes)
        elif reads.kind == "enum":
            yield from _of_enums(reads, writes)
        elif reads.kind == "fixed" and reads.size != writes.size:
            yield _obstacle("fixed-size", reads, writes, f"{writes.size} bytes", f"{reads.size} bytes")
        elif reads.inner:
            piece = "[]" if reads.kind == "array" else "{}"
            yield from (_below(found, piece) for found in self.between(reads.inner[0], writes.inner[0]))
        yield from _of_logical_types(reads, writes)

    def _of_records(self, reads: Type, writes: Type) -> Iterator[Obstacle]:
        written = {field.name: field for field in writes.fields}
        for field in reads.fields:
            # As Java does: each alias counts, also one that is the field's own name.
            met = [written[name] for name in (field.name, *dict.fromkeys(field.aliases)) if name in written]
            yield from (_below(found, f".{field.name}") for found in self._of_field(field, met, writes))

    def _of_field(self, field: Field, met: Sequence[Field], writes: Type) -> Iterator[Obstacle]:
        if not met:
            yield from _of_missing(field, writes)
            return
        if len(met) > 1:
            names = " and ".join(each.name for each in met)
            yield Obstacle("ambiguous-alias", (), names, field.name, met[0].pointer, field.pointer)
        elif met[0].name != field.name:
            yield Obstacle("alias", (), met[0].name, field.name, met[0].pointer, field.pointer)
        yield from self.between(field.type, met[0].type)


def _of_missing(field: Field, writes: Type) -> Iterator[Obstacle]:
    """The reader's field that was not written, unless its default is what it should be."""
    renamed = next((each for each in writes.fields if field.name in each.aliases), None)
    told = f"{renamed.name}, alias {field.name}" if renamed else "no field"
    at = renamed.pointer if renamed else writes.pointer
    if field.has_default:
        if renamed:
            yield Obstacle("renamed-reads-default", (), told, field.told_default, at, field.pointer)
        return
    rule = "renamed" if renamed else "null-is-no-default" if _is_nullable(field.type) else "missing-default"
    yield Obstacle(rule, (), told, f"{field.type} without a default", at, field.pointer)


def _of_names(reads: Type, writes: Type) -> Iterator[Obstacle]:
    if reads.name == writes.name:
        return
    alias = "name-alias" if writes.name in reads.aliases else "name"
    rule = "namespace" if reads.short == writes.short else alias
    yield _obstacle(rule, reads, writes, f"{writes.kind} {writes.name}", f"{reads.kind} {reads.name}")


def _of_enums(reads: Type, writes: Type) -> Iterator[Obstacle]:
    unknown = [symbol for symbol in writes.symbols if symbol not in reads.symbols]
    if unknown and reads.default not in reads.symbols:
        yield _obstacle("enum-symbol", reads, writes, ", ".join(unknown), f"{reads} without a default")


def _of_promoted(reads: Type, writes: Type) -> Iterator[Obstacle]:
    if {reads.kind, writes.kind} == {"string", "bytes"}:
        yield _obstacle("string-bytes", reads, writes)
    yield from _of_logical_types(reads, writes)


def _of_logical_types(reads: Type, writes: Type) -> Iterator[Obstacle]:
    read, written = reads.logical, writes.logical
    if read == written or (read is None and written == Logical("uuid")):
        return
    if read and written and read.name == written.name == "decimal":
        yield from _of_decimals(reads, writes, read, written)
    else:
        yield _obstacle("uuid" if read == Logical("uuid") else "logical-type", reads, writes)


def _of_decimals(reads: Type, writes: Type, read: Logical, written: Logical) -> Iterator[Obstacle]:
    if read.scale != written.scale:
        yield _obstacle("decimal-scale", reads, writes)
    if read.precision - read.scale < written.precision - written.scale:
        yield _obstacle("decimal-precision", reads, writes)


def _is_alike(reads: Type, writes: Type) -> bool:
    """Whether a branch was meant for a type: of the same kind, and known by the same name."""
    return reads.kind == writes.kind and (reads.short == writes.short or writes.name in reads.aliases)


def _is_nullable(schema: Type) -> bool:
    return any(branch.kind == "null" for branch in schema.branches)


def _branch(union: Type, branch: Type) -> str:
    """How a branch is named in a path; nothing where null is the only other one."""
    others: Iterable[Type] = (each for each in union.branches if each.kind != "null")
    return f"({branch.short or branch.kind})" if len(list(others)) > 1 else ""


def _below(found: Obstacle, piece: str) -> Obstacle:
    return found._replace(path=(piece, *found.path)) if piece else found


def _obstacle(rule: str, reads: Type, writes: Type, written: str = "", read: str = "") -> Obstacle:
    return Obstacle(rule, (), written or str(writes), read or str(reads), writes.pointer, reads.pointer)
