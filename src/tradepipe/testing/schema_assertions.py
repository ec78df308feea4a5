"""Assertions: a schema is compatible with the released versions, and a reader reads all of them."""

import json
from collections.abc import Callable, Mapping, Sequence
from importlib.resources.abc import Traversable
from itertools import count
from textwrap import fill
from typing import Any, Final, NamedTuple

from tradepipe import SchemaRegistry, Trade, TradeDeserializer
from tradepipe.evolution.history import History, SchemaVersion, golden_records, versions

Schema = Mapping[str, object] | str | Traversable
"""A schema as JSON, as text, or as a file: a `Path` or a resource of `importlib.resources`."""

_WIDTH: Final = 100


def assert_compatible(old: Schema | Sequence[Schema], new: Schema, *, level: str = "FULL_TRANSITIVE") -> None:
    """
    Assert that a schema is compatible with one or more earlier ones.

    Applies the checks of `tradepipe schema check`, which include logical types, as
    no registry does. Warnings do not fail the assertion.

    Args:
        old: the earlier schema, or several of them, oldest first. A path is a file,
            or a folder with `v001.avsc`, `v002.avsc` and so on: all of them.

        new: the schema to check; of a folder, its newest version.

        level: a compatibility level of the registry. BACKWARD: readers on the new
            schema can read records of the old one; FORWARD: the reverse; FULL: both;
            with `_TRANSITIVE`: for all of `old`, not just the last one.

    Raises:
        AssertionError: it is not compatible; the message says what breaks, and where.

        ValueError: a text is not an Avro schema, or `level` is not a level.
    """
    __tracebackhide__ = True
    # Loaded here: they bring in avro.
    from tradepipe.evolution.compatibility import Level, check_schema  # noqa: PLC0415
    from tradepipe.evolution.compatibility_rules import VersionedSchema, check_evolution  # noqa: PLC0415
    from tradepipe.evolution.findings import format_findings, only_errors  # noqa: PLC0415

    schemas = old if isinstance(old, Sequence) and not isinstance(old, str) else [old]
    history = [text for each in schemas for text in _texts(each)]
    newest = _texts(new)[-1]
    for text in (*history, newest):
        check_schema(text)
    breaks = only_errors(check_evolution(newest, list(map(VersionedSchema, count(1), history)), Level(level)))
    if breaks:
        lines = [f"the schema is not {level} compatible:"]
        for finding, below in format_findings((each.path, each) for each in breaks):
            lines += ["", fill(finding.message, _WIDTH, break_long_words=False, break_on_hyphens=False)]
            lines += [f"  {line}" for line in below]
        raise AssertionError("\n".join(lines))


def _texts(schema: Schema) -> list[str]:
    """Return the text of a schema, or of all versions in a folder, oldest first."""
    if isinstance(schema, Mapping):
        return [json.dumps(schema)]
    if isinstance(schema, str):
        return [schema]
    if not schema.is_dir():
        return [schema.read_text("utf-8")]
    versions = History.load(schema).versions
    if not versions:
        raise ValueError(f"{schema} holds no v001.avsc, so it is not a history of schemas")
    return [version.text for version in versions]


class FrozenRecord(NamedTuple):
    """
    A record of a schema version, as a producer of that version wrote it.

    Attributes:
        version: the number of the schema version.

        value: the record's value, framed with the id that the test's registry gave the version.

        trade: its content, as the current `Trade`.
    """

    version: int
    value: bytes
    trade: Trade


def frozen_records(registry_url: str, subject: str) -> tuple[FrozenRecord, ...]:
    """Return a record of every version, framed with the ids of a subject in a registry."""
    with SchemaRegistry(registry_url) as registry:
        return tuple(
            FrozenRecord(version.number, _frame(registry, subject, version, golden.body), golden.trade)
            for version, golden in zip(versions(), golden_records(), strict=True)
        )


def _frame(registry: SchemaRegistry, subject: str, version: SchemaVersion, body: bytes) -> bytes:
    # By content: the registry of a test assigns other ids in each run.
    schema_id = registry.lookup(subject, version.text)
    if schema_id is None:
        raise LookupError(f"version {version.number} of the trade schema is not registered under {subject}")
    return b"\0" + schema_id.to_bytes(4, "big") + body


class DecodesEveryVersion:
    """
    Asserts that a reader reads a record of every schema version: `assert_every_version_decodes(reader)`.

    It tests the reader itself, which no compatibility check of schemas does.
    """

    def __init__(self, registry_url: str, subject: str) -> None:
        self._registry_url = registry_url
        self._subject = subject

    def __call__(
        self,
        deserialize: Callable[[bytes], object] | None = None,
        *,
        expected: Callable[[Trade], object] = lambda trade: trade,
    ) -> None:
        """
        Pass a record of every version to the reader.

        Args:
            deserialize: takes the framed value of a record, whose schema id the
                test's registry knows; by default tradepipe's own.

            expected: what the reader should give for a trade; by default the
                `Trade` itself.

        Raises:
            AssertionError: it gives something else, or raises; the message has
                each such version.
        """
        __tracebackhide__ = True
        records = frozen_records(self._registry_url, self._subject)
        if deserialize is None:
            with SchemaRegistry(self._registry_url) as registry:
                problems = _problems(TradeDeserializer(registry, subject=self._subject), records, expected)
        else:
            problems = _problems(deserialize, records, expected)
        if problems:
            listed = "\n".join(f"  {problem}" for problem in problems)
            raise AssertionError(
                f"{len(problems)} of {len(records)} frozen records are not read as they should:\n{listed}"
            )


def _problems(
    deserialize: Callable[[bytes], object], records: Sequence[FrozenRecord], expected: Callable[[Trade], Any]
) -> list[str]:
    found = ((record.version, _problem(deserialize, record.value, expected(record.trade))) for record in records)
    return [f"version {version}: {problem}" for version, problem in found if problem]


def _problem(deserialize: Callable[[bytes], object], value: bytes, expected: object) -> str | None:
    try:
        actual = deserialize(value)
    except Exception as error:  # code of the service under test: it may raise anything
        return f"{type(error).__name__}: {error}"
    if actual == expected:
        return None
    fields: tuple[str, ...] = getattr(expected, "_fields", ())
    if type(actual) is not type(expected) or not fields:
        return f"{actual!r}, not {expected!r}"
    pairs = ((field, getattr(actual, field), getattr(expected, field)) for field in fields)
    return "; ".join(f"{field} is {got!r}, not {wanted!r}" for field, got, wanted in pairs if got != wanted)
