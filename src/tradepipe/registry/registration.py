"""Registration of the frozen schema versions, as an explicit command."""

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
"""Rule of a finding: the registry itself rejects the version."""

NO_SCHEMA: Final = "registry-holds-no-schema"
"""Rule of a finding: the subject contains a text that is not an Avro schema."""


class RegisteredVersion(NamedTuple):
    """Registration result of one frozen version."""

    version: int
    schema_id: int
    is_new: bool


class Registration(NamedTuple):
    """Registration result: the subject's compatibility level and the frozen versions, oldest first."""

    subject: str
    level: str
    versions: tuple[RegisteredVersion, ...]


class PlannedVersion(NamedTuple):
    """A frozen version, its schema id (None if it must be registered) and the findings against registering it."""

    version: SchemaVersion
    schema_id: int | None
    findings: tuple[Finding, ...]


class Plan(NamedTuple):
    """
    The steps that registration would take.

    Attributes:
        level: the compatibility level to set.

        current_level: the subject's present level, or None if the registry's default applies.
    """

    subject: str
    level: str
    current_level: str | None
    versions: tuple[PlannedVersion, ...]

    @property
    def obstacles(self) -> tuple[tuple[SchemaVersion, Finding], ...]:
        """The errors that prevent versions from being registered."""
        return tuple((each.version, finding) for each in self.versions for finding in only_errors(each.findings))


def register(registry: SchemaRegistry, subject: str = "trades-value", *, level: str = DEFAULT_LEVEL) -> Registration:
    """
    Register every frozen version that a subject lacks, and set the subject's compatibility level.

    Running it again changes nothing.

    Raises:
        IncompatibleSchema: a version is incompatible with an earlier version or with another schema of the subject.

        RegistryUnavailable, ConfigurationError: see `SchemaRegistry`.
    """
    return apply_plan(registry, plan(registry, subject, versions(), level=level))


def plan(
    registry: SchemaRegistry, subject: str, history: Sequence[SchemaVersion], *, level: str = DEFAULT_LEVEL
) -> Plan:
    """
    Plan the registration of a history (oldest first) under a subject, without changing anything.

    A version that the subject lacks is checked against the preceding history, against
    the subject's other schemas, and by the registry itself.

    Raises:
        RegistryUnavailable, ConfigurationError: see `SchemaRegistry`.
    """
    # By text, not by number: registries number the versions of a subject in the order of their registration.
    known = {version.number: registry.lookup(subject, version.text) for version in history}
    missing = [version for version in history if known[version.number] is None]
    others = _foreign_versions(registry, subject, history, set(known.values())) if missing else ()
    planned = []
    for index, version in enumerate(history):
        findings: tuple[Finding, ...] = ()
        if version in missing:
            preceding = check_evolution(version.text, as_versioned(history[:index]), Level(level))
            findings = (*preceding, *_check_against(version, others, level))
        # The registry compares with its latest version only, so it can judge no version but the next one.
        if missing and version is missing[0] and not registry.is_compatible(subject, version.text):
            findings += (
                Finding(
                    REFUSED_RULE,
                    Severity.ERROR,
                    f"v{version.number:03}",
                    f"The registry at {registry.url} finds it incompatible with the latest version of subject "
                    f"{subject}.",
                    "Inspect the subject with `schema drift`; `schema check` warns about changes that only some "
                    "registries reject.",
                ),
            )
        planned.append(PlannedVersion(version, known[version.number], findings))
    return Plan(subject, level, registry.level(subject), tuple(planned))


def apply_plan(registry: SchemaRegistry, plan: Plan) -> Registration:
    """
    Carry out a plan.

    The level is set between the first version and the second: some registries reject
    a level for a subject without versions, and none checks versions before the
    subject has a level.

    Raises:
        IncompatibleSchema: the plan has obstacles, or the registry rejects a version.

        RegistryUnavailable, ConfigurationError: see `SchemaRegistry`.
    """
    # Before the first version is registered: a registry keeps what it has accepted.
    for version, finding in plan.obstacles:
        raise _incompatible(plan.subject, version, f"{finding.message} (at {finding.path})")
    outcomes = []
    for planned in plan.versions:
        # In the order of the history: each is checked against the versions before it.
        outcomes.append(_register(registry, plan.subject, planned))
        # After the first version, which creates the subject; before the others, which are checked at this level.
        if len(outcomes) == 1 and plan.current_level != plan.level:
            registry.set_level(plan.subject, plan.level)
    return Registration(plan.subject, plan.level, tuple(outcomes))


def subject_versions(registry: SchemaRegistry, subject: str) -> tuple[RegisteredSchema, ...]:
    """Return all versions of a subject, oldest first; empty if the subject does not exist."""
    numbers = registry.versions(subject)
    # A version may be deleted between the two requests.
    return tuple(version for number in numbers if (version := registry.version(subject, number)) is not None)


def content_hash(text: str) -> str:
    """Return the fingerprint of a registered text, or the text itself if it is not JSON."""
    try:
        return fingerprint(text)
    except (ValueError, RecursionError):
        return text


def _foreign_versions(
    registry: SchemaRegistry, subject: str, history: Sequence[SchemaVersion], known: set[int | None]
) -> tuple[RegisteredSchema, ...]:
    """Return the subject's schemas that are not in the history."""
    # By id and by content: a vendor's lookup misses a text that it stores in another form.
    hashes = {version.sha256 for version in history}
    return tuple(
        each
        for each in subject_versions(registry, subject)
        if each.schema_id not in known and content_hash(each.schema) not in hashes
    )


def _check_against(version: SchemaVersion, others: Sequence[RegisteredSchema], level: str) -> Iterator[Finding]:
    for other in versions_to_check(others, Level(level)):
        name = f"version {other.version} of subject {other.subject}"
        try:
            findings = check_evolution(version.text, [VersionedSchema(other.version, other.schema)], Level(level))
        except ValueError:
            message = f"The subject already contains {name}, which is not an Avro schema."
            fix = "Use another subject, or delete that version."
            yield Finding(NO_SCHEMA, Severity.ERROR, f"v{version.number:03}", message, fix)
        else:
            yield from (
                each._replace(against=None, message=f"{each.message} The other schema is {name}.") for each in findings
            )


def _register(registry: SchemaRegistry, subject: str, planned: PlannedVersion) -> RegisteredVersion:
    if planned.schema_id is not None:
        return RegisteredVersion(planned.version.number, planned.schema_id, is_new=False)
    try:
        return RegisteredVersion(planned.version.number, registry.register(subject, planned.version.text), is_new=True)
    # Possible although the plan was checked: another version may have been registered since.
    except IncompatibleSchema as error:
        raise _incompatible(subject, planned.version, str(error)) from error


def _incompatible(subject: str, version: SchemaVersion, reason: str) -> IncompatibleSchema:
    return IncompatibleSchema(
        f"version {version.number} of the trade schema is not compatible with subject {subject}: {reason}"
    )
