"""The rules of evolution: how grave each is, what would happen to whose records, and what to do instead."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from tradepipe.contract.compatibility import Direction
from tradepipe.contract.finding import Severity


class Rule(NamedTuple):
    """
    One rule.

    In the sentence `{readers}` are those on one schema and `{records}` what was written with the other, `{written}`
    and `{read}` what stands in the two; `mend` is what to do, and `mend_old` where it is the old side that cannot read.
    """

    severity: Severity
    sentence: str
    mend: str
    mend_old: str = ""


READERS: Final[Mapping[Direction, tuple[str, str]]] = {
    Direction.BACKWARD: ("Readers on the new schema", "records written with the old one"),
    Direction.FORWARD: ("Readers on the old schema", "records written with the new one"),
}

_ERROR, _WARNING = Severity.ERROR, Severity.WARNING
_BESIDE: Final = "Leave it as it is, and add a field beside it."
_KEEP: Final = "Keep the field: one without a default cannot be taken away or renamed."
_NO_RENAME: Final = "Keep the name, or add a field beside this one; no alias reaches old readers."

RULES: Final[Mapping[str, Rule]] = {
    "type": Rule(_ERROR, "{readers} fail at {records}: {written} cannot be read as {read}.", _BESIDE),
    "name": Rule(_ERROR, "{readers} fail at {records}: {written} is not {read}.", "Keep the name.", _NO_RENAME),
    "fixed-size": Rule(_ERROR, "{readers} fail at {records}: {written} are not {read}.", _BESIDE),
    "enum-symbol": Rule(
        _ERROR,
        "{readers} fail at {records} that hold {written}: their {read} has no symbol to fall back to.",
        "Keep the symbol, or give the enum a default symbol.",
        "Give the enum a default symbol, one version before the first new symbol, or add a field beside it.",
    ),
    "missing-default": Rule(
        _ERROR,
        "{readers} fail at {records}: the field is not in them, and its type {read} cannot fill it.",
        "Give the field a default.",
        _KEEP,
    ),
    "null-is-no-default": Rule(
        _ERROR,
        "{readers} fail at {records}: the field is not in them, and that it may be null is no default.",
        'Say "default": null, with null as the first branch.',
        _KEEP,
    ),
    "renamed": Rule(
        _ERROR,
        "{readers} fail at {records}: there they find {written}, and an alias helps only those whose schema has it.",
        _NO_RENAME,
        _NO_RENAME,
    ),
    "union-branch": Rule(
        _ERROR,
        "{readers} fail at {records} that hold {written} here: they expect {read}.",
        "Keep every branch there was.",
        "Add a field with the wider type beside this one.",
    ),
    "ambiguous-alias": Rule(
        _ERROR,
        "Java's readers, and with them the registries of Confluent and Apicurio, refuse the schema: {read} is both "
        "{written} of {records}.",
        "Take the alias away.",
    ),
    "renamed-reads-default": Rule(
        _ERROR,
        "{readers} get {read} for every value of {records}: there they find {written}, so the value is lost "
        "without an error.",
        _NO_RENAME,
    ),
    "decimal-scale": Rule(
        _ERROR,
        "{readers} take amounts of {records} for others: Java's read {example_read} where {example} was meant, "
        "Python's read it right. No registry sees it.",
        "Keep the scale, and add a field with the other one beside it.",
    ),
    "decimal-precision": Rule(
        _ERROR,
        "{readers} have room for fewer digits before the point than {records} may hold: {read} for {written}. "
        "A NUMERIC column of theirs refuses the largest.",
        "Keep the precision, or add a wider field beside this one.",
    ),
    "logical-type": Rule(
        _ERROR,
        "{readers} take {written} of {records} for {read}: the same bytes, another value{example}. "
        "No registry sees it.",
        _BESIDE,
    ),
    "uuid": Rule(
        _ERROR,
        "{readers} fail at {records} whose text is no UUID: {written} may hold anything.",
        "Leave it a string, or add a field beside it.",
    ),
    "alias": Rule(
        _WARNING,
        "{readers} find the field in {records} by its alias for {written}, which not all follow: Redpanda refuses the "
        "schema unless the field has a default, and Avro's C++ reads that default.",
        _NO_RENAME,
    ),
    "name-alias": Rule(
        _WARNING,
        "{readers} know {written} by an alias of {read}, which Redpanda does not follow: it refuses the schema.",
        "Keep the name.",
    ),
    "namespace": Rule(
        _WARNING,
        "{readers} take {written} for {read}, since Avro ignores namespaces; Redpanda does not, and refuses "
        "the schema.",
        "Keep the namespace.",
    ),
    "string-bytes": Rule(
        _WARNING,
        "{readers} read {written} of {records} as {read}; Redpanda refuses the schema, and Python's fastavro fails.",
        _BESIDE,
    ),
    "resolution": Rule(_ERROR, "{readers} fail at {records}: {written}.", _BESIDE),
}
"""Rule → what is said of it, for obstacles between two versions."""
