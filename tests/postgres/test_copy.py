"""Trades on their way into the staging table, as binary COPY."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from tests.amounts import DIGITS, from_unscaled
from tests.postgres import batches
from tests.postgres.batches import connected, count, log, record, trade, valid
from tests.properties import examples
from tradepipe.codec.copy_rows import NULL
from tradepipe.postgres import copy, migrate
from tradepipe.postgres.bisection import key_of
from tradepipe.postgres.copy import INSERT_COLUMNS, KEYS, STAGING
from tradepipe.postgres.tables import TRADES
from tradepipe.trade.model import PRIMARY_KEY, Side, Trade
from tradepipe.trade.type_checks import MAX_INT
from tradepipe.trade.validated import ROW_COLUMNS

PLACES = st.integers(0, 3)
READ = (*Trade._fields, "source_topic", "source_partition", "source_offset", "schema_id")


@pytest.fixture(scope="module")
def connection(session_services):
    server = session_services.postgres.start()
    url = server.create_database("test_staging")
    migrate.upgrade(url)
    with connected(url) as connection:
        yield connection
    server.drop_database("test_staging")


def staged(connection, *rows):
    """Return the rows of the staging table after a COPY: coordinates, trade and schema id."""
    with connection.begin() as transaction:
        copy.stage(connection, [each.row for each in rows])
        columns = [STAGING.columns[name] for name in READ]
        found = connection.execute(select(*columns).order_by(STAGING.columns.ordinal)).all()
        transaction.rollback()
    return [
        ((row.source_topic, row.source_partition, row.source_offset), Trade(*row[: len(Trade._fields)]), row.schema_id)
        for row in found
    ]


def expected(given):
    return given.record[:3], given.trade, given.schema_id


def test_no_column_of_trades_is_forgotten():
    """A field that is new must be packed too; PostgreSQL itself gives `stored_at` alone."""
    assert {*READ} == set(ROW_COLUMNS) == set(INSERT_COLUMNS) == {*TRADES.columns.keys()} - {"stored_at"}
    assert {"ordinal", *INSERT_COLUMNS} == set(STAGING.columns.keys())


EXTREMES = {
    "plain": trade(),
    "the first instant": trade(created_at=datetime.min.replace(tzinfo=UTC), maturity_date=date.min),
    "the last instant": trade(created_at=datetime.max.replace(tzinfo=UTC), maturity_date=date.max),
    "a microsecond before the year 2000": trade(created_at=datetime(1999, 12, 31, 23, 59, 59, 999_999, UTC)),
    "a microsecond after 1970": trade(created_at=datetime(1970, 1, 1, 0, 0, 0, 1, UTC)),
    "an instant in another zone": trade(created_at=datetime(2025, 6, 1, 1, tzinfo=timezone(timedelta(hours=14)))),
    "the longest identifiers": trade("T" * 64, counterparty_id="C" * 64, book_id="B" * 64),
    "the largest version": trade(version=MAX_INT),
    "a leap day": trade(maturity_date=date(2028, 2, 29)),
    "an amount": trade(side=Side.BUY, notional=Decimal("1250000.5"), currency="EUR"),
    "the largest amount": trade(side=Side.SELL, notional=Decimal("99999999999999.9999"), currency="EUR"),
    "the smallest amount": trade(notional=Decimal("0.0001"), currency="EUR"),
    "an amount below zero": trade(notional=Decimal("-1234567890.0100"), currency="EUR"),
    "no amount": trade(notional=Decimal(0), currency="EUR"),
    "an amount and no currency": trade(notional=Decimal(10_000)),
}


@pytest.mark.parametrize("extreme", EXTREMES.values(), ids=EXTREMES)
def test_a_trade_is_copied_unchanged(connection, extreme):
    given = valid(record(2**63 - 1, 2**31 - 1), extreme, 2**31 - 1)

    assert [expected(given)] == staged(connection, given)


TRADES_OF_ANY_KIND = st.builds(
    Trade,
    trade_id=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=70),
    version=st.integers(-(2**31), MAX_INT),
    counterparty_id=st.sampled_from(["CP", "\\N", "\t\n\r", "'; --", "é\U0001f4b6"]),
    book_id=st.sampled_from(["", "\\.", "B"]),
    maturity_date=st.dates(),
    created_at=st.datetimes(timezones=st.just(UTC)),
    side=st.sampled_from(Side),
    notional=st.none() | st.integers(1 - 10**DIGITS, 10**DIGITS - 1).map(from_unscaled),
    currency=st.none() | st.sampled_from(["EUR", "", "\\N", "é"]),
)


@examples(100)
@given(trades=st.lists(TRADES_OF_ANY_KIND, max_size=5), offset=st.integers(0, 2**63 - 1))
def test_any_trades_are_copied_unchanged_and_in_order(connection, trades, offset):
    """The binary format escapes nothing. Validation is tested elsewhere."""
    rows = [valid(record(offset), each) for each in trades]

    assert [expected(row) for row in rows] == staged(connection, *rows)


def test_rows_of_several_topics_keep_their_topic(connection):
    """A batch has only one topic; the encoding does not rely on that."""
    rows = [valid(record(offset)._replace(topic=topic), trade()) for offset, topic in enumerate("abba")]

    assert [expected(each) for each in rows] == staged(connection, *rows)


def test_an_empty_list_can_be_copied(connection):
    assert [] == staged(connection)


@pytest.mark.parametrize("executor", ["1", "0"], ids=["compiled", "Python"])
def test_the_keys_of_rows_are_copied_in_their_order(connection, monkeypatch, executor):
    monkeypatch.setenv("TRADEPIPE_NATIVE", executor)
    trades = [trade("T2", 7), trade("", 1), trade("T" * 64, MAX_INT), trade("\N{SNOWMAN}", 3)]
    with connection.begin() as transaction:
        copy.copy_keys(connection, [valid(record(0), each).row for each in trades])
        found = connection.execute(select(*(KEYS.columns[name] for name in PRIMARY_KEY), KEYS.columns.ordinal)).all()
        transaction.rollback()

    assert [(*key_of(each), number) for number, each in enumerate(trades)] == found


@given(rows=st.lists(st.lists(st.none() | st.binary(max_size=9), min_size=4, max_size=4)), places=st.sets(PLACES))
def test_both_executors_pick_and_number_the_same_fields(rows, places):
    def row(fields):
        encoded = (NULL if each is None else pack(">i", len(each)) + each for each in fields)
        return pack(">h", len(fields)) + b"".join(encoded)

    ascending = sorted(places)
    picked = ([fields[place] for place in ascending] for fields in rows)
    expected = b"".join(row([*fields, pack(">i", number)]) for number, fields in enumerate(picked))

    for executor in ("0", "1"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TRADEPIPE_NATIVE", executor)
            assert expected == copy.pick_fields([row(fields) for fields in rows], ascending)


def test_staging_is_empty_after_a_commit(connection):
    batches.store(connection, *log(trade(), trade("T2"), trade()))

    assert 0 == count(connection, STAGING)


def test_each_connection_has_its_own_staging_table(connection):
    """No other session sees it, and it ends with the connection."""
    found = connection.exec_driver_sql(
        "SELECT relnamespace = pg_my_temp_schema() FROM pg_class WHERE relname = 'tradepipe_staging'"
    ).all()
    connection.rollback()

    assert [(True,)] == found
