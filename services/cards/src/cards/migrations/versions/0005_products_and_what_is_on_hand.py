"""of the shop's products: their minimum, and what is on hand."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runtime.types import UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "product_seen",
        sa.Column("product_id", sa.String(64), nullable=False),
        sa.Column("centre_id", sa.String(64), nullable=False),
        sa.Column("minimum", sa.Integer(), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("product_id"),
    )
    op.create_index("product_seen_by_centre", "product_seen", ["centre_id"])
    op.create_table(
        "stock_seen",
        sa.Column("product_id", sa.String(64), nullable=False),
        sa.Column("on_hand", sa.BigInteger(), nullable=False),
        sa.Column("moved_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("product_id"),
    )


def downgrade() -> None:
    op.drop_table("stock_seen")
    op.drop_table("product_seen")
