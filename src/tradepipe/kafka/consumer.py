"""One member of a consumer group, whose offsets somebody else keeps."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

import confluent_kafka
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, TopicPartition

from tradepipe.errors import BrokerUnavailable, ConfigurationError, OffsetOutOfRange
from tradepipe.kafka.config import Config, consumer_config, is_cooperative
from tradepipe.kafka.failures import FailureClass, classify, translate, unwrap
from tradepipe.kafka.librdkafka import (
    OUTAGE_LOG_INTERVAL,
    timestamp_of,
    to_record,
    to_record_without_headers,
)
from tradepipe.trade.record import Record

logger = logging.getLogger(__name__)

REQUEST_TIMEOUT: Final = 5.0
"""Seconds a question to the group's coordinator may take."""

_ADVICE_ON_FATAL: Final = "; check group.protocol, and that no two members have the same group.instance.id"


class Assignment(NamedTuple):
    """
    A partition for as long as the group leaves it with us.

    The same partition assigned again is another assignment.
    """

    partition: int
    number: int


class _PartitionState:
    """How far one assignment has been read."""

    __slots__ = ("assignment", "next_offset", "paused")

    def __init__(self, assignment: Assignment) -> None:
        self.assignment = assignment
        self.next_offset: int | None = None  # None: nothing is delivered before `start`
        self.paused = True


class Consumer:
    """
    Read the partitions the group assigns, each from where `start` says.

    An assigned partition is paused and delivers nothing until `start`: its
    offset is not known before somebody has claimed it. Rebalances only change
    what `assignments` tells; they happen inside `poll`, never elsewhere.

    Args:
        with_headers: whether records come with their timestamps and headers, which
            takes a tenth longer.

        reset_instructions: what to do about a partition whose offset is not in the log.
    """

    def __init__(
        self,
        config: Config,
        *,
        topic: str,
        group: str,
        with_headers: bool = False,
        reset_instructions: Callable[[int], str] | None = None,
    ) -> None:
        self._record_of = to_record if with_headers else to_record_without_headers
        self._reset_instructions = reset_instructions or self._reset_command
        self._config = consumer_config(config, group=group)
        self._topic = topic
        self.group = group
        self._incremental = is_cooperative(config)
        self._client: confluent_kafka.Consumer | None = None
        self._readings: dict[int, _PartitionState] = {}
        self._assigned = 0
        self._answered = False
        self._fatal_error: ConfigurationError | None = None
        self._last_error_at = float("-inf")
        self.offset_gaps = 0
        """Offsets passed over because the log holds no record there, such as transaction markers."""
        self.errors = 0
        """Errors that librdkafka overcomes by itself."""
        self.rebalances = {"assign": 0, "revoke": 0}
        """How often the group gave us partitions, and took some away."""
        self.first_timestamp: float | None = None
        """When the first record of the last poll was sent or appended, Unix time; None where the log does not say."""

    def open(self) -> None:
        """
        Join the group.

        Raises:
            ConfigurationError: librdkafka refuses the configuration.
        """
        try:
            self._client = confluent_kafka.Consumer({**self._config, "error_cb": self._on_error})
        except KafkaException as error:
            raise translate(unwrap(error), "Kafka's client cannot be configured so") from error
        self._client.subscribe(
            [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )

    def close(self) -> None:
        """Leave the group; what was assigned goes to the other members."""
        if self._client is not None:
            client, self._client = self._client, None
            client.close()

    @property
    def assignments(self) -> dict[int, Assignment]:
        """What is assigned to us now, by partition."""
        return {partition: reading.assignment for partition, reading in self._readings.items()}

    def position(self, partition: int) -> int | None:
        """The offset behind all that was delivered, transaction markers included; None before `start`."""
        reading = self._readings.get(partition)
        return reading.next_offset if reading else None

    @property
    def has_joined(self) -> bool:
        """Whether the group has ever assigned us anything, or nothing."""
        return self._answered

    def high_watermark(self, partition: int) -> int | None:
        """Where the log of an assigned partition ended when it was last fetched; None before that."""
        try:
            watermarks = self._require_client().get_watermark_offsets(
                TopicPartition(self._topic, partition), cached=True
            )
        except KafkaException:
            return None
        return watermarks[1] if watermarks and watermarks[1] >= 0 else None

    def poll(self, max_records: int, timeout: float) -> list[Record]:
        """
        The records that have come, at most `max_records`, in the order of their partitions' offsets.

        Waits up to `timeout` seconds for the first one, and for no other: librdkafka's
        `consume` with a timeout would wait until all have come.

        Raises:
            ConfigurationError: the brokers refuse us.

            OffsetOutOfRange: the log was cut while it was read.
        """
        client = self._require_client()
        first = client.poll(timeout)
        if self._fatal_error is not None:
            raise self._fatal_error
        if first is None:
            return []
        sent_at = timestamp_of(first)
        self.first_timestamp = None if sent_at is None else sent_at / 1000
        messages = [first]
        if max_records > 1:
            messages += client.consume(max_records - 1, 0)
        return self._to_records(messages)

    def start_delivery(self, assignment: Assignment, offset: int) -> bool:
        """Deliver an assigned partition from `offset` on; False when it cannot be done yet, or any more."""
        reading = self._readings.get(assignment.partition)
        if reading is None or reading.assignment != assignment:
            return False
        if not self._seek(assignment.partition, offset):
            return False
        reading.next_offset = offset
        self.resume([assignment.partition])
        return True

    def stop_delivery(self, partition: int) -> None:
        """Deliver nothing more of a partition until the next `start`."""
        if reading := self._readings.get(partition):
            reading.next_offset = None
            self.pause([partition])

    def pause(self, partitions: Iterable[int]) -> None:
        """Fetch no more of these; what librdkafka holds of them is dropped and fetched again later."""
        running = [part for part in partitions if part in self._readings and not self._readings[part].paused]
        if running:
            self._require_client().pause([TopicPartition(self._topic, part) for part in running])
            for part in running:
                self._readings[part].paused = True

    def resume(self, partitions: Iterable[int]) -> None:
        """Fetch these again."""
        paused = [part for part in partitions if part in self._readings and self._readings[part].paused]
        if paused:
            self._require_client().resume([TopicPartition(self._topic, part) for part in paused])
            for part in paused:
                self._readings[part].paused = False

    def committed(self, partitions: Iterable[int]) -> dict[int, int]:
        """
        The offsets the group has committed to Kafka, without the partitions that have none.

        An offset that a transaction is about to commit is waited for.

        Raises:
            BrokerUnavailable: they cannot be had now.

            ConfigurationError: the brokers refuse us.
        """
        places = [TopicPartition(self._topic, partition) for partition in partitions]
        try:
            answers = self._require_client().committed(places, timeout=REQUEST_TIMEOUT)
        except KafkaException as error:
            raise translate(error, f"the committed offsets of group {self.group} cannot be read") from error
        if broken := next((answer.error for answer in answers if answer.error is not None), None):
            raise translate(broken, f"the committed offsets of group {self.group} cannot be read")
        return {answer.partition: answer.offset for answer in answers if answer.offset >= 0}

    def commit(self, offsets: Mapping[int, int]) -> None:
        """
        Commit offsets to Kafka, and wait for it; a member that the group has given up commits nothing.

        Raises:
            BrokerUnavailable: they are not committed, or not known to be.

            ConfigurationError: the brokers refuse us.
        """
        places = [TopicPartition(self._topic, partition, offset) for partition, offset in offsets.items()]
        try:
            answers = self._require_client().commit(offsets=places, asynchronous=False) or []
        except KafkaException as error:
            raise translate(error, f"offsets of group {self.group} cannot be committed") from error
        if broken := next((answer.error for answer in answers if answer.error is not None), None):
            raise translate(broken, f"offsets of group {self.group} cannot be committed")

    def group_metadata(self) -> bytes:
        """
        What a transaction shows to prove that we are of the group still.

        Asked for behind the last poll. A member whose session has ended loses its
        id before it hears of it; brokers take offsets from one without an id
        unchecked, so it must not get as far.

        Raises:
            BrokerUnavailable: the group has given us up; the next poll tells.
        """
        client = self._require_client()
        membership: bytes = client.consumer_group_metadata()
        if not client.memberid():
            raise BrokerUnavailable(f"the session with group {self.group} has ended")
        return membership

    def commit_for_lag(self, offsets: Mapping[int, int]) -> None:
        """
        Tell Kafka how far we are, for tools that show lag; nobody reads it back.

        Sent without waiting; a hint that is lost is repaired by the next one.
        """
        places = [
            TopicPartition(self._topic, part, offset) for part, offset in offsets.items() if part in self._readings
        ]
        if not places:
            return
        try:
            self._require_client().commit(offsets=places, asynchronous=True)
        except KafkaException as error:
            logger.debug("Kafka did not take the offsets for lag tools: %s", unwrap(error).str())

    def _to_records(self, messages: list[confluent_kafka.Message]) -> list[Record]:
        records: list[Record] = []
        topic, readings, made = self._topic, self._readings, self._record_of
        for message in messages:
            partition: int = message.partition()  # type: ignore[assignment]  # None for errors of no partition
            # Any message may be of a partition that a callback inside this very poll took away.
            reading = readings.get(partition)
            if (error := message.error()) is not None:
                self._handle_event(error, message, reading)
                continue
            offset: int = message.offset()  # type: ignore[assignment]  # a message without an error has one
            # librdkafka 2.16 itself drops what it fetched before a seek or a pause, so no test brings a lower offset
            # about; one that came would move the position back, over records that are stored already.
            if reading is None or reading.next_offset is None or offset < reading.next_offset:
                continue
            self.offset_gaps += offset - reading.next_offset
            reading.next_offset = offset + 1
            records.append(made(message, topic, partition, offset))
        return records

    def _handle_event(
        self, error: KafkaError, message: confluent_kafka.Message, reading: _PartitionState | None
    ) -> None:
        if error.code() == KafkaError._PARTITION_EOF:
            end = message.offset()
            if (
                reading is not None
                and reading.next_offset is not None
                and end is not None
                and end > reading.next_offset
            ):
                self.offset_gaps += end - reading.next_offset
                reading.next_offset = end
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            if reading is not None and reading.next_offset is not None:
                raise OffsetOutOfRange(
                    f"offset {reading.next_offset} of {self._topic}[{reading.assignment.partition}] is not in the log: "
                    f"{error.str()}; decide where to go on: {self._reset_instructions(reading.assignment.partition)}"
                )
        elif classify(error) is FailureClass.UNAVAILABLE:
            self._log_outage(error)
        else:
            raise self._consume_error(error)

    def _seek(self, partition: int, offset: int) -> bool:
        try:
            self._require_client().seek(TopicPartition(self._topic, partition, offset))
        except KafkaException as error:
            told = unwrap(error)
            # The assignment has not reached librdkafka's fetcher yet, or has just left it.
            if classify(told) is FailureClass.UNAVAILABLE or told.code() == KafkaError._UNKNOWN_PARTITION:
                return False
            raise translate(told, f"{self._topic}[{partition}] cannot be read from {offset}") from error
        return True

    def _on_assign(self, client: confluent_kafka.Consumer, places: list[TopicPartition]) -> None:
        # An explicit offset: with none, librdkafka would start at Kafka's committed one.
        given = [TopicPartition(place.topic, place.partition, OFFSET_BEGINNING) for place in places]
        if self._incremental:
            client.incremental_assign(given)
        else:
            client.assign(given)
            self._readings.clear()
        # A partition that comes back to the same client comes back as it was left, paused or not.
        client.pause(given)
        for place in given:
            self._assigned += 1
            self._readings[place.partition] = _PartitionState(Assignment(place.partition, self._assigned))
        self._answered = True
        self.rebalances["assign"] += 1
        logger.info("assigned %s of %s", _format_partitions(places), self._topic)

    def _on_revoke(self, client: confluent_kafka.Consumer, places: list[TopicPartition]) -> None:
        for place in places:
            self._readings.pop(place.partition, None)
        if self._incremental:
            client.incremental_unassign(places)
        else:
            client.unassign()
        self.rebalances["revoke"] += 1
        logger.info("revoked %s of %s", _format_partitions(places), self._topic)

    def _on_error(self, error: KafkaError) -> None:
        """Called inside poll; librdkafka goes on by itself after all but the ones kept here."""
        kind = classify(error)
        if kind is FailureClass.UNAVAILABLE:
            self._log_outage(error)
        else:
            self._fatal_error = self._consume_error(error)

    def _log_outage(self, error: KafkaError) -> None:
        """Log an outage once: librdkafka reports each of its tries to connect, dozens a second at times."""
        self.errors += 1
        if time.monotonic() - self._last_error_at > OUTAGE_LOG_INTERVAL:
            logger.warning("Kafka reported an error, retrying: %s", error.str())
        self._last_error_at = time.monotonic()

    def _consume_error(self, error: KafkaError) -> ConfigurationError:
        """What no waiting heals. A consumer's fatal errors are of that kind too: a new client would meet them again."""
        advice = _ADVICE_ON_FATAL if classify(error) is FailureClass.FATAL else ""
        return ConfigurationError(f"{translate(error, f'topic {self._topic} cannot be consumed')}{advice}")

    def _reset_command(self, partition: int) -> str:
        return (
            f"tradepipe sink offsets reset --topic {self._topic} --group {self.group} "
            f"--partition {partition} --to earliest|latest|TIME|NUMBER"
        )

    def _require_client(self) -> confluent_kafka.Consumer:
        assert self._client is not None, "the consumer is used before open() or after close()"
        return self._client


def _format_partitions(places: Iterable[TopicPartition]) -> str:
    return ", ".join(str(place.partition) for place in places) or "nothing"
