"""
The tables of trades, refusals and offsets, and the view of current trades.

Revises: nothing
"""

import sqlalchemy as sa
from alembic import op

revision = "0001_trades"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_trades()
    create_trade_refusals()
    create_sink_offsets()
    create_current_trades()


def downgrade() -> None:
    op.execute("DROP VIEW current_trades")
    op.drop_table("sink_offsets")
    op.drop_table("trade_refusals")
    op.drop_table("trades")


def create_trades() -> None:
    by_bytes = sa.Text(collation="C")
    op.create_table(
        "trades",
        sa.Column("trade_id", by_bytes, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("counterparty_id", by_bytes, nullable=False),
        sa.Column("book_id", by_bytes, nullable=False),
        sa.Column("maturity_date", sa.Date, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("source_topic", by_bytes, nullable=False),
        sa.Column("source_partition", sa.Integer, nullable=False),
        sa.Column("source_offset", sa.BigInteger, nullable=False),
        sa.Column("schema_id", sa.Integer, nullable=False),
        sa.Column("stored_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("trade_id", "version", name="trades_pkey"),
        *trades_checks(),
    )


def trades_checks() -> list[sa.CheckConstraint]:
    """A CHECK for each rule, by the exact name of its code."""
    identifier = "octet_length({0}) <= 64 AND {0} ~ '^[!-\\[\\]-~]+$'"
    return [
        sa.CheckConstraint(identifier.format("trade_id"), name="TRADE_ID"),
        sa.CheckConstraint("version >= 1", name="VERSION"),
        sa.CheckConstraint(identifier.format("counterparty_id"), name="COUNTERPARTY_ID"),
        sa.CheckConstraint(identifier.format("book_id"), name="BOOK_ID"),
        sa.CheckConstraint(
            "created_at >= TIMESTAMPTZ '0001-01-01 00:00:00+00' AND created_at < TIMESTAMPTZ '10000-01-01 00:00:00+00'",
            name="CREATED_AT",
        ),
        sa.CheckConstraint(
            "maturity_date <= DATE '9999-12-31' AND maturity_date >= DATE '0001-01-01'"
            " AND maturity_date >= (created_at AT TIME ZONE 'UTC')::date",
            name="MATURITY_DATE",
        ),
    ]


def create_trade_refusals() -> None:
    op.create_table(
        "trade_refusals",
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("topic_id", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("partition", sa.Integer, nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.Column("key", sa.LargeBinary),
        sa.Column("value", sa.LargeBinary),
        sa.Column("codes", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("details", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("schema_id", sa.Integer),
        sa.Column("group_id", sa.Text, nullable=False),
        sa.Column("refused_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("1")),
        sa.Column("replayed_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("topic", "topic_id", "partition", "offset", name="trade_refusals_pkey"),
    )


def create_sink_offsets() -> None:
    op.create_table(
        "sink_offsets",
        sa.Column("group_id", sa.Text, nullable=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("partition", sa.Integer, nullable=False),
        sa.Column("topic_id", sa.Text),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("next_offset", sa.BigInteger, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("group_id", "topic", "partition", name="sink_offsets_pkey"),
        postgresql_with={"fillfactor": 50},
    )


def create_current_trades() -> None:
    op.execute(
        """
        CREATE VIEW current_trades AS
        SELECT DISTINCT ON (trade_id)
               trade_id, version, counterparty_id, book_id, maturity_date, created_at,
               source_topic, source_partition, source_offset, schema_id, stored_at,
               maturity_date < (now() AT TIME ZONE 'UTC')::date AS expired
          FROM trades
         ORDER BY trade_id DESC, version DESC
        """
    )
