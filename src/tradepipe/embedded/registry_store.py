"""The store of a schema registry: subjects, their versions, ids and compatibility levels."""

import json
import threading
from collections.abc import Sequence
from typing import Final, NamedTuple

from tradepipe.evolution.compatibility import Incompatibility, Level, parse, structural_incompatibilities

MAX_VERSION: Final = 2**31 - 1


class RegistryError(Exception):
    """An error answer, with Confluent's error code."""

    def __init__(self, status: int, code: int, message: str) -> None:
        self.status = status
        self.code = code
        self.message = message
        super().__init__(message)


class StoredVersion(NamedTuple):
    """One version of one subject."""

    subject: str
    number: int
    schema_id: int
    schema: str


class RegistryStore:
    """
    The subjects and schemas of a registry; each call is atomic.

    Ids count from 1. A schema has the same id under every subject, regardless of
    white space and the order of its keys.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._schemas: dict[int, str] = {}
        self._ids: dict[str, int] = {}
        self._versions: dict[str, list[StoredVersion]] = {}
        self._counts: dict[str, int] = {}
        self._levels: dict[str, Level] = {}
        self.level = Level.BACKWARD

    def names(self) -> list[str]:
        """Return the subjects, sorted."""
        return sorted(self._versions)

    def register(self, subject: str, text: str) -> StoredVersion:
        """Return the schema's version under the subject; register it, if it is new and compatible."""
        schema = _parse(text)
        with self._lock:
            known = self._find(subject, schema)
            if known is not None:
                return known
            history = self._versions.get(subject, [])
            self._admit(subject, schema, history)
            self._counts[subject] = number = self._counts.get(subject, 0) + 1
            version = StoredVersion(subject, number, self._id_of(schema), schema)
            self._versions[subject] = [*history, version]
            return version

    def look_up(self, subject: str, text: str) -> StoredVersion:
        """Return the schema's version under the subject, if it is registered."""
        schema = _parse(text)
        with self._lock:
            self.versions(subject)
            known = self._find(subject, schema)
        if known is None:
            raise RegistryError(404, 40403, "Schema not found")
        return known

    def versions(self, subject: str) -> Sequence[StoredVersion]:
        """Return the versions of a subject, oldest first."""
        try:
            return self._versions[subject]
        except KeyError:
            raise RegistryError(404, 40401, f"Subject '{subject}' not found.") from None

    def version(self, subject: str, number: str) -> StoredVersion:
        """Return a version, by its number or as `latest`."""
        versions = self.versions(subject)
        if number == "latest":
            return versions[-1]
        wanted = _version_number(number)
        for version in versions:
            if version.number == wanted:
                return version
        raise RegistryError(404, 40402, f"Version {number} not found.")

    def delete(self, subject: str) -> list[int]:
        """
        Delete a subject's versions and return their numbers.

        The schemas keep their ids and the subject keeps its level; if it is
        registered again, its version numbers continue.
        """
        with self._lock:
            numbers = [version.number for version in self.versions(subject)]
            del self._versions[subject]
            return numbers

    def schema(self, schema_id: str) -> str:
        """Return the schema of an id."""
        try:
            return self._schemas[int(schema_id)]
        except (KeyError, ValueError):
            raise RegistryError(404, 40403, f"Schema {schema_id} not found") from None

    def uses(self, schema_id: str) -> list[StoredVersion]:
        """Return the versions that have the id, by subject."""
        wanted = self.schema(schema_id)
        with self._lock:
            return [version for name in self.names() for version in self._versions[name] if version.schema == wanted]

    def level_of(self, subject: str) -> Level | None:
        """Return the subject's level, if it has one."""
        return self._levels.get(subject)

    def set_level(self, subject: str | None, name: object) -> Level:
        """Set a subject's level, or the global one."""
        try:
            level = Level(str(name))
        except ValueError:
            raise RegistryError(422, 42203, f"Invalid compatibility level: {name}") from None
        if subject is None:
            self.level = level
        else:
            self._levels[subject] = level
        return level

    def forget_level(self, subject: str) -> Level:
        """Remove a subject's level and return it."""
        level = self._levels.pop(subject, None)
        if level is None:
            raise invalid_level(subject)
        return level

    def findings(self, subject: str, text: str, number: str | None) -> tuple[Incompatibility, ...]:
        """
        Return what breaks if the schema follows the given version.

        As in Confluent's registry, only that version is checked, at the subject's
        level; None checks as registering would.
        """
        schema = _parse(text)
        with self._lock:
            versions = self.versions(subject) if number is None else [self.version(subject, number)]
            return structural_incompatibilities(
                schema, [version.schema for version in versions], self._effective_level(subject)
            )

    def _admit(self, subject: str, schema: str, history: Sequence[StoredVersion]) -> None:
        level = self._effective_level(subject)
        findings = structural_incompatibilities(schema, [version.schema for version in history], level)
        if findings:
            reasons = "; ".join(
                f"version {history[finding.against].number}, {finding.direction}: {finding.message}"
                for finding in findings
            )
            raise RegistryError(
                409, 409, f"Schema being registered is incompatible with an earlier schema ({level}): {reasons}"
            )

    def _effective_level(self, subject: str) -> Level:
        return self._levels.get(subject, self.level)

    def _find(self, subject: str, schema: str) -> StoredVersion | None:
        wanted = _identity(schema)
        for version in self._versions.get(subject, []):
            if _identity(version.schema) == wanted:
                return version
        return None

    def _id_of(self, schema: str) -> int:
        schema_id = self._ids.setdefault(_identity(schema), len(self._ids) + 1)
        self._schemas.setdefault(schema_id, schema)
        return schema_id


def invalid_level(subject: str) -> RegistryError:
    """Return the error for a subject that has no level."""
    return RegistryError(404, 40408, f"Subject '{subject}' does not have subject-level compatibility configured")


def _parse(text: str) -> str:
    """Return the schema without white space, if it is valid."""
    try:
        parse(text)
    except ValueError as error:
        raise RegistryError(422, 42201, f"Invalid schema: {error}") from error
    return json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False)


def _identity(schema: str) -> str:
    return json.dumps(json.loads(schema), sort_keys=True)


def _version_number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_VERSION:
        raise RegistryError(422, 42202, f"The specified version '{text}' is not a valid version id")
    return int(text)
