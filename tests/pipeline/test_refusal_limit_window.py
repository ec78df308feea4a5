"""The refusal limit's window of one partition."""

import pytest

from tests.postgres.batches import refusal
from tradepipe.errors import ConfigurationError, TooManyRefusals
from tradepipe.pipeline.refusal_limit import MAX_CONSECUTIVE, MIN_SAMPLE, WINDOW, RefusalLimit, Window
from tradepipe.trade.record import Code, Violation


class Stage:
    """A stage that commits each batch within its refusal limit."""

    def __init__(self, share=0.5, begin=0):
        self.limit = RefusalLimit(share)
        self.limit.preload(0, first=begin, next_offset=begin, refused=[])
        self.next = begin

    def batch(self, outcomes, *, step=1, commit=True):
        """Check a batch, one character for each record: r for refused; its offsets are `step` apart."""
        offsets = range(self.next, self.next + len(outcomes) * step, step)
        window = self.limit.check(
            0,
            [
                (offset, refusal(offset) if outcome == "r" else None)
                for offset, outcome in zip(offsets, outcomes, strict=True)
            ],
        )
        if commit:
            self.limit.windows[0] = window
            self.next += len(outcomes) * step


def test_a_share_below_the_limit_passes():
    stage = Stage()
    for _ in range(300):
        stage.batch("sr" * 10)


def test_a_share_above_the_limit_stops():
    stage = Stage()
    with pytest.raises(TooManyRefusals):
        stage.batch("rrs" * 500)


def test_a_share_of_few_records_does_not_count():
    Stage().batch("r" * (MIN_SAMPLE - 1))


def test_a_share_counts_once_enough_records_were_seen():
    stage = Stage()
    stage.batch("rrrs" * (MIN_SAMPLE // 4 - 1))

    with pytest.raises(TooManyRefusals, match="of the last 100 records"):
        stage.batch("rrsr")


def test_an_unbroken_run_stops_whatever_the_share_is():
    stage = Stage(share=0.99)
    stage.batch("s" * WINDOW + "r" * (MAX_CONSECUTIVE - 1))

    with pytest.raises(TooManyRefusals):
        stage.batch("r")


def test_a_valid_record_ends_a_run():
    stage = Stage(share=0.999)
    for _ in range(5):
        stage.batch("r" * (MAX_CONSECUTIVE - 1) + "s")


def test_only_the_last_records_count():
    """Refusals of long ago do not stop a stage."""
    stage = Stage()
    stage.batch("sr" * (WINDOW // 2))
    stage.batch("s" * WINDOW)
    stage.batch("rrs" * 99)


def test_a_batch_that_was_not_committed_does_not_count():
    """The same batch is checked again by each try."""
    stage = Stage()
    for _ in range(10):
        stage.batch("r" * 60, commit=False)
    stage.batch("r" * 60)


def test_a_run_counts_from_batch_to_batch():
    stage = Stage(share=0.99)
    stage.batch("s" * WINDOW)
    for _ in range(MAX_CONSECUTIVE - 1):
        stage.batch("r")

    with pytest.raises(TooManyRefusals):
        stage.batch("r")


def test_a_run_of_refusals_between_transaction_markers_is_a_run():
    """All records are refused, and yet only a third of the offsets."""
    stage = Stage()
    for _ in range(MAX_CONSECUTIVE - 1):
        stage.batch("r", step=3)

    with pytest.raises(TooManyRefusals):
        stage.batch("r", step=3)


def test_each_partition_has_its_own_window():
    limit = RefusalLimit()
    for partition in (0, 1):
        limit.windows[partition] = limit.check(
            partition, [(offset, refusal(offset)) for offset in range(MAX_CONSECUTIVE - 1)]
        )


def test_a_restart_continues_the_window_of_the_stored_refusals():
    limit = RefusalLimit(share=0.99)
    limit.preload(0, first=0, next_offset=5_000, refused=range(5_000 - MAX_CONSECUTIVE + 1, 5_000))

    with pytest.raises(TooManyRefusals):
        limit.check(0, [(5_000, refusal(5_000))])


def test_a_run_that_had_ended_before_a_restart_is_over():
    limit = RefusalLimit(share=0.99)
    limit.preload(0, first=0, next_offset=5_000, refused=range(5_000 - MAX_CONSECUTIVE, 4_999))

    limit.check(0, [(5_000, refusal(5_000))])


def test_offsets_before_the_log_do_not_count_as_seen():
    """A log that begins at a million does not count as a million valid records."""
    stage = Stage(begin=1_000_000)

    with pytest.raises(TooManyRefusals, match="of the last 101 records"):
        stage.batch("rrrs" * 100)


def test_without_a_limit_everything_passes():
    Stage(share=None).batch("r" * 5_000)


def test_the_message_names_the_record_its_reason_and_the_way_out():
    stage = Stage()

    with pytest.raises(TooManyRefusals) as raised:
        stage.batch("r" * MAX_CONSECUTIVE)

    message = str(raised.value)
    assert message.startswith(
        "100 of the last 100 records of trades[0] would be refused, the last one, trades[0]@99, as"
    )
    assert "BAD: it is bad. None of them was committed." in message
    assert message.endswith("--max-refused off")


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5])
def test_an_invalid_share_is_reported(share):
    with pytest.raises(
        ConfigurationError, match=f"max_refused is {share}: it must be a share above 0 and below 1, or off"
    ):
        RefusalLimit(share)


def writers_refusal(offset):
    """Return a refusal that only the record's writer can have caused."""
    return refusal(offset)._replace(violations=(Violation(Code.FRAMING, "not framed"),))


def test_refusals_that_only_a_writer_can_cause_are_not_counted():
    limit = RefusalLimit()

    assert Window(0) == limit.check(0, [(offset, writers_refusal(offset)) for offset in range(5 * WINDOW)])


def test_such_a_refusal_does_not_end_a_run_of_others():
    limit = RefusalLimit(share=0.99)
    results = [
        (offset, refusal(offset) if offset % 2 else writers_refusal(offset)) for offset in range(2 * MAX_CONSECUTIVE)
    ]

    with pytest.raises(TooManyRefusals):
        limit.check(0, results)
