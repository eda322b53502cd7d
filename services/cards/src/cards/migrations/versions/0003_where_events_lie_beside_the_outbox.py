"""where events lie on the bus is written beside the outbox."""

from __future__ import annotations

from messaging import marks_beside_the_outbox

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    marks_beside_the_outbox.upgrade()


def downgrade() -> None:
    marks_beside_the_outbox.downgrade()
