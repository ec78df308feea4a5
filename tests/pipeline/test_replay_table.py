"""Replay of the refusals in PostgreSQL."""

import threading

import pytest

from tests.postgres.batches import TOPIC_ID, trade
from tradepipe import Refusal, TradeDeserializer, Violation
from tradepipe.errors import SchemaIdNotYetKnown, UnsupportedSchema
from tradepipe.pipeline import replay_table as module
from tradepipe.pipeline.replay_table import TableReplay
from tradepipe.pipeline.validation import RecordValidator
from tradepipe.postgres import refusals
from tradepipe.postgres.replay import RefusalReplayer
from tradepipe.postgres.session import create_engine_for
from tradepipe.trade.dead_letter import DeadLetterFilter
from tradepipe.trade.record import Code, Record

ALL = DeadLetterFilter()
MISTAKE = (Violation("STRICT", "a rule that is gone"),)


@pytest.fixture
def keep(pipeline):
    """Store refusals of trades, or of bytes, as if a former rule had refused them."""

    def keep(*given, first=0, topic="trades"):
        records = [
            Record(topic, 0, offset, b"T", each)
            if isinstance(each, (bytes, type(None)))
            else Record(topic, 0, offset, each.trade_id.encode(), pipeline.serialize(each))
            for offset, each in enumerate(given, first)
        ]
        with create_engine_for(pipeline.database, application_name="test").begin() as connection:
            kept = [Refusal(record, MISTAKE) for record in records]
            refusals.store(connection, kept, group="g", topic_id=TOPIC_ID)

    return keep


@pytest.fixture
def replay(pipeline):
    """Replay to the end; returns the steps."""
    validate = RecordValidator(TradeDeserializer(pipeline.registry, subject=pipeline.subject))

    def replay(selection=ALL, *, validate=validate, **options):
        with RefusalReplayer(pipeline.database) as shelf:
            return list(iter(TableReplay(shelf, validate, selection, **options).run_step, None))

    return replay


def numbers(steps):
    """Return the numbers of stored, already stored and refused records, and of those left."""
    done = [step.replayed for step in steps]
    return (
        sum(len(each.stored) for each in done),
        sum(len(each.already_stored) for each in done),
        sum(len(each.refused) for each in done),
        sum(len(step.skipped) for step in steps),
    )


def test_a_record_that_is_valid_now_is_stored_with_its_coordinates(pipeline, keep, replay):
    keep(trade(), trade("T2"))

    assert (2, 0, 0, 0) == numbers(replay())

    assert [trade(), trade("T2")] == pipeline.stored()
    assert [("trades", 0, 0), ("trades", 0, 1)] == [
        tuple(row)
        for row in pipeline.query("SELECT source_topic, source_partition, source_offset FROM trades ORDER BY 3")
    ]
    assert [] == replay()


def test_a_record_that_is_refused_again_counts_an_attempt_and_gets_the_new_reason(pipeline, keep, replay):
    keep(b"{}", trade(version=0))

    assert (0, 0, 2, 0) == numbers(replay())

    rows = pipeline.refused()
    assert [(["FRAMING"], 2, None), (["VERSION"], 2, None)] == [(r.codes, r.attempts, r.replayed_at) for r in rows]


def test_a_refusal_that_was_replayed_too_often_is_skipped(pipeline, keep, replay):
    keep(b"{}", b"{}")
    for _ in range(2):
        replay(DeadLetterFilter(last=0))

    (step,) = replay(max_replays=2)

    assert (0, 0, 1, 1) == numbers([step])
    assert "replayed 2 times and refused again each time" == step.skipped[0][1]
    assert [3, 2] == [row.attempts for row in pipeline.refused()]


def test_paging_continues_after_records_that_are_refused_again(pipeline, keep, replay, monkeypatch):
    monkeypatch.setattr(module, "PAGE", 2)
    keep(b"{}", trade(), b"{}", trade("T2"), b"{}")

    assert (2, 0, 3, 0) == numbers(replay())

    assert [2, 1, 2, 1, 2] == [row.attempts for row in pipeline.refused()]


def test_at_most_the_limit_is_replayed(pipeline, keep, replay, monkeypatch):
    monkeypatch.setattr(module, "PAGE", 2)
    keep(*(trade(f"T{number}") for number in range(5)))

    assert (3, 0, 0, 0) == numbers(replay(limit=3))
    assert 3 == len(pipeline.stored())


def test_only_the_selection_is_replayed(pipeline, keep, replay):
    keep(trade("T1"), trade("T12"), trade("T2"))

    assert (1, 0, 0, 0) == numbers(
        replay(DeadLetterFilter(trade_id="T1"), matches=lambda dead_letter: dead_letter.record.key == b"T1")
    )
    assert [trade("T1")] == pipeline.stored()


def test_records_of_two_topics_are_two_transactions(pipeline, keep, replay):
    keep(trade("T1"), topic="one")
    keep(trade("T2"), topic="two")

    steps = replay()

    assert [1, 1] == [len(step.replayed.stored) for step in steps]


def test_records_with_an_unsupported_schema_are_skipped(pipeline, keep, replay):
    keep(trade("T1"), trade("T2"))
    validate = RecordValidator(TradeDeserializer(pipeline.registry, subject=pipeline.subject))

    def unsupported(record):
        if record.offset == 0:
            raise UnsupportedSchema("upgrade tradepipe here")
        return validate(record)

    assert (1, 0, 0, 1) == numbers(replay(validate=unsupported))
    assert [1, 1] == [row.attempts for row in pipeline.refused()]


def test_all_unknown_schemas_are_queried_before_the_first_wait(pipeline, keep):
    """Each of them is asked for twice, five seconds apart."""
    keep(b"1", b"2", b"3")
    asked = []

    def pending(record):
        asked.append(record.value)
        raise SchemaIdNotYetKnown(7, 5.0)

    with RefusalReplayer(pipeline.database) as shelf, pytest.raises(SchemaIdNotYetKnown):
        TableReplay(shelf, pending, DeadLetterFilter()).run_step()

    assert [b"1", b"2", b"3"] == asked


def test_a_failed_step_may_be_run_again(pipeline, keep):
    keep(trade())
    validate = RecordValidator(TradeDeserializer(pipeline.registry, subject=pipeline.subject))
    failures = [SchemaIdNotYetKnown(7, 5.0)]

    def away_at_first(record):
        if failures:
            raise failures.pop()
        return validate(record)

    with RefusalReplayer(pipeline.database) as shelf:
        replaying = TableReplay(shelf, away_at_first, DeadLetterFilter())
        with pytest.raises(SchemaIdNotYetKnown):
            replaying.run_step()

        assert (1, 0, 0, 0) == numbers([replaying.run_step()])
        assert replaying.run_step() is None


def test_two_concurrent_replays_share_the_refusals(pipeline, keep, replay, monkeypatch):
    """Each trade is stored by one of them; both may try one that is refused again."""
    monkeypatch.setattr(module, "PAGE", 10)
    keep(*(trade(f"T{number}") if number % 3 else b"{}" for number in range(200)))
    done = []
    threads = [threading.Thread(target=lambda: done.append(replay())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    stored = [kept.record.offset for steps in done for step in steps for kept in step.replayed.stored]
    assert [number for number in range(200) if number % 3] == sorted(stored)
    assert 133 == len(pipeline.stored())
    tried = [row.attempts - 1 for row in pipeline.refused() if row.replayed_at is None]
    assert (67, True) == (len(tried), set(tried) <= {1, 2})


def test_a_dry_run_reports_collisions_and_changes_nothing(pipeline, keep, replay):
    keep(trade(), trade(book_id="B2"), b"{}")

    (step,) = replay(keep=False)

    assert (1, 0, 2, 0) == numbers([step])
    assert {Code.VERSION_COLLISION, Code.FRAMING} == {code for _, each in step.replayed.refused for code in each.codes}
    assert ([], [1, 1, 1]) == (pipeline.stored(), [row.attempts for row in pipeline.refused()])
