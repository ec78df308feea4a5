"""Comparison of a registry's subject with the schema history."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from tradepipe.evolution.diff import diff_schemas
from tradepipe.evolution.findings import Finding, Severity
from tradepipe.evolution.history import SchemaVersion
from tradepipe.registry.client import RegisteredSchema, SchemaRegistry
from tradepipe.registry.registration import content_hash, subject_versions

_REGISTER: Final = "Run `schema register`."
_DIFFERS: Final = (
    "Delete the version in the registry and run `schema register`, or leave it: tradepipe's readers use the history, "
    "so they read its records correctly."
)
_EXTRA: Final = (
    "Find out who registered it. If a newer release did, upgrade; otherwise delete it in the registry, or inspect it "
    "with `schema pull`."
)


RULES: Final = frozenset(
    {"drift-subject", "drift-missing", "drift-extra", "drift-differs", "drift-level", "drift-level-unset"}
)
"""The rules that the comparison checks."""


UNCHECKED: Final = "NONE"
"""The compatibility level without checks; Apicurio also reports it for a subject without a level."""


class Comparison(NamedTuple):
    """One comparison: its description and its findings."""

    subject: str
    findings: tuple[Finding, ...]


def drift(
    registry: SchemaRegistry, subject: str, history: Sequence[SchemaVersion], *, level: str
) -> tuple[Comparison, ...]:
    """
    Compare a subject's versions and compatibility level with the frozen versions.

    Full texts are compared: Apicurio regards schemas that differ only in docs, aliases
    or defaults as equal, answers a lookup of the new one with the id of the old one,
    and keeps the old text.

    Raises:
        RegistryUnavailable, ConfigurationError: see `SchemaRegistry`.
    """
    registered = subject_versions(registry, subject)
    if not registered:
        message = f"The registry at {registry.url} has no version of subject {subject}."
        finding = _finding("drift-subject", subject, message, _REGISTER)
        return (Comparison(f"subject {subject} exists", (finding,)),)
    matches = {version.number: _find_match(registry, subject, version, registered) for version in history}
    matched = {each.version for each in matches.values() if each}
    return (
        *(
            Comparison(f"v{each.number:03} is in {subject}", _compare_version(each, matches[each.number]))
            for each in history
        ),
        *(
            Comparison(
                f"{each.subject} version {each.version} is in the history",
                (_finding("drift-extra", f"{each.subject} version {each.version}", message, _EXTRA),),
            )
            for each in registered
            if each.version not in matched
            for message in [_describe_extra_version(each, history)]
        ),
        Comparison(f"{subject} has level {level}", tuple(_compare_level(registry.level(subject), subject, level))),
    )


def _find_match(
    registry: SchemaRegistry, subject: str, version: SchemaVersion, registered: Sequence[RegisteredSchema]
) -> RegisteredSchema | None:
    """Return the registered schema with the same content, or else the one that the registry's lookup returns."""
    # By content first: a lookup may answer with the id of a schema that the registry only takes for equal.
    same = next((each for each in registered if content_hash(each.schema) == version.sha256), None)
    if same is not None:
        return same
    known = registry.lookup(subject, version.text)
    return next((each for each in registered if known is not None and each.schema_id == known), None)


def _compare_version(version: SchemaVersion, match: RegisteredSchema | None) -> tuple[Finding, ...]:
    path = f"v{version.number:03}"
    if match is None:
        message = f"The registry lacks version {version.number}; a producer that writes it stops."
        return (_finding("drift-missing", path, message, _REGISTER),)
    if content_hash(match.schema) == version.sha256 or not (changes := _list_changes(match.schema, version.text)):
        return ()
    message = (
        f"The registry identifies version {version.number} with its version {match.version} of {match.subject}, but "
        f"serves a different text to readers. Compared with that text, {'; '.join(changes)}."
    )
    return (_finding("drift-differs", path, message, _DIFFERS),)


def _describe_extra_version(version: RegisteredSchema, history: Sequence[SchemaVersion]) -> str:
    name = f"version {version.version} of subject {version.subject}"
    same = next((each for each in history if each.sha256 == content_hash(version.schema)), None)
    if same is not None:
        rules = ", which make readers change its records" if version.rule_set else ""
        added = "rules" if version.rule_set else "metadata or rules"
        return f"The registry has the text of v{same.number:03} once more, as {name}, with other {added}{rules}."
    message = f"The history has no version equal to {name}."
    if version.schema_type != "AVRO":
        return f"{message} It is a {version.schema_type} schema, not an Avro schema."
    if not history:
        return message
    # The nearest one, not the newest: an old version that only differs in a doc would seem to lack later fields.
    nearest, changes = min(
        ((each, _list_changes(each.text, version.schema)) for each in reversed(history)), key=lambda pair: len(pair[1])
    )
    return f"{message} Compared with v{nearest.number:03}, {'; '.join(changes)}." if changes else message


def _compare_level(own: str | None, subject: str, level: str) -> Iterator[Finding]:
    if own is None:
        message = f"Subject {subject} has no compatibility level, so the registry's default applies."
        yield _finding("drift-level-unset", subject, message, _REGISTER)
    elif own == UNCHECKED != level:
        message = f"Subject {subject} has the level {own}: the registry accepts any schema."
        yield _finding("drift-level-unset", subject, message, _REGISTER)._replace(old=own, new=level)
    elif own != level:
        message = f"Subject {subject} has the compatibility level {own}, but the history has {level}."
        yield _finding("drift-level", subject, message, _REGISTER)._replace(old=own, new=level)


def _list_changes(old: str, new: str) -> list[str]:
    """Return the semantic changes as clauses; none if only the formatting differs."""
    try:
        return [f"at {each.path}: {each.message[0].lower()}{each.message[1:-1]}" for each in diff_schemas(old, new)]
    except ValueError:
        return ["it is not an Avro schema"]


def _finding(rule: str, path: str, message: str, fix: str) -> Finding:
    return Finding(rule, Severity.ERROR, path, message, fix)
