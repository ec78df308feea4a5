"""Released schema versions, their history file and their golden records."""

import hashlib
import json
import re
from decimal import Decimal
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from tradepipe.small_files import read_small_file
from tradepipe.trade.json_values import from_json, to_json
from tradepipe.trade.model import DECLARATION, Trade

PACKAGE: Final = "tradepipe.schemas.trade"
"""Package of the released versions, `v001.avsc`, `v002.avsc` and so on, and of `history.json`."""

HISTORY_FILE: Final = "history.json"
"""File that records the fingerprints of each version at its release."""

DEFAULT_LEVEL: Final = "FULL_TRANSITIVE"
"""Compatibility level of a history that does not name one."""

MAX_SCHEMA_BYTES: Final = 4 << 20
"""Size of a file of the history at most: a hundred times that of a large schema."""

_version_of = re.compile(r"v(\d{3,})\.avsc").fullmatch


class SchemaVersion(NamedTuple):
    """
    One released version.

    Attributes:
        schema: the parsed JSON; callers must not change it.

        sha256: `fingerprint` of the text.
    """

    number: int
    text: str
    schema: dict[str, Any]
    sha256: str

    @classmethod
    def of(cls, number: int, text: str) -> Self:
        """Parse the text of a version; raise ValueError if it is not JSON."""
        return cls(number, text, json.loads(text), fingerprint(text))


class HistoryEntry(NamedTuple):
    """
    Entry of `history.json` for one version.

    Attributes:
        sha256, sha256_without_docs: `fingerprint` of the schema, with and without its docs.

        date: day of the release, such as 2025-06-01.

        level: compatibility level of its check; None if unknown.

        alembic_revision: database revision that its records require; None without a database.
    """

    number: int
    sha256: str
    sha256_without_docs: str
    date: str
    level: str | None
    alembic_revision: str | None


class History(NamedTuple):
    """A folder of released versions: the files and their history entries, which `freeze.check_frozen` compares."""

    versions: tuple[SchemaVersion, ...]
    entries: tuple[HistoryEntry, ...]

    @classmethod
    def load(cls, folder: Traversable) -> Self:
        """Load the history of a folder, which may be empty; an invalid file is a ValueError that names it."""
        versions, record = _versions(folder), folder / HISTORY_FILE
        if not record.is_file():
            return cls(versions, ())
        try:
            entries = [HistoryEntry(**each) for each in json.loads(_read_text(record))["versions"]]
            return cls(versions, tuple(sorted(entries, key=lambda each: each.number)))
        except (ValueError, RecursionError, TypeError, KeyError) as error:
            reason = f"its versions must be a list of {', '.join(HistoryEntry._fields)}"
            if isinstance(error, (ValueError, RecursionError)):
                reason = f"it is not JSON: {error}"
            raise ValueError(
                f"{HISTORY_FILE} is not as `schema freeze` writes it ({reason}): restore it from version control"
            ) from error

    @classmethod
    def packaged(cls) -> Self:
        """Load the history of the trade schema."""
        return cls.load(resources.files(PACKAGE))

    @property
    def level(self) -> str:
        """Compatibility level of the next version: that of the newest entry with a level."""
        return next((entry.level for entry in reversed(self.entries) if entry.level), DEFAULT_LEVEL)

    @property
    def numbers(self) -> frozenset[int]:
        """Numbers of all versions that have a file or an entry."""
        return frozenset({version.number for version in self.versions} | {entry.number for entry in self.entries})

    def entry(self, number: int) -> HistoryEntry | None:
        """Return the entry of a version, or None."""
        return next((entry for entry in self.entries if entry.number == number), None)

    def version(self, number: int) -> SchemaVersion | None:
        """Return a version by its number, or None."""
        return next((version for version in self.versions if version.number == number), None)


@cache
def versions() -> tuple[SchemaVersion, ...]:
    """Return the released versions of the trade schema, oldest first."""
    return _versions(resources.files(PACKAGE))


def current() -> SchemaVersion:
    """Return the version that this build writes and decodes every other version into."""
    return versions()[-1]


def file_name(number: int) -> str:
    """Return the file name of a version."""
    return f"v{number:03}.avsc"


def fingerprint(text: str) -> str:
    """
    Return the SHA-256 of a schema, independent of white space and of the order of keys.

    Avro's Parsing Canonical Form is not used: it drops logical types, defaults
    and docs, so two schemas whose bytes differ in meaning can share it.

    Raises:
        ValueError: the text is not JSON.
    """
    return _sha256(json.loads(text))


def fingerprint_without_docs(text: str) -> str:
    """Return the `fingerprint` of a schema without its docs, which do not affect readers."""
    return _sha256(without(json.loads(text), "doc"))


def _sha256(schema: Any) -> str:
    normalised = json.dumps(schema, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(normalised.encode()).hexdigest()


def without(node: Any, *ignored: str) -> Any:
    """Return a schema's JSON without some of its attributes."""
    if isinstance(node, list):
        return [without(each, *ignored) for each in node]
    if isinstance(node, dict):
        # A default is not searched: a key "doc" in it is data.
        return {
            key: each if key == "default" else without(each, *ignored)
            for key, each in node.items()
            if key not in ignored
        }
    return node


def _versions(folder: Traversable) -> tuple[SchemaVersion, ...]:
    files = {int(match[1]): file for file in folder.iterdir() if (match := _version_of(file.name))}
    # By number: by name, v1000 would come before v999.
    return tuple(_read(number, files[number]) for number in sorted(files))


def _read(number: int, file: Traversable) -> SchemaVersion:
    try:
        return SchemaVersion.of(number, _read_text(file))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file.name} is not JSON: {error}") from error


def _read_text(file: Traversable) -> str:
    """Read a file of a directory that the user may have named, or of this package, which may be an archive."""
    return (read_small_file(file, MAX_SCHEMA_BYTES) if isinstance(file, Path) else file.read_bytes()).decode()


class GoldenRecord(NamedTuple):
    """A record of a released version: version number, encoded body, and its value as the current `Trade`."""

    version: int
    body: bytes
    trade: Trade


def golden_records() -> tuple[GoldenRecord, ...]:
    """Load the golden record of every released version, oldest first; each must have one."""
    return tuple(
        GoldenRecord(version.number, golden_file(version.number, "bin").read_bytes(), golden_trade(version.number))
        for version in versions()
    )


def golden_trade(number: int) -> Trade:
    """Return the trade of a version's golden record, as its JSON file describes it."""
    values = json.loads(golden_file(number, "json").read_text("utf-8"))
    types = DECLARATION.types
    fields: dict[str, Any] = {
        name: None if value is None else from_json(types[name], json.dumps(value)) for name, value in values.items()
    }
    return Trade(**fields)


def to_golden_json(trade: Trade) -> str:
    """Return the text of a golden record's JSON file; decimals are strings, so that no reader rounds them."""
    lines = []
    for field, value in zip(DECLARATION.fields, trade, strict=True):
        text = "null" if value is None else to_json(field.type, value)
        lines.append(f'  "{field.name}": ' + (f'"{text}"' if isinstance(value, Decimal) else text))
    return "{\n" + ",\n".join(lines) + "\n}\n"


def golden_file(number: int, suffix: str) -> Traversable:
    """Return a file of a version's golden record: "bin" is its body, "json" its trade."""
    return resources.files(PACKAGE) / "golden" / f"v{number:03}.{suffix}"
