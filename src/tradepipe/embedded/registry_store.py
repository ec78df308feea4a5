"""Contents of the embedded registry: subjects, their versions, schema ids and compatibility levels."""

import json
import threading
from collections.abc import Sequence
from typing import Final, NamedTuple

from tradepipe.evolution.compatibility import Level, check_schema
from tradepipe.evolution.compatibility_rules import VersionedSchema, structural_incompatibilities
from tradepipe.evolution.findings import Finding

MAX_VERSION: Final = 2**31 - 1


class RegistryError(Exception):
    """An error response, with an HTTP status and one of Confluent's error codes."""

    def __init__(self, status: int, code: int, message: str) -> None:
        self.status = status
        self.code = code
        self.message = message
        super().__init__(message)


class StoredVersion(NamedTuple):
    """One version of one subject; `deleted` is True after a soft delete."""

    subject: str
    number: int
    schema_id: int
    schema: str
    deleted: bool = False


class RegistryStore:
    """
    The registry's memory; each call is atomic.

    Ids count from 1 and belong to the content: a schema has one id under all
    subjects, regardless of white space and the order of its keys. A delete is soft
    at first, and permanent if it is repeated with `permanent`, as in Confluent's
    registry.
    """

    def __init__(self) -> None:
        # Reentrant: methods call each other, and each is atomic also alone.
        self._lock = threading.RLock()
        self._schemas: dict[int, str] = {}
        self._ids: dict[str, int] = {}
        self._versions: dict[str, list[StoredVersion]] = {}
        self._levels: dict[str, Level] = {}
        self.level = Level.BACKWARD

    def subjects(self, *, deleted: bool) -> list[str]:
        """Return the names of the subjects with versions; with `deleted`, soft-deleted versions count too."""
        with self._lock:
            return sorted(name for name in self._versions if self._visible(name, deleted=deleted))

    def all_versions(self, *, deleted: bool) -> list[StoredVersion]:
        """Return the versions of all subjects, by subject and number."""
        with self._lock:
            names = self.subjects(deleted=deleted)
            return [version for name in names for version in self._visible(name, deleted=deleted)]

    def register(self, subject: str, text: str) -> StoredVersion:
        """Return the schema's version under the subject; add one if it has none and is compatible."""
        schema = _parse(text)
        with self._lock:
            known = self._find(subject, schema)
            if known is not None:
                return known
            level, visible = self.level_of(subject, default=True), self._visible(subject)
            if found := _incompatibilities(schema, visible, level):
                reasons = "; ".join(f"version {each.against}: {each.path}: {each.message}" for each in found)
                raise RegistryError(
                    409, 409, f"Schema being registered is incompatible with an earlier schema ({level}): {reasons}"
                )
            versions = self._versions.setdefault(subject, [])
            number = versions[-1].number + 1 if versions else 1
            schema_id = self._ids.setdefault(_identity(schema), len(self._ids) + 1)
            self._schemas.setdefault(schema_id, schema)
            version = StoredVersion(subject, number, schema_id, schema)
            versions.append(version)
            return version

    def look_up(self, subject: str, text: str, *, deleted: bool) -> StoredVersion:
        """Return the schema's version under the subject."""
        schema = _parse(text)
        with self._lock:
            self.versions(subject, deleted=deleted)
            known = self._find(subject, schema, deleted=deleted)
        if known is None:
            raise RegistryError(404, 40403, "Schema not found")
        return known

    def versions(self, subject: str, *, deleted: bool = False) -> Sequence[StoredVersion]:
        """Return the versions of a subject, oldest first; with `deleted`, including the soft-deleted ones."""
        with self._lock:
            found = self._visible(subject, deleted=deleted)
        if not found:
            raise RegistryError(404, 40401, f"Subject '{subject}' not found.")
        return found

    def version(self, subject: str, number: str, *, deleted: bool = False) -> StoredVersion:
        """Return one version, by its number, or the last one by `latest` or -1."""
        is_latest = number in ("latest", "-1")
        if not is_latest and not (number.isascii() and number.isdigit() and 1 <= int(number) <= MAX_VERSION):
            raise RegistryError(422, 42202, f"The specified version '{number}' is not a valid version id")
        versions = self.versions(subject, deleted=deleted)
        for version in versions[-1:] if is_latest else versions:
            if is_latest or version.number == int(number):
                return version
        raise RegistryError(404, 40402, f"Version {number} not found.")

    def delete_subject(self, subject: str, *, permanent: bool) -> list[int]:
        """
        Delete the versions of a subject, and return their numbers.

        The subject keeps its level. After a soft delete, its schemas keep their ids,
        and versions that are added later continue the numbers.
        """
        with self._lock:
            versions = self.versions(subject, deleted=True)
            remaining = self._visible(subject)
            if permanent and remaining:
                raise RegistryError(
                    404, 40405, f"Subject '{subject}' was not deleted first before being permanently deleted"
                )
            if not permanent and not remaining:
                raise RegistryError(
                    404, 40404, f"Subject '{subject}' was soft deleted. Set permanent=true to delete permanently"
                )
            if permanent:
                del self._versions[subject]
                return [version.number for version in versions]
            self._versions[subject] = [version._replace(deleted=True) for version in versions]
            return [version.number for version in remaining]

    def delete_version(self, subject: str, number: str, *, permanent: bool) -> int:
        """Delete one version of a subject, and return its number."""
        with self._lock:
            version = self.version(subject, number, deleted=permanent or number not in ("latest", "-1"))
            name = f"Subject '{subject}' Version {version.number}"
            if permanent and not version.deleted:
                raise RegistryError(404, 40407, f"{name} was not deleted first before being permanently deleted")
            if not permanent and version.deleted:
                raise RegistryError(404, 40406, f"{name} was soft deleted. Set permanent=true to delete permanently")
            others = [each for each in self._versions[subject] if each is not version]
            kept = others if permanent else sorted([*others, version._replace(deleted=True)], key=lambda v: v.number)
            if kept:
                self._versions[subject] = kept
            else:
                del self._versions[subject]
            return version.number

    def schema(self, schema_id: str) -> str:
        """Return the schema of an id; permanently deleted schemas have none."""
        with self._lock:
            schema = self._schemas.get(int(schema_id)) if schema_id.isascii() and schema_id.isdigit() else None
            # The id stays with the content, so a schema that is registered again after a permanent delete gets it back.
            if schema is None or not any(each.schema == schema for each in self.all_versions(deleted=True)):
                raise RegistryError(404, 40403, f"Schema {schema_id} not found")
            return schema

    def versions_of(self, schema_id: str, *, deleted: bool) -> list[StoredVersion]:
        """Return the versions with an id, by subject."""
        with self._lock:
            wanted = self.schema(schema_id)
            return [version for version in self.all_versions(deleted=deleted) if version.schema == wanted]

    def level_of(self, subject: str, *, default: bool = False) -> Level:
        """Return the level that was set for a subject or, with `default`, else that of all subjects."""
        level = self._levels.get(subject) or (self.level if default else None)
        if level is None:
            message = f"Subject '{subject}' does not have subject-level compatibility configured"
            raise RegistryError(404, 40408, message)
        return level

    def set_level(self, subject: str | None, name: object) -> Level:
        """Set the level of a subject, or the default of all subjects."""
        try:
            level = Level(str(name))
        except ValueError:
            raise RegistryError(422, 42203, f"Invalid compatibility level: {name}") from None
        if subject is None:
            self.level = level
        else:
            self._levels[subject] = level
        return level

    def delete_level(self, subject: str) -> Level:
        """Remove a subject's own level, and return it."""
        level = self.level_of(subject)
        self._levels.pop(subject, None)
        return level

    def incompatibilities(self, subject: str, text: str, number: str | None) -> tuple[Finding, ...]:
        """
        Return what breaks if the schema follows the given version.

        As in Confluent's registry, one version is checked at the subject's level
        without looking further back; None checks as `register` does.
        """
        schema = _parse(text)
        with self._lock:
            versions = self.versions(subject) if number is None else [self.version(subject, number)]
            return _incompatibilities(schema, versions, self.level_of(subject, default=True))

    def _visible(self, subject: str, *, deleted: bool = False) -> list[StoredVersion]:
        return [version for version in self._versions.get(subject, ()) if deleted or not version.deleted]

    def _find(self, subject: str, schema: str, *, deleted: bool = False) -> StoredVersion | None:
        wanted = _identity(schema)
        visible = self._visible(subject, deleted=deleted)
        return next((version for version in visible if _identity(version.schema) == wanted), None)


def _incompatibilities(schema: str, versions: Sequence[StoredVersion], level: Level) -> tuple[Finding, ...]:
    return structural_incompatibilities(schema, [VersionedSchema(each.number, each.schema) for each in versions], level)


def _parse(text: str) -> str:
    """Return a schema without white space; refuse what is not a schema."""
    try:
        check_schema(text)
        return json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False)
    except (ValueError, RecursionError) as error:
        raise RegistryError(422, 42201, f"Invalid schema: {error}") from error


def _identity(schema: str) -> str:
    # White space and the order of keys do not matter; docs and defaults do, unlike in Avro's canonical form.
    return json.dumps(json.loads(schema), sort_keys=True)
