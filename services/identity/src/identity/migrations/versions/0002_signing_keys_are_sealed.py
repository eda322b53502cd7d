"""signing keys are sealed: the next start closes what is still raw."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

RAW = 32


def upgrade() -> None:
    with op.batch_alter_table("signing_key") as table:
        table.alter_column(
            "private",
            new_column_name="sealed",
            existing_type=sa.LargeBinary(),
            existing_nullable=False,
        )


def downgrade() -> None:
    """An older version reads raw keys only: it makes new ones."""
    key = sa.table("signing_key", sa.column("sealed", sa.LargeBinary()))
    op.execute(sa.delete(key).where(sa.func.length(key.c.sealed) != RAW))
    with op.batch_alter_table("signing_key") as table:
        table.alter_column(
            "sealed",
            new_column_name="private",
            existing_type=sa.LargeBinary(),
            existing_nullable=False,
        )
