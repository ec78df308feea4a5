"""Assertions on schemas: compatible with the released versions, and readable in every one of them."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources.abc import Traversable
from itertools import count
from textwrap import fill
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tradepipe import SchemaRegistry, Trade, TradeDeserializer
from tradepipe.evolution.history import History, SchemaVersion, golden_records, versions

if TYPE_CHECKING:
    from tradepipe.evolution.findings import Finding

Schema = Mapping[str, object] | str | Traversable
"""A schema as JSON, as text, or as a file: a `Path`, or what `importlib.resources` gives."""

_WIDTH: Final = 100


def assert_compatible(old: Schema | Sequence[Schema], new: Schema, *, level: str = "FULL_TRANSITIVE") -> None:
    """
    Assert that a schema may follow one or more others.

    It says what `tradepipe schema check` would, logical types included, which
    no registry looks at. What some registry alone would refuse does not fail.

    Args:
        old: the schema that is there already, or several of them, the oldest
            first. A path may be a file, or a folder with `v001.avsc`,
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
    # Loaded here: they bring in avro.
    from tradepipe.evolution.compatibility import Level, parse  # noqa: PLC0415
    from tradepipe.evolution.compatibility_rules import VersionedSchema, check_evolution  # noqa: PLC0415
    from tradepipe.evolution.findings import only_errors  # noqa: PLC0415

    history = [text for each in _several(old) for text in _texts(each)]
    newest = _texts(new)[-1]
    for text in (*history, newest):
        parse(text)
    breaks = only_errors(check_evolution(newest, list(map(VersionedSchema, count(1), history)), Level(level)))
    if breaks:
        raise AssertionError(f"the schema is not {level} compatible:\n\n" + "\n\n".join(_format_findings(breaks)))


def _format_findings(breaks: "Sequence[Finding]") -> Iterator[str]:
    # Loaded here: it brings in avro.
    from tradepipe.evolution.findings import format_findings  # noqa: PLC0415

    for finding, below in format_findings((each.path, each) for each in breaks):
        sentence = fill(finding.message, _WIDTH, break_long_words=False, break_on_hyphens=False)
        yield "\n".join([sentence, *(f"  {line}" for line in below)])


def _several(old: Schema | Sequence[Schema]) -> Sequence[Schema]:
    return old if isinstance(old, Sequence) and not isinstance(old, str) else [old]


def _texts(schema: Schema) -> list[str]:
    """The text of a schema; of a folder all its versions, the oldest first."""
    if isinstance(schema, Mapping):
        return [json.dumps(schema)]
    if isinstance(schema, str):
        return [schema]
    if not schema.is_dir():
        return [schema.read_text("utf-8")]
    versions = History.load(schema).versions
    if not versions:
        raise ValueError(f"{schema} holds no v001.avsc, so it is no history of schemas")
    return [version.text for version in versions]


class FrozenRecord(NamedTuple):
    """
    A record as a producer of one schema version wrote it, when that version was new.

    Attributes:
        version: the number of the schema version.

        value: the record's value, framed with the id that the test's registry gave the version.

        trade: what it says, as today's `Trade`.
    """

    version: int
    value: bytes
    trade: Trade


def frozen_records(registry_url: str, subject: str) -> tuple[FrozenRecord, ...]:
    """The records of every version, framed with the ids that a registry has for them under a subject."""
    with SchemaRegistry(registry_url) as registry:
        return tuple(
            FrozenRecord(version.number, _frame(registry, subject, version, golden.body), golden.trade)
            for version, golden in zip(versions(), golden_records(), strict=True)
        )


def _frame(registry: SchemaRegistry, subject: str, version: SchemaVersion, body: bytes) -> bytes:
    schema_id = registry.lookup(subject, version.text)
    if schema_id is None:
        raise LookupError(f"version {version.number} of the trade schema is not registered under {subject}")
    return b"\0" + schema_id.to_bytes(4, "big") + body


class DecodesEveryVersion:
    """
    Asserts that a reader takes the records of every schema version: `assert_every_version_decodes(reader)`.

    No compatibility check sees what frozen bytes see: that the reader itself
    is right.
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
        Give the reader a record of every version.

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
            told = "\n".join(f"  {problem}" for problem in problems)
            raise AssertionError(
                f"{len(problems)} of {len(records)} frozen records are not read as they should:\n{told}"
            )


def _problems(
    deserialize: Callable[[bytes], object], records: Sequence[FrozenRecord], expected: Callable[[Trade], Any]
) -> list[str]:
    found = ((record.version, _problem(deserialize, record.value, expected(record.trade))) for record in records)
    return [f"version {version}: {problem}" for version, problem in found if problem]


def _problem(deserialize: Callable[[bytes], object], value: bytes, expected: object) -> str | None:
    try:
        actual = deserialize(value)
    except Exception as error:  # somebody else's code: it may raise anything
        return f"{type(error).__name__}: {error}"
    return None if actual == expected else _difference(actual, expected)


def _difference(actual: object, expected: object) -> str:
    """By field where both are of one kind of record, else as a whole."""
    fields: tuple[str, ...] = getattr(expected, "_fields", ())
    if type(actual) is not type(expected) or not fields:
        return f"{actual!r}, not {expected!r}"
    pairs = ((field, getattr(actual, field), getattr(expected, field)) for field in fields)
    return "; ".join(f"{field} is {got!r}, not {wanted!r}" for field, got, wanted in pairs if got != wanted)
