"""
Side, notional and currency of a trade.

Sinks keep writing to a table of any size: the columns have constant defaults, so
no row is rewritten, and the CHECKs are validated while rows are inserted.

Revises: 0001_trades
"""

from alembic import op

revision = "0002_pre_add_notional"
down_revision = "0001_trades"
branch_labels = None
depends_on = None


def upgrade() -> None:
    add_columns()
    add_checks()
    add_to_current_trades()
    validate_checks()


def downgrade() -> None:
    # A view cannot lose columns, so it is recreated, without its grants.
    op.execute("DROP VIEW current_trades")
    op.execute("ALTER TABLE trades DROP COLUMN side, DROP COLUMN notional, DROP COLUMN currency")
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


def add_columns() -> None:
    """Add what is missing only: `validate_checks` commits, so a failed upgrade is run again after this step."""
    op.execute(
        """
        ALTER TABLE trades
          ADD COLUMN IF NOT EXISTS side text COLLATE "C" NOT NULL DEFAULT 'UNKNOWN',
          ADD COLUMN IF NOT EXISTS notional numeric(18, 4),
          ADD COLUMN IF NOT EXISTS currency text COLLATE "C"
        """
    )


def add_checks() -> None:
    """Add a CHECK for each rule, named after its code, without reading the existing rows yet."""
    op.execute(
        """
        ALTER TABLE trades
          DROP CONSTRAINT IF EXISTS "NOTIONAL",
          DROP CONSTRAINT IF EXISTS "CURRENCY",
          ADD CONSTRAINT "NOTIONAL" CHECK (
            (notional IS NULL) = (currency IS NULL)
            AND (notional IS NULL OR notional > 0::numeric AND notional < 100000000000000::numeric)
          ) NOT VALID,
          ADD CONSTRAINT "CURRENCY" CHECK (currency ~ '^[A-Z]{3}$') NOT VALID
        """
    )


def add_to_current_trades() -> None:
    """Replace the view, so that it keeps its grants; this allows new columns at the end only."""
    op.execute(
        """
        CREATE OR REPLACE VIEW current_trades AS
        SELECT DISTINCT ON (trade_id)
               trade_id, version, counterparty_id, book_id, maturity_date, created_at,
               source_topic, source_partition, source_offset, schema_id, stored_at,
               maturity_date < (now() AT TIME ZONE 'UTC')::date AS expired,
               side, notional, currency
          FROM trades
         ORDER BY trade_id DESC, version DESC
        """
    )


def validate_checks() -> None:
    """Validate outside the transaction, which locks the table: sinks write while the whole table is read."""
    with op.get_context().autocommit_block():
        op.execute('ALTER TABLE trades VALIDATE CONSTRAINT "NOTIONAL"')
        op.execute('ALTER TABLE trades VALIDATE CONSTRAINT "CURRENCY"')
