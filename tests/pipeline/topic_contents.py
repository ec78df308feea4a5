"""The committed content of a validator's topics."""

from collections import Counter, defaultdict
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, TopicPartition

from tradepipe.kafka.dead_letters import DeadLetterRecord, parse
from tradepipe.kafka.messages import read_headers
from tradepipe.trade.record import Record


def committed_records(kafka: dict[str, Any], topic: str) -> list[Record]:
    """Return the committed records of a topic, each partition's in the order of the log."""
    settings = {"group.id": "tests", "enable.partition.eof": True, "isolation.level": "read_committed"}
    client = Consumer({"bootstrap.servers": kafka["bootstrap.servers"], "auto.offset.reset": "earliest", **settings})
    try:
        partitions = list(client.list_topics(topic, timeout=60).topics[topic].partitions)
        client.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        return _until_end(client, len(partitions))
    finally:
        client.close()


def _until_end(client: Consumer, partitions: int) -> list[Record]:
    records, ended = [], set()
    while len(ended) < partitions:
        message = client.poll(120)
        assert message is not None, "the end of the log was not reached"
        if message.error() is None:
            place = (message.topic(), message.partition(), message.offset(), message.key(), message.value())
            records.append(Record(*place, message.timestamp()[1], read_headers([message])[0]))
        else:
            assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
            ended.add(message.partition())
    return records


class Sorted(NamedTuple):
    """What a validator read, what passed and what was refused."""

    source: list[Record]
    clean: list[Record]
    dead_letters: list[Record]

    @property
    def letters(self) -> list[DeadLetterRecord]:
        """Return the parsed dead letters."""
        letters = [parse(record) for record in self.dead_letters]
        assert all(isinstance(letter, DeadLetterRecord) for letter in letters)
        return letters

    def check(self) -> None:
        """Each record is in exactly one of the two topics, once and unchanged; the records of a key are in order."""
        passed = [_content(record) for record in self.clean]
        refused = [letter.refusal.record for letter in self.letters]
        assert Counter(map(_content, self.source)) == Counter(passed) + Counter(map(_content, refused))
        assert len(refused) == len({(record.partition, record.offset) for record in refused})
        places = {(record.partition, record.offset): record for record in self.source}
        assert refused == [places[record.partition, record.offset] for record in refused]
        gone = {(record.partition, record.offset) for record in refused}
        stayed = [record for record in self.source if (record.partition, record.offset) not in gone]
        assert _by_key(stayed) == _by_key(self.clean)


def _content(record: Record) -> tuple[Any, ...]:
    return record.key, record.value, record.timestamp, record.headers


def _by_key(records: list[Record]) -> dict[bytes | None, list[Any]]:
    found = defaultdict(list)
    for record in records:
        found[record.key].append(_content(record))
    return found
