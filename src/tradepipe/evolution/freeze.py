"""Release of schema versions: the draft of the next one, and the check that released versions are unchanged."""

import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from textwrap import indent
from typing import Any, Final

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
    without,
)
from tradepipe.trade.avro_types import field_schema
from tradepipe.trade.declaration import Declaration

FIXES: Final = {
    "frozen-changed": "Restore {file} from version control, make the change in a copy of the newest version, and run "
    "`schema freeze COPY`: it writes {next}.",
    "frozen-docs-changed": "Restore {file} from version control; improve the docs in the next version, by "
    "`schema freeze COPY`.",
    "frozen-missing": "Restore {file} from version control: records written with it are in the log.",
    "frozen-unrecorded": "Move {file} out of the folder and run `schema freeze` on it, which checks and records it.",
    "frozen-gap": "Restore the missing version from version control; `schema freeze` numbers the versions.",
    "frozen-level": f"Use one of {', '.join(Level)}.",
    "frozen-twice": f"Keep one entry per version in {HISTORY_FILE}.",
}
"""Fixes by rule."""


def check_frozen(history: History) -> tuple[Finding, ...]:
    """Check that the released versions are unchanged: compare the files with the history file."""
    found = [finding for number in sorted(history.numbers) for finding in _check_version(history, number)]
    for expected, version in enumerate(history.versions, 1):
        if version.number != expected:
            message = f"The next version is {version.number} instead of {expected}."
            found.append(_finding(history, version.number, "frozen-gap", message))
            # The first one only: every later version would be out of step too.
            break
    return tuple(found)


def level_of(history: History, number: int) -> Level:
    """Return the level that a version was released at; for a new version, the level of the history."""
    entry = history.entry(number)
    named = (entry.level if entry else None) or history.level
    return Level(named) if named in tuple(Level) else Level(DEFAULT_LEVEL)


def as_versioned(versions: Sequence[SchemaVersion]) -> tuple[VersionedSchema, ...]:
    """Convert versions for `check_evolution`."""
    return tuple(VersionedSchema(version.number, version.text) for version in versions)


def append_version(
    history: History, text: str, *, on: date, level: str | None, alembic_revision: str | None
) -> History:
    """Return a history with one more version, a text of JSON, without checking or writing anything else."""
    # By the highest number of both, files and entries: a version whose file is missing keeps its number.
    number = max(history.numbers, default=0) + 1
    entry = HistoryEntry(
        number, fingerprint(text), fingerprint_without_docs(text), on.isoformat(), level, alembic_revision
    )
    return History((*history.versions, SchemaVersion.of(number, text)), (*history.entries, entry))


def to_history_json(history: History) -> str:
    """Return the text of `history.json`."""
    return json.dumps({"versions": [entry._asdict() for entry in history.entries]}, indent=2) + "\n"


def _check_version(history: History, number: int) -> Iterator[Finding]:
    version, entry = history.version(number), history.entry(number)
    entries = sum(each.number == number for each in history.entries)
    if entries > 1:
        yield _finding(history, number, "frozen-twice", f"Version {number} has {entries} entries in {HISTORY_FILE}.")
    if version is None:
        message = (
            f"Version {number} is in {HISTORY_FILE}, but its file is missing: its records are unreadable without it."
        )
        yield _finding(history, number, "frozen-missing", message)
    # Before the fingerprints: they can only be compared if both are there.
    elif entry is None:
        message = f"Version {number} is not in {HISTORY_FILE}: it may be unchecked, or changed since its release."
        yield _finding(history, number, "frozen-unrecorded", message)
    elif version.sha256 != entry.sha256:
        # The history also has the fingerprint without docs, since a change of docs is harmless to readers.
        if fingerprint_without_docs(version.text) == entry.sha256_without_docs:
            rule, where = (
                "frozen-docs-changed",
                "docs alone: readers are not affected, but registries keep the old text",
            )
        else:
            rule, where = "frozen-changed", "more than docs: its records were written with the original schema"
        message = f"Version {number} was changed after its release, in {where}."
        yield _finding(history, number, rule, message, (entry.sha256, version.sha256))
    if entry and entry.level not in (None, *Level):
        yield _finding(history, number, "frozen-level", f"Version {number} has an unknown level: {entry.level}.")


def _finding(history: History, number: int, rule: str, message: str, changed: tuple[str, str] = ("", "")) -> Finding:
    old, new = (sha256[:12] for sha256 in changed)
    fix = FIXES[rule].format(file=file_name(number), next=file_name(max(history.numbers) + 1))
    return Finding(rule, Severity.ERROR, file_name(number), message, fix, old, new, against=number)


_MAX_WIDTH: Final = 110
"""Characters of a type that is written on one line."""

_IGNORED: Final = ("doc", "aliases", "order")
"""Attributes that readers ignore."""

_find_fields = re.compile(r'"fields"\s*:\s*\[').search
_skip_separators = re.compile(r"[\s,]*").match
_attributes = re.compile(r"^ {8}(\w+): (.*(?:\n {9,}.*)*)", re.MULTILINE)


def draft_schema(released: str, declaration: Declaration) -> str:
    """
    Return the schema of a declaration as the next version: the released text, except for fields that differ.

    Docs of new fields are those of the class's docstring.

    Raises:
        ValueError: the released text is not a record's schema in JSON.
    """
    # By place: only the text of fields that differ is replaced, so that a reviewer sees the change and nothing else.
    spans = _field_spans(released)
    old = {each["name"]: (each, released[start:end]) for each, start, end in spans}
    docs = docs_of(declaration.record)
    # Filled from field to field: a named type is written out at its first use, and by its name after that.
    defined: set[str] = {str(json.loads(released)["name"])}
    texts = []
    for field in declaration.fields:
        new = field_schema(field.member, defined)
        before, text = old.get(field.name, (None, ""))
        if before is None and field.name in docs:
            new["doc"] = docs[field.name]
        if before is None or without(before, *_IGNORED) != new:
            parts = (
                f"      {json.dumps(key)}: {_format_value(value)}" for key, value in _with_docs(new, before).items()
            )
            text = "{\n" + ",\n".join(parts) + "\n    }"
        texts.append(text)
    first, last = spans[0][1], spans[-1][2]
    return released[:first] + ",\n    ".join(texts) + released[last:]


def docs_of(record: type) -> dict[str, str]:
    """
    Return the descriptions of a record's fields, from the section "Attributes" of its docstring.

    >>> from tradepipe.trade.model import Trade
    >>> docs_of(Trade)["version"]
    'Number of the version, from 1 to 2147483647.'
    """
    _, _, section = inspect.cleandoc(record.__doc__ or "").partition("Attributes:\n")
    found = _attributes.findall(indent(section, "    "))
    return {name: text[:1].upper() + " ".join(text.split())[1:] for name, text in found}


def _field_spans(text: str) -> list[tuple[dict[str, Any], int, int]]:
    """Return each field of a record's schema with the place of its text."""
    begin = _find_fields(text)
    if begin is None:
        raise ValueError("the released schema is not a record")
    found: list[tuple[dict[str, Any], int, int]] = []
    decoder, at = json.JSONDecoder(), begin.end()
    while True:
        separators = _skip_separators(text, at)
        at = separators.end() if separators else at
        if text[at] == "]":
            return found
        field, end = decoder.raw_decode(text, at)
        found.append((field, at, end))
        at = end


def _with_docs(new: Any, old: Any) -> Any:
    """Return a field with the docs and aliases that the released one has at the same places."""
    if isinstance(new, list):
        # Not by position: a branch may have been added before it.
        named = (
            {_name_of(each): each for each in reversed(old) if isinstance(each, dict)} if isinstance(old, list) else {}
        )
        return [_with_docs(each, named.get(_name_of(each))) for each in new]
    if isinstance(new, dict) and isinstance(old, Mapping):
        kept = {key: old[key] for key in _IGNORED if key in old}
        return {key: each if key == "default" else _with_docs(each, old.get(key)) for key, each in new.items()} | kept
    return new


def _name_of(branch: Any) -> str:
    """Return the name or type of a union's branch."""
    return str(branch.get("name", branch.get("type")) if isinstance(branch, dict) else branch)


def _format_value(value: Any) -> str:
    line = json.dumps(value, ensure_ascii=False)
    if len(line) <= _MAX_WIDTH or not isinstance(value, (dict, list)):
        return line
    return indent(json.dumps(value, indent=2, ensure_ascii=False), " " * 6).lstrip()
