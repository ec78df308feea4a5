"""One member of a group: what it delivers, from where, and what it never does by itself."""

import threading

import pytest
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.eventually import eventually
from tests.kafka.group_member import COOPERATIVE, EAGER, NEW, Member, shared
from tradepipe.embedded.broker import Broker
from tradepipe.errors import ConfigurationError
from tradepipe.kafka import consumer, consumer_errors, messages
from tradepipe.kafka.assignment import Assignment
from tradepipe.kafka.consumer import Consumer
from tradepipe.trade.record import HEADER_BYTES, Record

FETCH, JOIN_GROUP = 1, 11
"""Requests, as Kafka's protocol numbers them."""

STRATEGIES = pytest.mark.parametrize("settings", [EAGER, COOPERATIVE, NEW], ids=["eager", "cooperative", "KIP-848"])


def committed(kafka, topic, group, partition=0):
    """Return the group's committed offset."""
    asking = KafkaConsumer({"bootstrap.servers": kafka["bootstrap.servers"], "group.id": group})
    try:
        return asking.committed([TopicPartition(topic, partition)], timeout=10)[0].offset
    finally:
        asking.close()


def test_a_member_counts_its_rebalances_and_knows_when_it_has_joined(join):
    member = join()
    before = (member.consumer.has_joined, dict(member.consumer.rebalances))

    member.assigned(0, 1, 2, 3)

    assert (False, {"assign": 0, "revoke": 0}) == before
    assert (True, {"assign": 1, "revoke": 0}) == (member.consumer.has_joined, member.consumer.rebalances)


@pytest.mark.embedded
def test_an_outage_is_counted_at_each_error_and_the_last_one_is_kept(services, join):
    member = join()
    member.assigned(0, 1, 2, 3)

    services.broker.down()
    try:
        member.until(lambda: member.consumer.errors.outages >= 3)
    finally:
        services.broker.up()

    assert "Connection refused" in member.consumer.errors.last_outage
    assert "in state CONNECT" not in member.consumer.errors.last_outage


def test_nothing_is_delivered_before_start(join, produce):
    produce(b"1")
    member = join()
    member.assigned(0, 1, 2, 3)

    member.quiet()

    assert [] == member.records
    assert member.position(0) is None


def test_an_assigned_partition_is_not_fetched_before_start(join, produce):
    """librdkafka may send one fetch between assign() and pause(), so the first record may arrive; no later one does."""
    produce(b"1")
    member = join()
    member.assigned(0, 1, 2, 3)
    member.quiet()

    produce(b"2")
    member.quiet()
    before = member.consumer.high_watermark(0)
    member.start(0, 0)
    member.until(lambda: len(member.records) >= 2)

    assert before in (None, 1)
    assert 2 == member.consumer.high_watermark(0)


def test_an_assigned_partition_is_read_from_the_given_offset(join, produce):
    produce(*(b"%d" % number for number in range(5)))
    member = join()
    member.assigned(0, 1, 2, 3)

    member.start(0, 2)
    member.until(lambda: len(member.records) >= 3)

    assert [(2, b"2"), (3, b"3"), (4, b"4")] == [(record.offset, record.value) for record in member.records]
    assert 5 == member.position(0)


def test_a_record_has_its_place_and_its_bytes(join, produce, topic):
    produce(b"a value", partition=3)
    member = join()
    member.assigned(0, 1, 2, 3)
    member.start(3, 0)

    member.until(lambda: member.records)

    assert [Record(topic, 3, 0, b"key", b"a value")] == member.records


def test_only_what_was_started_is_delivered(join, produce):
    produce(b"0", partition=0)
    produce(b"1", partition=1)
    member = join()
    member.assigned(0, 1, 2, 3)
    member.start(1, 0)

    member.until(lambda: member.records)
    member.quiet()

    assert [b"1"] == member.values


def test_what_kafka_has_committed_is_not_where_reading_starts(join_with, produce):
    """Offsets live elsewhere; Kafka's are for lag tools."""
    produce(b"0", b"1", b"2")
    first = join_with(EAGER)
    first.assigned(0, 1, 2, 3)
    first.start(0, 0)
    first.consumer.commit_for_lag({0: 3})
    first.quiet()
    first.consumer.close()
    second = join_with(EAGER)
    second.assigned(0, 1, 2, 3)

    second.start(0, 0)
    second.until(lambda: len(second.records) >= 3)

    assert [b"0", b"1", b"2"] == second.values


def test_a_start_may_go_back(join, produce):
    produce(b"0", b"1")
    member = join()
    member.assigned(0, 1, 2, 3)
    member.start(0, 0)
    member.until(lambda: len(member.records) >= 2)

    member.consumer.stop_delivery(0)
    member.start(0, 1)
    member.until(lambda: len(member.records) >= 3)

    assert [b"0", b"1", b"1"] == member.values


def test_a_stopped_partition_delivers_nothing(join, produce):
    member = join()
    member.assigned(0, 1, 2, 3)
    member.start(0, 0)
    member.consumer.stop_delivery(0)

    produce(b"0")
    member.quiet()

    assert ([], None) == (member.records, member.position(0))


def test_a_paused_partition_resumes_at_its_position(join, produce):
    produce(b"0")
    member = join()
    member.assigned(0, 1, 2, 3)
    member.start(0, 0)
    member.until(lambda: member.records)

    member.consumer.pause([0])
    produce(b"1")
    member.quiet()
    paused_with = list(member.values)
    member.consumer.resume([0])
    member.until(lambda: len(member.records) >= 2)

    assert ([b"0"], [b"0", b"1"]) == (paused_with, member.values)


def test_pausing_twice_and_resuming_an_unassigned_partition_do_nothing(join):
    member = join()
    member.assigned(0, 1, 2, 3)

    for _ in range(2):
        member.consumer.pause([0, 99])
    member.consumer.resume([99])
    member.consumer.stop_delivery(99)

    assert {0, 1, 2, 3} == member.partitions


def test_a_revoked_assignment_cannot_be_started(join):
    member = join()
    member.assigned(0, 1, 2, 3)

    assert member.consumer.start_delivery(Assignment(0), 0) is False
    assert member.consumer.start_delivery(Assignment(9), 0) is False


def test_one_poll_brings_no_more_than_it_was_asked_for(join, produce):
    produce(*(b"%d" % number for number in range(20)))
    member = join()
    member.assigned(0, 1, 2, 3)
    member.start(0, 0)

    polled = []
    eventually(lambda: polled.append(member.consumer.poll(3, 0.05)) or sum(map(len, polled)) >= 20)

    assert max(map(len, polled)) <= 3
    assert list(range(20)) == [record.offset for records in polled for record in records]


def largest_poll(member):
    """Read the hundred records of partition 0, and return how many the largest poll had."""
    member.assigned(0, 1, 2, 3)
    member.start(0, 0)
    sizes = []
    while len(member.records) < 100:
        sizes.append(len(member.poll(100)))
    return max(sizes)


def test_a_poll_ends_when_its_values_reach_a_limit(join, produce, monkeypatch):
    monkeypatch.setattr(consumer, "POLL_BYTES", 4_000)
    produce(*[b"x" * 1_000] * 100)

    assert largest_poll(join()) <= 1 + messages.SLICE_RECORDS


@pytest.fixture(params=[[("a", None)] * 100, [("a", bytes(15_000))]], ids=["many headers", "long headers"])
def records_with_headers(request, kafka, topic):
    """A hundred records, whose headers take much memory."""
    client = Producer({"bootstrap.servers": kafka["bootstrap.servers"]})
    for _ in range(100):
        client.produce(topic, b"x", partition=0, headers=request.param)
    assert 0 == client.flush(120)


@pytest.mark.usefixtures("records_with_headers")
@pytest.mark.parametrize("with_headers", [True, False])
def test_headers_count_by_the_memory_they_take(join, monkeypatch, with_headers):
    monkeypatch.setattr(consumer, "POLL_BYTES", HEADER_BYTES * 100)
    slice_records = messages.SLICE_RECORDS_WITH_HEADERS if with_headers else messages.SLICE_RECORDS

    assert largest_poll(join(with_headers=with_headers)) <= 1 + slice_records


def test_each_record_has_its_own_headers(join, kafka, topic):
    """Messages are requested in slices, and several slices are read together."""
    client = Producer({"bootstrap.servers": kafka["bootstrap.servers"]})
    sent = [(("number", b"%d" % number),) * (number % 3) for number in range(2 * messages.GROUP_RECORDS)]
    for headers in sent:
        client.produce(topic, b"x", partition=0, headers=list(headers))
    assert 0 == client.flush(120)
    member = join(with_headers=True)
    member.assigned(0, 1, 2, 3)
    member.start(0, 0)

    while len(member.records) < len(sent):
        member.poll(len(sent))

    assert sent == [record.headers for record in member.records]


def test_a_partition_whose_offset_is_after_the_log_is_assigned_again(join, produce):
    """Its owner compares the offset with the log; a broker that has just started may report too short a log."""
    produce(b"0")
    member = join()
    member.assigned(0, 1, 2, 3)
    before = member.consumer.assignments[0]
    member.start(0, 99)

    member.until(lambda: member.consumer.assignments.get(0, before) != before)

    assert [] == member.records
    member.start(0, 0)
    member.until(lambda: member.values == [b"0"])


def test_a_member_joins_again_at_once_but_not_again_and_again(join, produce, monkeypatch):
    """While a partition's offset is not in the log, each rejoining would revoke all partitions of the group."""
    monkeypatch.setattr(consumer_errors, "REJOIN_SECONDS", 3_600.0)
    produce(b"0")
    member = join()
    member.assigned(0, 1, 2, 3)
    first = member.consumer.assignments[0]
    member.start(0, 99)
    member.until(lambda: member.consumer.assignments.get(0, first) is not first)
    second = member.consumer.assignments[0]

    member.start(0, 99)
    member.until(lambda: member.consumer.errors.rejoin_at is not None)
    member.quiet(3)

    assert second is member.consumer.assignments[0]


def test_a_partition_that_kafkas_client_refuses_to_read_is_reported_and_assigned_again(
    join_with, produce, topic, caplog, monkeypatch
):
    """Here the client has lost the assignment of the partition; the consumer cannot know that."""
    monkeypatch.setattr(consumer_errors, "BLOCKED_SECONDS", 0.2)
    monkeypatch.setattr(consumer_errors, "BLOCKED_REJOIN_SECONDS", 0.4)
    produce(b"0")
    member = join_with(COOPERATIVE)
    member.assigned(0, 1, 2, 3)
    lost = member.consumer.assignments[0]
    member.consumer._client.incremental_unassign([TopicPartition(topic, 0)])

    member.until(lambda: member.consumer.start_delivery(lost, 0) or lost.is_blocked)
    problem = f"cannot read {topic}[0] from offset 0: "
    assert [True] == ["; retrying, and joining" in each for each in caplog.messages if each.startswith(problem)]
    member.until(
        lambda: member.consumer.start_delivery(lost, 0) or member.consumer.assignments.get(0, lost) is not lost
    )

    assert f"joining the group again: {problem}" in caplog.text
    member.start(0, 0)
    member.until(lambda: member.values == [b"0"])


def test_a_member_joins_again_once_to_fetch_little_ahead_where_keys_are_large(join, kafka, topic, caplog, monkeypatch):
    """librdkafka prefetches up to `queued.min.messages` records, whatever their keys and headers hold."""
    # Less than one record has: how many a poll returns depends on how fast they arrive.
    monkeypatch.setattr(consumer, "UNCOUNTED_BYTES", 1 << 20)
    limits = {"compression.type": "zstd", "message.max.bytes": 2_000_000}
    client = Producer({"bootstrap.servers": kafka["bootstrap.servers"], **limits})
    keys = [b"%02d" % number * 600_000 for number in range(10)]
    for key in keys:
        client.produce(topic, b"value", key, partition=0)
    assert 0 == client.flush(120)
    member = join()
    member.assigned(0, 1, 2, 3)
    before = member.consumer.assignments[0]
    member.start(0, 0)
    member.until(lambda: member.consumer.assignments.get(0, before) is not before)

    member.start(0, len(member.records))
    member.until(lambda: len(member.records) == 10)

    assert keys == [record.key for record in member.records]
    assert 1 == sum("large or unreadable; prefetching little from now on" in each for each in caplog.messages)


@pytest.mark.real
def test_a_partition_whose_offset_is_before_the_log_is_assigned_again(join, produce, kafka, topic):
    """Retention has deleted records that were not read yet."""
    produce(b"0", b"1", b"2")
    cut(kafka, topic, 2)
    member = join()
    member.assigned(0, 1, 2, 3)
    before = member.consumer.assignments[0]
    member.start(0, 0)

    member.until(lambda: member.consumer.assignments.get(0, before) != before)

    member.start(0, 2)
    member.until(lambda: member.values == [b"2"])


def cut(kafka, topic, offset):
    """Delete the records of partition 0 before an offset."""
    admin = AdminClient({"bootstrap.servers": kafka["bootstrap.servers"]})
    for answer in admin.delete_records([TopicPartition(topic, 0, offset)]).values():
        answer.result(120)


@pytest.mark.real
def test_the_position_reaches_the_end_of_a_log_of_transactions(join, kafka, topic):
    """Aborted records, and the markers of both transactions, are gaps."""
    producer = Producer({"bootstrap.servers": kafka["bootstrap.servers"], "transactional.id": topic})
    producer.init_transactions(20)
    for end in (producer.commit_transaction, producer.abort_transaction):
        producer.begin_transaction()
        for number in range(5):
            producer.produce(topic, b"%d" % number, partition=0)
        producer.flush(120)
        end(20)
    member = join()
    member.assigned(0, 1, 2, 3)
    member.start(0, 0)

    member.until(lambda: member.position(0) == 12)

    assert (5, 7) == (len(member.records), member.consumer.offset_gaps)


@pytest.mark.real
def test_an_open_transaction_is_waited_for(join, kafka, topic, produce):
    producer = Producer({"bootstrap.servers": kafka["bootstrap.servers"], "transactional.id": topic})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(topic, b"open", partition=0)
    producer.flush(120)
    produce(b"after it")
    member = join()
    member.assigned(0, 1, 2, 3)
    member.start(0, 0)

    member.quiet()
    held_back = list(member.values)
    producer.commit_transaction(20)
    member.until(lambda: member.position(0) == 3)

    assert ([], [b"open", b"after it"]) == (held_back, member.values)


def test_lag_tools_see_the_offsets_committed_for_lag(join, produce, kafka, topic):
    produce(b"0", b"1")
    member = join()
    member.assigned(0, 1, 2, 3)

    member.consumer.commit_for_lag({0: 2})

    member.until(lambda: committed(kafka, topic, f"{topic}-group") == 2)


def test_offsets_of_another_members_partition_are_not_committed_for_lag(join_with, kafka, topic):
    """It would be our offset, not that of the partition's owner."""
    first, second = join_with(EAGER), join_with(EAGER)
    first.until(lambda: shared(first, second), second)
    mine, others = min(first.partitions), min(second.partitions)

    first.consumer.commit_for_lag({others: 2})
    first.consumer.commit_for_lag({mine: 3, others: 2})
    first.until(lambda: committed(kafka, topic, f"{topic}-group", mine) == 3, second)

    assert committed(kafka, topic, f"{topic}-group", others) < 0


def test_offsets_that_a_sink_committed_for_lag_tools_are_not_resumed_from(join, kafka, topic):
    """A validator with the group of a sink would skip what the sink has stored."""
    member = join()
    member.assigned(0, 1, 2, 3)
    member.consumer.commit_for_lag({0: 2})
    member.until(lambda: committed(kafka, topic, f"{topic}-group") == 2)

    with pytest.raises(ConfigurationError, match=r"group trades-\w+-group belongs to a sink of topic .*: use another"):
        member.consumer.committed(range(4))


def test_committed_returns_only_committed_offsets(join):
    """The beginning is a place like any other."""
    member = join()
    member.assigned(0, 1, 2, 3)

    member.consumer.commit({0: 0, 2: 5})

    assert {0: 0, 2: 5} == member.consumer.committed(range(4))


@STRATEGIES
def test_two_members_share_the_partitions_and_each_record_is_delivered_once(join_with, produce, settings):
    first, second = join_with(settings), join_with(settings)
    first.until(lambda: shared(first, second), second)
    for member, other in ((first, second), (second, first)):
        for partition in member.partitions:
            member.start(partition, 0, other)
    for partition in range(4):
        produce(b"%d" % partition, partition=partition)

    first.until(lambda: len(first.records) + len(second.records) >= 4, second)

    assert [b"0", b"1", b"2", b"3"] == sorted(first.values + second.values)


@STRATEGIES
def test_the_partitions_of_a_member_that_leaves_go_to_the_other(join_with, produce, settings):
    produce(b"0")
    first, second = join_with(settings), join_with(settings)
    first.until(lambda: shared(first, second), second)

    first.consumer.close()
    second.assigned(0, 1, 2, 3)
    second.start(0, 0)
    second.until(lambda: second.records)

    assert [b"0"] == second.values


@STRATEGIES
def test_a_partition_that_is_assigned_again_is_another_assignment_and_waits_for_its_start(join_with, produce, settings):
    """It was paused before, and a client would leave it paused."""
    first = join_with(settings)
    first.assigned(0, 1, 2, 3)
    before = dict(first.consumer.assignments)
    for partition in range(4):
        first.start(partition, 0)
    first.consumer.pause(range(4))
    second = join_with(settings)
    first.until(lambda: shared(first, second), second)
    lost = second.partitions
    second.consumer.close()
    first.assigned(0, 1, 2, 3)

    for partition in range(4):
        produce(b"%d" % partition, partition=partition)
    after = first.consumer.assignments
    for partition in lost:
        assert before[partition] != after[partition]
        assert first.position(partition) is None
        first.start(partition, 0)
    first.until(lambda: len(first.records) >= len(lost))

    assert lost <= {record.partition for record in first.records}


@STRATEGIES
def test_records_of_a_revoked_partition_are_dropped(join_with, produce, settings):
    """They are in the client's queue when it is revoked; its next owner reads them."""
    first = join_with(settings)
    first.assigned(0, 1, 2, 3)
    for partition in range(4):
        produce(*[b"a value"] * 500, partition=partition)
        first.start(partition, 0)
    second = join_with(settings)

    strays = []
    while not shared(first, second):
        strays += [record for record in first.poll(2) if record.partition not in first.partitions]
        second.poll()
    delivered = list(first.records)
    first.quiet()

    assert [] == strays
    assert {record.partition for record in first.records[len(delivered) :]} <= first.partitions
    assert [] == second.records


@pytest.mark.real
@pytest.mark.parametrize("settings", [EAGER, NEW], ids=["classic", "KIP-848"])
def test_two_members_with_one_instance_id_are_reported(join_with, settings):
    """Waiting would not help, and a new client would be rejected again."""
    first = join_with({**settings, "group.instance.id": "one"})
    first.assigned(0, 1, 2, 3)
    second = join_with({**settings, "group.instance.id": "one"})

    with pytest.raises(ConfigurationError, match=r"no two members have the same group\.instance\.id"):
        first.until(lambda: False, second)


@pytest.mark.real
def test_a_strategy_that_the_group_does_not_have_is_reported(join_with):
    first = join_with(EAGER)
    first.assigned(0, 1, 2, 3)
    second = join_with(COOPERATIVE)

    with pytest.raises(ConfigurationError, match=r"have another partition\.assignment\.strategy: stop them before"):
        second.until(lambda: False, first)


@pytest.mark.real
def test_members_move_to_the_new_protocol_one_after_the_other(join_with):
    """Kafka converts the group."""
    first = join_with(EAGER)
    first.assigned(0, 1, 2, 3)
    second = join_with(NEW)

    second.until(lambda: shared(first, second), first)


def test_reading_continues_when_a_broker_is_available_again():
    with Broker() as broker:
        broker.create_topic("trades", partitions=1)
        kafka = {"bootstrap.servers": broker.bootstrap_servers, "fetch.wait.max.ms": 10, "log_level": 0}
        member = Member(Consumer({**kafka, "reconnect.backoff.max.ms": 100}, topic="trades", group="g"))
        member.consumer.open()
        member.assigned(0)
        member.start(0, 0)
        broker.down()
        member.quiet(20)
        broker.up()
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
        producer.produce("trades", b"after")
        assert 0 == producer.flush(120)

        member.until(lambda: member.records)
        member.consumer.close()

    assert [b"after"] == member.values


@pytest.fixture
def faulty_broker():
    """Run a broker whose fetches fail on demand, and a member that reads its only partition."""
    with Broker() as broker:
        broker.create_topic("trades", partitions=1)
        kafka = {"bootstrap.servers": broker.bootstrap_servers, "fetch.wait.max.ms": 10}
        member = Member(Consumer(kafka, topic="trades", group="g"))
        member.consumer.open()
        member.assigned(0)
        member.start(0, 0)
        yield broker, member
        member.consumer.close()


def test_an_empty_group_is_an_error_that_names_it(kafka, topic):
    """librdkafka would abort the process."""
    with pytest.raises(ConfigurationError, match="group='' is empty"):
        Consumer(kafka, topic=topic, group="")


def test_a_group_without_permission_is_reported():
    with Broker() as broker:
        broker.create_topic("trades")
        broker.fail_requests(JOIN_GROUP, *[KafkaError.GROUP_AUTHORIZATION_FAILED] * 5)
        consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers}, topic="trades", group="g")
        consumer.open()

        with pytest.raises(ConfigurationError, match="cannot consume topic trades: .*needs READ on the consumer group"):
            Member(consumer).until(lambda: False)
        consumer.close()


def test_the_broker_is_asked_again_for_what_it_could_not_do(faulty_broker):
    broker, member = faulty_broker
    broker.fail_requests(FETCH, *[KafkaError.NOT_LEADER_FOR_PARTITION] * 3, KafkaError.KAFKA_STORAGE_ERROR)
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    producer.produce("trades", b"a value")
    assert 0 == producer.flush(120)

    member.until(lambda: member.records)

    assert [b"a value"] == member.values


@pytest.mark.embedded
def test_a_search_for_malformed_records_ends_with_its_member(services, join):
    """It is another client in a thread of its own."""
    member = join()
    member.assigned(0, 1, 2, 3)
    member.start(0, 0)
    services.broker.down()
    try:
        member.consumer.examine({0: 0})
        assert "tradepipe-malformed" in {thread.name for thread in threading.enumerate()}

        member.consumer.close()

        eventually(lambda: "tradepipe-malformed" not in {thread.name for thread in threading.enumerate()}, within=10)
    finally:
        services.broker.up()


def test_a_member_may_be_closed_twice_and_before_it_was_opened(kafka, topic):
    consumer = Consumer(kafka, topic=topic, group="g")
    consumer.close()
    consumer.open()
    consumer.close()
    consumer.close()

    assert {} == consumer.assignments


def test_a_configuration_that_librdkafka_rejects_is_reported(kafka, topic):
    with pytest.raises(ConfigurationError, match=r"invalid Kafka client configuration: .*fetch\.wait\.max\.ms"):
        Consumer({**kafka, "fetch.wait.max.ms": "soon"}, topic=topic, group="g")


def test_the_first_timestamp_of_a_poll_is_that_of_its_first_record(join, produce):
    """The ends of other partitions may be delivered before it, and slices of messages behind it."""
    produce(b"1", partition=3, timestamp=1_000)
    produce(*[b"2"] * 2 * messages.SLICE_RECORDS, partition=3, timestamp=2_000)
    member = join()
    member.assigned(0, 1, 2, 3)
    for partition in (0, 1, 2, 3):
        member.start(partition, 0)
        # The next poll delivers this end, or all else there is.
        eventually(lambda partition=partition: member.consumer.high_watermark(partition) is not None)

    member.until(lambda: member.records)

    assert (b"1", 1.0) == (member.values[0], member.consumer.first_timestamp)
