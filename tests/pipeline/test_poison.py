"""Records made to stop a stage: it refuses each, and stores those before and after it."""

import hashlib
import random
from collections import Counter
from functools import partial

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from tests.eventually import eventually
from tests.kafka.raw_batches import (
    GZIP,
    encode_batch,
    encode_hollow,
    encode_record,
    hollow_headers,
    hollow_key,
    hollow_value,
    members,
    send_batch,
)
from tests.pipeline.topic_contents import committed_records
from tradepipe.kafka.dead_letters import parse
from tradepipe.trade.record import Digest, Omitted

pytestmark = pytest.mark.real

LARGE_LIMIT = {"receive.message.max.bytes": 16 << 20}
"""Of a consumer that unpacks batches of several megabytes in zstd."""

MAX_MESSAGE_BYTES = 1_048_588
"""Of a topic, by default."""

BATCH_HEADER_BYTES = 61

SMALL_LIMITS = {"receive.message.max.bytes": 2_000_000, "fetch.max.bytes": 1_000_000}
"""Small, so that a small bomb exceeds them."""


def send_bomb(pipeline, value, *, codec="zstd", level=-1, key=b"bomb", headers=None):
    """Send one record to partition 0 as one compressed batch, without the limits of an honest client."""
    settings = {
        "compression.type": codec,
        "compression.level": level,
        "message.max.bytes": 1_000_000_000,
        "queue.buffering.max.kbytes": 2_000_000,
    }
    producer = Producer({"bootstrap.servers": pipeline.kafka["bootstrap.servers"], **settings})
    producer.produce(pipeline.topic, value, key, partition=0, headers=headers)
    assert 0 == producer.flush(200)


def send_between(pipeline, trades, send, *values, **options):
    """Send a bomb after the first half of the trades, all to one partition."""
    records = [(trade.trade_id.encode(), pipeline.serialize(trade)) for trade in trades]
    pipeline.publish_bytes(records[: len(records) // 2], partition=0)
    send(pipeline, *values, **options)
    pipeline.publish_bytes(records[len(records) // 2 :], partition=0)


def test_a_batch_that_cannot_be_unpacked_does_not_stop_a_sink(pipeline, some_trades):
    trades = some_trades(20)
    send_between(pipeline, trades, send_bomb, b"\0" * 3_000_000)

    pipeline.store(kafka=SMALL_LIMITS)
    again = pipeline.store(kafka=SMALL_LIMITS)

    assert sorted(trades) == pipeline.stored()
    ((refusal),) = pipeline.refused()
    assert (10, ["UNREADABLE"], None) == (refusal.offset, refusal.codes, refusal.value)
    assert "offset 10 cannot be read, and remain in Kafka: Decompression" in refusal.details[0]
    assert 0 == again.refused.total()


def test_a_batch_that_cannot_be_unpacked_does_not_stop_a_validator(pipeline, targets, some_trades):
    trades = some_trades(20)
    send_between(pipeline, trades, send_bomb, b"\0" * 3_000_000)

    counts = pipeline.validate(kafka=SMALL_LIMITS)

    assert (20, Counter(UNREADABLE=1)) == (counts.passed, counts.refused)
    ((letter),) = committed_records(pipeline.kafka, pipeline.dead_letters)
    assert b"10" == dict(letter.headers)["tradepipe.dlq.offset"]
    assert (None, None) == (letter.key, letter.value)


LARGE = b"\x01" + b"\0" * 30_000_000


def digest_of(value):
    return len(value), hashlib.sha256(value).digest()


def test_a_sink_stores_a_refused_record_of_megabytes_as_its_digest(pipeline, some_trades):
    trades = some_trades(20)
    send_between(pipeline, trades, send_bomb, LARGE, codec="gzip")

    pipeline.store()

    assert sorted(trades) == pipeline.stored()
    ((refusal),) = pipeline.refused()
    assert (["FRAMING"], None, *digest_of(LARGE)) == (
        refusal.codes,
        refusal.value,
        refusal.value_bytes,
        refusal.value_sha256,
    )


def test_a_refused_record_that_is_too_large_for_the_topic_is_a_dead_letter_without_its_value(
    pipeline, targets, some_trades
):
    """Its producer's compression makes it small, zstd at its default level does not."""
    noise = random.Random(1).randbytes(850_000)
    value = (noise + b"\0" * 2_300_000) * 3
    trades = some_trades(20)
    send_between(pipeline, trades, send_bomb, value, level=12)

    counts = pipeline.validate(kafka=LARGE_LIMIT)

    assert (20, Counter(FRAMING=1)) == (counts.passed, counts.refused)
    ((letter),) = committed_records(pipeline.kafka, pipeline.dead_letters)
    assert (b"bomb", None) == (letter.key, letter.value)
    assert Omitted(value=Digest(*digest_of(value))) == parse(letter).refusal.omitted


def test_a_valid_record_with_headers_that_are_too_large_is_refused(pipeline, targets, some_trades):
    trade, *trades = some_trades(21)
    headers = [("large", b"\0" * 5_000_000)]
    send_between(pipeline, trades, send_bomb, pipeline.serialize(trade), key=trade.trade_id.encode(), headers=headers)

    counts = pipeline.validate(kafka=LARGE_LIMIT)

    assert (20, Counter(TOO_LARGE=1)) == (counts.passed, counts.refused)
    ((letter),) = committed_records(pipeline.kafka, pipeline.dead_letters)
    assert 5_000_007 == parse(letter).refusal.omitted.headers.size


def test_a_valid_record_with_a_key_that_is_too_large_is_refused(pipeline, targets, some_trades):
    key = random.Random(1).randbytes(850_000) + b"\0" * 5_000_000
    trade, *trades = some_trades(21)
    send_between(pipeline, trades, send_bomb, pipeline.serialize(trade), key=key)

    counts = pipeline.validate(record_key="accept", kafka=LARGE_LIMIT)

    assert (20, Counter(TOO_LARGE=1)) == (counts.passed, counts.refused)
    ((letter),) = committed_records(pipeline.kafka, pipeline.dead_letters)
    assert 5_850_000 == parse(letter).refusal.omitted.key.size


@pytest.mark.parametrize(("excess", "code"), [(0, "passed"), (1, "TOO_LARGE")], ids=["fits", "too large"])
def test_a_valid_record_whose_batch_is_larger_than_its_topic_takes_is_refused(
    pipeline, targets, some_trades, excess, code
):
    """By one byte: its key and value alone would fit."""
    trade, *trades = some_trades(21)
    value = pipeline.serialize(trade)
    beside_the_key = BATCH_HEADER_BYTES + len(encode_record(0, bytes(1_000_000), value)) - 1_000_000
    key = bytes(MAX_MESSAGE_BYTES - beside_the_key + excess)
    send_between(pipeline, trades, send_bomb, value, key=key)

    counts = pipeline.validate(record_key="accept", kafka={"compression.type": "none"})

    expected = Counter({code: 1}) + Counter(passed=20)
    assert expected == counts.refused + Counter(passed=counts.passed)


BOMBS = (("zstd", 45), ("zstd", 90), ("gzip", 300), ("gzip", 120), ("lz4", 200), ("snappy", 20))
"""Megabytes of zeros, which are kilobytes on the way."""

LARGEST = 4_190_000
"""Bytes that a batch in zstd may unpack to, nearly; a response holds more than seventy of them."""

HEADERS = 100_000
"""Headers of a record at most: librdkafka returns none if there are more."""

MEMORY = 512
"""MiB of resident memory that a stage may take, as docs/operating.md promises for these."""


UNCOUNTED_MEMORY = 768
"""The same where keys are large, of which a second response may arrive until the stage has noticed it."""


def send_bombs(pipeline):
    for codec, megabytes in BOMBS:
        send_bomb(pipeline, bytes(megabytes * 1_000_000), codec=codec)
    # Small ones first, past which a stage requests many records at once.
    pipeline.publish_bytes([(b"small", b"")] * 20, partition=0)
    largest = encode_hollow([hollow_value(0, b"bomb", LARGEST)])
    for _ in range(100):
        send_batch(pipeline.kafka["bootstrap.servers"], pipeline.topic, largest)


@pytest.fixture
def recompressed(pipeline):
    """Have the broker compress what it takes with zstd, as docs/operating.md recommends for untrusted writers."""
    to_zstd = ConfigEntry("compression.type", "zstd", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, pipeline.topic, incremental_configs=[to_zstd])
    admin = AdminClient({"bootstrap.servers": pipeline.kafka["bootstrap.servers"]})
    admin.incremental_alter_configs([resource])[resource].result(timeout=120)


@pytest.mark.timeout(600)  # a busy machine compresses the largest bomb in a minute
def test_bombs_neither_stop_a_stage_nor_take_more_memory_than_its_bound(
    pipeline, recompressed, some_trades, start_sink, start_validator
):
    trades = some_trades(20)
    send_between(pipeline, trades, send_bombs)

    sink, validator = start_sink("--max-refused", "off"), start_validator("--max-refused", "off")
    eventually(lambda: sorted(trades) == pipeline.stored())
    eventually(lambda: len(committed_records(pipeline.kafka, pipeline.clean)) == 20, every=1)

    peaks = {"sink": sink.peak_memory, "validator": validator.peak_memory}
    print(f"peak memory in MiB: {peaks}")
    assert {} == {stage: peak for stage, peak in peaks.items() if peak >= MEMORY}


def peaks_of(pipeline, trades, batches, sink, validator):
    """Send batches between trades, start a sink and a validator, and return the peak memory of both."""

    def send_batches(pipeline):
        for batch in batches:
            send_batch(pipeline.kafka["bootstrap.servers"], pipeline.topic, batch)

    send_between(pipeline, trades, send_batches)
    stages = {"sink": sink(), "validator": validator()}
    eventually(lambda: sorted(trades) == pipeline.stored())
    eventually(lambda: len(committed_records(pipeline.kafka, pipeline.clean)) == 20, every=1)
    peaks = {name: stage.peak_memory for name, stage in stages.items()}
    print(f"peak memory in MiB: {peaks}")
    return peaks


KEYS = [encode_hollow([hollow_key(0, LARGEST)])] * 200
"""librdkafka does not count keys: it would prefetch all of them, 838 MB."""


def test_a_stage_fetches_little_ahead_where_keys_are_large(
    pipeline, recompressed, some_trades, start_sink, start_validator
):
    starts = [partial(start, "--max-refused", "off") for start in (start_sink, start_validator)]

    assert max(peaks_of(pipeline, some_trades(20), KEYS, *starts).values()) < UNCOUNTED_MEMORY


def test_a_stage_that_fetches_little_ahead_from_its_start_is_bounded_for_keys_and_headers(
    pipeline, recompressed, some_trades, start_sink, start_validator
):
    little = ("-X", "queued.min.messages=1", "-X", "fetch.queue.backoff.ms=1")
    starts = [partial(start, "--max-refused", "off", *little) for start in (start_sink, start_validator)]
    headers = encode_hollow([hollow_headers(index, b"bomb", HEADERS) for index in range(LARGEST // HEADERS // 2)])

    assert max(peaks_of(pipeline, some_trades(20), [headers, *KEYS], *starts).values()) < MEMORY


@pytest.mark.parametrize("codec", ["gzip", "lz4", "snappy", "zstd"])
def test_a_topic_that_the_broker_compresses_bounds_every_codec(pipeline, recompressed, some_trades, codec):
    """Kafka's client unpacks gzip, lz4 and snappy without a limit."""
    trades = some_trades(20)
    send_between(pipeline, trades, send_bomb, b"\0" * 20_000_000, codec=codec)

    pipeline.store()

    assert sorted(trades) == pipeline.stored()
    assert [["UNREADABLE"]] == [refusal.codes for refusal in pipeline.refused()]


def test_a_topic_that_the_broker_compresses_admits_no_batch_that_aborts_the_process(
    pipeline, recompressed, some_trades, start_sink
):
    """
    Kafka's brokers unpack all members of a batch in gzip, librdkafka only the first.

    It loses the records of the others, and aborts the process if the first one is empty.
    """
    trades = some_trades(6)
    records = [
        encode_record(index, trade.trade_id.encode(), pipeline.serialize(trade))
        for index, trade in enumerate(trades[:4])
    ]
    batch = encode_batch(members([], records[:2], records[2:]), len(records), GZIP)
    send_batch(pipeline.kafka["bootstrap.servers"], pipeline.topic, batch)
    pipeline.publish(trades[4:])

    sink = start_sink()
    eventually(lambda: sorted(trades) == pipeline.stored() or not sink.runs)

    assert sink.runs
