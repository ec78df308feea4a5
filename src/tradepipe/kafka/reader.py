"""A topic read by itself, without a group: to where it ended when the reading began."""

import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Final, Self

import confluent_kafka
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, TopicPartition

from tradepipe.contract.record import Record
from tradepipe.errors import BrokerAway
from tradepipe.kafka.client import Config, beside_producer, consumer_config
from tradepipe.kafka.failures import FailureClass, classify, error_of, failure
from tradepipe.kafka.messages import record_of
from tradepipe.kafka.topics import Extent

GROUP: Final = "tradepipe-reader"
"""No group is joined, and no offset committed, but librdkafka asks for a name."""

FETCHED: Final = 1_000
"""Records taken over at once, at most."""

STEP: Final = 0.2


class Reader:
    """
    A reader of what a topic holds, committed records alone.

    Args:
        wait: seconds without any news after which the reading ends.

        wait_for_open: the same where nothing is missing but what an open
            transaction hides: all that lies behind its first record.

    Attributes:
        hidden: partitions that were not read to their ends because of such a
            transaction, each with the offset from which it hides.
    """

    def __init__(self, config: Config, *, topic: str, wait: float, wait_for_open: float | None = None) -> None:
        self._config = consumer_config(beside_producer(config), group=GROUP)
        self._topic = topic
        self._wait = wait
        self._wait_for_open = wait if wait_for_open is None else wait_for_open
        self._client: confluent_kafka.Consumer | None = None
        self.hidden: dict[int, int] = {}

    def __enter__(self) -> Self:
        try:
            self._client = confluent_kafka.Consumer({**self._config, "error_cb": lambda error: None})
        except KafkaException as error:
            raise failure(error_of(error), "Kafka's client cannot be configured so") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            self._client.close()

    def read(self, extents: Mapping[int, Extent], *, last: int | None = None) -> Iterator[Record]:
        """
        The records of these partitions up to their ends, each partition's in order.

        Args:
            last: how many offsets before its end each partition is read from;
                None for its beginning.

        Raises:
            BrokerAway: no broker answers, or retention was faster than we.

            Misconfigured: the brokers refuse us.
        """
        missing = {partition: extent.end for partition, extent in extents.items() if extent.begin < extent.end}
        begins = {n: OFFSET_BEGINNING if last is None else max(extents[n].begin, missing[n] - last) for n in missing}
        self._assign(begins)
        self.hidden = {}
        heard_at = time.monotonic()
        while missing and time.monotonic() - heard_at < self._patience(missing):
            for message in self._fetched():
                partition, offset = message.partition() or 0, message.offset() or 0
                if (error := message.error()) is None:
                    if offset < missing.get(partition, 0):
                        yield record_of(message, self._topic, partition, offset)
                    self._pass(missing, partition, offset + 1)
                elif self._is_end(error):
                    self._pass(missing, partition, offset)
                    if partition in missing:
                        self.hidden[partition] = offset
                heard_at = time.monotonic()  # not before: who takes the records may be slow
        if unheard := sorted(missing.keys() - self.hidden.keys()):
            raise BrokerAway(f"{self._topic}[{unheard[0]}] could not be read within {self._wait:g} s")

    def _assign(self, begins: Mapping[int, int]) -> None:
        assert self._client is not None, "a reader reads inside a with block"
        places = [TopicPartition(self._topic, partition, begin) for partition, begin in begins.items()]
        self._client.assign(places)
        # What was paused stays so, also when it is assigned anew.
        self._client.resume(places)

    def _patience(self, missing: Mapping[int, int]) -> float:
        return self._wait_for_open if missing.keys() <= self.hidden.keys() else self._wait

    def _fetched(self) -> list[confluent_kafka.Message]:
        assert self._client is not None
        first = self._client.poll(STEP)
        return [] if first is None else [first, *self._client.consume(FETCHED - 1, 0)]

    def _pass(self, missing: dict[int, int], partition: int, position: int) -> None:
        """Take account of how far a partition was read."""
        self.hidden.pop(partition, None)
        if position >= missing.get(partition, position + 1):
            assert self._client is not None
            del missing[partition]
            self._client.pause([TopicPartition(self._topic, partition)])

    def _is_end(self, error: KafkaError) -> bool:
        if error.code() == KafkaError._PARTITION_EOF:
            return True
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            raise BrokerAway(f"records of {self._topic} were dropped while they were read: {error.str()}")
        if classify(error) is not FailureClass.AWAY:
            raise failure(error, f"topic {self._topic} cannot be read")
        return False
