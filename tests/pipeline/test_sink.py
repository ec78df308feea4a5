"""What a sink stores, refuses and remembers; the same on the embedded and on the real services."""

import logging
import pickle
import re
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice

import pytest

from tests.eventually import eventually
from tests.pipeline.running_stages import running, undecodable
from tradepipe import (
    ConfigurationError,
    DatabaseOutdated,
    OffsetOutOfRange,
    SchemaNotRegistered,
    Sink,
    TooManyRefusals,
    TopicUnusable,
    UnsupportedSchema,
    Validator,
    Violation,
    limited_log,
)
from tradepipe.evolution.history import current
from tradepipe.pipeline.refusal_limit import MIN_SAMPLE
from tradepipe.postgres import migrate
from tradepipe.registry.serde import HEADER_SIZE, frame
from tradepipe.trade import samples


def test_every_trade_is_stored_once_with_the_coordinates_of_its_record(pipeline, some_trades):
    sent = pipeline.publish(some_trades(500))

    counts = pipeline.store()

    assert sorted(sent) == pipeline.stored()
    assert (500, 0, Counter()) == (counts.stored, counts.duplicates, counts.refused)
    assert [(pipeline.topic, 500, 500)] == pipeline.query(
        "SELECT source_topic, count(*), count(DISTINCT (source_partition, source_offset)) FROM trades GROUP BY 1"
    )


def test_the_offsets_reach_the_end_of_the_log(pipeline, some_trades):
    pipeline.publish(some_trades(100))

    pipeline.store()

    assert 100 == sum(pipeline.next_offsets().values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": "begin"}, "start is 'begin': it must be earliest, latest or a datetime"),
        ({"start": datetime(2025, 1, 1)}, "start is .*: a datetime needs a time zone"),
        ({"unknown_fields": "ignore"}, "unknown_fields is 'ignore': it must be stop or drop"),
    ],
    ids=["start", "naive start", "unknown_fields"],
)
@pytest.mark.parametrize("stage", [partial(Sink, database="postgresql://127.0.0.1:1/trades"), Validator])
def test_an_invalid_argument_is_refused_before_anything_connects(stage, arguments, message):
    """A misspelt start would be the first record, a misspelt reaction to unknown fields either of the two."""
    with pytest.raises(ConfigurationError, match=message):
        stage({"bootstrap.servers": "127.0.0.1:1"}, registry="http://127.0.0.1:1", **arguments)


def test_a_second_run_of_a_group_reads_nothing_twice(pipeline, some_trades):
    pipeline.publish(some_trades(50))
    pipeline.store()

    counts = pipeline.store()

    assert (0, 0) == (counts.stored, counts.duplicates)


def test_a_fresh_group_stores_nothing_new_and_counts_every_replay(pipeline, some_trades):
    pipeline.publish(some_trades(300))
    pipeline.store()

    counts = pipeline.store(group="fresh")

    assert (0, 300, Counter()) == (counts.stored, counts.duplicates, counts.refused)
    assert 300 == len(pipeline.stored())


def test_a_trade_sent_again_is_absorbed(pipeline, some_trades):
    trades = some_trades(40)
    pipeline.publish(trades + trades[:15])

    counts = pipeline.store()

    assert (40, 15) == (counts.stored, counts.duplicates)


def test_other_content_under_a_stored_key_is_refused_and_the_first_stays(pipeline, some_trades, caplog):
    trade = some_trades(1)[0]
    pipeline.publish([trade, trade._replace(book_id="B-OTHER")])

    counts = pipeline.store()

    assert [trade] == pipeline.stored()
    assert {"VERSION_COLLISION": 1} == counts.refused
    assert f"book_id is 'B-OTHER', not '{trade.book_id}'" in pipeline.refused()[0].details[0]
    assert [logging.WARNING] == [record.levelno for record in caplog.records if "B-OTHER" in record.message]


def test_bad_records_of_every_kind_are_refused_by_code_and_the_others_stored(pipeline, some_trades):
    bad = list(islice(samples.bad_records(7, pipeline.serialize), 15))
    good = some_trades(200)
    pipeline.publish(good[:100])
    pipeline.publish_bytes((each.key, each.value) for each in bad)
    pipeline.publish(good[100:])

    counts = pipeline.store()

    assert sorted(good) == pipeline.stored()
    assert Counter(each.code for each in bad) == counts.refused
    assert sorted((each.key, each.value or b"") for each in bad) == sorted(
        (bytes(row.key), bytes(row.value or b"")) for row in pipeline.refused()
    )


def test_a_record_that_the_database_refuses_does_not_stop_its_neighbours(pipeline, some_trades):
    pipeline.execute("ALTER TABLE trades ADD CONSTRAINT no_secret_book CHECK (book_id <> 'SECRET')")
    trades = some_trades(60)
    for number in (0, 31, 59):
        trades[number] = trades[number]._replace(book_id="SECRET")
    pipeline.publish(trades)

    counts = pipeline.store()

    assert {"DATABASE_REFUSED": 3} == counts.refused
    assert sorted(trade for trade in trades if trade.book_id != "SECRET") == pipeline.stored()
    assert all("no_secret_book" in row.details[0] for row in pipeline.refused())


def test_each_stored_trade_is_reported_after_its_commit(pipeline, some_trades):
    trades = some_trades(30)
    pipeline.publish(trades + trades[:5])
    reported = []

    pipeline.store(on_stored=lambda stored: reported.extend(stored.trades))

    assert sorted(trades) == sorted(reported)


def publish_collisions(pipeline, some_trades) -> int:
    """Publish three records more than have a line in the log, and return their number."""
    (trade,) = some_trades(1)
    others = [trade._replace(book_id=f"OTHER-{number}") for number in range(limited_log.MAX_LINES + 3)]
    pipeline.publish([trade, *others])
    return len(others)


def test_a_flood_of_collisions_is_a_few_lines_in_the_log_and_the_number_of_the_others(pipeline, some_trades, caplog):
    """A line for each batch would let any producer fill the disk of the log."""
    number = publish_collisions(pipeline, some_trades)

    assert {"VERSION_COLLISION": number} == pipeline.store(batch_rows=1).refused

    *lines, last = [each for each in caplog.messages if each.startswith("refused ")]
    assert limited_log.MAX_LINES == len(lines)
    assert lines[0].startswith(f"refused 1 record as a collision, the first at {pipeline.topic}[")
    assert last.startswith(f"refused 3 more records of {pipeline.topic} as collisions within ")


def test_the_number_of_collisions_without_a_line_is_logged_while_the_sink_runs(
    pipeline, some_trades, caplog, monkeypatch
):
    number = publish_collisions(pipeline, some_trades)

    with running(pipeline.sink(batch_rows=1)) as sink:
        eventually(lambda: number == sink.counts.refused["VERSION_COLLISION"])
        monkeypatch.setattr(limited_log, "LIMIT_SECONDS", 0.0)
        eventually(lambda: any("refused 3 more records" in each for each in caplog.messages))


def test_what_is_reported_of_a_batch_passes_to_another_process(pipeline, some_trades):
    """The trades are decoded by the sink's registry client, which does not."""
    trades = some_trades(30)
    pipeline.publish(trades + trades[:5])
    pipeline.publish_bytes(undecodable(pipeline, 3))
    pairs = []

    pipeline.store(on_stored=lambda stored: pairs.append((stored, pickle.loads(pickle.dumps(stored)))))

    assert sorted(trades) == sorted(trade for _, received in pairs for trade in received.trades)
    for stored, received in pairs:
        assert (repr(stored), stored.refusals) == (repr(received), received.refusals)
        assert [*stored.trades] == [*received.trades]


def test_a_rule_of_the_users_own_refuses_what_it_finds(pipeline, some_trades):
    first, *others = pipeline.publish(some_trades(20))

    counts = pipeline.store(rules=[lambda trade: [Violation("FIRST", "it is")] if trade == first else []])

    assert (sorted(others), Counter(FIRST=1)) == (pipeline.stored(), counts.refused)
    assert [(["FIRST"], ["it is"])] == [(row.codes, row.details) for row in pipeline.refused()]


def test_a_detail_of_any_characters_is_stored_as_postgresql_can_hold_it(pipeline, some_trades):
    pipeline.publish(some_trades(1))

    counts = pipeline.store(rules=[lambda trade: [Violation("ODD", "a\0b \ud800 \n\t\\ {,} \U0001f600")]])

    assert {"ODD": 1} == counts.refused
    assert ["a\\x00b \\ud800 \n\t\\ {,} \U0001f600"] == pipeline.refused()[0].details


def test_a_rule_that_raises_stops_the_sink_with_nothing_of_its_batch(pipeline, some_trades):
    pipeline.publish(some_trades(20))

    with pytest.raises(ConfigurationError, match="ZeroDivisionError"):
        pipeline.store(rules=[lambda trade: 1 // 0])

    assert ([], []) == (pipeline.stored(), pipeline.refused())
    assert {0} == set(pipeline.next_offsets().values())


def test_a_record_whose_key_is_not_its_trade_id_is_refused_or_accepted(pipeline, some_trades):
    (trade,) = some_trades(1)
    pipeline.publish_bytes([(b"other", pipeline.serialize(trade))])

    assert Counter(RECORD_KEY=1) == pipeline.store().refused
    assert 1 == pipeline.store(group="lenient", record_key="accept").stored


def test_an_older_version_after_a_newer_one_is_stored_or_refused(pipeline, some_trades):
    newer, older = (some_trades(1)[0]._replace(version=number) for number in (2, 1))
    pipeline.publish([newer, older])

    assert Counter(STALE_VERSION=1) == pipeline.store(stale="refuse").refused
    assert [newer] == pipeline.stored()
    assert 1 == pipeline.store(group="lenient").stored


def test_too_many_refusals_stop_the_sink_before_the_commit(pipeline):
    """Fewer than a hundred records before them do not exceed the limit, and are stored."""
    pipeline.publish_bytes(undecodable(pipeline, 300), partition=0)

    with pytest.raises(TooManyRefusals, match=r"--max-refused off"):
        pipeline.store()

    assert pipeline.next_offsets()[0] == len(pipeline.refused()) < MIN_SAMPLE


def test_the_refusal_limit_can_be_disabled(pipeline):
    pipeline.publish_bytes(undecodable(pipeline, 300), partition=0)

    counts = pipeline.store(max_refused=None)

    assert {"UNDECODABLE": 300} == counts.refused
    assert 300 == len(pipeline.refused())


def test_a_restart_does_not_reset_the_refusal_limit(pipeline):
    """The window is loaded from the stored refusals, so the second run continues the count of the first."""
    pipeline.publish_bytes(undecodable(pipeline, 90), partition=0)
    pipeline.store()
    pipeline.publish_bytes(undecodable(pipeline, 90), partition=0)

    with pytest.raises(TooManyRefusals):
        pipeline.store()

    assert 90 == len(pipeline.refused())


def test_a_database_without_tables_stops_with_the_command_to_run(pipeline, some_trades):
    migrate.downgrade(pipeline.database, "base")
    pipeline.publish(some_trades(1))

    with pytest.raises(DatabaseOutdated, match="tradepipe migrate upgrade"):
        pipeline.store()


def test_a_new_database_gets_everything_again(pipeline, some_trades):
    trades = pipeline.publish(some_trades(120))
    pipeline.store()
    migrate.downgrade(pipeline.database, "base")
    migrate.upgrade(pipeline.database)

    counts = pipeline.store()

    assert 120 == counts.stored
    assert sorted(trades) == pipeline.stored()


def test_a_missing_topic_stops_with_the_command_to_run(pipeline):
    with pytest.raises(TopicUnusable, match="tradepipe topics create --topic nowhere"):
        pipeline.store(topic="nowhere")


def test_an_unknown_subject_stops_the_validator_before_anything_is_refused(pipeline):
    pipeline.subject = "nobody-value"

    with pytest.raises(SchemaNotRegistered, match="tradepipe schema register"):
        pipeline.store()


def test_a_missing_database_stops(pipeline):
    with pytest.raises(ConfigurationError, match="does not exist"):
        pipeline.store(database=pipeline.database + "_not")


def newer_schema() -> str:
    """Return the current schema with a field that this build does not know."""
    field = ', {"name": "venue", "type": ["null", "string"], "default": null}]'
    return current().text.rstrip().removesuffix("}").rstrip().removesuffix("]") + field + "}"


@pytest.fixture
def newer_writer(subject, pipeline, some_trades):
    """Three trades by this build, then three by a newer one, on one partition."""
    newer = pipeline.registry.register(pipeline.subject, newer_schema())
    trades = [trade._replace(trade_id="T1", version=number) for number, trade in enumerate(some_trades(6), 1)]
    pipeline.publish(trades[:3])
    bodies = [pipeline.serialize(trade)[HEADER_SIZE:] + b"\x02\x06XPA" for trade in trades[3:]]
    pipeline.publish_bytes((b"T1", frame(newer, body)) for body in bodies)
    return trades


def test_an_unsupported_schema_stops_the_sink_after_the_records_before_it(pipeline, newer_writer):
    with pytest.raises(UnsupportedSchema, match="venue"):
        pipeline.store()

    assert newer_writer[:3] == pipeline.stored()
    assert [] == pipeline.refused()
    assert 3 == sum(pipeline.next_offsets().values())


def test_what_this_build_cannot_hold_is_dropped_when_asked_to(pipeline, newer_writer):
    pipeline.store(unknown_fields="drop")

    assert newer_writer == pipeline.stored()


def test_several_sinks_of_a_group_share_the_partitions(pipeline, some_trades):
    trades = pipeline.publish(some_trades(400))
    sinks = [pipeline.sink() for _ in range(2)]
    threads = [threading.Thread(target=sink.run, kwargs={"until_end": True}) for sink in sinks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sorted(trades) == pipeline.stored()
    assert (400, 0) == (sum(sink.counts.stored for sink in sinks), sum(sink.counts.duplicates for sink in sinks))


def test_stop_ends_a_running_sink_and_the_next_one_continues(pipeline, some_trades):
    trades = some_trades(300)
    pipeline.publish(trades[:200])
    sink = pipeline.sink()
    thread = threading.Thread(target=sink.run)
    thread.start()
    eventually(lambda: sink.counts.stored == 200)

    sink.stop()
    thread.join(60)

    assert not thread.is_alive()
    pipeline.publish(trades[200:])
    assert 100 == pipeline.store().stored
    assert sorted(trades) == pipeline.stored()


def test_a_start_position_that_a_group_with_offsets_does_not_use_is_warned_of(pipeline, some_trades, caplog):
    pipeline.publish(some_trades(3))
    pipeline.store(start="earliest")
    assert "is not used" not in caplog.text

    pipeline.store()
    assert "is not used" not in caplog.text

    # Without more to store, it could end before it has claimed a partition.
    pipeline.publish(some_trades(3))
    pipeline.store(start="latest")
    assert 1 == caplog.text.count("so the start position is not used; to move them: tradepipe sink offsets reset")


def test_a_group_may_begin_at_the_end(pipeline, some_trades):
    trades = some_trades(20)
    pipeline.publish(trades[:10])
    pipeline.store(start="latest")
    pipeline.publish(trades[10:])

    pipeline.store()

    assert sorted(trades[10:]) == pipeline.stored()


@pytest.mark.real
def test_a_group_may_begin_at_an_instant(pipeline, some_trades):
    pipeline.publish(some_trades(10))

    before = pipeline.store(start=datetime.now(UTC) + timedelta(days=1), group="tomorrow")
    after = pipeline.store(start=datetime.now(UTC) - timedelta(days=1), group="yesterday")

    assert (0, 10) == (before.stored, after.stored)


def test_a_new_group_warns_of_records_that_are_no_longer_in_the_log(pipeline, some_trades, services, caplog):
    pipeline.publish(some_trades(10))
    pipeline.store(group="another")
    services.delete_records(pipeline.topic)
    pipeline.store()
    pipeline.store()

    found = re.findall(r"new group (\S+) starts .* the log no longer has the (\d+) records before it", caplog.text)
    assert {f"{pipeline.topic}-sink"} == {group for group, _ in found}
    assert 10 == sum(int(number) for _, number in found)


def test_a_recreated_topic_stops_the_sink(pipeline, some_trades, services):
    pipeline.publish(some_trades(10))
    pipeline.store()
    services.delete_topic(pipeline.topic)
    services.create_topic(pipeline.topic)
    pipeline.publish(some_trades(50))

    with pytest.raises(TopicUnusable, match="recreated"):
        pipeline.store()

    assert 10 == len(pipeline.stored())


def test_records_deleted_before_they_were_stored_stop_the_sink(pipeline, some_trades, services):
    pipeline.publish(some_trades(10))
    pipeline.store()
    pipeline.publish(some_trades(100)[10:])
    services.delete_records(pipeline.topic)

    with pytest.raises(OffsetOutOfRange, match="were dropped before they were stored"):
        pipeline.store()


@pytest.mark.real
def test_a_compacted_topic_is_refused(pipeline, services):
    services.kafka.create_topic("compacted", config={"cleanup.policy": "compact"})

    with pytest.raises(TopicUnusable, match=r"cleanup\.policy"):
        pipeline.store(topic="compacted")


@pytest.mark.real
def test_aborted_records_are_not_stored_and_lag_reaches_zero_after_the_markers(pipeline, some_trades):
    records = [(trade.trade_id.encode(), pipeline.serialize(trade)) for trade in some_trades(15)]
    pipeline.publish_in_transaction(records[:10], partition=2)
    pipeline.publish_in_transaction(records[10:], partition=2, commit=False)

    counts = pipeline.store()

    assert 10 == counts.stored
    assert 17 == pipeline.next_offsets()[2]
