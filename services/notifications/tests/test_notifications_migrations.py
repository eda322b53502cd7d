"""The schema: what the revisions make is what the tables say, up, down and up."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from notifications import commands, store
from notifications.app import SERVICE
from runtime import migrations
from runtime.store import Store

AT = datetime(2026, 11, 16, 9, tzinfo=UTC)
UNTIL = datetime(2026, 11, 18, 9, tzinfo=UTC)


def test_up_down_and_up_again(empty_url: str) -> None:
    for _ in range(2):
        migrations.upgrade(empty_url, SERVICE.package, SERVICE.metadata)
        assert migrations.difference(empty_url, SERVICE.package, SERVICE.metadata) == []
        migrations.check(empty_url, SERVICE.package)
        migrations.downgrade(empty_url, SERVICE.package, SERVICE.metadata)


def test_there_is_one_newest_revision() -> None:
    assert len(migrations.heads(SERVICE.package)) == 1


def told_before(connection: sa.Connection) -> None:
    """An offer to somebody without an address, as the version before wrote it."""
    later = ("about", "happened_at")
    old = sa.table(
        "message",
        *(sa.column(c.name, c.type) for c in store.message.columns if c.name not in later),
    )
    who = {"intent": "event-1", "centre_id": "centre-1", "person_id": "maria"}
    connection.execute(
        sa.insert(old).values(
            id="message-1",
            kind="signup_offered",
            household_id="house-1",
            data={},
            useful_until=UNTIL,
            state="delivered",
            correlation="",
            created_at=AT,
            **who,
        )
    )
    for channel, state in (("in_app", "delivered"), ("email", "not_sent"), ("call", "created")):
        connection.execute(
            sa.insert(store.delivery).values(
                id=f"delivery-{channel}",
                message_id="message-1",
                channel=channel,
                state=state,
                why="",
                tries=0,
                created_at=AT,
                due_at=AT,
                **who,
            )
        )


def test_a_call_of_before_ends_when_it_is_of_no_use_any_more(empty_url: str) -> None:
    migrations.upgrade(empty_url, SERVICE.package, SERVICE.metadata, "0002")
    database = Store(empty_url)

    database.write_now(told_before)
    migrations.upgrade(empty_url, SERVICE.package, SERVICE.metadata)
    assert not database.read_now(lambda c: commands.anything_due(c, AT))
    assert database.read_now(lambda c: commands.anything_due(c, UNTIL))
    database.close_now()


def test_no_courier_of_the_version_before_takes_a_call(empty_url: str) -> None:
    """It takes for an e-mail whatever has a next attempt; only revision 0003 gave one to calls."""
    migrations.upgrade(empty_url, SERVICE.package, SERVICE.metadata, "0002")
    database = Store(empty_url)
    attempts = sa.select(store.delivery.c.channel, store.delivery.c.next_attempt)

    def next_attempts() -> dict[str, Any]:
        rows = database.read_now(lambda c: c.execute(attempts).all())
        return {row.channel: row.next_attempt for row in rows}

    none = {"in_app": None, "email": None, "call": None}
    database.write_now(told_before)
    for _ in range(2):
        migrations.upgrade(empty_url, SERVICE.package, SERVICE.metadata, "0003")
        assert next_attempts() == none | {"call": UNTIL}
        migrations.upgrade(empty_url, SERVICE.package, SERVICE.metadata)
        assert next_attempts() == none
        migrations.downgrade(empty_url, SERVICE.package, SERVICE.metadata, "0003")
        assert next_attempts() == none | {"call": UNTIL}
        migrations.downgrade(empty_url, SERVICE.package, SERVICE.metadata, "0002")
        assert next_attempts() == none
    database.close_now()
