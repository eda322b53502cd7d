"""messages say of which sign-up they are, what is due together leaves in order, calls end.

Messages of before do not know their sign-up: what is open of them ends by its time alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runtime.types import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("message", sa.Column("about", sa.String(length=64)))
    op.add_column("message", sa.Column("happened_at", UtcDateTime()))
    op.create_index(
        "message_about",
        "message",
        ["about"],
        sqlite_where=sa.text("about IS NOT NULL"),
        postgresql_where=sa.text("about IS NOT NULL"),
    )
    _due_by("next_attempt", "created_at", "id")
    op.execute(
        "UPDATE delivery SET next_attempt ="
        " (SELECT useful_until FROM message WHERE message.id = delivery.message_id)"
        " WHERE channel = 'call' AND state = 'created'"
    )


def downgrade() -> None:
    op.execute("UPDATE delivery SET next_attempt = NULL WHERE channel = 'call'")
    _due_by("next_attempt", "id")
    op.drop_index("message_about", "message")
    op.drop_column("message", "happened_at")
    op.drop_column("message", "about")


def _due_by(*columns: str) -> None:
    op.drop_index("delivery_due", "delivery")
    op.create_index(
        "delivery_due",
        "delivery",
        list(columns),
        sqlite_where=sa.text("next_attempt IS NOT NULL"),
        postgresql_where=sa.text("next_attempt IS NOT NULL"),
    )
