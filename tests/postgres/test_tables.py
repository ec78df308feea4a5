"""The tables and the view; tests/test_schema_sync.py compares them with the trade."""

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import insert, text

from tradepipe.postgres.tables import ADDED_FIELDS, METADATA, TRADES, code_of_constraint
from tradepipe.trade.model import PRIMARY_KEY, Trade
from tradepipe.trade.record import Code

TODAY = datetime.now(UTC).date()
SOURCE = {"source_topic": "trades", "source_partition": 0, "source_offset": 0, "schema_id": 1}


def store(connection, trade_id="T1", version=1, maturity_date=date(9999, 1, 1)):
    trade = Trade(
        trade_id, version, "CP-1", "B1", maturity_date=maturity_date, created_at=datetime(2020, 1, 1, tzinfo=UTC)
    )
    connection.execute(insert(TRADES), {**trade._asdict(), **SOURCE})


def test_the_primary_key_is_what_identifies_a_trade():
    assert PRIMARY_KEY == tuple(TRADES.primary_key.columns.keys())


def test_every_column_of_trades_is_given_but_those_of_fields_that_may_be_none():
    assert ["notional", "currency"] == [column.name for column in TRADES.columns if column.nullable]


def test_fields_that_were_added_later_are_the_last_columns():
    """PostgreSQL adds columns after the others, and a replaced view must keep its columns."""
    assert ADDED_FIELDS == tuple(column.name for column in TRADES.columns)[-len(ADDED_FIELDS) :]


def test_a_check_is_named_after_its_code(connection):
    """And every rule with its own code has a CHECK."""
    names = connection.scalars(
        text("SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid = 'trades'::regclass")
    )

    rules = {field.upper() for field in Trade._fields} - {"SIDE"}

    assert rules == {code_of_constraint(name) for name in names}


@pytest.mark.parametrize("name", ["trades_pkey", "their_check", "EMPTY", None])
def test_any_other_constraint_is_the_databases_own(name):
    """Also one that happens to bear the name of a code that is no rule of the table."""
    assert Code.DATABASE_REFUSED == code_of_constraint(name)


def test_the_tables_name_no_database_schema():
    """The connection's search_path chooses it."""
    assert {None} == {table.schema for table in METADATA.tables.values()}


def test_the_view_shows_the_newest_version_of_each_trade(connection):
    for trade_id, version in [("T1", 1), ("T1", 10), ("T1", 9), ("T2", 1)]:
        store(connection, trade_id, version)

    found = connection.execute(text("SELECT trade_id, version FROM current_trades ORDER BY trade_id")).all()

    assert [("T1", 10), ("T2", 1)] == found


@pytest.mark.parametrize(
    ("maturity_date", "expired"),
    [(TODAY - timedelta(days=2), True), (TODAY + timedelta(days=2), False)],
    ids=["before today", "after today"],
)
def test_a_trade_expires_after_its_maturity_date(connection, maturity_date, expired):
    store(connection, maturity_date=maturity_date)

    assert expired == connection.scalar(text("SELECT expired FROM current_trades"))


def test_a_trade_that_matures_today_has_not_expired(connection):
    """Today is the database's, in UTC, so that midnight does not fail the test."""
    connection.execute(
        text(
            "INSERT INTO trades VALUES ('T1', 1, 'CP-1', 'B1', (now() AT TIME ZONE 'UTC')::date, '2020-01-01Z',"
            " 'trades', 0, 0, 1)"
        )
    )

    assert connection.scalar(text("SELECT expired FROM current_trades")) is False


def test_one_trade_is_looked_up_by_the_primary_key(connection):
    """The planner would scan an empty table; the test is whether the index can provide the order."""
    for other in ("seqscan", "bitmapscan", "sort"):
        connection.execute(text(f"SET enable_{other} = off"))

    plan = connection.scalars(text("EXPLAIN SELECT * FROM current_trades WHERE trade_id = 'T1'")).all()

    assert "Index Scan" in "\n".join(plan)
    assert "Sort" not in "\n".join(plan)
