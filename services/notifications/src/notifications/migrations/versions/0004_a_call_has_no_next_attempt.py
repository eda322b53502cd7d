"""a call has no next attempt: it ends when its message is of no use any more.

Couriers of the version before take for an e-mail whatever has a next attempt.
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE delivery SET next_attempt = NULL WHERE channel = 'call'")


def downgrade() -> None:
    op.execute(
        "UPDATE delivery SET next_attempt ="
        " (SELECT useful_until FROM message WHERE message.id = delivery.message_id)"
        " WHERE channel = 'call' AND state = 'created'"
    )
