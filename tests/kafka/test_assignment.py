"""The positions that delivered records move."""

from tests.kafka.runs import runs_at
from tradepipe.kafka.assignment import Assignment, advance


def at(**offsets):
    """Assignments by partition, each at an offset; None delivers nothing."""
    assignments = {int(name.removeprefix("p")): Assignment(int(name.removeprefix("p"))) for name in offsets}
    for name, offset in offsets.items():
        assignments[int(name.removeprefix("p"))].next_offset = offset
    return assignments


def positions(assignments):
    return [assignment.next_offset for assignment in assignments.values()]


def test_each_position_follows_the_last_record_of_its_partition():
    assignments = at(p0=5, p1=0, p2=9)

    assert 0 == advance(assignments, runs_at([0, 1, 0, 1, 1], [5, 0, 6, 1, 2]))

    assert [7, 3, 9] == positions(assignments)


def test_offsets_without_a_record_are_counted():
    assert 1 + 2 + 3 == advance(at(p0=5, p1=0), runs_at([0, 1, 1], [6, 2, 6]))


def test_a_record_before_the_position_moves_no_position():
    assignments = at(p0=5, p1=3)

    assert advance(assignments, runs_at([0, 1, 1], [5, 2, 3])) is None

    assert [5, 3] == positions(assignments)


def test_a_record_of_a_partition_that_delivers_nothing_moves_no_position():
    assignments = at(p0=5, p1=None)

    assert advance(assignments, runs_at([0, 1], [5, 0])) is None
    assert advance(assignments, runs_at([0, 7], [5, 0])) is None

    assert [5, None] == positions(assignments)
