"""the time zone of a centre, by which its sessions are planned and its days begin."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runtime.types import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "centre_seen",
        sa.Column("centre_id", sa.String(64), nullable=False),
        sa.Column("time_zone", sa.String(60), nullable=False),
        sa.Column("opened_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("centre_id"),
    )


def downgrade() -> None:
    op.drop_table("centre_seen")
