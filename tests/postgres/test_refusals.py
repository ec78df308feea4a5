"""The table of refusals."""

import tracemalloc
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError

from tests.postgres.batches import GROUP, TOPIC, TOPIC_ID, count, execute, refusal
from tradepipe.errors import DatabaseOutdated
from tradepipe.postgres import refusals
from tradepipe.postgres.failures import FailureClass, classify
from tradepipe.postgres.session import create_engine_for, open_transaction
from tradepipe.postgres.tables import TRADE_REFUSALS
from tradepipe.trade.dead_letter import DeadLetterFilter
from tradepipe.trade.record import MAX_KEPT_BYTES, Digest, Omitted, Record, Violation


def record(connection, *given, group=GROUP, topic_id=TOPIC_ID):
    with connection.begin():
        refusals.store(connection, given, group=group, topic_id=topic_id)


def between(connection, first, end, **given):
    given = {"topic": TOPIC, "topic_id": TOPIC_ID, "partition": 0, **given}
    with connection.begin():
        return [offset for offset, _ in refusals.offsets_between(connection, first, end, **given)]


def test_a_refusal_has_all_its_codes_with_their_details_in_order(connection):
    both = (Violation("VERSION", "it is 0"), Violation("BOOK_ID", "it is empty"))
    record(connection, refusal(3)._replace(violations=both))

    row = connection.execute(select(TRADE_REFUSALS.columns.codes, TRADE_REFUSALS.columns.details)).one()

    assert (["VERSION", "BOOK_ID"], ["it is 0", "it is empty"]) == tuple(row)


def test_the_bytes_of_a_record_are_stored_unchanged(connection):
    every = bytes(range(256))
    record(connection, refusal(3)._replace(record=refusal(3).record._replace(key=every, value=every[::-1])))

    row = connection.execute(select(TRADE_REFUSALS.columns.key, TRADE_REFUSALS.columns.value)).one()

    assert (every, every[::-1]) == (bytes(row.key), bytes(row.value))


def test_no_bytes_and_empty_bytes_stay_apart(connection):
    record(connection, refusal(3)._replace(record=refusal(3).record._replace(key=None, value=b"")))

    row = connection.execute(select(TRADE_REFUSALS.columns.key, TRADE_REFUSALS.columns.value)).one()

    assert (None, b"") == (row.key, bytes(row.value))


ODD = (
    'quote " brace { } comma , backslash \\ tab \t line \n return \r',
    "",
    "NULL",
    "\\N",
    "\N{BELL} \N{SNOWMAN} \N{GRINNING FACE}",
)


def odd_refusals(number):
    """Return refusals whose bytes and texts have what a format of COPY would have to escape."""
    every = bytes(range(256))
    for offset in range(number):
        bare = refusal(offset)
        key, value = (None, b"") if offset % 3 == 0 else (every, every[::-1] * offset)
        given = bare.record._replace(key=key, value=value)
        yield bare._replace(
            record=given,
            violations=tuple(Violation(f"CODE_{each}", text) for each, text in enumerate(ODD[offset % 4 :])),
            schema_id=offset if offset % 2 else None,
            omitted=Omitted(value=Digest.of(b"x" * offset)) if offset % 5 == 0 else Omitted(),
        )


@pytest.mark.parametrize(("number", "size"), [(20, 1_000_000), (200, 100_000)])
def test_large_refusals_are_not_all_in_memory_as_text(connection, number, size):
    given = [refusal(0)._replace(record=Record(TOPIC, 0, offset, None, bytes(size))) for offset in range(number)]
    tracemalloc.start()
    try:
        record(connection, *given)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert number == count(connection, TRADE_REFUSALS)
    assert peak < 12_000_000


def test_many_refusals_are_stored_as_few_are(connection, monkeypatch):
    """Many are sent by COPY, few by an INSERT of each."""
    columns = [column for column in TRADE_REFUSALS.columns if column.name not in {"topic_id", "refused_at"}]
    given = list(odd_refusals(2 * refusals.COPY_ROWS + 1))
    record(connection, *given, topic_id="many")
    monkeypatch.setattr(refusals, "COPY_ROWS", 1_000)
    record(connection, *given, topic_id="few")

    many, few = (
        connection.execute(
            select(*columns).where(TRADE_REFUSALS.columns.topic_id == each).order_by(TRADE_REFUSALS.columns.offset)
        ).all()
        for each in ("many", "few")
    )

    assert len(given) == len(few)
    assert [tuple(map(to_plain, row)) for row in few] == [tuple(map(to_plain, row)) for row in many]


def to_plain(value):
    return bytes(value) if isinstance(value, memoryview) else value


def test_of_many_refusals_one_that_is_stored_already_stays_unchanged(connection):
    record(connection, refusal(3), group="first")

    record(connection, *map(refusal, range(refusals.COPY_ROWS)), group="second")

    groups = connection.execute(select(TRADE_REFUSALS.columns.group_id).order_by(TRADE_REFUSALS.columns.offset))
    assert ["first" if offset == 3 else "second" for offset in range(refusals.COPY_ROWS)] == list(groups.scalars())


@pytest.mark.parametrize("others", [1, 300], ids=["few", "many"])
@pytest.mark.parametrize(
    ("sqlstate", "message"),
    [("XX000", "invalid memory alloc request size 1073741824"), ("54000", "out of memory")],
)
def test_a_refusal_that_is_too_large_is_stored_without_its_bytes(connection, sqlstate, message, others):
    """The others keep their bytes. A trigger raises the error of a value of a gigabyte."""
    execute(
        connection,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE SQLSTATE '{sqlstate}' USING MESSAGE = '{message}'; END $$",
        "CREATE TRIGGER refuse BEFORE INSERT ON trade_refusals "
        "FOR EACH ROW WHEN (octet_length(new.value) > 10) EXECUTE FUNCTION refuse()",
    )
    large = refusal(4)._replace(record=refusal(4).record._replace(value=bytes(11)))

    record(connection, refusal(3), large, *map(refusal, range(5, 5 + others)))

    columns = TRADE_REFUSALS.columns
    rows = connection.execute(select(columns.key, columns.value, columns.details).order_by(columns.offset)).all()
    note = "it is bad; key and value are not stored: their 14 bytes are too many for PostgreSQL"
    whole = (b"key", b"value")
    assert [whole, (None, None), *[whole] * others] == [(row.key, row.value) for row in rows]
    assert [["it is bad"], [note], *[["it is bad"]] * others] == [row.details for row in rows]


ROW_SECURITY = """
    ALTER TABLE trade_refusals ENABLE ROW LEVEL SECURITY;
    CREATE POLICY of_the_desk ON trade_refusals USING (partition = 0) WITH CHECK (partition = 0);
    CREATE ROLE {0};
    GRANT USAGE ON SCHEMA public TO {0};
    GRANT SELECT, INSERT ON trade_refusals TO {0}
"""


@pytest.fixture
def restricted(connection, migrated):
    """Connect as a role to which a policy of row-level security applies; PostgreSQL refuses COPY then."""
    role = f"restricted_{uuid.uuid4().hex}"
    execute(connection, ROW_SECURITY.format(role))
    engine = create_engine_for(f"{migrated}?options=-crole={role}", application_name="test")
    with engine.connect() as restricted:
        yield restricted
    execute(connection, f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_many_refusals_are_stored_under_row_level_security(restricted):
    given = list(odd_refusals(refusals.COPY_ROWS + 1))
    record(restricted, refusal(3), group="first")

    record(restricted, *given, group="second")

    columns = TRADE_REFUSALS.columns
    rows = restricted.execute(select(columns.group_id, columns.details).order_by(columns.offset)).all()
    assert ["first" if offset == 3 else "second" for offset in range(len(given))] == [row.group_id for row in rows]
    assert [[each.detail for each in given[4].violations]] == [rows[4].details]


def test_a_policy_that_forbids_one_of_many_refusals_leaves_none_stored(restricted):
    """The batch is rolled back, as without a right, and the sink stops."""
    foreign = refusal(3)._replace(record=refusal(3).record._replace(partition=1))

    with pytest.raises(DBAPIError, match="new row violates row-level security policy") as raised:
        record(restricted, *map(refusal, range(refusals.COPY_ROWS)), foreign)

    assert FailureClass.CONFIGURATION is classify(raised.value, connected_before=True)
    assert 0 == count(restricted, TRADE_REFUSALS)


def test_an_internal_error_of_another_kind_is_a_bug(connection):
    execute(
        connection,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE SQLSTATE 'XX000'; END $$",
        "CREATE TRIGGER refuse BEFORE INSERT ON trade_refusals FOR EACH ROW EXECUTE FUNCTION refuse()",
    )

    with pytest.raises(DBAPIError) as raised:
        record(connection, refusal(3))

    assert FailureClass.BUG == classify(raised.value, connected_before=True)


def test_no_error_quotes_the_bytes_of_a_record(connection):
    with pytest.raises(DBAPIError) as raised:
        record(connection, refusal(2**63))

    assert b"value".hex() not in str(raised.value)
    assert "SQL parameters hidden" in str(raised.value)


def test_a_record_that_is_refused_twice_is_stored_once(connection):
    record(connection, refusal(3, detail="first"), refusal(3, detail="second"))
    record(connection, refusal(3, detail="third"), group="other")

    assert [["first"]] == connection.scalars(select(TRADE_REFUSALS.columns.details)).all()


@pytest.mark.parametrize("topic_id", ["another", None], ids=["created again", "unknown"])
def test_a_record_of_another_topic_of_the_same_name_is_another(connection, topic_id):
    record(connection, refusal(3))
    record(connection, refusal(3), topic_id=topic_id)

    assert [3] == between(connection, 0, 10, topic_id=topic_id)
    assert 2 == count(connection, TRADE_REFUSALS)


def test_the_refused_offsets_of_a_range_are_read_in_order(connection):
    record(connection, *(refusal(offset) for offset in (9, 4, 7, 3, 10)), refusal(5, partition=1))

    assert [4, 7, 9] == between(connection, 4, 10)
    assert [5] == between(connection, 0, 100, partition=1)
    assert [] == between(connection, 0, 100, topic="others")


def test_a_range_may_begin_before_the_log(connection):
    """As it does for a partition with fewer records than a window has."""
    record(connection, refusal(0))

    assert [0] == between(connection, -1_000, 1)


AT = datetime(2025, 6, 1, 8, tzinfo=UTC)


@pytest.fixture
def some(connection):
    """Six refusals that differ in all a selection can ask for, one of them replayed."""
    given = [
        refusal(0, code="VERSION"),
        refusal(1, code="BOOK_ID"),
        refusal(2)._replace(violations=(Violation("VERSION", "a"), Violation("BOOK_ID", "b"))),
        refusal(3, partition=1),
        refusal(4, partition=1)._replace(record=Record("others", 1, 4, b"T1", None)),
        refusal(5)._replace(record=Record(TOPIC, 0, 5, None, b"\x00..T1..")),
    ]
    record(connection, *given)
    with connection.begin():
        for hour in range(6):
            moved = {"refused_at": AT + timedelta(hours=hour), "replayed_at": AT if hour == 1 else None}
            connection.execute(update(TRADE_REFUSALS).where(TRADE_REFUSALS.columns.offset == hour).values(moved))


@pytest.mark.parametrize(
    "selection",
    [
        DeadLetterFilter(),
        DeadLetterFilter(replayed=True),
        DeadLetterFilter(codes=("BOOK_ID",), replayed=True),
        DeadLetterFilter(codes=("VERSION", "BAD")),
        DeadLetterFilter(since=AT + timedelta(hours=3)),
        DeadLetterFilter(until=AT + timedelta(hours=3)),
        DeadLetterFilter(topics=("others", "more")),
        DeadLetterFilter(partitions=(1,)),
        DeadLetterFilter(first=2, last=4),
        DeadLetterFilter(coordinates=(TOPIC, 1, 3)),
        DeadLetterFilter(coordinates=(TOPIC, 0, 1), replayed=True),
        DeadLetterFilter(trade_id="T1"),
        DeadLetterFilter(trade_id="T1", partitions=(0,)),
        DeadLetterFilter(codes=("NONE",)),
    ],
    ids=str,
)
def test_the_table_finds_the_refusals_of_a_selection(connection, some, selection):
    everything = refusals.list_newest(connection, DeadLetterFilter(replayed=True), None)

    found = refusals.list_newest(connection, selection, None)

    assert 6 == len(everything)
    assert [kept for kept in everything if selection.matches(kept)] == found
    assert len(found) == refusals.count(connection, selection)


def test_the_newest_refusals_are_listed_with_the_newest_last(connection, some):
    assert [4, 5] == [kept.record.offset for kept in refusals.list_newest(connection, DeadLetterFilter(), 2)]


def test_pages_follow_one_another(connection, some):
    first = refusals.list_page(connection, DeadLetterFilter(), None, 3)
    second = refusals.list_page(connection, DeadLetterFilter(), first[-1].identity, 3)

    assert [("others", 4), (TOPIC, 0), (TOPIC, 2)] == [(kept.record.topic, kept.record.offset) for kept in first]
    assert [5, 3] == [kept.record.offset for kept in second]
    assert [] == refusals.list_page(connection, DeadLetterFilter(), second[-1].identity, 3)


def test_a_page_of_large_refusals_ends_early(connection, monkeypatch):
    monkeypatch.setattr(refusals, "PAGE_BYTES", 300)
    sizes = [(50, 60)] * 4 + [(0, 400), (0, 0)]
    given = [Record(TOPIC, 0, offset, bytes(key), bytes(value)) for offset, (key, value) in enumerate(sizes)]
    record(connection, *(refusal(0)._replace(record=each) for each in given))

    pages = [refusals.list_page(connection, DeadLetterFilter(), None, 100)]
    while pages[-1]:
        pages.append(refusals.list_page(connection, DeadLetterFilter(), pages[-1][-1].identity, 100))

    assert [[0, 1, 2], [3, 4], [5], []] == [[each.record.offset for each in page] for page in pages]


def test_a_refusal_is_read_as_it_was_stored(connection):
    record(connection, refusal(3))

    (kept,) = refusals.list_newest(connection, DeadLetterFilter(), None)

    assert (refusal(3), TOPIC_ID, GROUP, 0, None) == (
        kept.refusal,
        kept.topic_id,
        kept.group,
        kept.replay_count,
        kept.replayed_at,
    )


def test_a_refusal_that_is_refused_again_has_one_more_attempt_and_its_new_reasons(connection):
    record(connection, refusal(3), refusal(4))
    kept = refusals.list_newest(connection, DeadLetterFilter(), None)
    connection.rollback()

    with connection.begin():
        refusals.mark_refused_again(connection, [(kept[0], refusal(3, code="NEW", detail="nul \0 in it"))])

    again = refusals.list_newest(connection, DeadLetterFilter(), None)
    assert [1, 0] == [each.replay_count for each in again]
    assert (("NEW",), ("nul \\x00 in it",)) == (again[0].refusal.codes, again[0].refusal.details)
    assert (kept[0].refused_at, kept[1]) == (again[0].refused_at, again[1])


def test_only_unchanged_refusals_are_locked(connection):
    record(connection, refusal(3), refusal(4), refusal(5))
    kept = refusals.list_newest(connection, DeadLetterFilter(), None)
    connection.rollback()
    with connection.begin():
        refusals.mark_replayed(connection, [kept[0].identity])
        refusals.mark_refused_again(connection, [(kept[1], refusal(4))])

    assert {kept[2].identity} == refusals.lock_unchanged(connection, kept)


def test_rows_that_another_transaction_has_locked_are_skipped(connection, migrated):
    record(connection, refusal(3), refusal(4))
    kept = refusals.list_newest(connection, DeadLetterFilter(), None)
    connection.rollback()
    with create_engine_for(migrated, application_name="other").connect() as other, other.begin():
        refusals.lock_unchanged(other, kept[:1])

        assert {kept[1].identity} == refusals.lock_unchanged(connection, kept)


def test_the_error_of_a_database_without_tables_names_the_command(database):
    with (
        pytest.raises(DatabaseOutdated, match="tradepipe migrate upgrade"),
        open_transaction(database, application_name="test", seconds=5),
    ):
        pass


def test_no_more_of_a_record_is_stored_than_a_limit(connection):
    large = refusal(3)._replace(record=refusal(3).record._replace(key=b"k" * 70, value=b"v" * MAX_KEPT_BYTES))
    record(connection, large)

    ((kept),) = refusals.list_newest(connection, DeadLetterFilter(), None)

    assert (b"k" * 70, None) == (kept.record.key, kept.record.value)
    assert Omitted(value=Digest.of(large.record.value)) == kept.refusal.omitted


def test_a_key_over_the_limit_is_stored_as_its_digest(connection):
    large = refusal(3)._replace(record=refusal(3).record._replace(key=b"k" * (MAX_KEPT_BYTES + 1), value=None))
    record(connection, large)

    ((kept),) = refusals.list_newest(connection, DeadLetterFilter(), None)

    assert (None, Omitted(key=Digest.of(large.record.key))) == (kept.record.key, kept.refusal.omitted)
