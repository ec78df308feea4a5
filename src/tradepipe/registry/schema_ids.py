"""Schema ids of one subject, as the registry knows them."""

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from tradepipe.errors import RegistryUnavailable, SchemaIdNotYetKnown, SchemaNotRegistered, UndecodableRecord
from tradepipe.registry.client import SchemaDefinition, SchemaRegistry
from tradepipe.trade.record import Code, Violation

REPLICA_LAG_SECONDS: float = 5.0
"""Seconds after which an unknown id is looked up again: a registry replica may lag behind the primary."""

STARTUP_SECONDS: float = 15.0
"""Seconds for which a missing subject is looked up again: a registry may answer before it has read its data."""

UNKNOWN_TTL_SECONDS: Final = 60.0
"""Seconds for which a confirmed unknown id is not looked up again."""

MAX_NEW_PER_MINUTE: Final = 5
"""New unknown ids per minute that are confirmed by a second lookup. More are likely random bytes, and the wait for the
second lookup holds their partition."""

MAX_UNKNOWN_IDS: Final = 10_000
"""Number of ids remembered; the oldest are forgotten first."""

MAX_SINGLE_LOOKUPS: Final = 5
"""Ids that are looked up one by one; for more, the subject's versions are read instead."""

FAILED_LOOKUP_BURST: Final = 20
"""Lookups without result that are made at once; after that, one per `FAILED_LOOKUP_INTERVAL_SECONDS`."""

FAILED_LOOKUP_INTERVAL_SECONDS: Final = 0.5
"""A writer of random ids must not load a registry that others use too, nor hold its partition for long."""

MAX_SUBJECT_SHOWN: Final = 100
"""Characters of the name of another subject that are shown."""

T = TypeVar("T")


class SubjectCheck:
    """
    Distinguish a registry that lacks a subject from one that has not read its data yet.

    Karapace answers as soon as its port is open, at first as if nothing had ever
    been registered. So a subject without versions counts as an outage for
    `STARTUP_SECONDS`, and as missing after that.
    """

    def __init__(self, registry: SchemaRegistry, subject: str) -> None:
        self._registry = registry
        self._subject = subject
        self._first_missing_at: float | None = None

    def __call__(self) -> None:
        """
        Return if the subject has versions.

        Raises:
            RegistryUnavailable: it has none; the registry may be starting.

            SchemaNotRegistered: it still has none after `STARTUP_SECONDS`.

            ConfigurationError: see `SchemaRegistry`.
        """
        if self._registry.versions(self._subject):
            self._first_missing_at = None
            return
        now = time.monotonic()
        if self._first_missing_at is None:
            self._first_missing_at = now
        problem = (
            f"the registry at {self._registry.url} has no subject {self._subject}, or does not show it to this user"
        )
        command = f"tradepipe schema register --subject {self._subject}"
        if now - self._first_missing_at < STARTUP_SECONDS:
            raise RegistryUnavailable(
                f"{problem}; is it starting? Otherwise register the schema: {command}", is_answering=True
            )
        raise SchemaNotRegistered(f"{problem}; register the schema: {command}")


class SubjectIds:
    """
    Lookup of schema ids among the versions of one subject.

    An unknown id is confirmed by a second lookup, `REPLICA_LAG_SECONDS` after the
    first. Ids that are needed together share both lookups. After that, one failed
    lookup is enough each time the entry of an id expires.

    Args:
        clock: monotonic clock, in seconds.
    """

    def __init__(self, registry: SchemaRegistry, subject: str, clock: Callable[[], float]) -> None:
        self._registry = registry
        self._subject = subject
        self._clock = clock
        self._pending: dict[int, tuple[float, str]] = {}
        self._confirmed: dict[int, tuple[float, str]] = {}
        self._newcomers: deque[float] = deque(maxlen=MAX_NEW_PER_MINUTE + 1)
        self._budget = float(FAILED_LOOKUP_BURST)
        self._budget_at = clock()
        self._ids_by_version: dict[int, int] = {}
        self._versions_read_at = clock()

    def find(self, schema_id: int, needed_next: Iterable[int] = ()) -> SchemaDefinition:
        """
        Return the definition of an id that is a version of the subject.

        Args:
            needed_next: more ids, whose lookup is shared if any of them is unknown too.

        Raises:
            UndecodableRecord: the id is confirmed to be unknown.

            SchemaIdNotYetKnown: a lookup has failed, and the next one is not yet due.

            RegistryUnavailable, ConfigurationError: see `SchemaRegistry`.
        """
        now = self._clock()
        self._check_due(schema_id, now)
        earned = (now - self._budget_at) / FAILED_LOOKUP_INTERVAL_SECONDS
        self._budget, self._budget_at = min(float(FAILED_LOOKUP_BURST), self._budget + earned), now
        if self._budget < 1:
            wait = (1 - self._budget) * FAILED_LOOKUP_INTERVAL_SECONDS
            problem = f"schema id {schema_id} was not looked up yet, because many unknown ids were looked up before it"
            raise SchemaIdNotYetKnown(schema_id, wait, problem)
        # A set would do, but for its order: the first lookup is that of `schema_id`.
        wanted = list(dict.fromkeys([schema_id, *(each for each in needed_next if self._is_due(each, now))]))
        # One by one while ids are rarely unknown: that also shows which subject an id belongs to.
        is_rare = len(wanted) <= MAX_SINGLE_LOOKUPS and self._budget > FAILED_LOOKUP_BURST / 2
        found, missing = self._look_up_each(wanted) if is_rare else self._look_up_all(wanted)
        now = self._clock()
        self._record_missing(missing, now)
        if found is None:
            self._check_due(schema_id, now)
            raise AssertionError("an id that was not found is pending or confirmed")
        self._pending.pop(schema_id, None)
        self._confirmed.pop(schema_id, None)
        return found

    def _look_up_each(self, wanted: list[int]) -> tuple[SchemaDefinition | None, dict[int, str]]:
        """Look up the ids; return the definition of the first one, or else the unknown ids and their problems."""
        missing = {}
        for schema_id in wanted:
            subjects = {subject for subject, _ in self._registry.versions_of(schema_id)}
            if self._subject not in subjects:
                missing[schema_id] = self._problem(schema_id, subjects)
            elif schema_id == wanted[0]:
                definition = self._registry.definition(schema_id)
                if definition is not None:
                    return definition, {}
                missing[schema_id] = self._problem(schema_id, set())
        self._read_version_numbers(wanted[0])
        return None, missing

    def _look_up_all(self, wanted: list[int]) -> tuple[SchemaDefinition | None, dict[int, str]]:
        """Look up many ids at once in the list of the subject's versions."""
        known = set(wanted)
        # An id that an earlier lookup has listed says nothing about the other ids: they may be newer.
        if wanted[0] not in self._ids_by_version.values():
            numbers = self._read_version_numbers(wanted[0])
            now = self._clock()
            # A subject that was permanently deleted and registered again has other ids under the same version numbers.
            if now - self._versions_read_at >= UNKNOWN_TTL_SECONDS or not self._ids_by_version.keys() <= set(numbers):
                self._ids_by_version.clear()
            if not self._ids_by_version:
                self._versions_read_at = now
            # Only versions that are new are queried, one by one.
            for number in numbers:
                if number not in self._ids_by_version:
                    version = self._registry.version(self._subject, number, deleted=True)
                    if version is not None:
                        self._ids_by_version[number] = version.schema_id
            known = set(self._ids_by_version.values())
        missing = {
            each: f"schema id {each} is not a version of subject {self._subject}"
            for each in wanted
            if each not in known
        }
        found = self._registry.definition(wanted[0]) if wanted[0] in known else None
        if wanted[0] in known and found is None:
            missing[wanted[0]] = self._problem(wanted[0], set())
        return found, missing

    def _read_version_numbers(self, schema_id: int) -> list[int]:
        """Return the subject's version numbers; without any, a failed lookup says nothing about a schema id."""
        numbers = self._registry.versions(self._subject, deleted=True)
        if not numbers:
            raise RegistryUnavailable(
                f"the registry at {self._registry.url} knows neither schema id {schema_id} nor subject "
                f"{self._subject}; is it starting?",
                is_answering=True,
            )
        return numbers

    def _record_missing(self, missing: dict[int, str], now: float) -> None:
        """Record ids that were looked up and not found."""
        if not missing:
            return
        # One for all ids that were looked up together: the budget limits requests, not ids.
        self._budget -= 1
        new = sum(1 for each in missing if each not in self._pending and each not in self._confirmed)
        self._newcomers.extend([now] * min(new, MAX_NEW_PER_MINUTE + 1))
        too_many = new > 0 and len(self._newcomers) > MAX_NEW_PER_MINUTE and now - self._newcomers[0] < 60.0
        for schema_id, problem in missing.items():
            if schema_id in self._pending or schema_id in self._confirmed or too_many:
                self._pending.pop(schema_id, None)
                self._confirmed.pop(schema_id, None)
                _remember(self._confirmed, schema_id, (now + UNKNOWN_TTL_SECONDS, problem))
            else:
                _remember(self._pending, schema_id, (now, problem))

    def _is_due(self, schema_id: int, now: float) -> bool:
        """Return whether an id is due for a lookup."""
        if schema_id in self._confirmed:
            return now >= self._confirmed[schema_id][0]
        return schema_id not in self._pending or now >= self._pending[schema_id][0] + REPLICA_LAG_SECONDS

    def _check_due(self, schema_id: int, now: float) -> None:
        if self._is_due(schema_id, now):
            return
        if schema_id in self._confirmed:
            raise _undecodable(schema_id, self._confirmed[schema_id][1])
        first_at, problem = self._pending[schema_id]
        raise SchemaIdNotYetKnown(schema_id, first_at + REPLICA_LAG_SECONDS - now, problem)

    def _problem(self, schema_id: int, subjects: set[str]) -> str:
        if not subjects:
            return f"the registry does not know schema id {schema_id}"
        # Anyone who may register a schema chooses a subject, and this text is stored with each record.
        others = ", ".join(name[:MAX_SUBJECT_SHOWN] for name in sorted(subjects)[:3])
        return f"schema id {schema_id} is not a version of subject {self._subject}, but of {others}"


def _remember(memory: dict[int, T], schema_id: int, entry: T) -> None:
    memory[schema_id] = entry
    if len(memory) > MAX_UNKNOWN_IDS:
        del memory[next(iter(memory))]


def _undecodable(schema_id: int, problem: str) -> UndecodableRecord:
    return UndecodableRecord(Violation(Code.UNKNOWN_SCHEMA, problem), schema_id)
