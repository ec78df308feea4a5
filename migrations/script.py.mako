"""
${message}.

Revises: ${down_revision or "nothing"}
"""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
# The id is the file's stem: `alembic revision --rev-id 0002_pre_add_venue`, at most 32 characters.
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
