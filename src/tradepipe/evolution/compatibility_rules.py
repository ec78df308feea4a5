"""Rules of schema evolution, and the compatibility check of a schema with its history."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from tradepipe.evolution.compatibility import Direction, Level, versions_to_check
from tradepipe.evolution.findings import Finding, Severity
from tradepipe.evolution.resolution import STRUCTURAL, Mismatch, find_mismatches
from tradepipe.evolution.schema_tree import SchemaType, parse_schema_tree


class EvolutionRule(NamedTuple):
    """
    Severity, message and fix of a mismatch between two versions.

    In the message, `{readers}` use one schema and `{records}` were written with
    the other; `{written}` and `{read}` are the two definitions. `fix_old` is the
    fix if the readers on the old schema fail, where it differs from `fix`.
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
_NEW_FIELD: Final = "Leave it unchanged, and add a new field."
_KEEP: Final = "Keep the field: a field without a default must not be removed or renamed."
_NO_RENAME: Final = "Keep the name, or add a new field; old readers do not see an alias."

RULES: Final[Mapping[str, EvolutionRule]] = {
    "type": EvolutionRule(_ERROR, "{readers} fail on {records}: {written} does not resolve to {read}.", _NEW_FIELD),
    "name": EvolutionRule(
        _ERROR, "{readers} fail on {records}: {written} is not {read}.", "Keep the name.", _NO_RENAME
    ),
    "fixed-size": EvolutionRule(_ERROR, "{readers} fail on {records}: {written} are not {read}.", _NEW_FIELD),
    "enum-symbol": EvolutionRule(
        _ERROR,
        "{readers} fail on {records} that contain {written}: their {read} has no fallback symbol.",
        "Keep the symbol, or give the enum a default symbol.",
        "Give the enum a default symbol one version before its first new symbol, or add a new field.",
    ),
    "missing-default": EvolutionRule(
        _ERROR,
        "{readers} fail on {records}: the field is missing from them, and its type is {read}.",
        "Give the field a default.",
        _KEEP,
    ),
    "null-is-no-default": EvolutionRule(
        _ERROR,
        "{readers} fail on {records}: the field is missing from them, and a nullable type is not a default.",
        'Add "default": null, with null as the first branch.',
        _KEEP,
    ),
    "renamed": EvolutionRule(
        _ERROR,
        "{readers} fail on {records}: these contain {written}, and an alias helps only readers whose schema has it.",
        _NO_RENAME,
        _NO_RENAME,
    ),
    "union-branch": EvolutionRule(
        _ERROR,
        "{readers} fail on {records} that contain {written} here: they expect {read}.",
        "Keep every branch of the union.",
        "Add a new field with the wider type.",
    ),
    "ambiguous-alias": EvolutionRule(
        _ERROR,
        "Java's readers and the registries of Confluent and Apicurio refuse the schema: {read} matches both {written} "
        "of {records}.",
        "Remove the alias.",
    ),
    "renamed-reads-default": EvolutionRule(
        _ERROR,
        "{readers} read {read} for every value of {records}: these contain {written}, so the value is lost without "
        "an error.",
        _NO_RENAME,
    ),
    "decimal-scale": EvolutionRule(
        _ERROR,
        "{readers} misread amounts of {records}: Java's read {example} as {example_read}, Python's are not affected. "
        "Registries do not detect this.",
        "Keep the scale, and add a new field with the other scale.",
    ),
    "decimal-precision": EvolutionRule(
        _ERROR,
        "{readers} allow fewer digits before the decimal point than {records}: {read} instead of {written}. "
        "Their NUMERIC columns refuse the largest values.",
        "Keep the precision, or add a new field with the wider type.",
    ),
    "logical-type": EvolutionRule(
        _ERROR,
        "{readers} read {written} of {records} as {read}: the same bytes, but another value{example}. "
        "Registries do not detect this.",
        _NEW_FIELD,
    ),
    "uuid": EvolutionRule(
        _ERROR,
        "{readers} fail on {records} whose text is not a UUID: {written} may contain any text.",
        "Keep the string, or add a new field.",
    ),
    "alias": EvolutionRule(
        _WARNING,
        "{readers} find the field in {records} by its alias for {written}, which not every implementation supports: "
        "Redpanda refuses the schema unless the field has a default, and Avro's C++ reads that default.",
        _NO_RENAME,
    ),
    "name-alias": EvolutionRule(
        _WARNING,
        "{readers} resolve {written} by an alias of {read}, which Redpanda does not support: it refuses the schema.",
        "Keep the name.",
    ),
    "namespace": EvolutionRule(
        _WARNING,
        "{readers} resolve {written} to {read}, since Avro ignores namespaces. Redpanda does not, and refuses "
        "the schema; Java's readers do not in a union, and fail.",
        "Keep the namespace.",
    ),
    "string-bytes": EvolutionRule(
        _WARNING,
        "{readers} read {written} of {records} as {read}; Redpanda refuses the schema, and Python's fastavro fails.",
        _NEW_FIELD,
    ),
    "symbol-dropped": EvolutionRule(
        _WARNING,
        "{readers} read {read} for every {written} of {records}: the value is lost without an error.",
        "Keep the symbol.",
    ),
}
"""Rules of mismatches between two versions, by id."""


class VersionedSchema(NamedTuple):
    """A schema and its version number."""

    number: int
    text: str


def check_evolution(new: str, history: Sequence[VersionedSchema], level: Level) -> tuple[Finding, ...]:
    """
    Check a schema against its history (oldest first) at a level; newest version first.

    Besides structural incompatibilities, errors are changes of logical types and
    renames that lose values; warnings are changes that some registry refuses.

    Raises:
        ValueError: `new` or a version of the history is not an Avro schema.
    """
    root = parse_schema_tree(new)
    findings: list[Finding] = []
    for version in versions_to_check(history, level):
        old = parse_schema_tree(version.text)
        for direction in level.directions:
            is_backward = direction is Direction.BACKWARD
            pair = (root, old) if is_backward else (old, root)
            # Values that a reader drops, such as a field it lacks, are not findings: adding a field is compatible.
            mismatches = [each for each in find_mismatches(*pair) if each.rule in RULES]
            # A new symbol is read as the default by old readers, as every enum intends. A removed one is reported
            # once: the versions after its removal lack it too.
            if not is_backward or version not in history[-1:]:
                mismatches = [each for each in mismatches if each.rule != "symbol-dropped"]
            findings += (_finding(each, root, pair, direction, version.number) for each in mismatches)
    return tuple(findings)


def structural_incompatibilities(new: str, history: Sequence[VersionedSchema], level: Level) -> tuple[Finding, ...]:
    """
    Return the findings of `check_evolution` that registries have too: they ignore logical types.

    >>> structural_incompatibilities('"int"', [VersionedSchema(1, '"long"')], Level.FORWARD)
    ()
    """
    return tuple(each for each in check_evolution(new, history, level) if each.rule in STRUCTURAL | {"ambiguous-alias"})


def _finding(
    found: Mismatch, root: SchemaType, pair: tuple[SchemaType, SchemaType], direction: Direction, number: int
) -> Finding:
    rule = RULES[found.rule]
    new_reads_old = direction is Direction.BACKWARD
    readers, records = SIDES[direction]
    words = {"readers": readers, "records": records, "written": found.writer, "read": found.reader, "example": ""}
    return Finding(
        rule=found.rule,
        severity=rule.severity,
        path=(root.short or root.kind) + "".join(found.path),
        message=rule.message.format(**words | _example(found)),
        fix=rule.fix if new_reads_old else rule.fix_old or rule.fix,
        old=found.writer if new_reads_old else found.reader,
        new=found.reader if new_reads_old else found.writer,
        direction=direction,
        against=number,
        pointer=found.reader_pointer if new_reads_old else found.writer_pointer,
    )


def _example(found: Mismatch) -> dict[str, str]:
    """Return an example of a misread value, for the rules whose message has one."""
    if found.rule == "decimal-scale":
        written, read = (int(shown.rpartition(",")[2].rstrip(")")) for shown in (found.writer, found.reader))
        number = Decimal(12345).scaleb(-2).quantize(Decimal(1).scaleb(-written)) if written >= 2 else Decimal(123)
        unscaled = int(number.scaleb(written))
        return {"example": f"{number:f}", "example_read": f"{Decimal(unscaled).scaleb(-read):f}"}
    if found.rule == "logical-type":
        are_timestamps = "timestamp" in found.writer and "timestamp" in found.reader
        units = [_UNITS.get(shown.rpartition("-")[2]) for shown in (found.writer, found.reader)]
        # By how many steps of a thousand the reader's unit is finer.
        steps = units[1] - units[0] if are_timestamps and units[0] is not None and units[1] is not None else 0
        return {"example": _EXAMPLES.get(steps, "")}
    return {}


_UNITS: Final = {"millis": 0, "micros": 1, "nanos": 2}

_EXAMPLES: Final = {
    2: ", such as a day of 2024 for the first hour of 1970",
    1: ", such as a day of 2024 for one of January 1970",
    -1: ", such as a day of 2024 for one of the year 56000",
    -2: ", such as a day of 2024 for one of the year 54,000,000",
}
"""Example of a misread timestamp, by the steps of a thousand that the reader's unit is finer."""
