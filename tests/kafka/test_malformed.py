"""Records that librdkafka neither delivers nor reports: each is found, and nothing else is taken for one."""

import threading
import time

import pytest
from confluent_kafka import Producer

from tests.kafka.raw_batches import (
    GZIP,
    encode_batch,
    encode_malformed,
    encode_record,
    gzip_member,
    send_batch,
)
from tradepipe.kafka import malformed
from tradepipe.kafka.admin import TopicAdmin
from tradepipe.kafka.config import consumer_config
from tradepipe.kafka.malformed import Found, find_malformed
from tradepipe.kafka.topic_reader import TopicReader
from tradepipe.trade.record import UnreadableBatch

pytestmark = pytest.mark.real

NOTHING = Found([], is_cut=False)


@pytest.fixture
def send(kafka, topic):
    """Send batches to partition 0, each a string: g is a good record, b a malformed one."""

    def send(*batches, compressed=False):
        for batch in batches:
            records = b"".join(
                encode_record(index, b"k", b"v%d" % index) if kind == "g" else encode_malformed(index)
                for index, kind in enumerate(batch)
            )
            payload, codec = (gzip_member(records), GZIP) if compressed else (records, 0)
            send_batch(kafka["bootstrap.servers"], topic, encode_batch(payload, len(batch), codec))

    return send


@pytest.fixture
def find(kafka, topic):
    return lambda first: find_malformed(consumer_config(kafka, group="finder"), topic, 0, first)


@pytest.fixture
def short_search(monkeypatch):
    monkeypatch.setattr(malformed, "SEARCH_SECONDS", 3.0)


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    ("batches", "first", "ranges"),
    [
        ("ggbgg g", 2, [(2, 2)]),
        ("ggbgg g", 0, [(2, 2)]),
        ("bbb g", 0, [(0, 2)]),
        ("gb", 1, [(1, 1)]),
        ("bgbbg gb b g", 0, [(0, 0), (2, 3), (6, 7)]),
        ("ggggg", 0, []),
        # By one search: each further one would begin only when the partition has stood still again.
        pytest.param(" ".join(["b" + "g" * 150] * 2), 0, [(0, 0), (151, 151)], id="far apart"),
    ],
)
def test_exactly_the_malformed_records_are_found(send, find, batches, first, ranges, compressed):  # noqa: PLR0917
    send(*batches.split(), compressed=compressed)

    assert Found(ranges, is_cut=False) == find(first)


def test_a_search_ends_among_good_records(send, find):
    send("b" + "g" * malformed.CALM_RECORDS, "b")

    assert Found([(0, 0)], is_cut=False) == find(0)


def test_a_search_that_runs_out_of_time_tells_what_it_has_found(send, find, short_search):
    send("b" * 5_000)

    ((first, last),), is_cut = find(0)

    assert (0, True) == (first, is_cut)
    assert 0 < last < 4_999


def test_nothing_is_found_behind_an_open_transaction_or_in_an_aborted_one(kafka, topic, find, short_search):
    writer = Producer({"bootstrap.servers": kafka["bootstrap.servers"], "transactional.id": topic})
    writer.init_transactions(120)
    for _ in range(3):
        writer.begin_transaction()
        for number in range(5):
            writer.produce(topic, b"aborted %d" % number, partition=0)
        assert 0 == writer.flush(120)
        writer.abort_transaction(120)
    writer.begin_transaction()
    writer.produce(topic, b"open", partition=0)
    assert 0 == writer.flush(120)

    assert [NOTHING, NOTHING, NOTHING] == [find(0), find(17), find(18)]
    writer.commit_transaction(120)
    assert NOTHING == find(0)


def test_nothing_is_found_while_a_broker_does_not_answer(own_kafka, send, find, short_search):
    send("gg")
    found = []
    own_kafka.freeze()
    try:
        search = threading.Thread(target=lambda: found.append(find(0)))
        search.start()
        time.sleep(malformed.SEARCH_SECONDS / 2)
    finally:
        own_kafka.thaw()
    search.join()

    assert [NOTHING] == found


def test_malformed_records_are_delivered_as_refusals_between_the_good_ones(join, send):
    send("gbg", "bb", "g")
    member = join()
    member.assigned(0, 1, 2, 3)
    member.start(0, 0)
    member.until(lambda: member.position(0) == 1)

    def has_all():
        member.consumer.examine({0: member.position(0)} if member.position(0) < 6 else {})
        return member.position(0) == 6

    member.until(has_all)

    assert [(0, 0), (1, 1), (2, 2), (3, 4), (5, 5)] == [
        (each.offset, getattr(each, "last_offset", each.offset)) for each in member.records
    ]
    assert [1, 3] == [each.offset for each in member.records if isinstance(each, UnreadableBatch)]


def test_a_search_is_forgotten_with_its_partition(join, send):
    send("bbb", "g")
    member = join()
    member.assigned(0, 1, 2, 3)
    member.start(0, 0)
    member.consumer.examine({0: 0})
    member.consumer.stop_delivery(0)
    member.start(0, 3)

    member.until(lambda: member.position(0) == 4)

    assert [3] == [each.offset for each in member.records]


def test_a_reader_of_a_whole_topic_skips_malformed_records(kafka, topic, send):
    """Otherwise one in a dead-letter topic would stop each validator at its start."""
    send("gb", "bg", "b")

    with TopicReader(kafka, topic=topic, timeout=2) as reader:
        records = list(reader.read(TopicAdmin(kafka).watermarks(topic, range(4))))

    assert [0, 3] == [record.offset for record in records]
