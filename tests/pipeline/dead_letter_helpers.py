"""Dead letters for tests: written, read and replayed."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Producer

from tradepipe.kafka import dead_letters
from tradepipe.kafka.admin import TopicAdmin
from tradepipe.kafka.dead_letters import iter_dead_letters, read_markers
from tradepipe.kafka.topic_reader import TopicReader
from tradepipe.pipeline.replay_topic import TopicReplay
from tradepipe.trade.dead_letter import DeadLetter, DeadLetterFilter
from tradepipe.trade.record import Headers, Record, Refusal, Violation

WAIT = 10.0


class DeadLetterTopic:
    """A topic of trades with a dead-letter topic."""

    def __init__(self, kafka: dict[str, Any], source: str, topic: str) -> None:
        self.kafka = kafka
        self.source = source
        self.topic = topic
        self.admin = TopicAdmin(kafka)

    def refusal(self, offset: int, code: str = "VERSION", *, headers: Headers = (), **fields: Any) -> Refusal:
        """Return a refusal of a record whose key and value contain its offset."""
        text = b"%d" % offset
        given = {"topic": self.source, "partition": 0, "offset": offset, "key": text, "value": b"v" + text, **fields}
        return Refusal(Record(timestamp=1_750_000_000_000, headers=headers, **given), (Violation(code, "it is 0"),))

    def write(self, refusals: Iterable[Refusal], *, partition: int = -1, topic_id: str | None = "id-1") -> None:
        """Write the dead letters of these refusals."""
        client = self._producer()
        for refusal in refusals:
            written = list(dead_letters.build_headers(refusal, topic_id=topic_id, group="checkers"))
            record = refusal.record
            client.produce(self.topic, record.value, record.key, partition, headers=written)
        assert 0 == client.flush(120)

    def send(self, value: bytes, key: bytes | None = None, *, partition: int = 0, headers: Headers = ()) -> None:
        """Write a record to the topic of trades."""
        client = self._producer()
        client.produce(self.source, value, key, partition, headers=list(headers))
        assert 0 == client.flush(120)

    def write_foreign(self, value: bytes, *, partition: int = 0) -> None:
        """Write a record that is no dead letter."""
        client = self._producer()
        client.produce(self.topic, value, b"k", partition)
        assert 0 == client.flush(120)

    def records(self, topic: str | None = None) -> list[Record]:
        """Return the committed records of a topic."""
        with self.read(topic or self.source) as found:
            return list(found)

    def dead_letters(self, selection: DeadLetterFilter | None = None) -> list[DeadLetter]:
        """Return the dead letters of a selection, by default the open ones."""
        with self.read(self.topic) as found:
            closed = read_markers(found)
        with self.read(self.topic) as found:
            chosen = selection or DeadLetterFilter()
            return [kept for kept, _ in iter_dead_letters(found, closed) if chosen.matches(kept)]

    @contextmanager
    def read(self, topic: str) -> Iterator[Iterator[Record]]:
        with TopicReader(self.kafka, topic=topic, timeout=WAIT) as reader:
            yield reader.read(self.admin.watermarks(topic, self.admin.describe(topic).partitions))
            assert {} == reader.blocked_offsets

    def replay(self, selection: DeadLetterFilter | None = None, **options: Any) -> TopicReplay:
        given = {"sources": (self.source,), "unverified": True, "wait": WAIT, **options}
        return TopicReplay(self.kafka, self.topic, selection or DeadLetterFilter(), **given)

    def run(self, selection: DeadLetterFilter | None = None, **options: Any) -> list[Any]:
        """Replay to the end; returns the steps."""
        replaying = self.replay(selection, **options)
        try:
            return list(iter(replaying.run_step, None))
        finally:
            replaying.close()

    def _producer(self) -> Producer:
        return Producer({"bootstrap.servers": self.kafka["bootstrap.servers"], "partitioner": "murmur2_random"})
