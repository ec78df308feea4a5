"""Python's rules and PostgreSQL's CHECKs agree about every trade."""

import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Context, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, insert
from sqlalchemy.exc import DataError, IntegrityError

from tests.amounts import DIGITS, LIMIT, SCALE, from_unscaled
from tests.properties import examples
from tradepipe.postgres import migrate
from tradepipe.postgres.session import create_engine_for
from tradepipe.postgres.tables import TRADES, code_of_constraint
from tradepipe.trade.model import Side, Trade
from tradepipe.trade.record import Code
from tradepipe.trade.rules import violations
from tradepipe.trade.type_checks import MAX_INT

SOURCE = {"source_topic": "trades", "source_partition": 0, "source_offset": 0, "schema_id": 1}
VALID = Trade("T1", 1, "CP-1", "B1", maturity_date=date(2030, 1, 1), created_at=datetime(2025, 6, 1, tzinfo=UTC))

# As PostgreSQL rounds, and wide enough for every value of hypothesis.
WIDE = Context(prec=10_000, rounding=ROUND_HALF_UP, Emax=999_999, Emin=-999_999)

EAST, WEST = timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))

identifiers = st.one_of(
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7F), max_size=66),
    st.text(max_size=4),
    st.sampled_from(["T1", "CP-1", "B1"]),
)
versions = st.one_of(st.integers(-3, 3), st.integers(MAX_INT - 2, MAX_INT + 2), st.integers(-(2**70), 2**70))
zones = st.sampled_from([UTC, EAST, WEST, timezone(timedelta(minutes=345))])
instants = st.one_of(
    st.datetimes(timezones=zones),
    st.datetimes(min_value=datetime(9999, 12, 30), timezones=zones),
    st.datetimes(max_value=datetime(1, 1, 2), timezones=zones),
)

amounts = st.one_of(
    st.none(),
    st.integers(-2, 2).map(from_unscaled),
    st.integers(10**DIGITS - 3, 10**DIGITS + 3).map(lambda number: Decimal(f"{number}E-{SCALE}")),
    st.decimals(places=SCALE),
    st.decimals(),
)
currencies = st.one_of(
    st.none(), st.sampled_from(["EUR", "eur", "EU", "EURO", "EUR\n"]), st.text(min_size=3, max_size=3), identifiers
)


@st.composite
def trades(draw: st.DrawFn) -> Trade:
    """Trades near the borders of the rules: the dates often a day apart."""
    created_at = draw(instants)
    near = st.integers(-1, 1).map(lambda days: _shifted(created_at.date(), days))
    maturity_date = draw(st.one_of(near, st.dates()))
    return Trade(
        draw(identifiers),
        draw(versions),
        draw(identifiers),
        draw(identifiers),
        maturity_date=maturity_date,
        created_at=created_at,
        side=draw(st.sampled_from(Side)),
        notional=draw(amounts),
        currency=draw(currencies),
    )


def _shifted(day: date, days: int) -> date:
    try:
        return day + timedelta(days=days)
    except OverflowError:
        return day


@pytest.fixture(scope="module")
def table(session_services) -> Iterator[Connection]:
    """Connect the whole module to one database, in which nothing is committed."""
    server = session_services.postgres.start()
    name = f"test_{uuid.uuid4().hex}"
    url = server.create_database(name)
    migrate.upgrade(url)
    with create_engine_for(url, application_name="test").connect() as connection:
        yield connection
    server.drop_database(name)


def refused_as(table: Connection, trade: Trade) -> str | None:
    """Return the code with which PostgreSQL refuses a trade; None if it stores it."""
    savepoint = table.begin_nested()
    try:
        table.execute(insert(TRADES), {**trade._asdict(), **SOURCE})
    except IntegrityError as error:
        return code_of_constraint(error.orig.diag.constraint_name)
    except (DataError, ValueError):
        # The value does not fit its type: NUL, a surrogate, more than 32 bits.
        return Code.DATABASE_REFUSED
    finally:
        savepoint.rollback()
    return None


def agree(table: Connection, trade: Trade) -> None:
    expected = {violation.code for violation in violations(trade)}
    found = refused_as(table, trade)
    if rounded(trade.notional):
        # PostgreSQL rounds before it checks; it never gets such an amount, which Avro's decimal does not hold.
        assert "NOTIONAL" in expected
        return

    assert bool(expected) == (found is not None), (trade, expected, found)
    assert found in expected | {None, Code.DATABASE_REFUSED}, (trade, expected, found)


def rounded(amount: Decimal | None) -> bool:
    """Return whether a numeric(18,4) would round an amount."""
    return amount is not None and amount.is_finite() and amount != WIDE.quantize(amount, from_unscaled(1))


@examples(500)
@given(trade=trades())
def test_python_and_postgresql_agree_on_any_trade(table, trade):
    agree(table, trade)


@examples(300)
@given(field=st.sampled_from(["trade_id", "counterparty_id", "book_id"]), value=identifiers)
def test_python_and_postgresql_agree_on_any_identifier(table, field, value):
    agree(table, VALID._replace(**{field: value}))


@examples(300)
@given(created_at=instants, days=st.integers(-2, 2))
def test_python_and_postgresql_agree_on_dates_a_day_apart(table, created_at, days):
    agree(table, VALID._replace(created_at=created_at, maturity_date=_shifted(created_at.date(), days)))


@examples(300)
@given(notional=amounts, currency=currencies)
def test_python_and_postgresql_agree_on_any_amount(table, notional, currency):
    agree(table, VALID._replace(notional=notional, currency=currency))


@pytest.mark.parametrize(
    ("notional", "currency", "is_valid"),
    [
        (None, None, True),
        ("1", None, False),
        (None, "EUR", False),
        ("0.0001", "EUR", True),
        ("0", "EUR", False),
        ("-0", "EUR", False),
        ("-0.0001", "EUR", False),
        ("99999999999999.9999", "EUR", True),
        (str(LIMIT), "EUR", False),
        ("1E+13", "EUR", True),
        ("1E+14", "EUR", False),
        ("1.50000000", "EUR", True),
        ("NaN", "EUR", False),
        ("sNaN", "EUR", False),
        ("Infinity", "EUR", False),
        ("-Infinity", "EUR", False),
        ("NaN", None, False),
        ("1", "", False),
        ("1", "eur", False),
        ("1", "EURO", False),
        ("1", "EUR\n", False),
        ("1", "ÄÖÜ", False),
        ("1", "E\u0301UR", False),
        ("1", "\uff25\uff35\uff32", False),
        ("1", "EU\0", False),
    ],
    ids=ascii,
)
def test_every_edge_of_an_amount_is_the_same(table, notional, currency, is_valid):
    trade = VALID._replace(notional=notional and Decimal(notional), currency=currency)

    assert is_valid is (violations(trade) == ())
    agree(table, trade)


@pytest.mark.parametrize("notional", ["0.00004", "1.00005", "99999999999999.99994"])
def test_an_amount_that_postgresql_would_round_is_refused_by_python(notional):
    """Rounded, it would differ from the trade in the log."""
    amount = Decimal(notional)

    assert rounded(amount)
    assert ["NOTIONAL"] == [violation.code for violation in violations(VALID._replace(notional=amount, currency="EUR"))]


@pytest.mark.parametrize("field", ["trade_id", "counterparty_id", "book_id"])
@pytest.mark.parametrize(
    ("value", "is_valid"),
    [
        ("!", True),
        ("~", True),
        ("[", True),
        ("]", True),
        ("^-'\"%$", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("x" * 1_000_000, False),
        ("", False),
        (" ", False),
        ("a b", False),
        ("\\", False),
        ("\x7f", False),
        ("\t", False),
        ("a\n", False),
        ("\na", False),
        ("é", False),
        ("٣", False),
        ("x" * 63 + "é", False),
        ("\U0001f4b6", False),
        ("a\0b", False),
        ("a\ud800b", False),
    ],
    ids=lambda value: ascii(value[:12]) if isinstance(value, str) else "",
)
def test_every_edge_of_an_identifier_is_the_same(table, field, value, is_valid):
    trade = VALID._replace(**{field: value})

    assert is_valid is (violations(trade) == ())
    agree(table, trade)


@pytest.mark.parametrize(
    ("version", "is_valid"),
    [(-1, False), (0, False), (1, True), (MAX_INT, True), (MAX_INT + 1, False), (2**63, False)],
)
def test_every_edge_of_a_version_is_the_same(table, version, is_valid):
    trade = VALID._replace(version=version)

    assert is_valid is (violations(trade) == ())
    agree(table, trade)


@pytest.mark.parametrize(
    ("created_at", "maturity_date", "is_valid"),
    [
        (datetime.min.replace(tzinfo=UTC), date.min, True),
        (datetime.max.replace(tzinfo=UTC), date.max, True),
        (datetime.min.replace(tzinfo=UTC), date.max, True),
        (datetime.max.replace(tzinfo=UTC), date(9999, 12, 30), False),
        (datetime.min.replace(tzinfo=EAST), date.max, False),
        (datetime.max.replace(tzinfo=WEST), date.max, False),
        (datetime.min.replace(tzinfo=WEST), date.min, True),
        (datetime.max.replace(tzinfo=EAST), date.max, True),
        (datetime(2025, 6, 1, 13, 59, tzinfo=EAST), date(2025, 5, 31), True),
        (datetime(2025, 6, 1, 14, 0, tzinfo=EAST), date(2025, 5, 31), False),
        (datetime(2025, 5, 31, 12, 0, tzinfo=WEST), date(2025, 5, 31), False),
        (datetime(2025, 5, 31, 11, 59, 59, 999999, tzinfo=WEST), date(2025, 5, 31), True),
        (datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), date(1969, 12, 31), True),
        (datetime(2024, 2, 29, tzinfo=UTC), date(2024, 2, 29), True),
    ],
    ids=str,
)
def test_every_edge_of_the_dates_is_the_same(table, created_at, maturity_date, is_valid):
    """The day is that of UTC, whatever the time zone of the trade."""
    trade = VALID._replace(created_at=created_at, maturity_date=maturity_date)

    assert is_valid is (violations(trade) == ())
    agree(table, trade)


@pytest.mark.parametrize(
    ("column", "value", "code"),
    [
        ("created_at", "infinity", "CREATED_AT"),
        ("created_at", "-infinity", "CREATED_AT"),
        ("created_at", "0001-12-31 23:59:59.999999+00 BC", "CREATED_AT"),
        ("created_at", "10000-01-01 00:00:00+00", "CREATED_AT"),
        ("maturity_date", "infinity", "MATURITY_DATE"),
        ("maturity_date", "-infinity", "MATURITY_DATE"),
        ("maturity_date", "10000-01-01", "MATURITY_DATE"),
        ("maturity_date", "0001-12-31 BC", "MATURITY_DATE"),
    ],
)
def test_postgresql_refuses_the_days_python_cannot_hold(table, column, value, code):
    """They come in bytes, as days and microseconds; reading such a row would fail for ever after."""
    savepoint = table.begin_nested()
    with pytest.raises(IntegrityError) as raised:
        table.execute(insert(TRADES), {**VALID._asdict(), **SOURCE, column: value})
    savepoint.rollback()

    assert code == code_of_constraint(raised.value.orig.diag.constraint_name)
