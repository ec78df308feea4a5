"""Trades of tests: valid ones to send, and those that a service has sent."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from itertools import count
from random import Random
from typing import Any, Final

from tradepipe import SchemaIdNotYetKnown, SchemaRegistry, TradeDeserializer, UndecodableRecord, Violation, violations
from tradepipe.trade.declaration import REQUIRED
from tradepipe.trade.model import DECLARATION, KAFKA_KEY, Trade
from tradepipe.trade.record import Code, Record
from tradepipe.trade.sample_values import given_value

FIRST_CREATED_AT: Final = datetime(2025, 1, 2, 8, tzinfo=UTC)
"""Creation time of the first trade; each further one is a second later. Tests use no clock."""

MATURITY_DATE: Final = date(2035, 1, 2)

_ALIKE: Final[dict[str, Any]] = {"version": 1, "counterparty_id": "CP-1", "book_id": "B1"}
"""Values of all trades, unless others are passed; others have the default of `Trade`, or a value that fits."""


class TradeFactory:
    """
    Creates valid trades: `make_trade()`, `make_trade(book_id="RATES")`.

    The first has the id T0001, the next one T0002, and the same calls create the
    same trades. Any field can be set, even to a value that violates a rule;
    `maturity_date` is by default not before `created_at`.

    >>> make_trade = TradeFactory()
    >>> make_trade().trade_id, make_trade(version=3).trade_id
    ('T0001', 'T0002')
    >>> make_trade(trade="T7")
    Traceback (most recent call last):
    TypeError: a Trade has no field 'trade'; it has trade_id, version, ...
    """

    def __init__(self) -> None:
        self._numbers = count(1)

    def __call__(self, **fields: Any) -> Trade:
        """Return a trade with these fields, and valid values in all others."""
        if unknown := sorted(set(fields) - set(Trade._fields)):
            raise TypeError(f"a Trade has no field {', '.join(map(repr, unknown))}; it has {', '.join(Trade._fields)}")
        number = next(self._numbers)
        values = {
            "trade_id": f"T{number:04}",
            "created_at": FIRST_CREATED_AT + timedelta(seconds=number - 1),
            **_ALIKE,
            **fields,
        }
        values.setdefault("maturity_date", MATURITY_DATE)
        if "maturity_date" not in fields and isinstance(values["created_at"], datetime):
            with suppress(OverflowError):
                # The rule compares with the UTC date of `created_at`.
                values["maturity_date"] = max(MATURITY_DATE, values["created_at"].astimezone(UTC).date())
        for field in DECLARATION.fields:
            if field.default is REQUIRED and field.name not in values:
                # Seeded by the name: the same value in each run, whatever other fields there are.
                values[field.name] = given_value(field, Random(field.name))
        return Trade(**values)


READ_TIMEOUT: Final = 10.0
"""Seconds that a test waits for records of its service."""

_LEAP: Final = 60.0
"""More than the seconds between the two answers after which an id is believed to be unknown."""


class ProducedTrades:
    """
    Reads trades: `produced()` from the test's topic, `produced("other")` from another one.

    They are ordered by trade_id, and the versions of a trade as in the log, which is
    the only order that Kafka guarantees.
    """

    def __init__(self, bootstrap_servers: str, registry_url: str, *, topic: str, subject: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._registry_url = registry_url
        self._topic = topic
        self._subject = subject

    def __call__(self, topic: str | None = None, *, at_least: int = 0, within: float = READ_TIMEOUT) -> list[Trade]:
        """
        Return the trades in a topic.

        Args:
            topic: by default the test's topic.

            at_least: number of trades to wait for, if the service sends in the
                background.

            within: seconds to wait.

        Raises:
            AssertionError: there are fewer, or a sink would refuse some of the
                records; the message names each of them with the reason.

            LookupError: there is no such topic.
        """
        __tracebackhide__ = True
        topic = topic or self._topic
        trades, refused = self._validate(self.records(topic, at_least=at_least, within=within))
        if refused:
            reasons = "\n".join(f"  {each}" for each in refused)
            raise AssertionError(f"a sink would refuse {len(refused)} of the records in topic {topic}:\n{reasons}")
        if len(trades) < at_least:
            found = ", ".join(f"{trade.trade_id} version {trade.version}" for trade in trades) or "none"
            raise AssertionError(f"{len(trades)} of {at_least} trades are in topic {topic} after {within:g} s: {found}")
        # A stable sort: the versions of a trade stay in the order of the log.
        return sorted(trades, key=lambda trade: trade.trade_id)

    def records(self, topic: str | None = None, *, at_least: int = 0, within: float = READ_TIMEOUT) -> list[Record]:
        """Return the records in a topic, with keys, headers and timestamps, ordered by partition and offset."""
        from tradepipe.embedded.broker import read_records  # noqa: PLC0415 - loaded where it is used

        return read_records(self._bootstrap_servers, topic or self._topic, at_least=at_least, within=within)

    def _validate(self, records: Sequence[Record]) -> tuple[list[Trade], list[str]]:
        """Return the trades, and a sentence for each record that a sink would refuse."""
        trades: list[Trade] = []
        refused: list[str] = []
        with SchemaRegistry(self._registry_url) as registry:
            # A clock that leaps: an unknown id is believed only after a second answer some seconds later.
            clock = count(0, _LEAP).__next__
            deserialize = TradeDeserializer(registry, subject=self._subject, clock=clock)
            for record in records:
                found: tuple[Violation, ...]
                try:
                    trade = _decode(record, deserialize)
                    found = (*violations(trade), *_key_mismatch(record, trade))
                except UndecodableRecord as error:
                    found = (error.violation,)
                refused += [f"{record.coordinates}: {violation.code}: {violation.detail}" for violation in found]
                if not found:
                    trades.append(trade)
        return trades, refused


def _decode(record: Record, deserialize: TradeDeserializer) -> Trade:
    try:
        return deserialize(record.value)
    except SchemaIdNotYetKnown:
        # Asked twice, and the clock leaps: a test need not wait for ids to become known.
        return deserialize(record.value)


def _key_mismatch(record: Record, trade: Trade) -> tuple[Violation, ...]:
    expected = getattr(trade, KAFKA_KEY)
    if record.key == expected.encode():
        return ()
    return (Violation(Code.RECORD_KEY, f"the key of the record is {record.key!r}, not its {KAFKA_KEY} {expected!r}"),)
