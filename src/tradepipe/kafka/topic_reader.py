"""Reader of a topic's committed records up to given watermarks, without a consumer group."""

import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Final, Self

import confluent_kafka
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Message, TopicPartition

from tradepipe.errors import BrokerUnavailable
from tradepipe.kafka.admin import Watermarks
from tradepipe.kafka.assignment import correct_offset, is_misnumbered
from tradepipe.kafka.clients import create_client
from tradepipe.kafka.config import Config, consumer_config, without_producer_keys
from tradepipe.kafka.failures import FailureClass, classify, translate
from tradepipe.kafka.malformed import MalformedRecords
from tradepipe.kafka.messages import to_record
from tradepipe.kafka.misnumbered import is_after_misnumbered, is_reset
from tradepipe.kafka.unreadable import UnreadableBatches
from tradepipe.trade.record import Record

GROUP: Final = "tradepipe-reader"
"""librdkafka requires a group name; nothing joins the group or commits offsets."""

FETCH_RECORDS: Final = 8
"""Maximum number of records fetched at once: headers take a multiple of their bytes."""

POLL_SECONDS: Final = 0.2
"""Seconds of one poll; timeouts are checked between two."""


class AssignedConsumer:
    """A consumer whose partitions are assigned by its user, not by a group; open within a `with` block."""

    def __init__(self, config: Config, properties: Mapping[str, int] | None = None) -> None:
        self._config = consumer_config(without_producer_keys(config), group=GROUP) | dict(properties or {})
        self._opened: confluent_kafka.Consumer | None = None

    def __enter__(self) -> Self:
        self._opened = create_client(confluent_kafka.Consumer, {**self._config, "error_cb": lambda error: None})
        return self

    def __exit__(self, *_: object) -> None:
        if self._opened is not None:
            self._opened.close()

    @property
    def _client(self) -> confluent_kafka.Consumer:
        assert self._opened is not None, "it is used outside of its with block"
        return self._opened


class TopicReader(AssignedConsumer):
    """
    Read the committed records of a topic, inside a `with` block.

    Args:
        timeout: seconds without a record or event after which reading ends.

        open_transaction_timeout: the timeout once all missing records are blocked by
            open transactions, which hide every record after their first one.

    Attributes:
        blocked_offsets: partitions that were not read to the end because of an open
            transaction, each with the first blocked offset.
    """

    def __init__(
        self, config: Config, *, topic: str, timeout: float, open_transaction_timeout: float | None = None
    ) -> None:
        super().__init__(config)
        self._topic = topic
        self._quiet_timeout = timeout
        self._open_transaction_timeout = timeout if open_transaction_timeout is None else open_transaction_timeout
        self._missing: dict[int, int] = {}
        self._positions: dict[int, int] = {}
        self._malformed = MalformedRecords(self._config, topic)
        self.blocked_offsets: dict[int, int] = {}

    def __exit__(self, *raised: object) -> None:
        self._malformed.clear()
        super().__exit__(*raised)

    def read(self, watermarks: Mapping[int, Watermarks], *, last: int | None = None) -> Iterator[Record]:
        """
        Yield the records of partitions up to their high watermarks, each partition's in order.

        Records that librdkafka cannot read are skipped.

        Args:
            last: read only the last offsets of each partition, this many; None for all.

        Raises:
            BrokerUnavailable: no broker responds, or retention deleted records before they were read.

            ConfigurationError: the brokers reject the consumer.
        """
        self._missing = {partition: each.high for partition, each in watermarks.items() if each.low < each.high}
        self._positions = {partition: each.low for partition, each in watermarks.items()}
        self.blocked_offsets = {}
        starts = [
            TopicPartition(
                self._topic,
                partition,
                OFFSET_BEGINNING if last is None else max(watermarks[partition].low, high - last),
            )
            for partition, high in self._missing.items()
        ]
        # Assigned, not subscribed: a group could give the partitions to another reader.
        self._client.assign(starts)
        # A partition that was paused by an earlier read stays paused when it is assigned again.
        self._client.resume(starts)
        malformed = self._malformed
        unreadable = UnreadableBatches(self._topic, malformed, self._seek, lambda partition: watermarks[partition].high)
        unreadable.clear()
        last_event_at = time.monotonic()
        while self._missing and (malformed.is_active or time.monotonic() - last_event_at < self._timeout()):
            for batch in unreadable.step(self._positions.get):
                self._move_to(batch.partition, batch.last_offset + 1)
                last_event_at = time.monotonic()
            if time.monotonic() - last_event_at >= self._timeout() / 2:
                for partition in self._missing.keys() - self.blocked_offsets.keys():
                    unreadable.examine(partition, self._positions[partition])
            first = self._client.poll(POLL_SECONDS)
            moved = set[int]()
            messages = deque([] if first is None else [first, *self._client.consume(FETCH_RECORDS - 1, 0)])
            while messages:
                message = messages.popleft()  # frees its headers, which are read one by one
                if message.partition() in moved and not is_reset(message.error()):
                    continue
                is_repeated = self._is_repeated(message)
                if not self._is_moved(message, unreadable):
                    yield from self._read(message)
                else:
                    moved.add(message.partition() or 0)
                if not is_repeated:
                    last_event_at = time.monotonic()  # after the yield: the caller may be slow
        unreadable.clear()
        if unread := sorted(self._missing.keys() - self.blocked_offsets.keys()):
            raise BrokerUnavailable(f"{self._topic}[{unread[0]}] could not be read within {self._quiet_timeout:g} s")

    def _timeout(self) -> float:
        is_blocked = self._missing.keys() <= self.blocked_offsets.keys()
        return self._open_transaction_timeout if is_blocked else self._quiet_timeout

    def _is_moved(self, message: Message, unreadable: UnreadableBatches) -> bool:
        """Return whether a message belongs to the search for an unreadable batch, which has moved its partition."""
        partition, error = message.partition() or 0, message.error()
        if not unreadable.concerns(partition, error):
            return False
        found, as_usual = unreadable.handle(partition, self._positions[partition], error)
        if found is not None:
            self._move_to(partition, found.last_offset + 1)
        return not as_usual

    def _is_repeated(self, message: Message) -> bool:
        """Return whether a message is a misnumbered record that was read before, or the reset that follows it."""
        partition, offset = message.partition() or 0, message.offset() or 0
        position = self._positions.get(partition, 0)
        if message.error() is not None:
            return is_after_misnumbered(message, position)
        return is_misnumbered(offset, position) and correct_offset(offset, position) is None

    def _read(self, message: Message) -> Iterator[Record]:
        """Yield the record of a message, if it is one to be read, and move the position past it."""
        partition, offset, error = message.partition() or 0, message.offset() or 0, message.error()
        if error is None and is_misnumbered(offset, self._positions[partition]):
            if (found := correct_offset(offset, self._positions[partition])) is not None:
                self._move_to(partition, found + 1)
        elif error is None:
            if offset < self._missing.get(partition, 0):
                yield to_record(message, self._topic)
            self._move_to(partition, offset + 1)
        elif is_after_misnumbered(message, self._positions.get(partition, 0)):
            self._restart(partition)
        elif self._is_end(error):
            self._move_to(partition, offset)
            if partition in self._missing:
                self.blocked_offsets[partition] = offset

    def _restart(self, partition: int) -> None:
        """Continue where a misnumbered record, the last one of its response, has ended the fetching."""
        if partition in self._missing:
            place = TopicPartition(self._topic, partition, self._positions[partition])
            self._client.incremental_unassign([place])
            self._client.incremental_assign([place])

    def _seek(self, partition: int, offset: int) -> bool:
        try:
            self._client.seek(TopicPartition(self._topic, partition, offset))
        except KafkaException:
            return False
        return True

    def _move_to(self, partition: int, position: int) -> None:
        """Record how far a partition was read, and pause it at its high watermark."""
        self._positions[partition] = position
        self.blocked_offsets.pop(partition, None)
        # Paused, or a busy partition would fill the queue with unwanted records.
        if position >= self._missing.get(partition, position + 1):
            del self._missing[partition]
            self._client.pause([TopicPartition(self._topic, partition)])

    def _is_end(self, error: KafkaError) -> bool:
        if error.code() == KafkaError._PARTITION_EOF:
            return True
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            raise BrokerUnavailable(f"retention deleted records of {self._topic} before they were read: {error.str()}")
        if classify(error) is not FailureClass.UNAVAILABLE:
            raise translate(error, f"cannot read topic {self._topic}")
        return False
