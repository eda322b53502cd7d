"""Messages, their deliveries, and what is known of people, households and centres."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runtime.types import Id, Json, UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "auth_key",
        sa.Column("key_id", Id(), nullable=False),
        sa.Column("public_key", sa.String(length=64), nullable=False),
        sa.Column("not_before", UtcDateTime(), nullable=False),
        sa.Column("not_after", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("key_id"),
    )
    op.create_table(
        "auth_revoked",
        sa.Column("session_id", sa.String(length=64), nullable=False),
        sa.Column("until", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("session_id"),
    )
    with op.batch_alter_table("auth_revoked", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_auth_revoked_until"), ["until"], unique=False)

    op.create_table(
        "centre_seen",
        sa.Column("centre_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("time_zone", sa.String(length=64), nullable=False),
        sa.Column("region", sa.String(length=16), nullable=False),
        sa.Column("opened_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("centre_id"),
    )
    op.create_table(
        "hours",
        sa.Column("id", Id(), nullable=False),
        sa.Column("centre_id", sa.String(length=64), nullable=False),
        sa.Column("from_time", UtcDateTime(), nullable=False),
        sa.Column("hours", Json(), nullable=False),
        sa.Column("set_by", sa.String(length=64), nullable=False),
        sa.Column("set_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("hours", schema=None) as batch_op:
        batch_op.create_index(
            "hours_in_force", ["centre_id", "from_time", "set_at", "id"], unique=False
        )

    op.create_table(
        "household_seen",
        sa.Column("household_id", sa.String(length=64), nullable=False),
        sa.Column("centre_id", sa.String(length=64), nullable=False),
        sa.Column("holder_id", sa.String(length=64), nullable=False),
        sa.Column("erased", sa.Boolean(), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("household_id"),
    )
    op.create_table(
        "idempotency",
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("answer", Json(), nullable=True),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "key"),
    )
    with op.batch_alter_table("idempotency", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_idempotency_at"), ["at"], unique=False)

    op.create_table(
        "inbox",
        sa.Column("event_id", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(length=100), nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "job",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("period", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("due", UtcDateTime(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("data", Json(), nullable=True),
        sa.Column("error", sa.String(length=200), nullable=True),
        sa.PrimaryKeyConstraint("name", "period", "subject"),
    )
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.create_index("ix_job_due", ["state", "due"], unique=False)

    op.create_table(
        "message",
        sa.Column("id", Id(), nullable=False),
        sa.Column("intent", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("centre_id", sa.String(length=64), nullable=False),
        sa.Column("household_id", sa.String(length=64), nullable=False),
        sa.Column("person_id", sa.String(length=64), nullable=False),
        sa.Column("data", Json(), nullable=False),
        sa.Column("useful_until", UtcDateTime(), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("correlation", sa.String(length=64), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("read_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("message", schema=None) as batch_op:
        batch_op.create_index("message_by_centre", ["centre_id", "created_at", "id"], unique=False)
        batch_op.create_index(
            "message_by_household", ["household_id", "created_at", "id"], unique=False
        )
        batch_op.create_index(
            "message_by_kind", ["centre_id", "kind", "created_at", "id"], unique=False
        )
        batch_op.create_index("message_by_person", ["person_id", "created_at", "id"], unique=False)
        batch_op.create_index(
            "message_by_state", ["centre_id", "state", "created_at", "id"], unique=False
        )
        batch_op.create_index("message_by_time", ["created_at", "id"], unique=False)
        batch_op.create_index(
            "message_of_all_by_state", ["state", "created_at", "id"], unique=False
        )

    op.create_table(
        "meta",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "outbox",
        sa.Column(
            "row",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("id", Id(), nullable=False),
        sa.Column("topic", sa.String(length=100), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("previous", Id(), nullable=True),
        sa.Column("cause", Id(), nullable=True),
        sa.Column("type", sa.String(length=120), nullable=False),
        sa.Column("headers", Json(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=True),
        sa.Column("record_offset", sa.BigInteger(), nullable=True),
        sa.Column("stamp", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("row"),
        sa.UniqueConstraint("id"),
    )
    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.create_index("outbox_by_cause", ["cause"], unique=False)
        batch_op.create_index("outbox_by_key", ["topic", "key", "row"], unique=False)
        batch_op.create_index(
            "outbox_unsent",
            ["row"],
            unique=False,
            sqlite_where=sa.text("record_offset IS NULL"),
            postgresql_where=sa.text("record_offset IS NULL"),
        )

    op.create_table(
        "person_contact",
        sa.Column("person_id", sa.String(length=64), nullable=False),
        sa.Column("household_id", sa.String(length=64), nullable=False),
        sa.Column("centre_id", sa.String(length=64), nullable=False),
        sa.Column("given_name", sa.String(length=200), nullable=False),
        sa.Column("family_name", sa.String(length=200), nullable=False),
        sa.Column("holder", sa.Boolean(), nullable=False),
        sa.Column("language", sa.String(length=35), nullable=False),
        sa.Column("email", sa.String(length=320), nullable=False),
        sa.Column("phone", sa.String(length=40), nullable=False),
        sa.Column("messages_allowed", sa.Boolean(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("erased", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("person_id"),
    )
    op.create_table(
        "place",
        sa.Column("side", sa.String(length=120), nullable=False),
        sa.Column("topic", sa.String(length=100), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("record_offset", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.String(length=64), nullable=False),
        sa.Column("stamp", sa.BigInteger(), nullable=False),
        sa.Column("era", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("side", "topic", "partition"),
    )
    op.create_table(
        "preference",
        sa.Column("household_id", sa.String(length=64), nullable=False),
        sa.Column("wanted", Json(), nullable=False),
        sa.Column("changed_by", sa.String(length=64), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("household_id"),
    )
    op.create_table(
        "projection",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.PrimaryKeyConstraint("name", "version"),
    )
    op.create_table(
        "set_aside",
        sa.Column("event_id", sa.String(length=160), nullable=False),
        sa.Column("topic", sa.String(length=100), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("record_offset", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("type", sa.String(length=200), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_try", UtcDateTime(), nullable=True),
        sa.Column("headers", Json(), nullable=False),
        sa.Column("record_key", sa.LargeBinary(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("stamp", sa.BigInteger(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
    )
    with op.batch_alter_table("set_aside", schema=None) as batch_op:
        batch_op.create_index("set_aside_by_previous", ["previous", "state"], unique=False)
        batch_op.create_index("set_aside_by_time", ["at", "event_id"], unique=False)
        batch_op.create_index("set_aside_due", ["state", "next_try"], unique=False)

    op.create_table(
        "unreachable",
        sa.Column("person_id", sa.String(length=64), nullable=False),
        sa.Column("channel", sa.String(length=10), nullable=False),
        sa.Column("address_digest", sa.String(length=64), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("person_id", "channel"),
    )
    op.create_table(
        "delivery",
        sa.Column("id", Id(), nullable=False),
        sa.Column("message_id", Id(), nullable=False),
        sa.Column("intent", sa.String(length=64), nullable=False),
        sa.Column("person_id", sa.String(length=64), nullable=False),
        sa.Column("channel", sa.String(length=10), nullable=False),
        sa.Column("centre_id", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("why", sa.String(length=40), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("next_attempt", UtcDateTime(), nullable=True),
        sa.Column("lease_id", sa.String(length=36), nullable=True),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.Column("address_digest", sa.String(length=64), nullable=True),
        sa.Column("content_digest", sa.String(length=64), nullable=True),
        sa.Column("taken_at", UtcDateTime(), nullable=True),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("done_by", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(
            ["message_id"],
            ["message.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("intent", "person_id", "channel", name="uq_delivery_once"),
        sa.UniqueConstraint("message_id", "channel", name="uq_delivery_channel"),
    )
    with op.batch_alter_table("delivery", schema=None) as batch_op:
        batch_op.create_index(
            "delivery_by_channel", ["centre_id", "channel", "created_at", "id"], unique=False
        )
        batch_op.create_index("delivery_by_person", ["person_id"], unique=False)
        batch_op.create_index(
            "delivery_by_state", ["centre_id", "channel", "state", "created_at", "id"], unique=False
        )
        batch_op.create_index(
            "delivery_due",
            ["next_attempt", "id"],
            unique=False,
            sqlite_where=sa.text("next_attempt IS NOT NULL"),
            postgresql_where=sa.text("next_attempt IS NOT NULL"),
        )
        batch_op.create_index("delivery_ended", ["channel", "state", "ended_at"], unique=False)
        batch_op.create_index(
            "delivery_identical", ["address_digest", "content_digest", "taken_at"], unique=False
        )
        batch_op.create_index(
            "delivery_leased",
            ["lease_until"],
            unique=False,
            sqlite_where=sa.text("lease_until IS NOT NULL"),
            postgresql_where=sa.text("lease_until IS NOT NULL"),
        )
        batch_op.create_index("delivery_of_all", ["channel", "created_at", "id"], unique=False)
        batch_op.create_index(
            "delivery_of_all_by_state", ["channel", "state", "created_at", "id"], unique=False
        )

    op.create_table(
        "attempt",
        sa.Column("delivery_id", Id(), nullable=False),
        sa.Column("lease_id", sa.String(length=36), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("answer", sa.String(length=10), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(
            ["delivery_id"],
            ["delivery.id"],
        ),
        sa.PrimaryKeyConstraint("delivery_id", "lease_id"),
    )


def downgrade() -> None:
    op.drop_table("attempt")
    with op.batch_alter_table("delivery", schema=None) as batch_op:
        batch_op.drop_index("delivery_of_all_by_state")
        batch_op.drop_index("delivery_of_all")
        batch_op.drop_index(
            "delivery_leased",
            sqlite_where=sa.text("lease_until IS NOT NULL"),
            postgresql_where=sa.text("lease_until IS NOT NULL"),
        )
        batch_op.drop_index("delivery_identical")
        batch_op.drop_index("delivery_ended")
        batch_op.drop_index(
            "delivery_due",
            sqlite_where=sa.text("next_attempt IS NOT NULL"),
            postgresql_where=sa.text("next_attempt IS NOT NULL"),
        )
        batch_op.drop_index("delivery_by_state")
        batch_op.drop_index("delivery_by_person")
        batch_op.drop_index("delivery_by_channel")

    op.drop_table("delivery")
    op.drop_table("unreachable")
    with op.batch_alter_table("set_aside", schema=None) as batch_op:
        batch_op.drop_index("set_aside_due")
        batch_op.drop_index("set_aside_by_time")
        batch_op.drop_index("set_aside_by_previous")

    op.drop_table("set_aside")
    op.drop_table("projection")
    op.drop_table("preference")
    op.drop_table("place")
    op.drop_table("person_contact")
    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.drop_index(
            "outbox_unsent",
            sqlite_where=sa.text("record_offset IS NULL"),
            postgresql_where=sa.text("record_offset IS NULL"),
        )
        batch_op.drop_index("outbox_by_key")
        batch_op.drop_index("outbox_by_cause")

    op.drop_table("outbox")
    op.drop_table("meta")
    with op.batch_alter_table("message", schema=None) as batch_op:
        batch_op.drop_index("message_of_all_by_state")
        batch_op.drop_index("message_by_time")
        batch_op.drop_index("message_by_state")
        batch_op.drop_index("message_by_person")
        batch_op.drop_index("message_by_kind")
        batch_op.drop_index("message_by_household")
        batch_op.drop_index("message_by_centre")

    op.drop_table("message")
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.drop_index("ix_job_due")

    op.drop_table("job")
    op.drop_table("inbox")
    with op.batch_alter_table("idempotency", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_idempotency_at"))

    op.drop_table("idempotency")
    op.drop_table("household_seen")
    with op.batch_alter_table("hours", schema=None) as batch_op:
        batch_op.drop_index("hours_in_force")

    op.drop_table("hours")
    op.drop_table("centre_seen")
    with op.batch_alter_table("auth_revoked", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_auth_revoked_until"))

    op.drop_table("auth_revoked")
    op.drop_table("auth_key")
