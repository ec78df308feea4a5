"""
The tables, in the database schema of the connection.

Revisions do not import this module: they are history, and this is their sum. A
CHECK constraint has the name of its violation code (`"TRADE_ID"`), so that
`code_of_constraint` finds the code of a violated constraint.
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
"""The tables of tradepipe."""

ORDERED_TEXT: Final = Text(collation="C")
"""Text compared by bytes: the index of the primary key needs no locale."""

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
    """Check `IDENTIFIER` and its length separately: with `{1,64}` PostgreSQL takes 2.3 µs a value, this way 0.3 µs."""
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
    # A CHECK that evaluates to NULL passes, so NULL is tested first. NaN is greater than all numbers.
    Code.NOTIONAL: (
        f"(notional IS NULL) = (currency IS NULL) AND (notional IS NULL OR notional > 0 AND notional < {LIMIT})"
    ),
    Code.CURRENCY: f"currency ~ '^{CURRENCY}$'",
}

CHECK_NAMES: Final = frozenset(code.value for code in _RULES)
"""Names of the CHECK constraints of rules."""

ADDED_FIELDS: Final = tuple(Trade._field_defaults)
"""
Fields that later revisions added: those with a default.

Compatible versions of the schema only add fields with defaults, and PostgreSQL
adds columns only after the last one.
"""


def _columns_of(fields: Iterable[str]) -> list[Column[Any]]:
    """Create a column for each field; it is nullable if the field may be None."""
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
    """Create the CHECK constraints of the rules in `trade.rules`, each named after its code."""
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
"""Every version of every trade, with the coordinates of its record."""

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
"""Every record that was not stored, with its bytes and violations."""

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
    # Each batch updates these few rows: free space on the page allows HOT updates, which skip the index.
    postgresql_with={"fillfactor": 50},
)
"""The next offset and the epoch of each partition and consumer group."""


def current_trades() -> Select[Any]:
    """
    Build the view `current_trades`: the newest version of each trade, and whether it has expired today.

    The order is descending in the whole primary key, so that its index is scanned
    backwards; any other order would sort the table. Added columns come last, as
    in the table: a view can be replaced, and keep its grants, only if its
    existing columns stay unchanged.
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
    """Return the violation code of a constraint; `DATABASE_REFUSED` for a constraint that the user added."""
    return Code(name) if name in _RULES else Code.DATABASE_REFUSED


@event.listens_for(METADATA, "after_create")
def _create_view(_target: MetaData, connection: Connection, **_kwargs: object) -> None:
    connection.exec_driver_sql(f"CREATE VIEW current_trades AS {current_trades().compile(dialect=connection.dialect)}")
