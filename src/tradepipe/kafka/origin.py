"""Origins of dead letters: comparison with the record that one names, and the headers of other frameworks."""

import time
from typing import Final

from confluent_kafka import KafkaError, TopicPartition

from tradepipe.errors import BrokerUnavailable
from tradepipe.kafka.admin import Topic, TopicAdmin, Watermarks
from tradepipe.kafka.assignment import is_misnumbered
from tradepipe.kafka.config import Config
from tradepipe.kafka.failures import FailureClass, classify, translate
from tradepipe.kafka.malformed import find_malformed
from tradepipe.kafka.messages import UNREADABLE, to_record
from tradepipe.kafka.topic_reader import POLL_SECONDS, AssignedConsumer
from tradepipe.kafka.unreadable import ERRORS
from tradepipe.trade.dead_letter import DeadLetter
from tradepipe.trade.record import Record

_NOTHING: Final = ERRORS | {KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET}
"""Errors that mean that there is no readable record at an offset."""


class OriginCheck(AssignedConsumer):
    """
    Compares dead letters with the records at their coordinates, inside a `with` block.

    A program with WRITE on a dead-letter topic can write any dead letter. One that equals
    the record it names sends back only what its source topic has already accepted.

    Args:
        timeout: seconds to wait for a record.

        unverified: accept a dead letter whose record its topic no longer holds.
    """

    def __init__(self, kafka: Config, topics: TopicAdmin, *, timeout: float, unverified: bool) -> None:
        # One record is read at a time: no more is fetched, and no fetch at the end of a log delays the next one.
        super().__init__(kafka, {"fetch.wait.max.ms": 10, "max.partition.fetch.bytes": 1_024})
        self._topics = topics
        self._timeout = timeout
        self._unverified = unverified
        self._described: dict[str, Topic] = {}
        self._watermarks: dict[str, dict[int, Watermarks]] = {}

    def find_difference(self, dead_letter: DeadLetter) -> str:
        """Return how a dead letter differs from the record that it names, or an empty text. Raises as `TopicAdmin`."""
        topic, partition, offset = dead_letter.record[:3]
        if topic not in self._watermarks:
            self._described[topic] = self._topics.describe(topic)
            self._watermarks[topic] = self._topics.watermarks(topic, self._described[topic].partitions)
        described = self._described[topic]
        if partition not in described.partitions:
            return f"topic {topic} has no partition {partition}"
        # From the start of the replay: what is appended later is not the origin of a dead letter that was read before.
        begin, end = self._watermarks[topic][partition]
        is_recreated = None not in (dead_letter.topic_id, described.topic_id) and (
            dead_letter.topic_id != described.topic_id
        )
        if is_recreated or offset < begin:
            if self._unverified:
                return ""
            lost = "the topic was recreated" if is_recreated else "Kafka has deleted the record"
            return f"{lost}, so the copy cannot be compared with it; --unverified sends the copy back"
        origin = self._read(topic, partition, offset) if offset < end else None
        if origin is None:
            return f"Kafka has no readable record at {dead_letter.record.coordinates}"
        copy = dead_letter.record
        names = [name for name in ("key", "value") if getattr(copy, name) != getattr(origin, name)]
        # A dead letter has no headers if one of their names is not UTF-8.
        if copy.headers != (() if origin.headers is UNREADABLE else origin.headers):
            names.append("headers")
        verb = "differs" if names in (["key"], ["value"]) else "differ"
        return f"its {' and '.join(names)} {verb} from that of the record in Kafka" if names else ""

    def _read(self, topic: str, partition: int, offset: int) -> Record | None:
        """Return the committed record at an offset, or None."""
        # A new assignment drops what is still queued of the last one; a seek would need the partition to be fetched.
        self._client.assign([TopicPartition(topic, partition, offset)])
        deadline = time.monotonic() + self._timeout
        while time.monotonic() < deadline:
            if (message := self._client.poll(POLL_SECONDS)) is None:
                continue
            error = message.error()
            if error is None:
                # An earlier record of the same batch, which Kafka's client takes for a later one.
                if is_misnumbered(message.offset() or 0, offset):
                    continue
                # A later offset: the one asked for is a transaction marker, or aborted.
                return to_record(message, topic) if message.offset() == offset else None
            if error.code() in _NOTHING:
                return None
            if classify(error) is not FailureClass.UNAVAILABLE:
                raise translate(error, f"cannot read {topic}[{partition}]@{offset}")
        if any(
            first <= offset <= last for first, last in find_malformed(self._config, topic, partition, offset).ranges
        ):
            return None
        raise BrokerUnavailable(f"{topic}[{partition}]@{offset} could not be read within {self._timeout:g} s")


_SPRING = "kafka_dlt-original-"
_STREAMS = "__streams.errors."


def describe_foreign_origin(record: Record) -> str:
    """Return which other framework wrote a dead letter and for which record, or an empty string."""
    headers = {name: value or b"" for name, value in record.headers}
    if topic := headers.get(f"{_SPRING}topic"):
        # Big-endian int and long, as Spring for Apache Kafka writes them.
        numbers = [int.from_bytes(headers.get(f"{_SPRING}{name}", b"")[:8]) for name in ("partition", "offset")]
        return f"Spring wrote it for {_text(topic)}[{numbers[0]}]@{numbers[1]}"
    if topic := headers.get(f"{_STREAMS}topic"):
        partition, offset = (_text(headers.get(f"{_STREAMS}{name}", b"?")) for name in ("partition", "offset"))
        return f"Kafka Streams wrote it for {_text(topic)}[{partition}]@{offset}"
    return ""


def _text(value: bytes) -> str:
    return value[:250].decode(errors="replace")
