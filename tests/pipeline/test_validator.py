"""The validator: valid records, dead letters, start positions; with both delivery guarantees where available."""

import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice

import pytest
from confluent_kafka import Producer

from tests.eventually import eventually
from tests.kafka.raw_headers import send_with_header
from tests.pipeline.running_stages import undecodable
from tradepipe import (
    ConfigurationError,
    OffsetOutOfRange,
    SchemaNotRegistered,
    TooManyRefusals,
    TopicUnusable,
    UnsupportedSchema,
    Violation,
)
from tradepipe.evolution.history import current
from tradepipe.metrics import AGE, TRANSACTIONS
from tradepipe.pipeline.refusal_limit import MIN_SAMPLE
from tradepipe.pipeline.validator_buffer import BATCH_RECORDS
from tradepipe.registry import schema_ids
from tradepipe.registry.serde import HEADER_SIZE, frame
from tradepipe.trade import samples

pytestmark = pytest.mark.usefixtures("targets")

EXACTLY_ONCE = pytest.param("exactly_once", marks=pytest.mark.real)
AT_LEAST_ONCE = pytest.param("at_least_once", marks=pytest.mark.embedded)
DELIVERY = pytest.mark.parametrize("delivery", [AT_LEAST_ONCE, EXACTLY_ONCE])


@pytest.fixture
def mixture(pipeline) -> Callable[[int], Counter[str]]:
    """Return a function that publishes trades, with a bad record after every ten, and returns the codes of those."""

    def mixture(count: int, seed: int = 5) -> Counter[str]:
        bad = list(islice(samples.bad_records(seed, pipeline.serialize), count // 10))
        records = [
            (trade.trade_id.encode(), pipeline.serialize(trade)) for trade in islice(samples.trades(seed), count)
        ]
        for place, each in enumerate(bad):
            records.insert(place * 11 + 10, (each.key, each.value))
        pipeline.publish_bytes(records)
        return Counter(each.code for each in bad)

    return mixture


def send(pipeline, trade, **given) -> None:
    """Send one record with whatever a record may have."""
    client = Producer({"bootstrap.servers": pipeline.kafka["bootstrap.servers"], "partitioner": "murmur2_random"})
    value = given.pop("value", None) or pipeline.serialize(trade)
    client.produce(pipeline.topic, value, trade.trade_id.encode(), **given)
    assert 0 == client.flush(120)


@pytest.mark.parametrize("batch_records", [BATCH_RECORDS, 40], ids=["one batch", "many"])
@pytest.mark.parametrize("delivery", ["at_least_once", EXACTLY_ONCE])
def test_each_record_is_in_exactly_one_of_the_two_topics(pipeline, mixture, delivery, batch_records):
    codes = mixture(500)

    counts = pipeline.validate(delivery=delivery, batch_records=batch_records)

    found = pipeline.sorted()
    found.check()
    assert (500, codes) == (counts.passed, counts.refused)
    assert codes == Counter(letter.refusal.codes[0] for letter in found.letters)


@pytest.mark.real
def test_timestamp_and_headers_pass_unchanged(pipeline, some_trades):
    (trade,) = some_trades(1)
    headers = [("traceparent", b"\xff"), ("twice", b"1"), ("twice", None)]
    send(pipeline, trade, timestamp=1_234_567_890_123, headers=headers)
    send(pipeline, trade, timestamp=1_234_567_890_124, headers=headers, value=b"\x01 no frame")

    pipeline.validate()

    found = pipeline.sorted()
    (passed,), (letter,) = found.clean, found.letters
    assert (1_234_567_890_123, tuple(headers)) == (passed.timestamp, passed.headers)
    refused = letter.refusal.record
    assert (1_234_567_890_124, tuple(headers)) == (refused.timestamp, refused.headers)
    assert letter.record.timestamp > 1_700_000_000_000
    assert (f"{pipeline.topic}-validator", "validator") == (letter.group, letter.stage)
    assert letter.topic_id


@pytest.mark.real
def test_the_replay_count_is_removed_from_a_valid_record_and_stays_in_a_dead_letter(pipeline, some_trades):
    (trade,) = some_trades(1)
    send(pipeline, trade, headers=[("a", b"1"), ("tradepipe.replays", b"2")])
    send(pipeline, trade, headers=[("tradepipe.replays", b"2")], value=b"\x01 no frame")

    pipeline.validate()

    found = pipeline.sorted()
    assert [(("a", b"1"),)] == [record.headers for record in found.clean]
    assert [2] == [letter.replay_count for letter in found.letters]


@pytest.mark.embedded
def test_records_with_unreadable_headers_are_refused_without_them(pipeline):
    """A client in Python can neither read nor write such headers, so they cannot pass unchanged."""
    send_with_header(pipeline.kafka["bootstrap.servers"], pipeline.topic, b"bad\xff\xfe", count=50)

    counts = pipeline.validate(delivery="at_least_once")

    letter, *others = pipeline.sorted().letters
    assert (Counter(UNDECODABLE=50), 49) == (counts.refused, len(others))
    assert (b"value", ()) == (letter.refusal.record.value, letter.refusal.record.headers)


@pytest.mark.embedded
@pytest.mark.parametrize("batch_records", [7, 100])
def test_no_transaction_has_more_than_batch_records(pipeline, some_trades, batch_records):
    pipeline.publish(some_trades(300))

    with pipeline.validator(delivery="at_least_once", batch_records=batch_records) as validator:
        validator.run(until_end=True)

    batches = validator.meter.values(TRANSACTIONS)[pipeline.topic, "committed"]
    assert 300 <= batches * batch_records
    assert 300 == len(pipeline.sorted().clean)
    ages, _ = validator.meter.distributions(AGE)[pipeline.topic,]
    assert batches == sum(ages)


@DELIVERY
def test_a_second_run_writes_no_record_again(pipeline, mixture, delivery):
    mixture(100)
    pipeline.validate(delivery=delivery)
    mixture(50, seed=6)

    counts = pipeline.validate(delivery=delivery)

    assert 50 == counts.passed
    pipeline.sorted().check()


@pytest.mark.real
def test_lag_reaches_zero_after_transaction_markers(pipeline, some_trades):
    """Each partition has some, since the lag is unknown until all were fetched, and nobody waits for the empty ones."""
    (trade,) = some_trades(1)
    record = (trade.trade_id.encode(), pipeline.serialize(trade))
    pipeline.publish_in_transaction([record], partition=0)
    for partition in (1, 2, 3):
        pipeline.publish_in_transaction([record] * 3, partition=partition, commit=False)

    with pipeline.validator() as validator:
        counts = validator.run(until_end=True)

    assert (1, 0) == (counts.passed, validator.lag)


@pytest.mark.embedded
def test_the_record_key_is_validated(pipeline, some_trades):
    trades = some_trades(2)
    pipeline.publish_bytes([(b"another", pipeline.serialize(trade)) for trade in trades])

    counts = pipeline.validate(delivery="at_least_once")

    assert Counter(RECORD_KEY=2) == counts.refused


@pytest.mark.embedded
def test_an_unknown_schema_id_blocks_only_its_partition(pipeline, some_trades, monkeypatch):
    monkeypatch.setattr(schema_ids, "REPLICA_LAG_SECONDS", 600.0)
    trades = pipeline.publish(some_trades(200))
    pipeline.publish_bytes([(b"X", b"\x00\x7f\xff\xff\xff rest")], partition=0)
    pipeline.publish_bytes(
        [(b"X", pipeline.serialize(trade)) for trade in trades[:5]],
        partition=0,
    )
    validator = pipeline.validator(delivery="at_least_once", record_key="accept")
    thread = threading.Thread(target=validator.run)
    thread.start()
    try:
        eventually(lambda: validator.counts.passed == 200)
        assert "the registry" == eventually(lambda: validator.waiting_for)
        assert {} == validator.counts.refused
    finally:
        validator.stop()
        thread.join(60)


@pytest.mark.embedded
def test_too_many_refusals_stop_the_validator_before_the_commit(pipeline):
    pipeline.publish_bytes(undecodable(pipeline, 300), partition=0)

    with pytest.raises(TooManyRefusals, match=r"--max-refused off"):
        pipeline.validate(delivery="at_least_once")

    # What came before the first hundred, if it came by itself, says nothing yet.
    written = len(pipeline.sorted().dead_letters)
    assert written < MIN_SAMPLE
    assert {"UNDECODABLE": 300 - written} == pipeline.validate(delivery="at_least_once", max_refused=None).refused


@DELIVERY
def test_records_that_were_read_but_not_written_are_not_committed(pipeline, some_trades, delivery):
    """A rule that fails stops a validator that has read more than it has written."""
    published = pipeline.publish(some_trades(300))
    validated = set()

    def tired(trade):
        validated.add(trade)
        return [] if len(validated) <= 150 else None

    with pytest.raises(ConfigurationError, match="tired"):
        pipeline.validate(delivery=delivery, batch_records=20, rules=[tired])

    written = len(pipeline.sorted().clean)
    assert 0 < written <= 150
    assert len(published) - written == pipeline.validate(delivery=delivery).passed
    pipeline.sorted().check()


def test_a_detail_of_any_characters_is_in_the_dead_letter(pipeline, some_trades):
    detail = "a\0b \ud800 \n \U0001f600"
    pipeline.publish(some_trades(1))

    pipeline.validate(delivery="at_least_once", rules=[lambda trade: [Violation("ODD", detail)]])

    assert [(Violation("ODD", detail),)] == [letter.refusal.violations for letter in pipeline.sorted().letters]


@DELIVERY
def test_a_restart_does_not_reset_the_refusal_limit(pipeline, delivery):
    """The window is filled from the dead letters."""
    pipeline.publish_bytes(undecodable(pipeline, 90), partition=0)
    pipeline.validate(delivery=delivery)
    pipeline.publish_bytes(undecodable(pipeline, 90), partition=0)

    with pytest.raises(TooManyRefusals):
        pipeline.validate(delivery=delivery)

    assert 90 <= len(pipeline.sorted().dead_letters) < MIN_SAMPLE


def newer_schema() -> str:
    """Return the current schema with a field that this build does not know."""
    field = ', {"name": "venue", "type": ["null", "string"], "default": null}]'
    return current().text.rstrip().removesuffix("}").rstrip().removesuffix("]") + field + "}"


@pytest.mark.embedded
def test_an_unsupported_schema_stops_the_validator_after_the_records_before_it(subject, pipeline, some_trades):
    newer = pipeline.registry.register(pipeline.subject, newer_schema())
    trades = [trade._replace(trade_id="T1", version=number) for number, trade in enumerate(some_trades(6), 1)]
    pipeline.publish(trades[:3])
    pipeline.publish_bytes(
        (b"T1", frame(newer, pipeline.serialize(each)[HEADER_SIZE:] + b"\x00")) for each in trades[3:]
    )

    with pytest.raises(UnsupportedSchema, match="venue"):
        pipeline.validate(delivery="at_least_once")

    assert [pipeline.serialize(trade) for trade in trades[:3]] == [record.value for record in pipeline.sorted().clean]
    assert [] == pipeline.sorted().dead_letters
    assert 3 == pipeline.validate(delivery="at_least_once", unknown_fields="drop").passed


@pytest.mark.embedded
def test_a_broker_without_transactions_is_refused_before_anything_is_written(pipeline, mixture):
    """The markers of its transactions would make the topics unreadable."""
    mixture(50)

    with pytest.raises(ConfigurationError, match="--delivery at_least_once"):
        pipeline.validate()

    assert [] == pipeline.sorted().clean
    assert 50 == pipeline.validate(delivery="at_least_once").passed


@pytest.mark.embedded
def test_without_a_committed_offset_nothing_is_written_twice(pipeline, mixture):
    """Kafka deletes the offsets of a group that was empty for a week."""
    mixture(50)
    pipeline.validate(delivery="at_least_once")

    with pytest.raises(ConfigurationError, match=r"--start earliest\|latest\|TIME"):
        pipeline.validate(delivery="at_least_once", group="forgotten")

    assert 50 == len(pipeline.sorted().clean)


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("start", "passed"),
    [("earliest", 50), ("latest", 0), (datetime(2100, 1, 1, tzinfo=UTC), 0)],
    ids=["earliest", "latest", "a time"],
)
def test_a_given_start_position_is_used(pipeline, mixture, start, passed):
    mixture(50)
    pipeline.validate(delivery="at_least_once")

    counts = pipeline.validate(delivery="at_least_once", group="forgotten", start=start)

    assert passed == counts.passed


@DELIVERY
def test_a_committed_offset_outside_the_log_stops_with_the_command_to_run(pipeline, mixture, services, delivery):
    mixture(50)
    pipeline.validate(delivery=delivery)
    mixture(50, seed=6)
    services.delete_records(pipeline.topic)

    with pytest.raises(
        OffsetOutOfRange, match=r"dropped before .*kafka-consumer-groups\.sh --group .* --reset-offsets"
    ):
        pipeline.validate(delivery=delivery)


@pytest.mark.embedded
@pytest.mark.parametrize("part", ["topic", "clean", "dead_letters"])
def test_a_missing_topic_stops_with_the_command_to_run(pipeline, part):
    with pytest.raises(TopicUnusable, match="tradepipe topics create --topic nowhere"):
        pipeline.validate(delivery="at_least_once", **{part: "nowhere"})


@pytest.mark.real
@pytest.mark.parametrize("part", ["topic", "clean", "dead_letters"])
def test_a_compacted_topic_is_refused(pipeline, services, part):
    name = f"{pipeline.topic}-compacted"
    services.kafka.create_topic(name, config={"cleanup.policy": "compact"})

    with pytest.raises(TopicUnusable, match=f"topic {name} has cleanup.policy=compact"):
        pipeline.validate(**{part: name})


@pytest.mark.real
@pytest.mark.parametrize(("part", "takes"), [("clean", "500000"), ("dead_letters", "1048588")])
def test_an_output_topic_with_a_lower_size_limit_is_refused(pipeline, services, part, takes):
    name = f"{pipeline.topic}-small"
    services.kafka.create_topic(name, config={"max.message.bytes": takes})

    with pytest.raises(TopicUnusable, match=f"--entity-name {name} --add-config max.message.bytes="):
        pipeline.validate(**{part: name})


@pytest.mark.real
def test_a_clean_topic_that_does_not_take_every_time_of_its_source_is_refused(pipeline, services):
    """A record with another time would stop the validator each time that it is started."""
    name = f"{pipeline.topic}-now"
    services.kafka.create_topic(name, config={"message.timestamp.after.max.ms": "1000"})

    with pytest.raises(TopicUnusable, match=f"--entity-name {name} --add-config message.timestamp.after.max.ms="):
        pipeline.validate(clean=name)


@pytest.mark.real
def test_the_largest_record_of_the_source_fits_into_a_dead_letter(pipeline, some_trades):
    (trade,) = some_trades(1)
    client = Producer({"bootstrap.servers": pipeline.kafka["bootstrap.servers"], "message.max.bytes": 2_000_000})
    client.produce(pipeline.topic, b"\x01" * 1_048_500, trade.trade_id)
    assert 0 == client.flush(120)

    counts = pipeline.validate()

    assert Counter(FRAMING=1) == counts.refused
    pipeline.sorted().check()


@pytest.mark.real
def test_an_output_topic_with_shorter_retention_is_reported(pipeline, services, caplog):
    name = f"{pipeline.topic}-brief"
    services.kafka.create_topic(name, config={"retention.ms": "3600000"})

    pipeline.validate(clean=name)

    assert f"topic {name} keeps its records for 3600000 ms" in caplog.text


@pytest.mark.embedded
def test_an_unknown_subject_stops_the_validator_before_anything_is_refused(pipeline):
    pipeline.subject = "nobody-value"

    with pytest.raises(SchemaNotRegistered, match="tradepipe schema register"):
        pipeline.validate(delivery="at_least_once")


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_records": 0}, "batch_records is 0"),
        ({"delivery": "twice"}, "delivery is 'twice'"),
        ({"transactional_id": ""}, "transactional_id is ''"),
        ({"transactional_id": "one", "delivery": "at_least_once"}, "requires delivery exactly_once"),
        ({"clean": "same", "dead_letters": "same"}, "a validator needs three different topics"),
        ({"kafka": {"transactional.id": "mine"}}, "transactional.id=mine is not allowed"),
        ({"kafka": {"isolation.level": "read_uncommitted"}}, "isolation.level=read_uncommitted is not allowed"),
        ({"kafka": {"acks": "1"}}, "acks=1 is not allowed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_invalid_argument_is_refused_at_construction(pipeline, options, message):
    with pytest.raises(ConfigurationError, match=message):
        pipeline.validator(**options)


def test_several_validators_of_a_group_share_the_partitions(pipeline, mixture):
    mixture(400)
    validators = [pipeline.validator(delivery="at_least_once") for _ in range(2)]
    threads = [threading.Thread(target=each.run, kwargs={"until_end": True}) for each in validators]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert 400 == sum(each.counts.passed for each in validators)
    pipeline.sorted().check()
