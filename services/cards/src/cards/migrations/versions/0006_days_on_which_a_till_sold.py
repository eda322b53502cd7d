"""the last sale of each day of a till, and when it was counted last."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runtime.types import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "till_day_seen",
        sa.Column("till_id", sa.String(64), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("centre_id", sa.String(64), nullable=False),
        sa.Column("sold_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("till_id", "day"),
    )
    op.create_index("till_day_seen_by_centre", "till_day_seen", ["centre_id", "sold_at"])
    op.create_table(
        "till_closed_seen",
        sa.Column("till_id", sa.String(64), nullable=False),
        sa.Column("closed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("till_id"),
    )


def downgrade() -> None:
    op.drop_table("till_closed_seen")
    op.drop_table("till_day_seen")
