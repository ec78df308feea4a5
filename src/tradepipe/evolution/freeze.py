"""Whether the frozen versions are still what they were when they were frozen, and how to freeze the next."""

import json
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Final

from tradepipe.evolution import compatibility_rules
from tradepipe.evolution.compatibility import Level
from tradepipe.evolution.compatibility_rules import VersionedSchema
from tradepipe.evolution.findings import Finding, Severity
from tradepipe.evolution.history import (
    DEFAULT_LEVEL,
    HISTORY_FILE,
    History,
    HistoryEntry,
    SchemaVersion,
    file_name,
    fingerprint,
    fingerprint_without_docs,
)

FIXES: Final = {
    "frozen-changed": "Restore {file} from version control, make the change in a copy of the newest version, and run "
    "`schema freeze COPY`: it writes {next}.",
    "frozen-docs-changed": "Restore {file} from version control; better words belong into the next version, by "
    "`schema freeze COPY`.",
    "frozen-missing": "Restore {file} from version control: records written with it are in the log.",
    "frozen-unrecorded": "Take {file} away, and run `schema freeze` on it: that checks it and records it.",
    "frozen-gap": "Restore what is missing from version control; `schema freeze` counts on by itself.",
    "frozen-level": f"Say one of {', '.join(Level)}.",
    "frozen-twice": f"Leave one entry of each version in {HISTORY_FILE}.",
}
"""Rule → what to do instead."""


def check_frozen(history: History) -> tuple[Finding, ...]:
    """Where files and record disagree: nothing about a released version ever changes."""
    return tuple(found for number in sorted(history.numbers) for found in _check_version(history, number)) + tuple(
        _gaps(history)
    )


def check_history(history: History, level: str | None = None) -> tuple[Finding, ...]:
    """
    What breaks between the versions of a history: each is checked against all before it.

    Each is checked at the level it was frozen at, or at the one given.

    Raises:
        ValueError: a version is not an Avro schema.
    """
    found: list[Finding] = []
    for index, version in enumerate(history.versions):
        at = Level(level) if level else level_of(history, version.number)
        found += compatibility_rules.check_evolution(version.text, as_versioned(history.versions[:index]), at)
    return tuple(found)


def level_of(history: History, number: int) -> Level:
    """The level a version was frozen at; of one that is not frozen yet, the history's."""
    entry = history.entry(number)
    named = (entry.level if entry else None) or history.level
    return Level(named) if named in tuple(Level) else Level(DEFAULT_LEVEL)


def as_versioned(versions: Sequence[SchemaVersion]) -> tuple[VersionedSchema, ...]:
    """Versions as `evolution` takes them."""
    return tuple(VersionedSchema(version.number, version.text) for version in versions)


def append_version(
    history: History, text: str, *, on: date, level: str | None, alembic_revision: str | None
) -> History:
    """
    The history with one version more; nothing is checked or written.

    Raises:
        ValueError: the text is not JSON.
    """
    number = max(history.numbers, default=0) + 1
    entry = HistoryEntry(
        number, fingerprint(text), fingerprint_without_docs(text), on.isoformat(), level, alembic_revision
    )
    return History((*history.versions, SchemaVersion.of(number, text)), (*history.entries, entry))


def to_history_json(history: History) -> str:
    """The text of `history.json`."""
    return json.dumps({"versions": [entry._asdict() for entry in history.entries]}, indent=2) + "\n"


def _check_version(history: History, number: int) -> Iterator[Finding]:
    version, entry = history.version(number), history.entry(number)
    entries = sum(each.number == number for each in history.entries)
    if entries > 1:
        yield _finding(history, number, "frozen-twice", f"Version {number} has {entries} entries in {HISTORY_FILE}.")
    if version is None:
        told = f"Version {number} is in {HISTORY_FILE}, but its file is gone: nobody could say what its records mean."
        yield _finding(history, number, "frozen-missing", told)
    elif entry is None:
        told = (
            f"Version {number} is not in {HISTORY_FILE}, so nothing says that it was checked, or that it is as it was."
        )
        yield _finding(history, number, "frozen-unrecorded", told)
    elif version.sha256 != entry.sha256:
        yield _change_finding(history, version, entry)
    if entry and entry.level not in (None, *Level):
        yield _finding(history, number, "frozen-level", f"Version {number} has a level that is none: {entry.level}.")


def _change_finding(history: History, version: SchemaVersion, entry: HistoryEntry) -> Finding:
    if fingerprint_without_docs(version.text) == entry.sha256_without_docs:
        rule, what = "frozen-docs-changed", "docs alone: records are read as before, but registries keep the old text"
    else:
        rule, what = "frozen-changed", "more than docs: its records were written with the schema as it was"
    told = f"Version {version.number} was changed after its release, in {what}."
    return _finding(history, version.number, rule, told, (entry.sha256, version.sha256))


def _gaps(history: History) -> Iterator[Finding]:
    there = [version.number for version in history.versions]
    for number, due in zip(there, range(1, len(there) + 1), strict=True):
        if number != due:
            yield _finding(history, number, "frozen-gap", f"Version {number} follows, where {due} should come.")
            return


def _finding(history: History, number: int, rule: str, told: str, changed: tuple[str, str] = ("", "")) -> Finding:
    old, new = (sha256[:12] for sha256 in changed)
    mend = FIXES[rule].format(file=file_name(number), next=file_name(max(history.numbers) + 1))
    return Finding(rule, Severity.ERROR, file_name(number), told, mend, old, new, against=number)
