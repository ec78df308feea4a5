"""
The tables, in the database schema of the connection.

Revisions do not import this module: they are history, and this is their sum. A
CHECK constraint, derived from the declaration, has the name of its violation code (`"TRADE_ID"`), so that
`code_of_constraint` finds the code of a violated constraint.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator, TypeEngine

from tradepipe.trade.constraints import Column as TypedColumn
from tradepipe.trade.constraints import Together, to_sql
from tradepipe.trade.declaration import REQUIRED, Declaration, Field
from tradepipe.trade.json_values import from_json, to_json
from tradepipe.trade.model import DECLARATION, PRIMARY_KEY
from tradepipe.trade.record import Code
from tradepipe.trade.type_checks import MAX_NANOS, MIN_NANOS
from tradepipe.trade.types import Type

ORDERED_TEXT: Final = sa.Text(collation="C")
"""Text compared by bytes: the index of the primary key needs no locale."""

quote: Final = postgresql.dialect().identifier_preparer.quote  # type: ignore[no-untyped-call]  # as of SQLAlchemy
"""Returns a name in SQL, in double quotes if it is a keyword or has capitals."""


class Single(TypeDecorator[float]):
    """Single precision, read as the double of the same number: psycopg2 would read its shortest text."""

    impl = sa.REAL
    cache_ok = True

    def column_expression(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return sa.cast(column, sa.Double)


class Nested(TypeDecorator[Any]):
    """jsonb of a list, map or record, read as the value of its type with exact numbers."""

    impl = JSONB
    cache_ok = True

    def __init__(self, type_: Type) -> None:
        super().__init__()
        self.type_ = type_

    def bind_processor(self, dialect: sa.Dialect) -> Any:
        return lambda value: None if value is None else to_json(self.type_, value)

    def bind_expression(self, bindparam: Any) -> sa.ColumnElement[Any]:
        return sa.cast(bindparam, JSONB)

    def column_expression(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        # As text: psycopg2 would read its numbers as floats.
        return sa.cast(column, _AsText(self.type_))


class _AsText(TypeDecorator[Any]):
    """The text of jsonb on its way from the database."""

    impl = sa.Text
    cache_ok = True

    def __init__(self, type_: Type) -> None:
        super().__init__()
        self.type_ = type_

    def process_result_value(self, value: str | None, _dialect: sa.Dialect) -> Any:
        return None if value is None else from_json(self.type_, value)


_COLUMN_TYPES: Final[Mapping[str, TypeEngine[Any]]] = {
    "boolean": sa.Boolean(),
    "integer": sa.Integer(),
    "bigint": sa.BigInteger(),
    "real": Single(),
    "double precision": sa.Double(),
    "text": ORDERED_TEXT,
    "bytea": sa.LargeBinary(),
    "uuid": sa.Uuid(),
    "date": sa.Date(),
    "time": sa.Time(),
    "timestamp": sa.DateTime(),
    "timestamptz": sa.DateTime(timezone=True),
}
"""Column types by the type of a declared field; numeric has a size, and jsonb its members."""


def column_of(field: Field) -> sa.Column[Any]:
    """Return the column of a field."""
    value, default = field.default, None
    if value is not REQUIRED and value is not None:
        # A literal that PostgreSQL reads by the type of the column.
        if field.type.is_nested:
            shown = to_json(field.type, value)
        elif isinstance(value, bool):
            shown = str(value).lower()
        elif isinstance(value, bytes):
            shown = f"\\x{value.hex()}"
        else:
            shown = value.isoformat() if isinstance(value, (date, time)) else str(value)
        # A colon would begin the name of a parameter.
        default = sa.text("'{}'".format(shown.replace("'", "''").replace(":", r"\:")))
    return sa.Column(field.name, column_type(field.type), nullable=field.is_nullable, server_default=default)


def column_type(type_: Type) -> TypeEngine[Any]:
    """Return the column type of a type."""
    if type_.is_nested:
        return Nested(type_)
    return sa.Numeric(type_.precision, type_.scale) if type_.kind == "decimal" else _COLUMN_TYPES[type_.postgres]


def require_free_names(declaration: Declaration, taken: Iterable[str]) -> None:
    """Raise a TypeError, with what to change, if a field has the name of another column."""
    if clash := sorted(set(taken) & declaration.types.keys()):
        place = f"{declaration.record.__name__}.{clash[0]}"
        raise TypeError(f"{place} has the name of a column that tradepipe fills: choose another name")


def checks_of(declaration: Declaration) -> dict[str, str]:
    """Return the conditions of each field that has constraints or rules, by the field's code."""
    columns = {field.name: TypedColumn(quote(field.name), field.type.postgres) for field in declaration.fields}
    found = {}
    for field in declaration.fields:
        rules = list(declaration.rules_of(field.name))
        # A CHECK that evaluates to NULL passes, so a rule about NULL comes first.
        first = [rule.to_sql(columns) for rule in rules if isinstance(rule, Together)]
        last = [rule.to_sql(columns) for rule in rules if not isinstance(rule, Together)]
        name = columns[field.name].name
        own = [to_sql(constraint, name) for constraint in field.constraints]
        own += [condition.format(name) for condition in _conditions_of_type(field.type)]
        if own and first and field.is_nullable:
            own = [f"({name} IS NULL OR {' AND '.join(own)})"]
        if conditions := first + own + last:
            found[field.code] = " AND ".join(conditions)
    return found


def _conditions_of_type(type_: Type) -> Iterator[str]:
    """Yield what PostgreSQL's type allows and the declared one does not."""
    if type_.postgres in _RANGES:
        yield _RANGES[type_.postgres]
    if type_.kind == "fixed":
        yield f"octet_length({{0}}) = {type_.size}"
    if type_.is_nested:
        yield f"jsonb_typeof({{0}}) = '{'array' if type_.kind == 'array' else 'object'}'"
    if type_.kind.endswith("-millis"):
        yield "mod(extract(microseconds FROM {0})::integer, 1000) = 0"
    if type_.kind.endswith("-nanos"):
        zone = "+00" if type_.postgres == "timestamptz" else ""
        first, last = (datetime(1970, 1, 1) + timedelta(microseconds=micros) for micros in (MIN_NANOS, MAX_NANOS))
        yield f"{{0}} >= '{first}{zone}' AND {{0}} <= '{last}{zone}'"


_FINITE: Final = "{0} > '-Infinity' AND {0} < 'Infinity'"
_RANGES: Final[Mapping[str, str]] = {
    "real": _FINITE,
    "double precision": _FINITE,
    "date": "{0} <= DATE '9999-12-31' AND {0} >= DATE '0001-01-01'",
    "time": "{0} < TIME '24:00:00'",
    "timestamp": "{0} >= TIMESTAMP '0001-01-01 00:00:00' AND {0} < TIMESTAMP '10000-01-01 00:00:00'",
    "timestamptz": "{0} >= TIMESTAMPTZ '0001-01-01 00:00:00+00' AND {0} < TIMESTAMPTZ '10000-01-01 00:00:00+00'",
}
"""The values that Python has too, for types of which PostgreSQL has more."""


METADATA: Final = sa.MetaData(naming_convention={"pk": "%(table_name)s_pkey"})
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

_TIME: Final = sa.DateTime(timezone=True)


def _required(name: str, kind: TypeEngine[Any] | type[TypeEngine[Any]], doc: str, **settings: Any) -> sa.Column[Any]:
    """Return a column that is never null."""
    return sa.Column(name, kind, nullable=False, doc=doc, **settings)


_COORDINATES: Final = (
    _required("source_topic", ORDERED_TEXT, "topic of the record that was stored"),
    _required("source_partition", sa.Integer, "its partition"),
    _required("source_offset", sa.BigInteger, "its offset"),
    _required("schema_id", sa.Integer, "the registry's id of the schema with which the record was written"),
    _required("stored_at", _TIME, "time of the transaction that stored the row", server_default=sa.func.now()),
)

require_free_names(DECLARATION, [*(column.name for column in _COORDINATES), "expired"])

TRADES: Final = sa.Table(
    "trades",
    METADATA,
    *(column_of(field) for field in DECLARATION.fields if field.name not in ADDED_FIELDS),
    *_COORDINATES,
    *(column_of(field) for field in DECLARATION.fields if field.name in ADDED_FIELDS),
    sa.PrimaryKeyConstraint(*PRIMARY_KEY),
    *(sa.CheckConstraint(condition, name=code) for code, condition in _CHECKS.items()),
)
"""Every version of every trade, with the coordinates of its record."""

TRADE_REFUSALS: Final = sa.Table(
    "trade_refusals",
    METADATA,
    _required("topic", sa.Text, "topic of the refused record"),
    _required(
        "topic_id",
        sa.Text,
        "id of that topic, which changes when the topic is recreated; empty if the broker has none",
        server_default=sa.text("''"),
    ),
    _required("partition", sa.Integer, "partition of the record"),
    _required("offset", sa.BigInteger, "offset of the record"),
    sa.Column("key", sa.LargeBinary, doc="Kafka key of the record, unchanged"),
    sa.Column("value", sa.LargeBinary, doc="value of the record, unchanged"),
    _required("codes", sa.ARRAY(sa.Text), "violation codes of the last refusal"),
    _required("details", sa.ARRAY(sa.Text), "a sentence for each code"),
    sa.Column("schema_id", sa.Integer, doc="the registry's id of the writer schema, if it was read"),
    _required("group_id", sa.Text, "consumer group of the sink that refused the record"),
    _required("refused_at", _TIME, "time of the first refusal", server_default=sa.func.now()),
    _required(
        "attempts", sa.Integer, "1, and one more for each replay that refused it again", server_default=sa.text("1")
    ),
    sa.Column("replayed_at", _TIME, doc="time at which a replay stored the trade; null for an open dead letter"),
    sa.Column("key_bytes", sa.BigInteger, doc="length of a key that is not kept because the record is too large"),
    sa.Column("key_sha256", sa.LargeBinary, doc="SHA-256 of such a key"),
    sa.Column("value_bytes", sa.BigInteger, doc="length of a value that is not kept because the record is too large"),
    sa.Column("value_sha256", sa.LargeBinary, doc="SHA-256 of such a value"),
    sa.PrimaryKeyConstraint("topic", "topic_id", "partition", "offset"),
)
"""Every record that was not stored, with its violations and its bytes, or their length and SHA-256 if they are many."""

SINK_OFFSETS: Final = sa.Table(
    "sink_offsets",
    METADATA,
    _required("group_id", sa.Text, "consumer group of the sink"),
    _required("topic", sa.Text, "topic that the sink reads"),
    _required("partition", sa.Integer, "partition of the topic"),
    sa.Column(
        "topic_id", sa.Text, doc="id of the topic, by which a recreated topic is detected; null if the broker has none"
    ),
    _required(
        "epoch", sa.BigInteger, "number of the claim that may move the offset; each claim and each reset increases it"
    ),
    _required(
        "next_offset", sa.BigInteger, "offset of the next record to store; everything before it is stored or refused"
    ),
    _required("owner", sa.Text, "process that made the claim"),
    _required("updated_at", _TIME, "time of the last change", server_default=sa.func.now()),
    sa.PrimaryKeyConstraint("group_id", "topic", "partition"),
    # Each batch updates these few rows: free space on the page allows HOT updates, which skip the index.
    postgresql_with={"fillfactor": 50},
)
"""The next offset and the epoch of each partition and consumer group."""


def current_trades() -> sa.Select[Any]:
    """
    Build the view `current_trades`: the newest version of each trade, and whether it has expired today.

    The order is descending in the whole primary key, so that its index is scanned
    backwards; any other order would sort the table. Added columns come last, as
    in the table: a view can be replaced, and keep its grants, only if its
    existing columns stay unchanged.
    """
    identity = [field for field in PRIMARY_KEY if field != "version"]
    today = sa.cast(sa.func.now().op("AT TIME ZONE")(sa.literal_column("'UTC'")), sa.Date)
    first = [column for column in TRADES.columns if column.name not in ADDED_FIELDS]
    expired = (TRADES.columns.maturity_date < today).label("expired")
    return (
        sa.select(*first, expired, *(TRADES.columns[field] for field in ADDED_FIELDS))
        # distinct() with columns is deprecated in SQLAlchemy 2.1, and what replaces it is not in 2.0.
        .prefix_with(f"DISTINCT ON ({', '.join(map(quote, identity))})")
        .order_by(*(TRADES.columns[field].desc() for field in (*identity, "version")))
    )


def code_of_constraint(name: str | None) -> str:
    """Return the violation code of a constraint; `DATABASE_REFUSED` for a constraint that the user added."""
    return name if name in CHECK_NAMES else Code.DATABASE_REFUSED


@sa.event.listens_for(METADATA, "after_create")
def _create_view(_target: sa.MetaData, connection: sa.Connection, **_kwargs: object) -> None:
    connection.exec_driver_sql(f"CREATE VIEW current_trades AS {current_trades().compile(dialect=connection.dialect)}")
