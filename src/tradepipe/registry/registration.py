"""The frozen versions and a registry's subject: an explicit act, never part of producing."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from tradepipe.errors import IncompatibleSchema
from tradepipe.evolution.compatibility import Level, versions_to_check
from tradepipe.evolution.compatibility_rules import VersionedSchema, check_evolution
from tradepipe.evolution.findings import Finding, Severity, only_errors
from tradepipe.evolution.freeze import as_versioned
from tradepipe.evolution.history import DEFAULT_LEVEL, SchemaVersion, fingerprint, versions
from tradepipe.registry.client import RegisteredSchema, SchemaRegistry

REFUSED_RULE: Final = "registry-refuses"
NO_SCHEMA: Final = "registry-holds-no-schema"
"""The rules of findings that are the registry's own, or about what it holds."""


class RegisteredVersion(NamedTuple):
    """What registration found or did for one frozen version."""

    version: int
    schema_id: int
    is_new: bool


class Registration(NamedTuple):
    """What registration did: the level the subject has now, and each frozen version, the oldest first."""

    subject: str
    level: str
    versions: tuple[RegisteredVersion, ...]


class PlannedVersion(NamedTuple):
    """One frozen version: its id under the subject, None if it must be registered, and what stands against that."""

    version: SchemaVersion
    schema_id: int | None
    findings: tuple[Finding, ...]


class Plan(NamedTuple):
    """
    What registration would do; nothing was changed yet.

    Attributes:
        level: the level that the subject shall have.

        level_now: the one it has, None if none of its own.
    """

    subject: str
    level: str
    current_level: str | None
    versions: tuple[PlannedVersion, ...]

    @property
    def obstacles(self) -> tuple[tuple[SchemaVersion, Finding], ...]:
        """What keeps versions from being registered."""
        return tuple((each.version, finding) for each in self.versions for finding in only_errors(each.findings))


def register(registry: SchemaRegistry, subject: str = "trades-value", *, level: str = DEFAULT_LEVEL) -> Registration:
    """
    Register every frozen version that a subject lacks, and set the subject's compatibility level.

    Run again, it changes nothing.

    Raises:
        IncompatibleSchema: a version may not follow those before it or beside those that the subject holds.

        RegistryUnavailable, ConfigurationError: as the registry's methods.
    """
    return apply_plan(registry, plan(registry, subject, versions(), level=level))


def plan(
    registry: SchemaRegistry, subject: str, history: Sequence[SchemaVersion], *, level: str = DEFAULT_LEVEL
) -> Plan:
    """
    What registering a history (oldest first) under a subject would do.

    A version that the subject lacks is checked against the whole history before
    it, against what else the subject holds, and by the registry itself.

    Raises:
        RegistryUnavailable, ConfigurationError: as the registry's methods.
    """
    known = {version.number: registry.lookup(subject, version.text) for version in history}
    missing = [version for version in history if known[version.number] is None]
    others = _foreign_versions(registry, subject, history, set(known.values())) if missing else ()
    planned = []
    for index, version in enumerate(history):
        found: tuple[Finding, ...] = ()
        if version in missing:
            found = (*_check_plan(version, history[:index], level), *_check_against(version, others, level))
        if missing and version is missing[0] and not registry.check(subject, version.text):
            found += (_refusal_finding(registry, subject, version),)
        planned.append(PlannedVersion(version, known[version.number], found))
    return Plan(subject, level, registry.level(subject), tuple(planned))


def apply_plan(registry: SchemaRegistry, plan: Plan) -> Registration:
    """
    Do what was planned.

    The level is set between the first version and the second: some registries
    know no level of a subject that has no version, and none checks a version
    before it has a level.

    Raises:
        IncompatibleSchema: something stands against it, or the registry refuses a version.

        RegistryUnavailable, ConfigurationError: as the registry's methods.
    """
    for version, finding in plan.obstacles:
        raise _incompatible(plan.subject, version, f"{finding.message} (at {finding.path})")
    outcomes = []
    for planned in plan.versions:
        outcomes.append(_register(registry, plan.subject, planned))
        if len(outcomes) == 1 and plan.current_level != plan.level:
            registry.set_level(plan.subject, plan.level)
    return Registration(plan.subject, plan.level, tuple(outcomes))


def subject_versions(registry: SchemaRegistry, subject: str) -> tuple[RegisteredSchema, ...]:
    """All versions of a subject, the oldest first; none if there is no such subject."""
    numbers = registry.versions(subject)
    return tuple(version for number in numbers if (version := registry.version(subject, number)) is not None)


def content_hash(text: str) -> str:
    """The fingerprint of a registry's text; the text itself where it is no JSON, as a subject may hold."""
    try:
        return fingerprint(text)
    except (ValueError, RecursionError):
        return text


def _foreign_versions(
    registry: SchemaRegistry, subject: str, history: Sequence[SchemaVersion], known: set[int | None]
) -> tuple[RegisteredSchema, ...]:
    """What the subject holds that is none of the history's."""
    ours = {version.sha256 for version in history}
    return tuple(
        each
        for each in subject_versions(registry, subject)
        if each.schema_id not in known and content_hash(each.schema) not in ours
    )


def _check_plan(version: SchemaVersion, before: Sequence[SchemaVersion], level: str) -> tuple[Finding, ...]:
    return check_evolution(version.text, as_versioned(before), Level(level))


def _check_against(version: SchemaVersion, others: Sequence[RegisteredSchema], level: str) -> Iterator[Finding]:
    for other in versions_to_check(others, Level(level)):
        name = f"version {other.version} of subject {other.subject}"
        try:
            found = check_evolution(version.text, [VersionedSchema(other.version, other.schema)], Level(level))
        except ValueError:
            told = f"It would stand beside {name}, which is no Avro schema."
            yield Finding(
                NO_SCHEMA,
                Severity.ERROR,
                f"v{version.number:03}",
                told,
                "Take another subject, or delete that version.",
            )
        else:
            yield from (
                each._replace(against=None, message=f"{each.message} The other one is {name}.") for each in found
            )


def _refusal_finding(registry: SchemaRegistry, subject: str, version: SchemaVersion) -> Finding:
    return Finding(
        REFUSED_RULE,
        Severity.ERROR,
        f"v{version.number:03}",
        f"The registry at {registry.url} finds it incompatible with the latest version of subject {subject}.",
        "See what the subject holds by `schema drift`; `schema check` warns of what some registries alone refuse.",
    )


def _register(registry: SchemaRegistry, subject: str, planned: PlannedVersion) -> RegisteredVersion:
    if planned.schema_id is not None:
        return RegisteredVersion(planned.version.number, planned.schema_id, is_new=False)
    try:
        return RegisteredVersion(planned.version.number, registry.register(subject, planned.version.text), is_new=True)
    except IncompatibleSchema as error:
        raise _incompatible(subject, planned.version, str(error)) from error


def _incompatible(subject: str, version: SchemaVersion, why: str) -> IncompatibleSchema:
    return IncompatibleSchema(
        f"version {version.number} of the trade schema is not compatible with what subject {subject} holds: {why}"
    )
