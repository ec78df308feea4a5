"""The released schema versions, their history file and their golden records."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, Final, NamedTuple, Self

from tradepipe.trade.model import Side, Trade

PACKAGE: Final = "tradepipe.schemas.trade"
"""Where the versions lie, as `v001.avsc`, `v002.avsc` and so on, with `history.json` beside them."""

HISTORY_FILE: Final = "history.json"
"""The file that says of each version what it was when it was frozen."""

DEFAULT_LEVEL: Final = "FULL_TRANSITIVE"
"""The level of a history that names none."""

_version_of = re.compile(r"v(\d{3,})\.avsc").fullmatch


class SchemaVersion(NamedTuple):
    """
    One frozen version.

    Attributes:
        number: counts from 1, without gaps.

        text: the file as it is shipped and registered.

        schema: the text as JSON; not to be changed.

        sha256: the `fingerprint` of the text.
    """

    number: int
    text: str
    schema: dict[str, Any]
    sha256: str

    @classmethod
    def of(cls, number: int, text: str) -> Self:
        """A version by its text; raises ValueError if that is not JSON."""
        return cls(number, text, json.loads(text), fingerprint(text))


class HistoryEntry(NamedTuple):
    """
    What `history.json` says of one version.

    Attributes:
        number: the version's.

        sha256: its `fingerprint`, and `sha256_without_docs` that of what readers go by.

        date: the day on which it was frozen, as in 2025-06-01.

        level: the compatibility level it was checked at; None if nobody knows.

        alembic_revision: the database revision its records need; None where there is no database.
    """

    number: int
    sha256: str
    sha256_without_docs: str
    date: str
    level: str | None
    alembic_revision: str | None


class History(NamedTuple):
    """
    A folder of frozen versions: the files, and what was recorded of each.

    Nothing is compared yet: `frozen.findings` tells where the two disagree.
    """

    versions: tuple[SchemaVersion, ...]
    entries: tuple[HistoryEntry, ...]

    @classmethod
    def load(cls, folder: Traversable) -> Self:
        """
        The history in a folder; an empty one has none.

        Raises:
            ValueError: a file is not what it should be; the message names it.
        """
        record = folder / HISTORY_FILE
        return cls(_versions(folder), _entries(record.read_text("utf-8")) if record.is_file() else ())

    @classmethod
    def packaged(cls) -> Self:
        """The history of the trade schema."""
        return cls.load(resources.files(PACKAGE))

    @property
    def level(self) -> str:
        """The level that the next version is checked at: that of the newest."""
        return next((entry.level for entry in reversed(self.entries) if entry.level), DEFAULT_LEVEL)

    @property
    def numbers(self) -> frozenset[int]:
        """The numbers of all versions that are there or were recorded."""
        return frozenset({version.number for version in self.versions} | {entry.number for entry in self.entries})

    def entry(self, number: int) -> HistoryEntry | None:
        """What was recorded of a version."""
        return next((entry for entry in self.entries if entry.number == number), None)

    def version(self, number: int) -> SchemaVersion | None:
        """A version by its number."""
        return next((version for version in self.versions if version.number == number), None)


@cache
def versions() -> tuple[SchemaVersion, ...]:
    """All frozen versions of the trade schema, the oldest first."""
    return _versions(resources.files(PACKAGE))


def current() -> SchemaVersion:
    """The version this build writes, and decodes every other one into."""
    return versions()[-1]


def file_name(number: int) -> str:
    """The name of a version's file."""
    return f"v{number:03}.avsc"


def fingerprint(text: str) -> str:
    """
    The SHA-256 of a schema, whatever its layout.

    Everything counts but white space and the order of JSON's keys: Avro's own
    parsing canonical form drops logical types, defaults and docs, so two
    schemas that differ in the meaning of their bytes would share it.

    Raises:
        ValueError: the text is not JSON.
    """
    return _sha256(json.loads(text))


def fingerprint_without_docs(text: str) -> str:
    """
    The same without docs: of all that readers and registries go by.

    Raises:
        ValueError: the text is not JSON.
    """
    return _sha256(_without_docs(json.loads(text)))


def _sha256(schema: Any) -> str:
    normalised = json.dumps(schema, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(normalised.encode()).hexdigest()


def _without_docs(node: Any) -> Any:
    """A default is left whole: what is called doc there is data."""
    if isinstance(node, list):
        return [_without_docs(item) for item in node]
    if isinstance(node, dict):
        return {key: each if key == "default" else _without_docs(each) for key, each in node.items() if key != "doc"}
    return node


def _versions(folder: Traversable) -> tuple[SchemaVersion, ...]:
    files = {int(match[1]): file for file in folder.iterdir() if (match := _version_of(file.name))}
    return tuple(_read(number, files[number]) for number in sorted(files))


def _read(number: int, file: Traversable) -> SchemaVersion:
    try:
        return SchemaVersion.of(number, file.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file.name} is not JSON: {error}") from error


def _entries(text: str) -> tuple[HistoryEntry, ...]:
    try:
        return tuple(
            sorted((HistoryEntry(**each) for each in json.loads(text)["versions"]), key=lambda each: each.number)
        )
    except (ValueError, RecursionError, TypeError, KeyError) as error:
        why = f"its versions are a list of {', '.join(HistoryEntry._fields)}"
        if isinstance(error, (ValueError, RecursionError)):
            why = f"it is no JSON: {error}"
        raise ValueError(
            f"{HISTORY_FILE} is not as `schema freeze` writes it ({why}): restore it from version control"
        ) from error


_FROM_JSON: Final[Mapping[str, Callable[[str], Any]]] = {
    "maturity_date": date.fromisoformat,
    "created_at": datetime.fromisoformat,
    "side": Side,
    "notional": Decimal,
}
"""The fields whose values are not JSON's own."""


class GoldenRecord(NamedTuple):
    """One record: the number of the version that wrote it, its body, and what it says as today's `Trade`."""

    version: int
    body: bytes
    trade: Trade


def golden_records() -> tuple[GoldenRecord, ...]:
    """
    The golden record of every frozen version, the oldest first.

    Raises:
        FileNotFoundError: a version has none.
    """
    folder = resources.files(PACKAGE) / "golden"
    return tuple(
        GoldenRecord(
            version.number,
            (folder / f"v{version.number:03}.bin").read_bytes(),
            _trade(json.loads((folder / f"v{version.number:03}.json").read_text("utf-8"))),
        )
        for version in versions()
    )


def _trade(values: Mapping[str, Any]) -> Trade:
    return Trade(**{name: _value(name, value) for name, value in values.items()})


def _value(name: str, value: Any) -> Any:
    return _FROM_JSON[name](value) if name in _FROM_JSON and value is not None else value
