"""Reader of the trades that a service produced."""

from collections.abc import Sequence
from itertools import count
from typing import Final

from tradepipe import (
    SchemaIdNotYetKnown,
    SchemaRegistry,
    Trade,
    TradeDeserializer,
    UndecodableRecord,
    Violation,
    violations,
)
from tradepipe.trade.model import KAFKA_KEY
from tradepipe.trade.record import Code, Record

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
        from tradepipe.embedded import topic_log  # noqa: PLC0415 - loaded where it is used

        return topic_log.records(self._bootstrap_servers, topic or self._topic, at_least=at_least, within=within)

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
