"""
Length and SHA-256 of keys and values that a refusal does not keep.

A refusal keeps at most 1 MiB of its record. The columns are null where the
bytes themselves are kept.

Revises: 0002_pre_add_notional
"""

from alembic import op

revision = "0003_pre_add_refusal_digests"
down_revision = "0002_pre_add_notional"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE trade_refusals
          ADD COLUMN IF NOT EXISTS key_bytes bigint,
          ADD COLUMN IF NOT EXISTS key_sha256 bytea,
          ADD COLUMN IF NOT EXISTS value_bytes bigint,
          ADD COLUMN IF NOT EXISTS value_sha256 bytea
        """
    )


def downgrade() -> None:
    op.execute(
        """
        ALTER TABLE trade_refusals
          DROP COLUMN IF EXISTS key_bytes,
          DROP COLUMN IF EXISTS key_sha256,
          DROP COLUMN IF EXISTS value_bytes,
          DROP COLUMN IF EXISTS value_sha256
        """
    )
