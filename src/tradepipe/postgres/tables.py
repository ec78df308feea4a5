"""
The tables, in the database schema of the connection.

Revisions do not import this module: they are history, and this is their sum. A
CHECK constraint, derived from the declaration, has the name of its violation code (`"TRADE_ID"`), so that
`code_of_constraint` finds the code of a violated constraint.
"""

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

from tradepipe.postgres.columns import ORDERED_TEXT, checks_of, column_of, quote, require_free_names
from tradepipe.trade.declaration import REQUIRED
from tradepipe.trade.model import DECLARATION, PRIMARY_KEY
from tradepipe.trade.record import Code

METADATA: Final = MetaData(naming_convention={"pk": "%(table_name)s_pkey"})
"""The tables of tradepipe."""

_CHECKS: Final = checks_of(DECLARATION)

CHECK_NAMES: Final = frozenset(_CHECKS)
"""Names of the CHECK constraints of the declaration."""

ADDED_FIELDS: Final = tuple(field.name for field in DECLARATION.fields if field.default is not REQUIRED)
"""
Fields that later revisions added: those with a default.

Compatible versions of the schema only add fields with defaults, and PostgreSQL
adds columns only after the last one.
"""

_TIME: Final = DateTime(timezone=True)


def _required(name: str, kind: TypeEngine[Any] | type[TypeEngine[Any]], doc: str, **settings: Any) -> Column[Any]:
    """Return a column that is never null."""
    return Column(name, kind, nullable=False, doc=doc, **settings)


_COORDINATES: Final = (
    _required("source_topic", ORDERED_TEXT, "topic of the record that was stored"),
    _required("source_partition", Integer, "its partition"),
    _required("source_offset", BigInteger, "its offset"),
    _required("schema_id", Integer, "the registry's id of the schema with which the record was written"),
    _required("stored_at", _TIME, "time of the transaction that stored the row", server_default=func.now()),
)

require_free_names(DECLARATION, [*(column.name for column in _COORDINATES), "expired"])

TRADES: Final = Table(
    "trades",
    METADATA,
    *(column_of(field) for field in DECLARATION.fields if field.name not in ADDED_FIELDS),
    *_COORDINATES,
    *(column_of(field) for field in DECLARATION.fields if field.name in ADDED_FIELDS),
    PrimaryKeyConstraint(*PRIMARY_KEY),
    *(CheckConstraint(condition, name=code) for code, condition in _CHECKS.items()),
)
"""Every version of every trade, with the coordinates of its record."""

TRADE_REFUSALS: Final = Table(
    "trade_refusals",
    METADATA,
    _required("topic", Text, "topic of the refused record"),
    _required(
        "topic_id",
        Text,
        "id of that topic, which changes when the topic is recreated; empty if the broker has none",
        server_default=text("''"),
    ),
    _required("partition", Integer, "partition of the record"),
    _required("offset", BigInteger, "offset of the record"),
    Column("key", LargeBinary, doc="Kafka key of the record, unchanged"),
    Column("value", LargeBinary, doc="value of the record, unchanged"),
    _required("codes", ARRAY(Text), "violation codes of the last refusal"),
    _required("details", ARRAY(Text), "a sentence for each code"),
    Column("schema_id", Integer, doc="the registry's id of the writer schema, if it was read"),
    _required("group_id", Text, "consumer group of the sink that refused the record"),
    _required("refused_at", _TIME, "time of the first refusal", server_default=func.now()),
    _required("attempts", Integer, "1, and one more for each replay that refused it again", server_default=text("1")),
    Column("replayed_at", _TIME, doc="time at which a replay stored the trade; null for an open dead letter"),
    Column("key_bytes", BigInteger, doc="length of a key that is not kept because the record is too large"),
    Column("key_sha256", LargeBinary, doc="SHA-256 of such a key"),
    Column("value_bytes", BigInteger, doc="length of a value that is not kept because the record is too large"),
    Column("value_sha256", LargeBinary, doc="SHA-256 of such a value"),
    PrimaryKeyConstraint("topic", "topic_id", "partition", "offset"),
)
"""Every record that was not stored, with its violations and its bytes, or their length and SHA-256 if they are many."""

SINK_OFFSETS: Final = Table(
    "sink_offsets",
    METADATA,
    _required("group_id", Text, "consumer group of the sink"),
    _required("topic", Text, "topic that the sink reads"),
    _required("partition", Integer, "partition of the topic"),
    Column(
        "topic_id", Text, doc="id of the topic, by which a recreated topic is detected; null if the broker has none"
    ),
    _required(
        "epoch", BigInteger, "number of the claim that may move the offset; each claim and each reset increases it"
    ),
    _required(
        "next_offset", BigInteger, "offset of the next record to store; everything before it is stored or refused"
    ),
    _required("owner", Text, "process that made the claim"),
    _required("updated_at", _TIME, "time of the last change", server_default=func.now()),
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
        .prefix_with(f"DISTINCT ON ({', '.join(map(quote, identity))})")
        .order_by(*(TRADES.columns[field].desc() for field in (*identity, "version")))
    )


def code_of_constraint(name: str | None) -> str:
    """Return the violation code of a constraint; `DATABASE_REFUSED` for a constraint that the user added."""
    return name if name in CHECK_NAMES else Code.DATABASE_REFUSED


@event.listens_for(METADATA, "after_create")
def _create_view(_target: MetaData, connection: Connection, **_kwargs: object) -> None:
    connection.exec_driver_sql(f"CREATE VIEW current_trades AS {current_trades().compile(dialect=connection.dialect)}")
