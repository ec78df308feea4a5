"""Records of every frozen schema version, to see that a reader takes them all."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tradepipe import SchemaRegistry, Trade, TradeDeserializer
from tradepipe.contract.golden import golden_records
from tradepipe.contract.history import SchemaVersion, versions


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
            FrozenRecord(version.number, _framed(registry, subject, version, golden.body), golden.trade)
            for version, golden in zip(versions(), golden_records(), strict=True)
        )


def _framed(registry: SchemaRegistry, subject: str, version: SchemaVersion, body: bytes) -> bytes:
    schema_id = registry.lookup(subject, version.text)
    if schema_id is None:
        raise LookupError(f"version {version.number} of the trade schema is not registered under {subject}")
    return b"\0" + schema_id.to_bytes(4, "big") + body


class EveryVersion:
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
