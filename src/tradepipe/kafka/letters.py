"""The dead-letter topic, read from its beginning to where it ended when the reading began."""

import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Self

import confluent_kafka
from confluent_kafka import OFFSET_BEGINNING, TIMESTAMP_NOT_AVAILABLE, KafkaError, KafkaException, TopicPartition

from tradepipe.contract.kept import Kept
from tradepipe.contract.record import Record
from tradepipe.contract.refusal import Refusal
from tradepipe.errors import BrokerAway
from tradepipe.kafka import dead_letters
from tradepipe.kafka.client import Config, beside_producer, consumer_config
from tradepipe.kafka.dead_letters import Letter, Marker, Origin
from tradepipe.kafka.failures import FailureClass, classify, error_of, failure
from tradepipe.kafka.topics import Extent

GROUP: Final = "tradepipe-dlq"
"""No group is joined, and no offset committed, but librdkafka asks for a name."""

FETCHED: Final = 1_000
"""Records taken over at once, at most."""

STEP: Final = 0.2

SOME_TIME: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""When a letter was replayed whose marker does not say."""

Markers = Mapping[tuple[int, Origin], Marker]
"""The last marker of each origin, by the partition in which it lies."""


class Letters:
    """
    A reader of all a topic holds, committed records alone.

    Args:
        wait: seconds without any news after which the reading ends; so long an
            open transaction, which hides all that lies behind its first record,
            is waited for.

    Attributes:
        hidden: partitions that were not read to their ends because of such a
            transaction, each with the offset from which it hides.
    """

    def __init__(self, config: Config, *, topic: str, wait: float) -> None:
        self._config = consumer_config(beside_producer(config), group=GROUP)
        self._topic = topic
        self._wait = wait
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

    def read(self, extents: Mapping[int, Extent]) -> Iterator[Record]:
        """
        The records of these partitions up to their ends, each partition's in order.

        Raises:
            BrokerAway: no broker answers, or retention was faster than we.

            Misconfigured: the brokers refuse us.
        """
        assert self._client is not None, "letters are read inside a with block"
        missing = {partition: extent.end for partition, extent in extents.items() if extent.begin < extent.end}
        places = [TopicPartition(self._topic, partition, OFFSET_BEGINNING) for partition in missing]
        self._client.assign(places)
        # What was paused stays so, also when it is assigned anew.
        self._client.resume(places)
        self.hidden = {}
        heard_at = time.monotonic()
        while missing and time.monotonic() - heard_at < self._wait:
            for message in self._fetched():
                partition, offset = message.partition() or 0, message.offset() or 0
                if (error := message.error()) is None:
                    if offset < missing.get(partition, 0):
                        yield _record(message)
                    self._pass(missing, partition, offset + 1)
                elif self._is_end(error):
                    self._pass(missing, partition, offset)
                    if partition in missing:
                        self.hidden[partition] = offset
                heard_at = time.monotonic()  # not before: who takes the records may be slow
        if unheard := sorted(missing.keys() - self.hidden.keys()):
            raise BrokerAway(f"{self._topic}[{unheard[0]}] could not be read within {self._wait:g} s")

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
            raise BrokerAway(f"letters of {self._topic} were dropped while they were read: {error.str()}")
        if classify(error) is not FailureClass.AWAY:
            raise failure(error, f"topic {self._topic} cannot be read")
        return False


def markers(records: Iterable[Record]) -> Markers:
    """The markers among the records of a dead-letter topic."""
    found = (dead_letters.read(record) for record in records)
    return {(marker.record.partition, marker.origin): marker for marker in found if isinstance(marker, Marker)}


def letters(records: Iterable[Record], closed: Markers) -> Iterator[tuple[Kept, Letter | None]]:
    """
    The letters among the records of a dead-letter topic, each with what is known of it; None for a foreign record.

    A letter is open while no marker behind it in its partition names its origin.
    """
    for record in records:
        read = dead_letters.read(record)
        if isinstance(read, Letter):
            marker = closed.get((record.partition, read.origin))
            yield _kept(read, marker if marker and marker.record.offset > record.offset else None), read
        elif not isinstance(read, Marker):
            yield Kept(Refusal(record, ()), refused_at=_time(record), letter=record), None


def _kept(letter: Letter, marker: Marker | None) -> Kept:
    return Kept(
        letter.refusal,
        letter.topic_id,
        letter.group,
        _time(letter.record),
        letter.replays,
        (_time(marker.record) or SOME_TIME) if marker else None,
        letter.record,
    )


def _time(record: Record) -> datetime | None:
    if record.timestamp is None:
        return None
    try:
        return datetime.fromtimestamp(record.timestamp / 1000, UTC)
    except (OverflowError, ValueError, OSError):  # a producer may have written any number
        return None


def _record(message: confluent_kafka.Message) -> Record:
    kind, milliseconds = message.timestamp()
    try:
        headers = list(message.headers() or ())
    except SystemError:  # wraps a UnicodeDecodeError: a name is no text
        headers = []
    return Record(
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
        message.key(),
        message.value(),
        None if kind == TIMESTAMP_NOT_AVAILABLE else milliseconds,
        tuple(headers),  # type: ignore[arg-type]  # of a message that came it is a list of pairs
    )
