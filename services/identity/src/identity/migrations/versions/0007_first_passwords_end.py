"""first passwords end: those that staff give from now on.

Passwords that were given before stay as they are: nobody is locked out by an upgrade.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runtime.types import UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("account") as table:
        table.add_column(sa.Column("password_until", UtcDateTime()))


def downgrade() -> None:
    """A first password that has not been replaced opens everything again, and does not end."""
    with op.batch_alter_table("account") as table:
        table.drop_column("password_until")
