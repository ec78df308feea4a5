"""Whether a schema may follow others, as an assertion."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

Schema = Mapping[str, object] | str | Path
"""A schema as JSON, as text, or as a file."""

_VERSIONS: Final = "v[0-9][0-9][0-9].avsc"


def assert_compatible(old: Schema | Sequence[Schema], new: Schema, *, level: str = "FULL_TRANSITIVE") -> None:
    """
    Assert that a schema may follow one or more others.

    Args:
        old: the schema that is there already, or several of them, the oldest
            first. A `Path` may be a file, or a folder with `v001.avsc`,
            `v002.avsc` and so on, which stands for all of them.

        new: the schema to follow; a folder stands for its newest.

        level: one of the registry's compatibility levels. BACKWARD: who knows
            the new one can read what the old one wrote; FORWARD: the other way
            round; FULL: both; with `_TRANSITIVE`: not only beside the last of `old`.

    Raises:
        AssertionError: it may not; the message says what breaks, and where.

        ValueError: something is no Avro schema, or `level` is no level.
    """
    __tracebackhide__ = True
    from tradepipe.contract.compatibility import Level, incompatibilities  # noqa: PLC0415 - brings in avro

    history = [text for each in _several(old) for text in _texts(each)]
    findings = incompatibilities(_texts(new)[-1], history, Level(level))
    if findings:
        told = "\n".join(
            f"  version {finding.against + 1}, {finding.direction}: {finding.message}" for finding in findings
        )
        raise AssertionError(f"the schema is not {level} compatible:\n{told}")


def _several(old: Schema | Sequence[Schema]) -> Sequence[Schema]:
    return [old] if isinstance(old, (Mapping, str, Path)) else old


def _texts(schema: Schema) -> list[str]:
    """The text of a schema; of a folder all its versions, the oldest first."""
    if isinstance(schema, Mapping):
        return [json.dumps(schema)]
    if isinstance(schema, str):
        return [schema]
    if not schema.is_dir():
        return [schema.read_text("utf-8")]
    versions = sorted(schema.glob(_VERSIONS))
    if not versions:
        raise ValueError(f"{schema} holds no v001.avsc, so it is no history of schemas")
    return [version.read_text("utf-8") for version in versions]
