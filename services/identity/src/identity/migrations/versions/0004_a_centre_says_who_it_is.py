"""what a centre says of itself on the public home."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runtime.types import Json, UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "centre_words",
        sa.Column("centre_id", sa.String(64), nullable=False),
        sa.Column("about", Json(), nullable=False),
        sa.Column("hours", Json(), nullable=False),
        sa.Column("address", sa.String(300), nullable=False),
        sa.Column("directions", sa.String(1000), nullable=False),
        sa.Column("phone", sa.String(40), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("centre_id"),
    )


def downgrade() -> None:
    op.drop_table("centre_words")
