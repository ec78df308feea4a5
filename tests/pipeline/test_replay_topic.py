"""Replay of a dead-letter topic, on real Kafka: the embedded broker has no transactions."""

import pytest
from confluent_kafka import Producer

from tests.kafka.raw_batches import encode_batch, encode_malformed, encode_misnumbered, encode_record, send_batch
from tests.pipeline.dead_letter_helpers import DeadLetterTopic
from tradepipe.errors import BrokerUnavailable, TopicUnusable
from tradepipe.kafka import dead_letters
from tradepipe.pipeline import replay_topic as module
from tradepipe.pipeline.replay_topic import ReplaySuperseded
from tradepipe.trade.dead_letter import DeadLetterFilter
from tradepipe.trade.record import Record, Refusal, Violation

pytestmark = pytest.mark.real


@pytest.fixture
def letters(services, kafka, topic):
    name = f"{topic}.dlq"
    services.create_topic(name)
    return DeadLetterTopic(kafka, topic, name)


def put_back(steps):
    return sorted(kept.record.offset for step in steps for kept in step.replayed)


def values(records):
    return sorted(record.value for record in records)


def test_a_record_is_sent_back_unchanged_with_one_more_header(letters):
    letters.write([letters.refusal(7, headers=(("trace", b"\xff"), ("trace", None)))])

    assert [7] == put_back(letters.run())

    (record,) = letters.records()
    assert (b"7", b"v7") == (record.key, record.value)
    assert (("trace", b"\xff"), ("trace", None), ("tradepipe.replays", b"1")) == record.headers


def test_a_replayed_record_has_the_time_of_the_replay(letters):
    """With the original one, retention might delete it before it is read."""
    letters.write([letters.refusal(7)])
    letters.run()

    assert letters.records()[0].timestamp > 1_760_000_000_000


def test_a_replay_closes_its_dead_letters_and_no_others(letters):
    letters.write([letters.refusal(1), letters.refusal(2, "BOOK_ID"), letters.refusal(3)])

    assert [1, 3] == put_back(letters.run(DeadLetterFilter(codes=("VERSION",))))

    assert [2] == [kept.record.offset for kept in letters.dead_letters()]
    assert 3 == len(letters.dead_letters(DeadLetterFilter(replayed=True)))
    assert [] == letters.run(DeadLetterFilter(codes=("VERSION",)))
    assert [2] == put_back(letters.run())
    assert 3 == len(letters.records())


def test_the_marker_is_in_the_partition_of_its_dead_letter(letters):
    letters.write([letters.refusal(1)], partition=3)
    letters.run()

    assert [(3, b"v1"), (3, None)] == [(record.partition, record.value) for record in letters.records(letters.topic)]


def test_a_record_with_two_dead_letters_is_replayed_once(letters):
    letters.write([letters.refusal(1)], partition=0)
    letters.write([letters.refusal(1)], partition=0)
    letters.write([letters.refusal(1)], partition=2)

    assert [1] == put_back(letters.run())

    assert ([b"v1"], []) == (values(letters.records()), letters.dead_letters())


def test_a_record_that_is_refused_again_is_counted_and_finally_skipped(letters):
    letters.write([letters.refusal(1)])
    for offset in (100, 101):
        letters.run()
        (*_, back) = sorted(letters.records(), key=lambda record: dead_letters.replay_count(record.headers))
        again = Refusal(
            back._replace(topic=letters.source, partition=0, offset=offset), (Violation("VERSION", "still"),)
        )
        letters.write([again])
    assert [2] == [kept.replay_count for kept in letters.dead_letters()]

    (step,) = letters.run(max_replays=2)

    assert ((), "replayed 2 times and refused again each time") == (step.replayed, step.skipped[0][1])
    assert 2 == len(letters.records())
    assert [101] == put_back(letters.run(max_replays=3))
    assert [1, 2, 3] == sorted(dead_letters.replay_count(record.headers) for record in letters.records())


def test_at_most_the_limit_is_replayed_over_several_transactions(letters, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_RECORDS", 2)
    letters.write(letters.refusal(number) for number in range(9))

    steps = letters.run(limit=5)

    assert [2, 2, 1] == [len(step.replayed) for step in steps]
    assert (5, 4) == (len(letters.records()), len(letters.dead_letters()))


def test_a_transaction_ends_early_behind_large_keys(letters, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_BYTES", 10_000)
    letters.write(letters.refusal(number, key=bytes(6_000)) for number in range(5))

    assert [2, 2, 1] == [len(step.replayed) for step in letters.run()]


def lay_connect(letters):
    """Write a dead letter as Kafka Connect does, and the record that it names."""
    letters.send(b"v", b"k", partition=2, headers=(("own", b"1"),))
    client = Producer({"bootstrap.servers": letters.kafka["bootstrap.servers"]})
    place = {"topic": letters.source, "partition": "2", "offset": "0", "exception.class.name": "Oops"}
    headers = [(f"__connect.errors.{name}", text.encode()) for name, text in place.items()]
    client.produce(letters.topic, b"v", b"k", headers=[("own", b"1"), *headers])
    assert 0 == client.flush(120)


def test_a_dead_letter_of_kafka_connect_is_replayed_if_asked_for(letters):
    lay_connect(letters)

    (step,) = letters.run(unverified=False)
    assert ["Kafka Connect wrote it; --include-connect sends it back"] == [reason for _, reason in step.skipped]
    letters.run(include_connect=True, unverified=False)

    _, record = sorted(letters.records(), key=lambda record: len(record.headers))
    assert (b"v", (("own", b"1"), ("tradepipe.replays", b"1"))) == (record.value, record.headers)


@pytest.mark.parametrize("forged", [{"key": b"other"}, {"value": b"other"}, {"headers": (("a", b"2"),)}], ids=list)
def test_a_forged_dead_letter_is_not_sent_back(letters, forged):
    """A writer of dead letters must not write records with the rights of the replay."""
    letters.send(b"v0", b"0", headers=(("a", b"1"),))
    letters.write([letters.refusal(0, **{"headers": (("a", b"1"),), **forged})], topic_id=None)

    (step,) = letters.run()

    verb = "differ" if "headers" in forged else "differs"
    assert [f"its {next(iter(forged))} {verb} from that of the record in Kafka"] == [why for _, why in step.skipped]
    assert 1 == len(letters.records())


def test_a_true_dead_letter_is_sent_back(letters):
    letters.send(b"v0", b"0", headers=(("a", b"1"),))
    letters.write([letters.refusal(0, headers=(("a", b"1"),))], topic_id=None)

    assert [0] == put_back(letters.run(unverified=False))


def test_a_dead_letter_of_a_record_that_never_existed_is_not_sent_back(letters):
    letters.send(b"v0", b"0")
    letters.write([letters.refusal(5)], topic_id=None)

    (step,) = letters.run()

    assert [f"Kafka has no readable record at {letters.source}[0]@5"] == [reason for _, reason in step.skipped]


@pytest.mark.parametrize("encode", [encode_malformed, lambda index: encode_misnumbered(index, b"0", b"v0")])
def test_a_record_that_the_client_misreads_has_no_dead_letter_that_is_sent_back(letters, kafka, encode):
    """The one behind it in the same batch has."""
    records = [encode_record(0, b"0", b"v0"), encode(1), encode_record(2, b"2", b"v2")]
    send_batch(kafka["bootstrap.servers"], letters.source, encode_batch(b"".join(records), len(records), codec=0))
    letters.write([letters.refusal(1), letters.refusal(2)], topic_id=None)

    steps = letters.run(unverified=False)

    assert [2] == put_back(steps)
    skipped = [reason for step in steps for _, reason in step.skipped]
    assert [f"Kafka has no readable record at {letters.source}[0]@1"] == skipped


def test_a_copy_of_a_deleted_record_is_sent_back_only_if_asked_for(letters, services):
    letters.send(b"v0", b"0")
    services.kafka.delete_records(letters.source)
    letters.write([letters.refusal(0)], topic_id=None)

    (step,) = letters.run(unverified=False)
    assert "Kafka has deleted the record, so the copy cannot be compared with it" in step.skipped[0][1]

    assert [0] == put_back(letters.run())


def test_nothing_is_sent_to_a_topic_that_is_not_named(letters):
    letters.write([letters.refusal(1), letters.refusal(2, topic="payments")])

    (step,) = letters.run()

    assert [1] == put_back([step])
    assert ["its record came from topic payments; --source payments sends it back there"] == [
        reason for _, reason in step.skipped
    ]


def test_a_dead_letter_without_its_coordinates_is_skipped(letters):
    letters.write_foreign(b"whatever")
    letters.write([letters.refusal(1)._replace(record=Record(letters.topic, 0, 1, b"k", b"v"))])
    letters.write([letters.refusal(2)._replace(record=Record("__consumer_offsets", 0, 1, b"k", b"v"))])

    steps = letters.run()

    assert ([], 3) == (put_back(steps), sum(len(step.skipped) for step in steps))
    assert [] == letters.run(DeadLetterFilter(topics=(letters.source,)))


def test_a_dry_run_reports_the_replay_and_writes_nothing(letters):
    letters.write([letters.refusal(1), letters.refusal(2)])

    assert [1, 2] == put_back(letters.run(keep=False))

    assert ([], 2) == (letters.records(), len(letters.dead_letters()))


def test_a_deleted_source_topic_is_reported_before_anything_is_written(letters):
    letters.write([letters.refusal(1)._replace(record=Record("gone", 0, 1, b"k", b"v"))])

    with pytest.raises(TopicUnusable, match="there is no topic gone; create it"):
        letters.run(sources=["gone"])

    assert 1 == len(letters.dead_letters())


def test_a_missing_dead_letter_topic_is_reported(letters):
    letters.topic = "missing"

    with pytest.raises(TopicUnusable, match="there is no topic missing"):
        letters.run()


def test_a_compacted_dead_letter_topic_is_refused(letters, services):
    """The key is the trade's: compaction would delete dead letters and markers one by one."""
    letters.topic = f"{letters.topic}-compacted"
    services.kafka.create_topic(letters.topic, config={"cleanup.policy": "compact"})

    with pytest.raises(TopicUnusable, match="compaction"):
        letters.run()


def test_a_second_replay_fences_the_first_and_nothing_is_replayed_twice(letters, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_RECORDS", 10)
    letters.write(letters.refusal(number) for number in range(100))
    first = letters.replay()
    begun = put_back([first.run_step(), first.run_step()])

    second = put_back(letters.run())

    with pytest.raises(ReplaySuperseded, match="another replay of these dead letters has started"):
        first.run_step()
    assert list(range(100)) == sorted(begun + second)
    assert sorted(b"v%d" % number for number in range(100)) == values(letters.records())


def test_a_replay_waits_for_an_open_transaction_in_the_dead_letter_topic(letters):
    """Markers may follow it: the dead letters they close would be replayed twice."""
    letters.write([letters.refusal(1)], partition=0)
    client = Producer({"bootstrap.servers": letters.kafka["bootstrap.servers"], "transactional.id": letters.topic})
    client.init_transactions(120)
    client.begin_transaction()
    client.produce(letters.topic, b"open", b"k", 0)
    client.flush(120)
    post_back = letters.replay()
    monkey = letters.replay()
    monkey._wait = 5.0

    with pytest.raises(BrokerUnavailable, match="a transaction is open in .*dlq\\[0\\]"):
        monkey.run_step()

    client.abort_transaction(30)
    assert [1] == put_back([post_back.run_step()])
    post_back.close()


def test_a_commit_without_an_answer_counts_once(letters, monkeypatch):
    """The committed markers are found in the topic, and their records are reported as replayed."""
    letters.write([letters.refusal(1), letters.refusal(2)])
    replaying = letters.replay()
    write = replaying._transactions.write
    failures = [BrokerUnavailable("no answer")]

    def unanswered(records):
        write(records)
        if failures:
            raise failures.pop()

    monkeypatch.setattr(replaying._transactions, "write", unanswered)
    with pytest.raises(BrokerUnavailable):
        replaying.run_step()

    assert [1, 2] == put_back([replaying.run_step()])
    assert replaying.run_step() is None
    assert [b"v1", b"v2"] == values(letters.records())
