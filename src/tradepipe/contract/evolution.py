"""Whether a schema may follow a history, and if not, why: more than a registry sees, and in words."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from tradepipe.contract.compatibility import Direction, Level, incompatibilities, levelled
from tradepipe.contract.finding import Finding, errors
from tradepipe.contract.obstacles import Obstacle, obstacles
from tradepipe.contract.rulebook import READERS, RULES
from tradepipe.contract.shape import Type, shape


class Numbered(NamedTuple):
    """A schema and the number of its version."""

    number: int
    text: str


def findings(new: str, history: Sequence[Numbered], level: Level) -> tuple[Finding, ...]:
    """
    All that is to be said of a schema that follows a history (oldest first) at a level, newest version first.

    Whatever the structural verdict finds incompatible has at least one error
    here. Beyond it, errors are changes of logical types and renamings that lose
    values; warnings are changes that some registry refuses.

    Raises:
        ValueError: `new` or a version of the history is not an Avro schema.
    """
    root = shape(new)
    return tuple(
        found
        for version in levelled(history, level)
        for direction in level.directions
        for found in _between(new, root, version, direction)
    )


def _between(new: str, root: Type, version: Numbered, direction: Direction) -> Iterator[Finding]:
    old = shape(version.text)
    pair = (root, old) if direction is Direction.BACKWARD else (old, root)
    found = [_finding(each, root, pair, direction, version.number) for each in obstacles(*pair)]
    yield from found
    if not errors(found):
        yield from _unexplained(new, root, version, direction)


def _unexplained(new: str, root: Type, version: Numbered, direction: Direction) -> Iterator[Finding]:
    """The structural verdict has the last word, also where the walk above found nothing."""
    level = Level[direction.name]
    for found in incompatibilities(new, [version.text], level):
        told = Obstacle("resolution", (), found.message, "", "", "")
        yield _finding(told, root, (root, root), direction, version.number)


def _finding(found: Obstacle, root: Type, pair: tuple[Type, Type], direction: Direction, number: int) -> Finding:
    rule = RULES[found.rule]
    is_new_reading = direction is Direction.BACKWARD
    readers, records = READERS[direction]
    words = {"readers": readers, "records": records, "written": found.written, "read": found.read, "example": ""}
    return Finding(
        rule=found.rule,
        severity=rule.severity,
        path=(root.short or root.kind) + "".join(found.path),
        sentence=rule.sentence.format(**words | _example(found)),
        mend=rule.mend if is_new_reading else rule.mend_old or rule.mend,
        old=found.written if is_new_reading else found.read,
        new=found.read if is_new_reading else found.written,
        direction=direction,
        against=number,
        pointer=found.read_at if is_new_reading else found.written_at,
    )


def _example(found: Obstacle) -> dict[str, str]:
    """What is read for what was written, where a number makes it plain."""
    if found.rule == "decimal-scale":
        written, read = (int(told.rpartition(",")[2].rstrip(")")) for told in (found.written, found.read))
        number = Decimal(12345).scaleb(-2).quantize(Decimal(1).scaleb(-written)) if written >= 2 else Decimal(123)
        unscaled = int(number.scaleb(written))
        return {"example": f"{number:f}", "example_read": f"{Decimal(unscaled).scaleb(-read):f}"}
    if found.rule == "logical-type" and "timestamp" in found.written and "timestamp" in found.read:
        return {"example": _EPOCHS.get((found.written.count("millis"), found.read.count("millis")), "")}
    return {}


_EPOCHS: Final = {
    (1, 0): ", such as a day of 2024 for one of January 1970",
    (0, 1): ", such as a day of 2024 for one of the year 56000",
}
"""What timestamps become, by whether they are written and read in milliseconds."""
