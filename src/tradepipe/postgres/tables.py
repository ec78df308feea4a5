"""
The tables, in one MetaData without a database schema: they live in the connection's own.

Revisions do not import this module: they are history, this is what they add up
to. A CHECK bears the exact name of the code it stands for (`"TRADE_ID"`), so a
violated constraint names its code: see `code_of_constraint`.
"""

from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    Date,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Select,
    Table,
    Text,
    cast,
    event,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy.types import TypeEngine

from tradepipe.trade.model import DIGITS, LIMIT, PRIMARY_KEY, SCALE, Side, Trade
from tradepipe.trade.record import Code
from tradepipe.trade.rules import CURRENCY, IDENTIFIER

METADATA: Final = MetaData(naming_convention={"pk": "%(table_name)s_pkey"})
"""All of tradepipe's tables."""

ORDERED_TEXT: Final = Text(collation="C")
"""Text that compares by its bytes: the primary key's index orders without asking a locale."""

_COLUMN_TYPES: Final[dict[object, TypeEngine[Any]]] = {
    str: ORDERED_TEXT,
    int: Integer(),
    date: Date(),
    datetime: DateTime(timezone=True),
    Side: ORDERED_TEXT,
    Decimal | None: Numeric(DIGITS, SCALE),
    str | None: ORDERED_TEXT,
}

_CHARACTER: Final = IDENTIFIER.removesuffix("{1,64}")


def _is_identifier(field: str) -> str:
    """The rule of `IDENTIFIER` with its bounds apart: PostgreSQL pays 2.3 µs a value for `{1,64}`, 0.3 for this."""
    return f"octet_length({field}) <= 64 AND {field} ~ '^{_CHARACTER}+$'"


_RULES: Final = {
    Code.TRADE_ID: _is_identifier("trade_id"),
    Code.VERSION: "version >= 1",
    Code.COUNTERPARTY_ID: _is_identifier("counterparty_id"),
    Code.BOOK_ID: _is_identifier("book_id"),
    Code.CREATED_AT: (
        "created_at >= TIMESTAMPTZ '0001-01-01 00:00:00+00' AND created_at < TIMESTAMPTZ '10000-01-01 00:00:00+00'"
    ),
    Code.MATURITY_DATE: (
        "maturity_date <= DATE '9999-12-31' AND maturity_date >= DATE '0001-01-01'"
        " AND maturity_date >= (created_at AT TIME ZONE 'UTC')::date"
    ),
    # A CHECK holds where it is NULL, so what may be NULL is asked first. NaN is above all numbers.
    Code.NOTIONAL: (
        f"(notional IS NULL) = (currency IS NULL) AND (notional IS NULL OR notional > 0 AND notional < {LIMIT})"
    ),
    Code.CURRENCY: f"currency ~ '^{CURRENCY}$'",
}

CHECK_NAMES: Final = frozenset(code.value for code in _RULES)
"""The names of the CHECK constraints that stand for rules."""

ADDED_FIELDS: Final = tuple(Trade._field_defaults)
"""
The fields that later revisions added: those with a default.

Compatible versions of the schema only add fields with defaults, and PostgreSQL
only adds columns behind the last one.
"""


def _columns_of(fields: Iterable[str]) -> list[Column[Any]]:
    """A column for each field, which may be NULL where the field may be None."""
    return [_column_of(field, Trade.__annotations__[field]) for field in fields]


def _column_of(field: str, kind: Any) -> Column[Any]:
    default = Trade._field_defaults.get(field)
    return Column(
        field,
        _COLUMN_TYPES[kind],
        nullable=isinstance(None, kind),
        server_default=None if default is None else text(f"'{default}'"),
    )


def _checks() -> list[CheckConstraint]:
    """The rules of `contract.rules`, each named after its code."""
    return [CheckConstraint(rule, name=code.value) for code, rule in _RULES.items()]


TRADES: Final = Table(
    "trades",
    METADATA,
    *_columns_of(field for field in Trade._fields if field not in ADDED_FIELDS),
    Column("source_topic", ORDERED_TEXT, nullable=False),
    Column("source_partition", Integer, nullable=False),
    Column("source_offset", BigInteger, nullable=False),
    Column("schema_id", Integer, nullable=False),
    Column("stored_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    *_columns_of(ADDED_FIELDS),
    PrimaryKeyConstraint(*PRIMARY_KEY),
    *_checks(),
)
"""Each version of each trade, with the place in the log it came from."""

TRADE_REFUSALS: Final = Table(
    "trade_refusals",
    METADATA,
    Column("topic", Text, nullable=False),
    Column("topic_id", Text, nullable=False, server_default=text("''")),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("key", LargeBinary),
    Column("value", LargeBinary),
    Column("codes", ARRAY(Text), nullable=False),
    Column("details", ARRAY(Text), nullable=False),
    Column("schema_id", Integer),
    Column("group_id", Text, nullable=False),
    Column("refused_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("attempts", Integer, nullable=False, server_default=text("1")),
    Column("replayed_at", DateTime(timezone=True)),
    PrimaryKeyConstraint("topic", "topic_id", "partition", "offset"),
)
"""Each record that was not stored, with its bytes and all that speaks against it."""

SINK_OFFSETS: Final = Table(
    "sink_offsets",
    METADATA,
    Column("group_id", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("topic_id", Text),
    Column("epoch", BigInteger, nullable=False),
    Column("next_offset", BigInteger, nullable=False),
    Column("owner", Text, nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("group_id", "topic", "partition"),
    # Each batch updates these few rows: room on the page keeps the updates off the index.
    postgresql_with={"fillfactor": 50},
)
"""How far each consumer group has stored each partition, and under which epoch."""


def current_trades() -> Select[Any]:
    """
    What the view `current_trades` shows: of each trade its newest version, and whether it has expired today.

    The order is descending in all of KEY, which is the primary key's index read
    backwards; any other would sort the whole table. What was added to the
    table stands last here too: a view is replaced, and keeps its grants, only
    if its columns stay as they were.
    """
    identity = [field for field in PRIMARY_KEY if field != "version"]
    today = cast(func.now().op("AT TIME ZONE")(literal_column("'UTC'")), Date)
    first = [column for column in TRADES.columns if column.name not in ADDED_FIELDS]
    expired = (TRADES.columns.maturity_date < today).label("expired")
    return (
        select(*first, expired, *(TRADES.columns[field] for field in ADDED_FIELDS))
        # distinct() with columns is deprecated in SQLAlchemy 2.1, and what replaces it is not in 2.0.
        .prefix_with(f"DISTINCT ON ({', '.join(identity)})")
        .order_by(*(TRADES.columns[field].desc() for field in (*identity, "version")))
    )


def code_of_constraint(name: str | None) -> Code:
    """The code a violated constraint stands for; `DATABASE_REFUSED` for a constraint that is not one of ours."""
    return Code(name) if name in _RULES else Code.DATABASE_REFUSED


@event.listens_for(METADATA, "after_create")
def _create_view(_target: MetaData, connection: Connection, **_kwargs: object) -> None:
    connection.exec_driver_sql(f"CREATE VIEW current_trades AS {current_trades().compile(dialect=connection.dialect)}")
