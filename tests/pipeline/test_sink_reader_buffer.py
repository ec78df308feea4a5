"""The sink's reader and its buffer, when partitions are revoked, assigned again, or claimed by another sink."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import KafkaError, Producer

from tests.eventually import eventually
from tests.postgres.batches import accepted, trade, validated
from tradepipe import SchemaRegistry, TradeDeserializer
from tradepipe.embedded.broker import QUICK_CONSUMER, Broker
from tradepipe.embedded.registry_server import RegistryServer
from tradepipe.errors import OffsetOutOfRange, RegistryUnavailable, SchemaIdNotYetKnown, TooManyRefusals
from tradepipe.kafka.admin import TopicAdmin
from tradepipe.kafka.assignment import Assignment
from tradepipe.kafka.consumer import Consumer
from tradepipe.pipeline import sink_reader
from tradepipe.pipeline.partitions import StartPosition
from tradepipe.pipeline.sink_reader import SinkPartition, SinkReader
from tradepipe.pipeline.sink_writer import Claim, ClaimGranted
from tradepipe.pipeline.validation import RecordValidator
from tradepipe.postgres.batch import Batch
from tradepipe.postgres.offsets import ClaimResult, OffsetRange, Ownership
from tradepipe.postgres.sink_store import RangeDropped
from tradepipe.trade.record import Refusal, UnreadableBatch
from tradepipe.trade.records import Records

pytestmark = pytest.mark.embedded

TOPIC = "trades"
LIST_OFFSETS = 2
HEARTBEAT = 68
"""The request by which a member of a group hears what is assigned to it, as Kafka's protocol numbers it."""

NONSENSE = b"\x01 no frame"
"""A value that is refused without a query to the registry."""


class ReaderOfGroup:
    """A sink's reader on an embedded broker; the test decides what the database grants, and when."""

    def __init__(
        self,
        broker: Broker,
        validator: RecordValidator,
        start: StartPosition = "earliest",
        *,
        batch_rows: int = 100,
        connections: int = 1,
    ) -> None:
        self._broker = broker
        self._settings = {"bootstrap.servers": broker.bootstrap_servers, **QUICK_CONSUMER}
        self.consumer = self.create_member()
        self.reader = SinkReader(
            self.consumer,
            TopicAdmin(self._settings),
            validator,
            topic=TOPIC,
            start=start,
            batch_rows=batch_rows,
            connections=connections,
        )
        self.consumer.open()

    def create_member(self) -> Consumer:
        """Create another member of the group, which has not joined yet."""
        return Consumer(self._settings, topic=TOPIC, group="sinks")

    def wait_for_claims(self) -> list[Claim]:
        """Read until partitions are to be claimed, and return the claims."""
        return eventually(lambda: (self.reader.read_some(1, 0.05), self.reader.pending_claims())[1])

    def grant(self, claims: list[Claim], *, epoch: int = 1, next_offset: int = 0) -> None:
        """Grant claims, each from the first record on, or from another one."""
        for claim in claims:
            ownership = Ownership(TOPIC, claim.assignment.partition, epoch)
            self.reader.accept_claim(ClaimGranted(claim, ClaimResult(ownership, next_offset)))

    def read_until(self, buffered: int) -> None:
        """Read until the buffer holds this number of records."""
        eventually(
            lambda: (
                (self.reader.run_housekeeping(), self.reader.read_some(100, 0.05)) and self.reader.buffered == buffered
            )
        )

    def take_batch(self) -> Batch:
        """Take the next batch."""
        batch = self.reader.take_batch()
        assert batch is not None
        return batch

    def reassign(self) -> None:
        """Let the group revoke all partitions and assign them again, unnoticed by the reader."""
        before = dict(self.consumer.assignments)
        self._broker.fail_requests(HEARTBEAT, KafkaError.FENCED_MEMBER_EPOCH)

        def has_other_assignments() -> bool:
            self.consumer.poll(1, 0.05)
            now = self.consumer.assignments
            return before.keys() == now.keys() and set(before.values()).isdisjoint(now.values())

        eventually(has_other_assignments)

    @contextmanager
    def shared(self) -> Iterator[int]:
        """Let another member take over one of the two partitions, whose number this returns."""
        other = self.create_member()
        other.open()
        eventually(lambda: (other.poll(1, 0.05), self.reader.read_some(1, 0.05), other.assignments)[2])
        (revoked,) = other.assignments
        yield revoked
        other.close()

    def close(self) -> None:
        """Leave the group."""
        self.consumer.close()


@pytest.fixture
def broker() -> Iterator[Broker]:
    """Run a broker with a topic of two partitions."""
    with Broker() as broker:
        broker.create_topic(TOPIC, partitions=2)
        yield broker


@pytest.fixture
def publish(broker: Broker) -> Callable[[int, int], None]:
    """Return a function that sends a number of records to a partition."""

    def publish(partition: int, count: int) -> None:
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
        for _ in range(count):
            producer.produce(TOPIC, NONSENSE, partition=partition)
        assert 0 == producer.flush(120)

    return publish


@pytest.fixture
def reader_of_group(broker: Broker, publish: Callable[[int, int], None]) -> Iterator[ReaderOfGroup]:
    """Read a topic with three records on one partition and two on the other."""
    publish(0, 3)
    publish(1, 2)
    yield from join(broker, "earliest")


@pytest.fixture
def reader_from_the_end(broker: Broker, publish: Callable[[int, int], None]) -> Iterator[ReaderOfGroup]:
    """Read the same topic, from the end of its log on."""
    publish(0, 3)
    publish(1, 2)
    yield from join(broker, "latest")


def join(broker: Broker, start: StartPosition, **options: int) -> Iterator[ReaderOfGroup]:
    with RegistryServer() as registry, SchemaRegistry(registry.url) as client:
        reader_of_group = ReaderOfGroup(broker, RecordValidator(TradeDeserializer(client)), start, **options)
        yield reader_of_group
        reader_of_group.close()


def partitions_of(batch: Batch) -> list[int]:
    return sorted(validated.record.partition for validated in batch.records)


def test_a_claim_granted_after_its_assignment_has_ended_is_discarded(reader_of_group):
    """Another sink may have owned the partition in between; it is claimed again for the new assignment."""
    late = reader_of_group.wait_for_claims()
    reader_of_group.reassign()

    again = reader_of_group.wait_for_claims()
    reader_of_group.grant(late)

    assert ({}, {}) == (reader_of_group.reader.done_offsets, reader_of_group.reader.high_watermarks)
    assert [0, 1] == sorted(claim.assignment.partition for claim in again)
    assert {claim.assignment for claim in late}.isdisjoint(claim.assignment for claim in again)


def test_a_claim_granted_after_its_partition_has_moved_to_another_sink_is_discarded(reader_of_group):
    late = reader_of_group.wait_for_claims()
    with reader_of_group.shared() as moved:
        reader_of_group.grant(late)

        assert {1 - moved} == reader_of_group.reader.done_offsets.keys()


def test_records_read_before_their_partitions_were_revoked_are_dropped(reader_of_group):
    reader_of_group.grant(reader_of_group.wait_for_claims())
    reader_of_group.read_until(buffered=5)

    reader_of_group.reassign()
    reader_of_group.reader.read_some(1, 0.0)

    assert (0, 0) == (reader_of_group.reader.buffered, reader_of_group.reader.buffered_bytes)
    assert reader_of_group.reader.take_batch() is None


def test_only_buffered_records_of_revoked_partitions_are_dropped(reader_of_group):
    reader_of_group.grant(reader_of_group.wait_for_claims())
    reader_of_group.read_until(buffered=5)

    with reader_of_group.shared() as revoked:
        batch = reader_of_group.take_batch()

    kept, count = (1, 2) if revoked == 0 else (0, 3)
    assert [kept] * count == partitions_of(batch)
    assert (OffsetRange(Ownership(TOPIC, kept, 1), 0, count),) == batch.ranges


def test_only_buffered_records_of_a_lost_ownership_are_dropped(reader_of_group):
    reader_of_group.grant(reader_of_group.wait_for_claims())
    reader_of_group.read_until(buffered=5)

    reader_of_group.reader.drop_ownership(Ownership(TOPIC, 0, 1))

    assert (2, 2 * len(NONSENSE)) == (reader_of_group.reader.buffered, reader_of_group.reader.buffered_bytes)
    batch = reader_of_group.take_batch()
    assert ((OffsetRange(Ownership(TOPIC, 1, 1), 0, 2),), [1, 1]) == (batch.ranges, partitions_of(batch))


def test_a_lost_partition_is_claimed_again_and_read_from_the_offset_of_the_other_sink(reader_of_group):
    reader_of_group.grant(reader_of_group.wait_for_claims())
    reader_of_group.read_until(buffered=5)
    reader_of_group.reader.drop_ownership(Ownership(TOPIC, 0, 1))
    reader_of_group.reader.take_batch()

    (claim,) = reader_of_group.wait_for_claims()
    reader_of_group.reader.accept_claim(ClaimGranted(claim, ClaimResult(Ownership(TOPIC, 0, 3), 1)))
    reader_of_group.read_until(buffered=2)

    batch = reader_of_group.take_batch()
    assert (OffsetRange(Ownership(TOPIC, 0, 3), 1, 3),) == batch.ranges
    assert [1, 2] == [validated.record.offset for validated in batch.records]


def test_an_event_of_an_earlier_ownership_does_not_affect_the_current_one(reader_of_group):
    """The event of a batch may arrive when the partition has been claimed again already."""
    reader_of_group.grant(reader_of_group.wait_for_claims())
    reader_of_group.read_until(buffered=5)
    ranges = reader_of_group.take_batch().ranges
    reader_of_group.reassign()
    reader_of_group.grant(reader_of_group.wait_for_claims(), epoch=2)

    reader_of_group.reader.drop_ownership(Ownership(TOPIC, 0, 1))

    reader_of_group.reader.confirm_stored(ranges)
    assert {0: 0, 1: 0} == reader_of_group.reader.done_offsets


def test_requeued_records_are_read_again_after_the_wait_of_the_first_ones_partition(reader_of_group, caplog):
    """No record is delivered before, or it would be buffered twice."""
    reader_of_group.grant(reader_of_group.wait_for_claims())
    reader = reader_of_group.reader
    records = []
    eventually(lambda: reader._start_partitions() or records.extend(reader._poll(100, 0.05)) or len(records) == 5)
    waiting = records[0].partition

    reader._requeue(Records.of(records), SchemaIdNotYetKnown(7, retry_after=600.0))

    assert {None} == {each.next_offset for each in reader_of_group.consumer.assignments.values()}
    eventually(lambda: reader._start_partitions() or reader.is_reading)
    assert {waiting: False, 1 - waiting: True} == {number: each.is_active for number, each in reader._states.items()}
    assert reader.waits_for_registry
    rest = [record for record in records if record.partition != waiting]
    again = []
    eventually(lambda: again.extend(reader._poll(100, 0.05)) or len(again) >= len(rest))
    assert rest == again
    assert f"paused trades[{waiting}] at offset {records[0].offset}: " in caplog.text
    assert "unavailable" not in caplog.text


def test_requeued_partitions_continue_at_their_first_records_although_they_are_interleaved(reader_of_group):
    reader_of_group.grant(reader_of_group.wait_for_claims())
    reader = reader_of_group.reader
    records = []
    eventually(lambda: reader._start_partitions() or records.extend(reader._poll(100, 0.05)) or len(records) == 5)
    interleaved = sorted(records, key=lambda record: (record.offset, record.partition))

    reader._requeue(Records.of(interleaved[1:]), RegistryUnavailable("no answer"))

    assert {0: 1, 1: 0} == {number: each.position for number, each in reader._states.items()}
    reader_of_group.read_until(buffered=4)
    buffered = [each.record for state in reader._states.values() for each in state.buffer]
    assert sorted(interleaved[1:]) == sorted(buffered)


def test_an_outage_of_the_registry_is_logged_until_a_record_that_waited_is_validated(reader_of_group, caplog):
    reader_of_group.grant(reader_of_group.wait_for_claims())
    reader = reader_of_group.reader
    records = []
    eventually(lambda: reader._start_partitions() or records.extend(reader._poll(100, 0.05)) or len(records) == 5)

    reader._requeue(Records.of(records), RegistryUnavailable("no answer"))

    eventually(lambda: reader._states[records[0].partition].backoff.is_due)
    assert f"is unavailable, retrying, paused trades[{records[0].partition}] at offset 0: no answer" in caplog.text
    assert reader.waits_for_registry
    reader_of_group.read_until(buffered=5)
    assert 1 == caplog.text.count("is available again after")


def test_stored_offsets_advance_only_under_the_current_ownership(reader_of_group):
    reader_of_group.grant(reader_of_group.wait_for_claims())
    reader_of_group.read_until(buffered=5)
    ranges = reader_of_group.take_batch().ranges

    reader_of_group.reader.confirm_stored(ranges)

    assert {0: 3, 1: 2} == reader_of_group.reader.done_offsets


def test_only_a_partition_whose_offset_was_reset_is_claimed_again(reader_of_group):
    reader_of_group.grant(reader_of_group.wait_for_claims())
    reader_of_group.read_until(buffered=5)
    reader_of_group.reader.confirm_stored(reader_of_group.take_batch().ranges)

    reader_of_group.reader.detect_reset({0: 3, 1: 0})

    assert {0: 3} == reader_of_group.reader.done_offsets
    assert [1] == [claim.assignment.partition for claim in reader_of_group.wait_for_claims()]


def test_a_partition_that_is_lost_three_times_is_logged_as_an_error(reader_of_group, caplog):
    """Two groups of one name that store into one database take the partition from each other repeatedly."""
    for epoch in (1, 2, 3):
        reader_of_group.grant(reader_of_group.wait_for_claims(), epoch=epoch)
        reader_of_group.reader.drop_ownership(Ownership(TOPIC, 0, epoch))

    levels = [record.levelname for record in caplog.records if "trades[0] was claimed by another" in record.message]
    assert ["WARNING", "WARNING", "ERROR"] == levels


def test_a_stored_batch_ends_a_series_of_lost_partitions(reader_of_group, caplog):
    for epoch in (1, 2, 3, 4):
        reader_of_group.grant(reader_of_group.wait_for_claims(), epoch=epoch)
        reader_of_group.reader.confirm_stored([OffsetRange(Ownership(TOPIC, 0, epoch), 0, 0)])
        reader_of_group.reader.drop_ownership(Ownership(TOPIC, 0, epoch))

    levels = [record.levelname for record in caplog.records if "trades[0] was claimed by another" in record.message]
    assert ["WARNING"] * 4 == levels


def test_records_that_were_dropped_before_they_were_stored_are_counted(reader_of_group, broker):
    claims = reader_of_group.wait_for_claims()
    broker.delete_records(TOPIC, 0, 2)

    with pytest.raises(
        OffsetOutOfRange, match=r"trades\[0\] is 0, but its log reaches from 2 to 3: 2 records were dropped"
    ):
        reader_of_group.grant(claims)


def test_claims_wait_while_the_broker_does_not_report_watermarks(reader_of_group, broker):
    eventually(lambda: (reader_of_group.reader.read_some(1, 0.05), reader_of_group.consumer.assignments)[1])
    assert reader_of_group.reader.kafka_problem is None
    reader_of_group.grant(reader_of_group.wait_for_claims())
    reader_of_group.reader.drop_ownership(Ownership(TOPIC, 0, 1))
    broker.fail_requests(LIST_OFFSETS, *[KafkaError.REQUEST_TIMED_OUT] * 20)

    eventually(lambda: reader_of_group.reader.pending_claims() or reader_of_group.reader.kafka_problem)

    assert reader_of_group.reader.kafka_problem
    assert [] == reader_of_group.reader.pending_claims()


def test_the_first_record_of_a_batch_has_its_timestamp(reader_of_group):
    reader_of_group.grant(reader_of_group.wait_for_claims())
    reader_of_group.read_until(buffered=5)

    assert reader_of_group.take_batch().first_timestamp is not None


def test_a_record_without_a_timestamp_leaves_that_of_another_partition_to_its_batch(reader_of_group, broker):
    for claim in reader_of_group.wait_for_claims():
        reader_of_group.grant([claim], next_offset=3 - claim.assignment.partition)
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    for buffered, timestamp in ((1, 1_750_000_000_000), (2, -1)):
        producer.produce(TOPIC, NONSENSE, partition=2 - buffered, timestamp=timestamp)
        assert 0 == producer.flush(120)
        reader_of_group.read_until(buffered)

    assert 1_750_000_000.0 == reader_of_group.take_batch().first_timestamp


def test_a_claim_without_the_topics_id_is_followed_by_a_batch_with_it(reader_of_group):
    """As if Kafka did not answer when the partition was claimed; a batch stores the id even without records."""
    with_id, without_id = reader_of_group.wait_for_claims()

    reader_of_group.grant([with_id, without_id._replace(topic_id=None)])
    batch, nothing = reader_of_group.take_batch(), reader_of_group.reader.take_batch()

    without = without_id.assignment.partition
    assert (OffsetRange(Ownership(TOPIC, without, 1), 0, 0),) == batch.ranges
    assert (with_id.topic_id, None) == (batch.topic_id, nothing)


def test_each_assignment_and_each_loss_is_counted(reader_of_group):
    reader_of_group.wait_for_claims()
    for _ in range(2):
        reader_of_group.reassign()

    counts = reader_of_group.consumer.rebalances
    assert counts["revoke"] >= 2
    assert counts["assign"] == counts["revoke"] + 1


def test_a_partition_is_claimed_once(reader_of_group):
    """Each further claim would end the ownership of the one before."""
    assert 2 == len(reader_of_group.wait_for_claims())
    assert [] == reader_of_group.reader.pending_claims()


def test_the_claims_of_a_sink_that_starts_at_the_end_name_the_end_of_the_log(reader_from_the_end):
    assert {0: 3, 1: 2} == {claim.assignment.partition: claim.start for claim in reader_from_the_end.wait_for_claims()}


def test_a_reader_asks_for_no_more_records_than_a_batch_takes(reader_of_group):
    reader_of_group.grant(reader_of_group.wait_for_claims())
    before = reader_of_group.reader.free
    reader_of_group.read_until(buffered=5)

    assert (100, 95) == (before, reader_of_group.reader.free)


def test_a_reader_with_more_records_than_it_asked_for_reads_nothing(broker, publish):
    """A poll may also return the unreadable batch that ends before the last record it was asked for."""
    publish(0, 7)
    for reader_of_group in join(broker, "earliest", batch_rows=4):
        reader_of_group.grant(reader_of_group.wait_for_claims())
        reader_of_group.reader.run_housekeeping()
        eventually(lambda reader=reader_of_group.reader: reader.read_some(5, 0.05) or reader.buffered == 5)

        assert (0, False) == (reader_of_group.reader.free, reader_of_group.reader.read(0.0))


@pytest.mark.parametrize(("excess", "free"), [(0, 0), (2, 195)], ids=["full", "nearly full"])
def test_a_reader_asks_for_no_more_bytes_than_a_batch_takes(broker, publish, monkeypatch, excess, free):
    """Several connections share them."""
    monkeypatch.setattr(sink_reader, "MAX_BATCH_BYTES", 2 * 5 * len(NONSENSE) + excess)
    publish(0, 5)
    for reader_of_group in join(broker, "earliest", connections=2):
        reader_of_group.grant(reader_of_group.wait_for_claims())
        reader_of_group.read_until(buffered=5)

        assert (free, free > 0) == (reader_of_group.reader.free, reader_of_group.reader.read(0.0))


def dropped(partition: int, epoch: int) -> RangeDropped:
    return RangeDropped(Ownership(TOPIC, partition, epoch), TooManyRefusals("every record was refused", partition))


def test_a_partition_beyond_the_refusal_limit_is_stopped_and_the_others_are_read(reader_of_group):
    reader_of_group.grant(reader_of_group.wait_for_claims())
    reader_of_group.read_until(buffered=5)
    was_ready = reader_of_group.reader.is_ready

    reader_of_group.reader.stop_rejected(dropped(0, epoch=1))

    assert (True, False) == (was_ready, reader_of_group.reader.is_ready)
    assert [0] == list(reader_of_group.reader.stopped)
    batch = reader_of_group.take_batch()
    assert {1: (0, 2)} == {each.ownership.partition: (each.start, each.end) for each in batch.ranges}
    assert [1, 1] == partitions_of(batch)
    with pytest.raises(TooManyRefusals):
        reader_of_group.reader.stop_rejected(dropped(1, epoch=1))


def test_the_refusals_of_an_earlier_ownership_stop_nothing(reader_of_group):
    reader_of_group.grant(reader_of_group.wait_for_claims(), epoch=2)
    reader_of_group.read_until(buffered=5)

    reader_of_group.reader.stop_rejected(dropped(0, epoch=1))
    reader_of_group.reader.stop_rejected(dropped(99, epoch=1))

    assert ({}, 5) == (reader_of_group.reader.stopped, reader_of_group.reader.buffered)


@pytest.mark.parametrize(("epoch", "next_offset", "is_warned"), [(1, 2, True), (2, 2, False), (1, 0, False)])
def test_a_new_group_is_warned_of_records_that_the_log_has_dropped(
    reader_of_group, caplog, epoch, next_offset, is_warned
):
    (claim, *_) = reader_of_group.wait_for_claims()

    reader_of_group.grant([claim], epoch=epoch, next_offset=next_offset)

    assert is_warned == ("new group sinks starts" in caplog.text)


def test_a_group_that_starts_at_the_end_is_not_warned(reader_from_the_end, caplog):
    (claim, *_) = reader_from_the_end.wait_for_claims()

    reader_from_the_end.grant([claim], next_offset=claim.start)

    assert "new group" not in caplog.text


def test_many_records_are_stored_beside_a_batch_of_other_partitions(reader_of_group, monkeypatch):
    reader_of_group.grant(reader_of_group.wait_for_claims())
    reader_of_group.read_until(buffered=5)
    few = reader_of_group.reader.take_batch(without={0})
    monkeypatch.setattr(sink_reader, "DIVIDED_RECORDS", 2)

    batch = reader_of_group.reader.take_batch(without={0})

    assert few is None
    assert ((OffsetRange(Ownership(TOPIC, 1, 1), 0, 2),), [1, 1]) == (batch.ranges, partitions_of(batch))
    assert (3, 3 * len(NONSENSE)) == (reader_of_group.reader.buffered, reader_of_group.reader.buffered_bytes)
    assert [0, 0, 0] == partitions_of(reader_of_group.take_batch())


def test_many_records_are_divided_among_idle_connections(reader_of_group, monkeypatch):
    reader_of_group.grant(reader_of_group.wait_for_claims())
    reader_of_group.read_until(buffered=5)
    monkeypatch.setattr(sink_reader, "DIVIDED_RECORDS", 5)

    share = reader_of_group.reader.take_batch(connections=2)
    monkeypatch.setattr(sink_reader, "DIVIDED_RECORDS", 2)
    rest = reader_of_group.reader.take_batch(without={0}, connections=1)

    assert [[0, 0, 0], [1, 1]] == [partitions_of(each) for each in (share, rest)]
    assert reader_of_group.reader.take_batch() is None


def test_few_records_are_one_batch(reader_of_group):
    reader_of_group.grant(reader_of_group.wait_for_claims())
    reader_of_group.read_until(buffered=5)

    batch = reader_of_group.reader.take_batch(connections=2)

    assert [0, 0, 0, 1, 1] == partitions_of(batch)


def test_a_batch_has_no_more_records_than_a_transaction_takes(broker, publish):
    """The buffers of two connections hold twice as many, and the rest of a partition is in the next batch."""
    publish(0, 7)
    for reader_of_group in join(broker, "earliest", batch_rows=4, connections=2):
        reader_of_group.grant(reader_of_group.wait_for_claims())
        reader_of_group.read_until(buffered=7)
        found = [reader_of_group.take_batch() for _ in range(2)]

        assert [(0, 4), (4, 7)] == [
            (each.start, each.end) for batch in found for each in batch.ranges if each.ownership.partition == 0
        ]
        assert [[0, 1, 2, 3], [4, 5, 6]] == [[each.record.offset for each in batch.records] for batch in found]
        assert (8, 0) == (reader_of_group.reader.free, reader_of_group.reader.buffered_bytes)


def test_no_batch_of_a_sink_ends_within_an_unreadable_one():
    """The next sink of the partition would refuse the rest of it once more."""
    unreadable = UnreadableBatch(TOPIC, 0, 3, 7, "invalid compressed data")
    entries = [Refusal(unreadable, (unreadable.violation,)), accepted(8, trade())]
    partition = SinkPartition(Assignment(0), position=9, buffer=validated(*entries))
    partition.ownership, partition.queued_offset = Ownership(TOPIC, 0, 1), 3
    first, second = validated(), validated()

    taken = [partition.take(1, into=each) for each in (first, second)]

    assert [(3, 8), (8, 9)] == [(each.start, each.end) for each in taken]
    assert [[unreadable], [entries[1].record]] == [list(each.records) for each in (first, second)]
