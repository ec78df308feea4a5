"""
Which writer schemas are decoded.

The writer of a record chooses its schema, so a schema is hostile until it was
looked at: see `bounds`. And a schema newer than this build may hold what this
build would silently lose.
"""

import json
from typing import Final, Literal

from tradepipe.contract.history import current, fingerprint, versions
from tradepipe.errors import UnsupportedSchema
from tradepipe.wire.bounds import require_bounds
from tradepipe.wire.resolution import Difference, Parsed, differences, parse

UnknownFields = Literal["stop", "drop"]

MAX_TEXT: Final = 256_000
"""Characters of a schema's text."""

_TOLD: Final = 5


def admit(text: str, schema_id: int, *, unknown_fields: UnknownFields = "stop") -> Parsed:
    """
    A writer schema of the subject, its names resolved, if this build can hold its records.

    Every frozen version is admitted, and every other one that resolves to the
    current version; with `unknown_fields="drop"` also one that loses fields,
    symbols or logical types on the way.

    Raises:
        UnsupportedSchema: the schema lies outside the limits of `bounds`,
            cannot be resolved, or would lose values.
    """
    parsed = _bounded(text, schema_id)
    if fingerprint(text) not in {version.sha256 for version in versions()}:
        _require_lossless(parsed, schema_id, unknown_fields)
    return parsed


def _bounded(text: str, schema_id: int) -> Parsed:
    """The parsed schema, if it lies within the limits."""
    if len(text) > MAX_TEXT:
        raise UnsupportedSchema(f"schema id {schema_id} has {len(text)} characters, more than {MAX_TEXT}")
    try:
        schema = json.loads(text)
        if not isinstance(schema, dict):
            raise ValueError("it is not a record")
        parsed = parse(schema)
        require_bounds(parsed)
    except Exception as error:  # a decode guard: parsers raise anything on a hostile schema
        problem = str(error)[:200] or type(error).__name__
        raise UnsupportedSchema(f"schema id {schema_id} is not decoded here: {problem}") from error
    return parsed


def _require_lossless(writer: Parsed, schema_id: int, unknown_fields: UnknownFields) -> None:
    found = list(differences(writer, parse(current().schema)))
    fatal = [difference for difference in found if difference.fatal]
    if fatal:
        raise UnsupportedSchema(
            f"schema id {schema_id} cannot be read as version {current().number} of the trade schema: "
            f"{_told(fatal)}; upgrade tradepipe here"
        )
    if found and unknown_fields == "stop":
        raise UnsupportedSchema(
            f"schema id {schema_id} holds more than version {current().number} of the trade schema, which would lose "
            f"{_told(found)}; upgrade tradepipe here, or choose --unknown-fields drop"
        )


def _told(found: list[Difference]) -> str:
    """The first differences, each cut: names are the writer's choice, of any length and number."""
    shown = [f"{_cut(difference.told)} (at {_cut(difference.path)})" for difference in found[:_TOLD]]
    return "; ".join([*shown, f"{len(found) - _TOLD} more"] if len(found) > _TOLD else shown)


def _cut(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:100]}…"
