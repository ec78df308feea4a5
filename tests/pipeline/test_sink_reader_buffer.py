"""What becomes of records that were read when their partition leaves, comes back, or is claimed by another sink."""

from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import KafkaError, Producer

from tests.eventually import eventually
from tradepipe import SchemaRegistry, TradeDeserializer
from tradepipe.embedded.broker import QUICK_CONSUMER, Broker
from tradepipe.embedded.registry_server import RegistryServer
from tradepipe.errors import OffsetOutOfRange, SchemaIdNotYetKnown
from tradepipe.kafka.admin import TopicAdmin
from tradepipe.kafka.consumer import Consumer
from tradepipe.pipeline.sink_reader import SinkReader
from tradepipe.pipeline.sink_writer import Claim, ClaimGranted
from tradepipe.pipeline.validation import RecordValidator
from tradepipe.postgres.batch import ValidatedRecord
from tradepipe.postgres.offsets import ClaimResult, OffsetRange, Ownership

pytestmark = pytest.mark.embedded

TOPIC = "trades"
LIST_OFFSETS = 2
HEARTBEAT = 68
"""The request by which a member of a group hears what is assigned to it, as Kafka's protocol numbers it."""

NONSENSE = b"\x01 no frame"
"""A value that is refused without a look into the registry."""


class Reading:
    """The reading half of a sink on a broker of its own; the test decides what the database grants, and when."""

    def __init__(self, broker: Broker, judge: RecordValidator) -> None:
        self._broker = broker
        self._settings = {"bootstrap.servers": broker.bootstrap_servers, **QUICK_CONSUMER}
        self.consumer = self.member()
        self.reader = SinkReader(
            self.consumer, TopicAdmin(self._settings), judge, topic=TOPIC, start="earliest", batch_rows=100
        )
        self.consumer.open()

    def member(self) -> Consumer:
        """One more member of the group, which has not joined yet."""
        return Consumer(self._settings, topic=TOPIC, group="sinks")

    def claims(self) -> list[Claim]:
        """The next claims."""
        return eventually(lambda: (self.reader.read(1, 0.05), self.reader.pending_claims())[1])

    def grant(self, claims: list[Claim], *, epoch: int = 1) -> None:
        """Grant claims, each from the first record on."""
        for claim in claims:
            ownership = Ownership(TOPIC, claim.assignment.partition, epoch)
            self.reader.accept_claim(ClaimGranted(claim, ClaimResult(ownership, 0)))

    def read(self, held: int) -> None:
        """Read until so many records are held."""
        eventually(
            lambda: (self.reader.run_housekeeping(), self.reader.read(100, 0.05)) and self.reader.buffered == held
        )

    def assign_anew(self) -> None:
        """Let the group take all partitions away and give them back, before the reader hears of either."""
        before = self.consumer.assignments
        self._broker.fail_requests(HEARTBEAT, KafkaError.FENCED_MEMBER_EPOCH)

        def are_back() -> bool:
            self.consumer.poll(1, 0.05)
            now = self.consumer.assignments
            return before.keys() == now.keys() and set(before.values()).isdisjoint(now.values())

        eventually(are_back)

    def close(self) -> None:
        """Leave the group."""
        self.consumer.close()


@pytest.fixture
def broker() -> Iterator[Broker]:
    """A broker with a topic of two partitions."""
    with Broker() as broker:
        broker.create_topic(TOPIC, partitions=2)
        yield broker


@pytest.fixture
def publish(broker: Broker) -> Callable[[int, int], None]:
    """Send so many records to a partition."""

    def publish(partition: int, count: int) -> None:
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
        for _ in range(count):
            producer.produce(TOPIC, NONSENSE, partition=partition)
        assert 0 == producer.flush(20)

    return publish


@pytest.fixture
def reading(broker: Broker, publish: Callable[[int, int], None]) -> Iterator[Reading]:
    """A topic with three records on one partition and two on the other, and who reads them."""
    publish(0, 3)
    publish(1, 2)
    with RegistryServer() as registry, SchemaRegistry(registry.url) as client:
        reading = Reading(broker, RecordValidator(TradeDeserializer(client)))
        yield reading
        reading.close()


def partitions(entries: list[ValidatedRecord]) -> list[int]:
    return sorted(entry.record.partition for entry in entries)


def test_a_claim_granted_after_its_assignment_has_ended_is_not_taken(reading):
    """Another sink may have had the partition in between; it is claimed again for the new assignment."""
    late = reading.claims()
    reading.assign_anew()

    again = reading.claims()
    reading.grant(late)

    assert ({}, {}) == (reading.reader.stored_offsets, reading.reader.high_watermarks)
    assert [0, 1] == sorted(claim.assignment.partition for claim in again)
    assert {claim.assignment for claim in late}.isdisjoint(claim.assignment for claim in again)


def test_nothing_is_handed_over_that_was_read_before_its_partitions_went_and_came_back(reading):
    reading.grant(reading.claims())
    reading.read(held=5)

    reading.assign_anew()
    reading.reader.read(1, 0.0)

    assert (0, 0) == (reading.reader.buffered, reading.reader.buffered_bytes)
    assert ((), []) == reading.reader.take_batch()


def test_of_what_is_held_only_what_went_to_another_member_is_dropped(reading):
    reading.grant(reading.claims())
    reading.read(held=5)
    other = reading.member()
    other.open()

    eventually(lambda: (other.poll(1, 0.05), reading.reader.read(1, 0.05), other.assignments)[2])
    (left,) = other.assignments
    spans, entries = reading.reader.take_batch()
    other.close()

    stayed, count = (1, 2) if left == 0 else (0, 3)
    assert [stayed] * count == partitions(entries)
    assert (OffsetRange(Ownership(TOPIC, stayed, 1), 0, count),) == spans


def test_of_what_is_held_only_what_another_sink_has_claimed_is_dropped(reading):
    reading.grant(reading.claims())
    reading.read(held=5)

    reading.reader.drop_ownership(Ownership(TOPIC, 0, 1))

    assert (2, 2 * len(NONSENSE)) == (reading.reader.buffered, reading.reader.buffered_bytes)
    spans, entries = reading.reader.take_batch()
    assert ((OffsetRange(Ownership(TOPIC, 1, 1), 0, 2),), [1, 1]) == (spans, partitions(entries))


def test_what_another_sink_has_claimed_is_claimed_again_and_read_from_where_that_one_is(reading):
    reading.grant(reading.claims())
    reading.read(held=5)
    reading.reader.drop_ownership(Ownership(TOPIC, 0, 1))
    reading.reader.take_batch()

    (claim,) = reading.claims()
    reading.reader.accept_claim(ClaimGranted(claim, ClaimResult(Ownership(TOPIC, 0, 3), 1)))
    reading.read(held=2)

    spans, entries = reading.reader.take_batch()
    assert (OffsetRange(Ownership(TOPIC, 0, 3), 1, 3),) == spans
    assert [1, 2] == [entry.record.offset for entry in entries]


def test_news_of_an_earlier_ownership_changes_nothing_about_the_present_one(reading):
    """A batch that was stored, or refused, under it is told when the partition has been claimed again already."""
    reading.grant(reading.claims())
    reading.read(held=5)
    spans, _ = reading.reader.take_batch()
    reading.assign_anew()
    reading.grant(reading.claims(), epoch=2)

    reading.reader.drop_ownership(Ownership(TOPIC, 0, 1))

    reading.reader.confirm_stored(spans)
    assert {0: 0, 1: 0} == reading.reader.stored_offsets


def test_of_records_put_back_the_first_ones_partition_waits_and_the_others_come_again_at_once(reading):
    """Nothing of them comes in between, or it would be held beside what comes again."""
    reading.grant(reading.claims())
    reader = reading.reader
    records = []
    eventually(lambda: reader._start_partitions() or records.extend(reader._poll(100, 0.05)) or len(records) == 5)
    waiting = records[0].partition

    reader._requeue(records, SchemaIdNotYetKnown(7, retry_after=600.0))

    assert {} == reading.consumer.positions
    eventually(lambda: reader._start_partitions() or reader.is_reading)
    assert {waiting: False, 1 - waiting: True} == {number: each.is_active for number, each in reader._states.items()}
    assert reader.waits_for_registry
    rest = [record for record in records if record.partition != waiting]
    again = []
    eventually(lambda: again.extend(reader._poll(100, 0.05)) or len(again) >= len(rest))
    assert rest == again


def test_stored_offsets_advance_only_under_the_current_ownership(reading):
    reading.grant(reading.claims())
    reading.read(held=5)
    ranges, _ = reading.reader.take_batch()

    reading.reader.confirm_stored(ranges)

    assert {0: 3, 1: 2} == reading.reader.stored_offsets


def test_only_a_partition_whose_offset_was_reset_is_claimed_again(reading):
    reading.grant(reading.claims())
    reading.read(held=5)
    reading.reader.confirm_stored(reading.reader.take_batch()[0])

    reading.reader.detect_reset({0: 3, 1: 0})

    assert {0: 3} == reading.reader.stored_offsets
    assert [1] == [claim.assignment.partition for claim in reading.claims()]


def test_a_partition_that_is_lost_again_and_again_is_logged_as_an_error(reading, caplog):
    """Two groups of one name in a database take the partition from each other for ever."""
    for epoch in (1, 2, 3):
        reading.grant(reading.claims(), epoch=epoch)
        reading.reader.drop_ownership(Ownership(TOPIC, 0, epoch))

    levels = [record.levelname for record in caplog.records if "trades[0] was claimed by another" in record.message]
    assert ["WARNING", "WARNING", "ERROR"] == levels


def test_a_stored_batch_ends_a_series_of_lost_partitions(reading, caplog):
    for epoch in (1, 2, 3, 4):
        reading.grant(reading.claims(), epoch=epoch)
        reading.reader.confirm_stored([OffsetRange(Ownership(TOPIC, 0, epoch), 0, 0)])
        reading.reader.drop_ownership(Ownership(TOPIC, 0, epoch))

    levels = [record.levelname for record in caplog.records if "trades[0] was claimed by another" in record.message]
    assert ["WARNING"] * 4 == levels


def test_records_that_were_dropped_before_they_were_stored_are_counted(reading, broker):
    claims = reading.claims()
    broker.delete_records(TOPIC, 0, 2)

    with pytest.raises(
        OffsetOutOfRange, match=r"trades\[0\] is 0, but its log reaches from 2 to 3: 2 records were dropped"
    ):
        reading.grant(claims)


def test_claims_wait_while_the_broker_does_not_report_watermarks(reading, broker):
    claims = reading.claims()
    reading.grant(claims)
    reading.reader.drop_ownership(Ownership(TOPIC, 0, 1))
    broker.fail_requests(LIST_OFFSETS, *[KafkaError.REQUEST_TIMED_OUT] * 20)

    eventually(lambda: reading.reader.pending_claims() or reading.reader.waits_for_kafka)

    assert reading.reader.waits_for_kafka
    assert [] == reading.reader.pending_claims()


def test_the_first_record_of_a_batch_has_its_timestamp(reading):
    reading.grant(reading.claims())
    reading.read(held=5)

    assert reading.reader.first_timestamp is not None
