"""an attendance keeps what corrections could not take back."""

from __future__ import annotations

from collections import Counter

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "attendance",
        sa.Column("uncovered", sa.BigInteger(), nullable=False, server_default="0"),
    )
    _from_the_ledger(op.get_bind())


def downgrade() -> None:
    op.drop_column("attendance", "uncovered")


def _from_the_ledger(connection: sa.Connection) -> None:
    """The transfers of corrections say what they could not take; their origin is
    ``session:person:revision``."""
    booked = sa.text(
        "SELECT transfer.origin, entry.points FROM transfer"
        " JOIN entry ON entry.transfer_id = transfer.id"
        " WHERE transfer.kind = 'attendance_corrected' AND entry.account = 'uncovered'"
    )
    uncovered: Counter[tuple[str, str]] = Counter()
    for origin, points in connection.execute(booked):
        session_id, person_id, _ = origin.rsplit(":", 2)
        uncovered[session_id, person_id] -= points
    for (session_id, person_id), points in sorted(uncovered.items()):
        connection.execute(
            sa.text(
                "UPDATE attendance SET uncovered = :points"
                " WHERE session_id = :session_id AND person_id = :person_id"
            ),
            {"points": points, "session_id": session_id, "person_id": person_id},
        )
