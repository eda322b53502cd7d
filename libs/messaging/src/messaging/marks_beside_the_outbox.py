"""The revision that brought `outbox_unsent` and `outbox_sent`: a part of one of each service.

Until then a row of the outbox said itself where it lies on the bus. To mark it was to write it once
more, with an entry in each of its indexes: on PostgreSQL most of what a relay cost.
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from alembic import op

from messaging.unsent_from_the_start import GONE, MADE


def _run(statements: Iterable[str]) -> None:
    for statement in statements:
        op.execute(sa.text(statement))


def upgrade() -> None:
    """Where rows lie is written beside the outbox from now on."""
    row = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.drop_index("outbox_unsent", "outbox")
    op.create_table(
        "outbox_unsent",
        sa.Column("row", row, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("row"),
    )
    op.create_table(
        "outbox_sent",
        sa.Column("row", row, nullable=False, autoincrement=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("record_offset", sa.BigInteger(), nullable=False),
        sa.Column("stamp", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("row"),
    )
    _run(
        (
            'INSERT INTO outbox_sent ("row", "partition", record_offset, stamp)'
            ' SELECT "row", "partition", record_offset, stamp FROM outbox'
            ' WHERE record_offset IS NOT NULL ORDER BY "row"',
            'INSERT INTO outbox_unsent ("row")'
            ' SELECT "row" FROM outbox WHERE record_offset IS NULL ORDER BY "row"',
        )
    )
    for name in ("partition", "record_offset", "stamp"):
        op.drop_column("outbox", name)
    _run(MADE[op.get_context().dialect.name])


def downgrade() -> None:
    """And into it again."""
    _run(GONE[op.get_context().dialect.name])
    op.add_column("outbox", sa.Column("partition", sa.Integer()))
    op.add_column("outbox", sa.Column("record_offset", sa.BigInteger()))
    op.add_column("outbox", sa.Column("stamp", sa.BigInteger()))
    _run(
        (
            'UPDATE outbox SET "partition" = s."partition", record_offset = s.record_offset,'
            ' stamp = s.stamp FROM outbox_sent AS s WHERE s."row" = outbox."row"',
        )
    )
    op.drop_table("outbox_sent")
    op.drop_table("outbox_unsent")
    unsent = sa.text("record_offset IS NULL")
    op.create_index(
        "outbox_unsent", "outbox", ["row"], sqlite_where=unsent, postgresql_where=unsent
    )
