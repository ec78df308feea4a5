"""What the refusal limit counts: each committed record of an own partition once."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.eventually import eventually
from tests.kafka.test_consumer import committed
from tests.pipeline.running_stages import running, undecodable
from tests.pipeline.test_sink_writer import WriterWithEvents
from tests.pipeline.test_validator_buffer import KNOWN, records
from tests.postgres import batches
from tests.postgres.batches import TOPIC, TOPIC_ID, connected, log, refusal, trade
from tests.registry.registries import Shelf, registry
from tradepipe.errors import TooManyRefusals
from tradepipe.kafka.assignment import Assignment
from tradepipe.pipeline.refusal_limit import MAX_CONSECUTIVE, MIN_SAMPLE, WINDOW, RefusalLimit
from tradepipe.pipeline.sink_writer import Claim, ClaimGranted
from tradepipe.pipeline.validation import RecordValidator
from tradepipe.pipeline.validator_buffer import ValidatorBuffer
from tradepipe.postgres import migrate
from tradepipe.postgres.batch import BatchResult
from tradepipe.registry.serde import TradeDeserializer

# A sequence is not rolled back, so that the trigger knows how often COMMIT was tried.
LOSES_TWO_COMMITS = """
    CREATE SEQUENCE commits;
    CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN IF nextval('commits') <= 2 THEN RAISE EXCEPTION 'lost' USING ERRCODE = '40001'; END IF; RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER lose AFTER INSERT ON trades
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION lose()
"""


@pytest.fixture
def sink_writer(database) -> Iterator[Callable[[float], WriterWithEvents]]:
    """Return a writer with a refusal limit."""
    migrate.upgrade(database)
    with ExitStack() as writers:

        def sink_writer(share: float) -> WriterWithEvents:
            made = WriterWithEvents(database, max_refused=share)
            made.writer.start()
            writers.callback(made.writer.stop, 5.0)
            return made

        yield sink_writer


@pytest.fixture
def buffer() -> Iterator[ValidatorBuffer]:
    """Return a validator's buffer with a refusal limit."""
    shelf = Shelf()
    shelf.put(KNOWN)
    with registry(shelf, retries=0) as client:
        yield ValidatorBuffer(RecordValidator(TradeDeserializer(client)), RefusalLimit())


def test_a_share_above_the_limit_stops_though_it_comes_in_small_batches():
    """Two of three records are refused after many that passed: the last 1000 decide, not the last batch."""
    refusal_limit = RefusalLimit(0.5)
    refusal_limit.preload(0, first=0, next_offset=WINDOW, refused=[])

    def refuse_two_of_three(first: int) -> None:
        for offset in range(first, first + WINDOW, 3):
            buffer = [(offset, refusal(offset)), (offset + 1, refusal(offset + 1)), (offset + 2, None)]
            refusal_limit.windows[0] = refusal_limit.check(0, buffer)

    with pytest.raises(TooManyRefusals, match="of the last 1000 records"):
        refuse_two_of_three(WINDOW)


def test_records_before_a_late_start_do_not_count_as_seen(sink_writer):
    """Otherwise valid records that the group never read would hide that nearly all of those it reads are refused."""
    late = sink_writer(0.5)
    late.writer.claim([Claim(Assignment(0), TOPIC, TOPIC_ID, start=WINDOW, begin=0)])
    late.until(lambda: late.of(ClaimGranted))
    (granted,) = late.of(ClaimGranted)

    late.store(granted.result, entries=log(*[None, None, None, trade()] * MIN_SAMPLE, first=WINDOW))

    with pytest.raises(TooManyRefusals, match=f"of the last {MIN_SAMPLE + 1} records"):
        late.rest()


def test_a_batch_whose_commit_was_lost_counts_once(sink_writer, database):
    """A sink that had to store it three times has seen its refusals once."""
    entries = log(*[None] * (MAX_CONSECUTIVE // 2), trade("T1"), *[None] * (MAX_CONSECUTIVE // 2))
    writer = sink_writer(0.999)
    with connected(database) as connection:
        batches.execute(connection, LOSES_TWO_COMMITS)

    writer.store(*writer.claim(0), entries=entries)
    writer.rest()

    assert [(1, 0, MAX_CONSECUTIVE)] == [batches.counts(stored) for stored in writer.of(BatchResult)]


def test_a_batch_without_refusals_ends_a_run(sink_writer):
    writer = sink_writer(0.999)
    (claimed,) = writer.claim(0)
    half = [None] * (MAX_CONSECUTIVE // 2 + 1)

    writer.store(claimed, entries=log(*half))
    writer.store(claimed._replace(next_offset=len(half)), entries=log(trade(), first=len(half)))
    writer.store(claimed._replace(next_offset=len(half) + 1), entries=log(*half, first=len(half) + 1))
    writer.rest()

    assert [len(half), 0, len(half)] == [len(stored.refusals) for stored in writer.of(BatchResult)]


def hold_refused(buffer, count):
    buffer.pending.extend([each._replace(value=each.value[:-1]) for each in records(count)])
    buffer.validate()


def test_refusals_of_a_revoked_partition_do_not_count(buffer):
    """Its records come again, to us or to another member, and are refused then."""
    hold_refused(buffer, MIN_SAMPLE - 1)
    buffer.drop(0)
    hold_refused(buffer, MIN_SAMPLE - 1)

    assert MIN_SAMPLE - 1 == len(buffer.take_batch({0: MIN_SAMPLE - 1}, None).refusals)


def test_a_dropped_partition_has_no_window(buffer):
    hold_refused(buffer, 10)
    buffer.pending.extend(records(10, first=10))
    buffer.validate()
    buffer.drop(0)

    assert {} == buffer.take_batch({}, None).windows


@pytest.mark.usefixtures("targets")
@pytest.mark.parametrize("delivery", ["at_least_once", pytest.param("exactly_once", marks=pytest.mark.real)])
def test_the_limit_of_a_validator_counts_from_batch_to_batch(pipeline, delivery):
    pipeline.publish_bytes(undecodable(pipeline, 2 * MIN_SAMPLE), partition=0)

    with pytest.raises(TooManyRefusals):
        pipeline.validate(delivery=delivery, batch_records=MIN_SAMPLE // 10)

    assert MIN_SAMPLE // 2 < len(pipeline.sorted().dead_letters) < MIN_SAMPLE


@pytest.fixture(params=["sink", "validator"])
def stage(request, pipeline, targets):
    """Either stage, not yet running; the validator works without transactions, as on the embedded broker."""
    options = {} if request.param == "sink" else {"delivery": "at_least_once"}
    return getattr(pipeline, request.param)(**options)


def accepted(stage) -> int:
    """Return how many records the stage has stored or passed."""
    return stage.counts.stored if hasattr(stage.counts, "stored") else stage.counts.passed


def test_a_partition_at_the_limit_stops_and_the_others_continue(pipeline, some_trades, stage, caplog):
    pipeline.publish_bytes(undecodable(pipeline, 3 * MIN_SAMPLE), partition=0)
    good = [(trade.trade_id.encode(), pipeline.serialize(trade)) for trade in some_trades(50)]

    with running(stage):
        eventually(lambda: stage.stopped)
        for partition in (1, 2, 3):
            pipeline.publish_bytes(good[partition::3], partition=partition)
        eventually(lambda: accepted(stage) == len(good[1::3] + good[2::3] + good[3::3]))

        assert [0] == list(stage.stopped)
        assert not stage.is_ready
    assert "stopped reading partition 0, the others continue" in caplog.text


@pytest.mark.usefixtures("targets")
def test_a_validator_commits_no_record_of_a_partition_at_the_limit_that_it_has_not_written(pipeline, some_trades):
    pipeline.publish_bytes(undecodable(pipeline, 2 * MIN_SAMPLE), partition=0)
    (trade,) = some_trades(1)
    pipeline.publish_bytes([(trade.trade_id.encode(), pipeline.serialize(trade))], partition=1)

    with running(pipeline.validator(delivery="at_least_once")) as validator:
        eventually(lambda: validator.stopped and validator.counts.passed == 1)

    written = len(pipeline.sorted().dead_letters)
    assert written == committed(pipeline.kafka, pipeline.topic, f"{pipeline.topic}-validator")


def test_the_last_partition_at_the_limit_ends_the_stage(pipeline, stage):
    for partition in range(4):
        pipeline.publish_bytes(undecodable(pipeline, 2 * MIN_SAMPLE), partition=partition)

    with pytest.raises(TooManyRefusals):
        stage.run()


def test_errors_that_only_a_writer_can_cause_never_stop_a_stage(pipeline, stage):
    """No mistake of ours makes bytes that are not Avro, and any writer could stop the stage with them."""
    pipeline.publish_bytes([(b"k", b"{}")] * (3 * MIN_SAMPLE), partition=0)

    assert {"FRAMING": 3 * MIN_SAMPLE} == stage.run(until_end=True).refused
