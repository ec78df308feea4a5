"""Records whose offset librdkafka reads differently from the brokers: no other record is lost with them."""

import pytest
from confluent_kafka import TopicPartition

from tests.eventually import eventually
from tests.kafka.group_member import COOPERATIVE, EAGER
from tests.kafka.raw_batches import encode_batch, encode_malformed, encode_misnumbered, encode_record, send_batch
from tests.kafka.runs import runs_at
from tradepipe.kafka.admin import TopicAdmin
from tradepipe.kafka.assignment import Assignment, advance, correct_offset, is_misnumbered
from tradepipe.kafka.topic_reader import TopicReader
from tradepipe.trade.record import UnreadableBatch

WRONG = 1 << 31


@pytest.fixture
def send(kafka, topic):
    """Send batches to partition 0, each a string: g is a good record, m a misnumbered one, b a malformed one."""

    def send(*batches):
        for batch in batches:
            encode = {"g": encode_record, "m": encode_misnumbered, "b": lambda index, *_: encode_malformed(index)}
            records = b"".join(encode[kind](index, b"k", kind.encode()) for index, kind in enumerate(batch))
            send_batch(kafka["bootstrap.servers"], topic, encode_batch(records, len(batch), codec=0))

    return send


@pytest.mark.real
@pytest.mark.parametrize("strategy", [EAGER, COOPERATIVE], ids=["eager", "cooperative"])
@pytest.mark.parametrize("batches", ["gmg g", "m g", "mmm g", "gm gm", "mg mg", "mgmgm g m g", "m"])
def test_no_record_beside_a_misnumbered_one_is_lost_or_gets_another_offset(join, produce, send, batches, strategy):
    send(*batches.split())
    kinds = batches.replace(" ", "")
    produce(b"other", partition=1)
    member = join(**strategy)
    member.assigned(0, 1, 2, 3)
    member.start(1, 0)
    member.start(0, 0)

    member.until(lambda: member.position(0) == len(kinds))
    produce(b"later")
    produce(b"other", partition=1)
    member.until(lambda: member.position(0) == len(kinds) + 1 and member.position(1) == 2)

    records = [each for each in member.records if each.partition == 0]
    assert list(range(len(kinds) + 1)) == [each.offset for each in records]
    assert [kind == "m" for kind in f"{kinds}g"] == [isinstance(each, UnreadableBatch) for each in records]
    assert 0 == member.consumer.rebalances["revoke"]


@pytest.mark.real
@pytest.mark.parametrize("strategy", [EAGER, COOPERATIVE], ids=["eager", "cooperative"])
def test_a_partition_whose_fetching_has_ended_before_its_start_can_be_started(join, topic, send, strategy):
    """A fetch may be sent between assign() and pause(); here it is made certain."""
    send("m")
    member = join(**strategy)
    member.assigned(0, 1, 2, 3)
    client, place = member.consumer._client, TopicPartition(topic, 0)
    client.resume([place])
    member.quiet(40)
    client.pause([place])

    member.start(0, 0)
    member.until(lambda: member.position(0) == 1)

    assert [UnreadableBatch] == [type(each) for each in member.records]


@pytest.mark.real
@pytest.mark.parametrize("strategy", [EAGER, COOPERATIVE], ids=["eager", "cooperative"])
def test_a_paused_partition_stays_paused_beside_a_misnumbered_record(join, produce, send, strategy):
    """A batch that is full of records takes none of another partition either."""
    member = join(**strategy)
    member.assigned(0, 1, 2, 3)
    for partition in (0, 1):
        member.start(partition, 0)
    member.consumer.pause([1])
    produce(b"later", partition=1)
    send("gm", "g")
    member.until(lambda: member.position(0) == 3)

    produce(b"good")
    member.until(lambda: member.position(0) == 4)
    member.quiet()
    before = member.position(1)
    member.consumer.resume([1])
    member.until(lambda: member.position(1) == 1)

    assert 0 == before


@pytest.mark.real
@pytest.mark.parametrize("strategy", [EAGER, COOPERATIVE], ids=["eager", "cooperative"])
@pytest.mark.parametrize("batches", ["mbg g", "gmbbg g", "mmb", "bmbm gbm mb g"])
def test_a_malformed_record_behind_a_misnumbered_one_holds_no_partition(join, send, batches, strategy):
    """Kafka's client then delivers the misnumbered one again and again, and ends the fetching each time."""
    send(*batches.split())
    kinds = batches.replace(" ", "")
    member = join(**strategy)
    member.assigned(0, 1, 2, 3)
    member.start(0, 0)

    def has_all():
        if member.position(0) < len(kinds):
            member.consumer.examine({0: member.position(0)})
        return member.position(0) == len(kinds)

    member.until(has_all)

    offsets = [n for each in member.records for n in range(each.offset, getattr(each, "last_offset", each.offset) + 1)]
    assert list(range(len(kinds))) == offsets
    assert [n for n, kind in enumerate(kinds) if kind == "g"] == [each.offset for each in member.records if each.value]


@pytest.mark.real
def test_a_reader_of_a_whole_topic_skips_a_malformed_record_behind_a_misnumbered_one(kafka, topic, send):
    send("gmbg", "mb", "g")

    with TopicReader(kafka, topic=topic, timeout=2) as reader:
        records = list(reader.read(TopicAdmin(kafka).watermarks(topic, range(4))))

    assert [0, 3, 6] == [record.offset for record in records]


@pytest.mark.real
@pytest.mark.parametrize("max_records", [1, 2, 3])
def test_a_misnumbered_record_at_the_end_of_a_poll_hides_none_behind_it(join, send, max_records):
    send("gmgmg", "mg")
    member = join()
    member.assigned(0, 1, 2, 3)
    member.start(0, 0)

    eventually(lambda: member.poll(max_records) is not None and member.position(0) == 7, every=0)

    assert list(range(7)) == [each.offset for each in member.records]


@pytest.mark.real
def test_a_poll_that_returns_a_misnumbered_record_alone_has_its_timestamp(join, send):
    send("m")
    member = join()
    member.assigned(0, 1, 2, 3)
    member.start(0, 0)

    eventually(member.poll, every=0)

    assert member.consumer.first_timestamp is not None


@pytest.mark.real
def test_reading_that_begins_behind_a_misnumbered_record_of_the_same_batch_does_not_see_it(join, send):
    """Kafka's client delivers it again, since it takes its offset for one that follows."""
    send("mgg", "g")
    member = join()
    member.assigned(0, 1, 2, 3)
    member.start(0, 2)

    member.until(lambda: member.position(0) == 4)

    assert [2, 3] == [each.offset for each in member.records]


@pytest.mark.real
def test_a_reader_of_a_whole_topic_skips_misnumbered_records(kafka, topic, send):
    send("gm", "mg", "m", "g")

    with TopicReader(kafka, topic=topic, timeout=5) as reader:
        records = list(reader.read(TopicAdmin(kafka).watermarks(topic, range(4))))

    assert [0, 3, 5] == [record.offset for record in records]


@pytest.mark.parametrize(
    "offsets",
    [[WRONG + 5], [5, WRONG + 6], [5, WRONG + 6, 7], [WRONG + 5, 6, 7], [5, 6, 7 + 3 * WRONG]],
    ids=str,
)
def test_positions_do_not_move_over_a_misnumbered_record(offsets):
    at_5, elsewhere = Assignment(0), Assignment(1)
    at_5.next_offset, elsewhere.next_offset = 5, 4 * WRONG

    assert advance({0: at_5}, runs_at([0] * len(offsets), offsets)) is None
    assert advance({0: at_5, 1: elsewhere}, runs_at([1] + [0] * len(offsets), [4 * WRONG, *offsets])) is None
    assert (5, 4 * WRONG) == (at_5.next_offset, elsewhere.next_offset)


def test_partitions_of_very_different_lengths_are_not_taken_for_misnumbered():
    short, long = Assignment(0), Assignment(1)
    short.next_offset, long.next_offset = 5, 4 * WRONG

    assert 1 == advance({0: short, 1: long}, runs_at([0, 1, 0, 1], [5, 4 * WRONG, 6, 4 * WRONG + 2]))
    assert (7, 4 * WRONG + 3) == (short.next_offset, long.next_offset)


@pytest.mark.parametrize("times", [1, 2, 7])
def test_a_misnumbered_record_has_the_true_offset_unless_it_was_read_already(times):
    assert [5, 6, None] == [correct_offset(times * WRONG + offset, position=5) for offset in (5, 6, 4)]
    assert [False, True] == [is_misnumbered(offset, position=5) for offset in (5 + WRONG // 2 - 1, 5 + WRONG // 2)]
