"""what a coordinator looks at: a centre's figures by day, and what waits for somebody."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runtime.types import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "day_figure",
        sa.Column("centre_id", sa.String(64), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("figure", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("centre_id", "day", "kind"),
    )
    op.create_table(
        "register_seen",
        sa.Column("session_id", sa.String(64), nullable=False),
        sa.Column("centre_id", sa.String(64), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("present", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("session_id"),
    )
    op.create_index("register_seen_by_centre", "register_seen", ["centre_id", "day"])
    op.create_table(
        "matter",
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("item_id", sa.String(64), nullable=False),
        sa.Column("centre_id", sa.String(64), nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.Column("due", UtcDateTime(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "item_id"),
    )
    op.create_index("matter_by_centre", "matter", ["centre_id", "is_open", "kind", "due"])


def downgrade() -> None:
    op.drop_table("matter")
    op.drop_table("register_seen")
    op.drop_table("day_figure")
