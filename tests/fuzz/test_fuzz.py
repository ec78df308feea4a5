"""Some thousand hostile inputs; `make fuzz` checks a million."""

from tests.fuzz.run import MEBIBYTES, run

COUNT = 4_000


def test_every_hostile_input_is_handled_in_bounded_time_and_memory():
    outcome = run(COUNT, seed=1)

    assert [] == outcome.failures
    assert outcome.growth < MEBIBYTES
    assert len(outcome.slowest) == 5 < len(outcome.answers)
