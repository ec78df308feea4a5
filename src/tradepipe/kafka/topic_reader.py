"""A topic read by itself, without a group: to where it ended when the reading began."""

import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Final, Self

import confluent_kafka
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, TopicPartition

from tradepipe.errors import BrokerUnavailable
from tradepipe.kafka.admin import Watermarks
from tradepipe.kafka.config import Config, consumer_config, without_producer_keys
from tradepipe.kafka.failures import FailureClass, classify, translate, unwrap
from tradepipe.kafka.librdkafka import to_record
from tradepipe.trade.record import Record

GROUP: Final = "tradepipe-reader"
"""No group is joined, and no offset committed, but librdkafka asks for a name."""

FETCH_RECORDS: Final = 1_000
"""Records taken over at once, at most."""

POLL_SECONDS: Final = 0.2


class TopicReader:
    """
    A reader of what a topic holds, committed records alone.

    Args:
        timeout: seconds without any news after which the reading ends.

        open_transaction_timeout: the same where nothing is missing but what an open
            transaction hides: all that lies behind its first record.

    Attributes:
        hidden: partitions that were not read to their ends because of such a
            transaction, each with the offset from which it hides.
    """

    def __init__(
        self, config: Config, *, topic: str, timeout: float, open_transaction_timeout: float | None = None
    ) -> None:
        self._config = consumer_config(without_producer_keys(config), group=GROUP)
        self._topic = topic
        self._quiet_timeout = timeout
        self._open_transaction_timeout = timeout if open_transaction_timeout is None else open_transaction_timeout
        self._client: confluent_kafka.Consumer | None = None
        self.blocked_offsets: dict[int, int] = {}

    def __enter__(self) -> Self:
        try:
            self._client = confluent_kafka.Consumer({**self._config, "error_cb": lambda error: None})
        except KafkaException as error:
            raise translate(unwrap(error), "Kafka's client cannot be configured so") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            self._client.close()

    def read(self, extents: Mapping[int, Watermarks], *, last: int | None = None) -> Iterator[Record]:
        """
        The records of these partitions up to their ends, each partition's in order.

        Args:
            last: how many offsets before its end each partition is read from;
                None for its beginning.

        Raises:
            BrokerUnavailable: no broker answers, or retention was faster than we.

            ConfigurationError: the brokers refuse us.
        """
        missing = {partition: extent.high for partition, extent in extents.items() if extent.low < extent.high}
        begins = {n: OFFSET_BEGINNING if last is None else max(extents[n].low, missing[n] - last) for n in missing}
        self._assign(begins)
        self.blocked_offsets = {}
        heard_at = time.monotonic()
        while missing and time.monotonic() - heard_at < self._timeout(missing):
            for message in self._fetch():
                partition, offset = message.partition() or 0, message.offset() or 0
                if (error := message.error()) is None:
                    if offset < missing.get(partition, 0):
                        yield to_record(message, self._topic, partition, offset)
                    self._mark_read(missing, partition, offset + 1)
                elif self._is_end(error):
                    self._mark_read(missing, partition, offset)
                    if partition in missing:
                        self.blocked_offsets[partition] = offset
                heard_at = time.monotonic()  # not before: who takes the records may be slow
        if unheard := sorted(missing.keys() - self.blocked_offsets.keys()):
            raise BrokerUnavailable(f"{self._topic}[{unheard[0]}] could not be read within {self._quiet_timeout:g} s")

    def _assign(self, begins: Mapping[int, int]) -> None:
        assert self._client is not None, "a reader reads inside a with block"
        places = [TopicPartition(self._topic, partition, begin) for partition, begin in begins.items()]
        self._client.assign(places)
        # What was paused stays so, also when it is assigned anew.
        self._client.resume(places)

    def _timeout(self, missing: Mapping[int, int]) -> float:
        return self._open_transaction_timeout if missing.keys() <= self.blocked_offsets.keys() else self._quiet_timeout

    def _fetch(self) -> list[confluent_kafka.Message]:
        assert self._client is not None
        first = self._client.poll(POLL_SECONDS)
        return [] if first is None else [first, *self._client.consume(FETCH_RECORDS - 1, 0)]

    def _mark_read(self, missing: dict[int, int], partition: int, position: int) -> None:
        """Take account of how far a partition was read."""
        self.blocked_offsets.pop(partition, None)
        if position >= missing.get(partition, position + 1):
            assert self._client is not None
            del missing[partition]
            self._client.pause([TopicPartition(self._topic, partition)])

    def _is_end(self, error: KafkaError) -> bool:
        if error.code() == KafkaError._PARTITION_EOF:
            return True
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            raise BrokerUnavailable(f"records of {self._topic} were dropped while they were read: {error.str()}")
        if classify(error) is not FailureClass.UNAVAILABLE:
            raise translate(error, f"topic {self._topic} cannot be read")
        return False
