"""The frozen versions and a registry's subject: an explicit act, never part of producing."""

from typing import NamedTuple

from tradepipe.contract.history import SchemaVersion, versions
from tradepipe.errors import IncompatibleSchema
from tradepipe.wire.registry import SchemaRegistry


class Outcome(NamedTuple):
    """What registration found or did for one frozen version."""

    version: int
    schema_id: int
    new: bool


class Registration(NamedTuple):
    """What registration did: the level the subject has now, and each frozen version, the oldest first."""

    subject: str
    level: str
    outcomes: tuple[Outcome, ...]


def register(
    registry: SchemaRegistry, subject: str = "trades-value", *, level: str = "FULL_TRANSITIVE"
) -> Registration:
    """
    Register every frozen version that a subject lacks, and set the subject's compatibility level.

    Run again, it changes nothing. The level is set between the first version
    and the second: some registries know no level of a subject that has no
    version, and none checks a version before it has a level.

    Raises:
        IncompatibleSchema: the registry refuses a version beside those it holds.

        RegistryAway, Misconfigured: as the registry's methods.
    """
    outcomes = []
    for version in versions():
        outcomes.append(_register(registry, subject, version))
        if len(outcomes) == 1 and registry.level(subject) != level:
            registry.set_level(subject, level)
    return Registration(subject, level, tuple(outcomes))


def _register(registry: SchemaRegistry, subject: str, version: SchemaVersion) -> Outcome:
    known = registry.lookup(subject, version.text)
    if known is not None:
        return Outcome(version.number, known, new=False)
    try:
        return Outcome(version.number, registry.register(subject, version.text), new=True)
    except IncompatibleSchema as error:
        raise IncompatibleSchema(
            f"version {version.number} of the trade schema is not compatible with what subject {subject} holds: {error}"
        ) from error
