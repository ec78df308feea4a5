"""Rules of schema evolution, and the check of a schema against its history."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from tradepipe.evolution.compatibility import Direction, Level, structural_incompatibilities, versions_to_check
from tradepipe.evolution.findings import Finding, Severity, only_errors
from tradepipe.evolution.resolution import Mismatch, find_mismatches
from tradepipe.evolution.schema_tree import SchemaType, parse_schema_tree


class EvolutionRule(NamedTuple):
    """
    One rule.

    In the sentence `{readers}` are those on one schema and `{records}` what was written with the other, `{written}`
    and `{read}` what stands in the two; `mend` is what to do, and `mend_old` where it is the old side that cannot read.
    """

    severity: Severity
    message: str
    fix: str
    fix_old: str = ""


SIDES: Final[Mapping[Direction, tuple[str, str]]] = {
    Direction.BACKWARD: ("Readers on the new schema", "records written with the old one"),
    Direction.FORWARD: ("Readers on the old schema", "records written with the new one"),
}

_ERROR, _WARNING = Severity.ERROR, Severity.WARNING
_BESIDE: Final = "Leave it as it is, and add a field beside it."
_KEEP: Final = "Keep the field: one without a default cannot be taken away or renamed."
_NO_RENAME: Final = "Keep the name, or add a field beside this one; no alias reaches old readers."

RULES: Final[Mapping[str, EvolutionRule]] = {
    "type": EvolutionRule(_ERROR, "{readers} fail at {records}: {written} cannot be read as {read}.", _BESIDE),
    "name": EvolutionRule(
        _ERROR, "{readers} fail at {records}: {written} is not {read}.", "Keep the name.", _NO_RENAME
    ),
    "fixed-size": EvolutionRule(_ERROR, "{readers} fail at {records}: {written} are not {read}.", _BESIDE),
    "enum-symbol": EvolutionRule(
        _ERROR,
        "{readers} fail at {records} that hold {written}: their {read} has no symbol to fall back to.",
        "Keep the symbol, or give the enum a default symbol.",
        "Give the enum a default symbol, one version before the first new symbol, or add a field beside it.",
    ),
    "missing-default": EvolutionRule(
        _ERROR,
        "{readers} fail at {records}: the field is not in them, and its type {read} cannot fill it.",
        "Give the field a default.",
        _KEEP,
    ),
    "null-is-no-default": EvolutionRule(
        _ERROR,
        "{readers} fail at {records}: the field is not in them, and that it may be null is no default.",
        'Say "default": null, with null as the first branch.',
        _KEEP,
    ),
    "renamed": EvolutionRule(
        _ERROR,
        "{readers} fail at {records}: there they find {written}, and an alias helps only those whose schema has it.",
        _NO_RENAME,
        _NO_RENAME,
    ),
    "union-branch": EvolutionRule(
        _ERROR,
        "{readers} fail at {records} that hold {written} here: they expect {read}.",
        "Keep every branch there was.",
        "Add a field with the wider type beside this one.",
    ),
    "ambiguous-alias": EvolutionRule(
        _ERROR,
        "Java's readers, and with them the registries of Confluent and Apicurio, refuse the schema: {read} is both "
        "{written} of {records}.",
        "Take the alias away.",
    ),
    "renamed-reads-default": EvolutionRule(
        _ERROR,
        "{readers} get {read} for every value of {records}: there they find {written}, so the value is lost "
        "without an error.",
        _NO_RENAME,
    ),
    "decimal-scale": EvolutionRule(
        _ERROR,
        "{readers} take amounts of {records} for others: Java's read {example_read} where {example} was meant, "
        "Python's read it right. No registry sees it.",
        "Keep the scale, and add a field with the other one beside it.",
    ),
    "decimal-precision": EvolutionRule(
        _ERROR,
        "{readers} have room for fewer digits before the point than {records} may hold: {read} for {written}. "
        "A NUMERIC column of theirs refuses the largest.",
        "Keep the precision, or add a wider field beside this one.",
    ),
    "logical-type": EvolutionRule(
        _ERROR,
        "{readers} take {written} of {records} for {read}: the same bytes, another value{example}. "
        "No registry sees it.",
        _BESIDE,
    ),
    "uuid": EvolutionRule(
        _ERROR,
        "{readers} fail at {records} whose text is no UUID: {written} may hold anything.",
        "Leave it a string, or add a field beside it.",
    ),
    "alias": EvolutionRule(
        _WARNING,
        "{readers} find the field in {records} by its alias for {written}, which not all follow: Redpanda refuses the "
        "schema unless the field has a default, and Avro's C++ reads that default.",
        _NO_RENAME,
    ),
    "name-alias": EvolutionRule(
        _WARNING,
        "{readers} know {written} by an alias of {read}, which Redpanda does not follow: it refuses the schema.",
        "Keep the name.",
    ),
    "namespace": EvolutionRule(
        _WARNING,
        "{readers} take {written} for {read}, since Avro ignores namespaces; Redpanda does not, and refuses "
        "the schema.",
        "Keep the namespace.",
    ),
    "string-bytes": EvolutionRule(
        _WARNING,
        "{readers} read {written} of {records} as {read}; Redpanda refuses the schema, and Python's fastavro fails.",
        _BESIDE,
    ),
    "resolution": EvolutionRule(_ERROR, "{readers} fail at {records}: {written}.", _BESIDE),
}
"""Rule → what is said of it, for obstacles between two versions."""


class VersionedSchema(NamedTuple):
    """A schema and the number of its version."""

    number: int
    text: str


def check_evolution(new: str, history: Sequence[VersionedSchema], level: Level) -> tuple[Finding, ...]:
    """
    All that is to be said of a schema that follows a history (oldest first) at a level, newest version first.

    Whatever the structural verdict finds incompatible has at least one error
    here. Beyond it, errors are changes of logical types and renamings that lose
    values; warnings are changes that some registry refuses.

    Raises:
        ValueError: `new` or a version of the history is not an Avro schema.
    """
    root = parse_schema_tree(new)
    return tuple(
        found
        for version in versions_to_check(history, level)
        for direction in level.directions
        for found in _compare_pair(new, root, version, direction)
    )


def _compare_pair(new: str, root: SchemaType, version: VersionedSchema, direction: Direction) -> Iterator[Finding]:
    old = parse_schema_tree(version.text)
    pair = (root, old) if direction is Direction.BACKWARD else (old, root)
    mismatches = [each for each in find_mismatches(*pair) if each.rule in RULES]
    found = [_finding(each, root, pair, direction, version.number) for each in mismatches]
    yield from found
    if not only_errors(found):
        yield from _structural_fallback(new, root, version, direction)


def _structural_fallback(
    new: str, root: SchemaType, version: VersionedSchema, direction: Direction
) -> Iterator[Finding]:
    """The structural verdict has the last word, also where the walk above found nothing."""
    level = Level[direction.name]
    for found in structural_incompatibilities(new, [version.text], level):
        told = Mismatch("resolution", (), found.message, "", "", "")
        yield _finding(told, root, (root, root), direction, version.number)


def _finding(
    found: Mismatch, root: SchemaType, pair: tuple[SchemaType, SchemaType], direction: Direction, number: int
) -> Finding:
    rule = RULES[found.rule]
    is_new_reading = direction is Direction.BACKWARD
    readers, records = SIDES[direction]
    words = {"readers": readers, "records": records, "written": found.writer, "read": found.reader, "example": ""}
    return Finding(
        rule=found.rule,
        severity=rule.severity,
        path=(root.short or root.kind) + "".join(found.path),
        message=rule.message.format(**words | _example(found)),
        fix=rule.fix if is_new_reading else rule.fix_old or rule.fix,
        old=found.writer if is_new_reading else found.reader,
        new=found.reader if is_new_reading else found.writer,
        direction=direction,
        against=number,
        pointer=found.reader_pointer if is_new_reading else found.writer_pointer,
    )


def _example(found: Mismatch) -> dict[str, str]:
    """What is read for what was written, where a number makes it plain."""
    if found.rule == "decimal-scale":
        written, read = (int(told.rpartition(",")[2].rstrip(")")) for told in (found.writer, found.reader))
        number = Decimal(12345).scaleb(-2).quantize(Decimal(1).scaleb(-written)) if written >= 2 else Decimal(123)
        unscaled = int(number.scaleb(written))
        return {"example": f"{number:f}", "example_read": f"{Decimal(unscaled).scaleb(-read):f}"}
    if found.rule == "logical-type" and "timestamp" in found.writer and "timestamp" in found.reader:
        return {"example": _EPOCHS.get((found.writer.count("millis"), found.reader.count("millis")), "")}
    return {}


_EPOCHS: Final = {
    (1, 0): ", such as a day of 2024 for one of January 1970",
    (0, 1): ", such as a day of 2024 for one of the year 56000",
}
"""What timestamps become, by whether they are written and read in milliseconds."""
