"""Where a registry's subject is not what the history says."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from tradepipe.evolution.diff import diff_schemas
from tradepipe.evolution.findings import Finding, Severity
from tradepipe.evolution.history import SchemaVersion
from tradepipe.registry.client import RegisteredSchema, SchemaRegistry
from tradepipe.registry.registration import content_hash, subject_versions

_REGISTER: Final = "Run `schema register`."
_DIFFERS: Final = (
    "Delete the version in the registry and run `schema register`, or leave it: records are read alike, since readers "
    "here go by the history."
)
_EXTRA: Final = (
    "Ask who registered it: if a newer release did, take that; if not, delete it there, or `schema pull` it and see."
)


RULES: Final = frozenset(
    {"drift-subject", "drift-missing", "drift-extra", "drift-differs", "drift-level", "drift-level-unset"}
)
"""The rules that a subject can break."""


UNCHECKED: Final = "NONE"
"""A level, and what Apicurio answers for a subject that no level was ever set for."""


class Comparison(NamedTuple):
    """One thing that was compared, in words, and how it differs."""

    subject: str
    findings: tuple[Finding, ...]


def drift(
    registry: SchemaRegistry, subject: str, history: Sequence[SchemaVersion], *, level: str
) -> tuple[Comparison, ...]:
    """
    Each frozen version against what a subject holds, each further version there, and the subject's level.

    Texts are fetched and compared in full: Apicurio takes schemas that differ
    in docs, aliases or defaults for one, answers a lookup of the new with the
    id of the old, and keeps the old text.

    Raises:
        RegistryUnavailable, ConfigurationError: as the registry's methods.
    """
    there = subject_versions(registry, subject)
    if not there:
        told = f"The registry at {registry.url} holds no version of subject {subject}."
        return (Comparison(f"subject {subject} is there", (_finding("drift-subject", subject, told, _REGISTER),)),)
    matched = {version.number: _find_match(registry, subject, version, there) for version in history}
    taken = {each.version for each in matched.values() if each}
    return (
        *(
            Comparison(f"v{each.number:03} is in {subject}", _compare_version(each, matched[each.number]))
            for each in history
        ),
        *(_find_extra_versions(each, history) for each in there if each.version not in taken),
        Comparison(f"{subject} has level {level}", tuple(_compare_level(registry.level(subject), subject, level))),
    )


def _find_match(
    registry: SchemaRegistry, subject: str, version: SchemaVersion, there: Sequence[RegisteredSchema]
) -> RegisteredSchema | None:
    """What the subject has for a version: the same, or else what the registry takes for the same."""
    same = next((each for each in there if content_hash(each.schema) == version.sha256), None)
    if same is not None:
        return same
    known = registry.lookup(subject, version.text)
    return next((each for each in there if known is not None and each.schema_id == known), None)


def _compare_version(version: SchemaVersion, match: RegisteredSchema | None) -> tuple[Finding, ...]:
    path = f"v{version.number:03}"
    if match is None:
        told = f"The registry lacks version {version.number}: a producer that writes it stops."
        return (_finding("drift-missing", path, told, _REGISTER),)
    if content_hash(match.schema) == version.sha256 or not (told := _format_side(match.schema, version.text)):
        return ()
    sentence = (
        f"The registry takes version {version.number} for its version {match.version} of {match.subject}, but keeps "
        f"another text, which it hands to readers: seen from there, {told}."
    )
    return (_finding("drift-differs", path, sentence, _DIFFERS),)


def _find_extra_versions(version: RegisteredSchema, history: Sequence[SchemaVersion]) -> Comparison:
    told = f"The history has no version like version {version.version} of subject {version.subject}"
    changed = _format_side(history[-1].text, version.schema) if history else ""
    sentence = f"{told}: against v{history[-1].number:03}, {changed}." if changed else f"{told}."
    path = f"{version.subject} version {version.version}"
    return Comparison(f"{path} is in the history", (_finding("drift-extra", path, sentence, _EXTRA),))


def _compare_level(own: str | None, subject: str, level: str) -> Iterator[Finding]:
    if own is None:
        told = f"Subject {subject} has no compatibility level of its own, so the registry's default holds for it."
        yield _finding("drift-level-unset", subject, told, _REGISTER)
    elif own == UNCHECKED != level:
        told = f"Subject {subject} has the level {own}: the registry takes whatever is registered."
        yield _finding("drift-level-unset", subject, told, _REGISTER)._replace(old=own, new=level)
    elif own != level:
        told = f"Subject {subject} has the compatibility level {own}, and the history {level}."
        yield _finding("drift-level", subject, told, _REGISTER)._replace(old=own, new=level)


def _format_side(old: str, new: str) -> str:
    """What changed, in a clause; nothing if only white space did or what is written in two ways."""
    try:
        told = [f"at {each.path}: {each.message[0].lower()}{each.message[1:-1]}" for each in diff_schemas(old, new)]
    except ValueError:
        return "it is no Avro schema"
    return "; ".join(told)


def _finding(rule: str, path: str, sentence: str, mend: str) -> Finding:
    return Finding(rule, Severity.ERROR, path, sentence, mend)
