"""when the password was given again in a session."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runtime.types import UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("session") as table:
        table.add_column(sa.Column("proved_at", UtcDateTime()))


def downgrade() -> None:
    with op.batch_alter_table("session") as table:
        table.drop_column("proved_at")
