"""What must hold, recomputed from the store alone (DESIGN §6, I4), and figures for the watch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import sqlalchemy as sa

from contracts.notifications import Channel
from messaging import Check, Difference
from notifications import store
from notifications.domain.delivery import Answer, State

IN_TIME = 10.0
"""Seconds from the moment at which an e-mail may leave to its hand-over (GOV.UK Notify)."""
LATEST = 1000

_delivery, _message, _attempt = store.delivery.c, store.message.c, store.attempt.c


def once(connection: sa.Connection) -> Sequence[Difference]:
    """I4: one intent, recipient and channel: at most one delivery, handed over at most once."""
    twice = connection.execute(
        sa.select(_delivery.intent, _delivery.channel, sa.func.count())
        .group_by(_delivery.intent, _delivery.person_id, _delivery.channel)
        .having(sa.func.count() > 1)
    )
    found = [
        Difference("notifications.once", f"{intent} by {channel}", "1", str(count))
        for intent, channel, count in twice
    ]
    handed_over = connection.execute(
        sa.select(_attempt.delivery_id, sa.func.count())
        .where(_attempt.answer.in_([Answer.TAKEN.value, Answer.LOST.value, ""]))
        .group_by(_attempt.delivery_id)
        .having(sa.func.count() > 1)
    )
    found += [
        Difference("notifications.handed_over_once", delivery_id, "at most 1", str(count))
        for delivery_id, count in handed_over
    ]
    return found


def nothing_forgotten(connection: sa.Connection) -> Sequence[Difference]:
    """Every e-mail that is open has a next attempt or a lease, every other delivery neither:
    couriers take what has a next attempt."""
    waiting = _delivery.state.in_([State.CREATED.value, State.TEMPORARY_FAILURE.value])
    to_leave = sa.and_(_delivery.channel == Channel.EMAIL.value, waiting)
    wrong = sa.or_(
        to_leave != _delivery.next_attempt.is_not(None),
        (_delivery.state == State.SENDING.value) != _delivery.lease_until.is_not(None),
    )
    return [
        Difference(
            "notifications.next_attempt",
            row.id,
            "a next attempt or a lease exactly while it is open",
            f"{row.state}, next attempt {row.next_attempt}, lease until {row.lease_until}",
        )
        for row in connection.execute(sa.select(store.delivery).where(wrong))
    ]


def in_the_inbox(connection: sa.Connection) -> Sequence[Difference]:
    """Every message is in the inbox, and stands as its e-mail does."""
    inbox, email = store.delivery.alias("inbox"), store.delivery.alias("email")
    stands = sa.case(
        (email.c.state.is_(None), State.DELIVERED.value),
        (email.c.state == State.NOT_SENT.value, State.DELIVERED.value),
        else_=email.c.state,
    )
    rows = connection.execute(
        sa.select(_message.id, _message.state, stands.label("stands"), inbox.c.state.label("box"))
        .select_from(store.message)
        .outerjoin(
            inbox,
            sa.and_(inbox.c.message_id == _message.id, inbox.c.channel == Channel.IN_APP.value),
        )
        .outerjoin(
            email,
            sa.and_(email.c.message_id == _message.id, email.c.channel == Channel.EMAIL.value),
        )
        .where(
            sa.or_(
                inbox.c.state.is_(None),
                inbox.c.state != State.DELIVERED.value,
                _message.state != stands,
            )
        )
    )
    return [
        Difference(
            "notifications.message",
            row.id,
            f"in the inbox, and {row.stands}",
            f"inbox {row.box}, and {row.state}",
        )
        for row in rows
    ]


def forgotten(connection: sa.Connection) -> Sequence[Difference]:
    """Nothing of a person who was erased is left but the stub."""
    person = store.person_contact.c
    left = sa.or_(
        *(
            column != ""
            for column in (
                person.given_name,
                person.family_name,
                person.email,
                person.phone,
                person.household_id,
            )
        ),
        sa.exists().where(_message.person_id == person.person_id),
        sa.exists().where(_delivery.person_id == person.person_id),
    )
    rows = connection.execute(sa.select(person.person_id).where(person.erased, left))
    return [
        Difference("notifications.forgotten", row.person_id, "only an id", "more") for row in rows
    ]


CHECKS = (
    Check("notifications.once", once),
    Check("notifications.next_attempt", nothing_forgotten),
    Check("notifications.message", in_the_inbox),
    Check("notifications.forgotten", forgotten),
)


def oldest_created(connection: sa.Connection) -> float:
    """Seconds for which the e-mail that is due the longest has waited for its first hand-over.

    Quiet hours do not count: what is deferred is not due.
    """
    oldest = connection.scalar(
        sa.select(sa.func.min(_delivery.next_attempt)).where(
            _delivery.next_attempt.is_not(None), _delivery.state == State.CREATED.value
        )
    )
    return 0.0 if oldest is None else max(0.0, (datetime.now(UTC) - oldest).total_seconds())


def in_time(connection: sa.Connection) -> float:
    """Which share of the latest 1000 e-mails was handed over within 10 s; 1 when there are none."""
    rows = connection.execute(
        sa.select(_delivery.due_at, _delivery.ended_at)
        .where(
            _delivery.channel == Channel.EMAIL.value,
            _delivery.state == State.DELIVERED.value,
            _delivery.ended_at.is_not(None),
        )
        .order_by(_delivery.ended_at.desc())
        .limit(LATEST)
    ).all()
    quick = sum((row.ended_at - row.due_at).total_seconds() <= IN_TIME for row in rows)
    return quick / len(rows) if rows else 1.0


GAUGES: Mapping[str, Callable[[sa.Connection], float]] = {
    "notifications_oldest_created_seconds": oldest_created,
    "notifications_handed_over_in_time": in_time,
}
