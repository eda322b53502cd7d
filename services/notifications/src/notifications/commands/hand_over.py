"""E-mails leave the house: a lease, committed before the mail server is called; then its answer.

What holds (I4): `take` marks one delivery as being sent, with a time limit, and the caller commits
before it connects. `finish` writes the answer of that very lease. A lease whose time is over
without an answer is ``unknown``: nobody knows whether the mail server took the message, hence it is
never sent again; an answer that comes after all still counts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

import sqlalchemy as sa

from contracts.notifications import Channel, ContactUnreachable
from messaging import Transaction
from notifications import store
from notifications.commands import calls, messages, states
from notifications.domain import delivery as domain
from notifications.domain.delivery import Answer, State, Why
from runtime.store import upsert


@dataclass(frozen=True)
class HandOver:
    """An e-mail that is leased to the caller, with what its text needs."""

    delivery_id: str
    lease_id: str
    message_id: str
    kind: str
    data: Mapping[str, Any]
    name: str
    address: str
    owner_id: str
    language: str
    centre: store.Centre


class Taken(Enum):
    """What `take` did when it leased nothing."""

    NOTHING_DUE = "nothing_due"
    MOVED = "moved"


def anything_due(connection: sa.Connection, now: datetime) -> bool:
    """Whether some e-mail is due, some lease over, or some call of no use any more; cheap."""
    delivery = store.delivery.c
    due = sa.select(delivery.id).where(delivery.next_attempt <= now)
    lost = sa.select(delivery.id).where(delivery.lease_until <= now)
    return any(
        connection.scalar(some.limit(1)) is not None for some in (due, lost, calls.over(now))
    )


def take(tx: Transaction, *, lease_for: timedelta, mail_server: bool = True) -> HandOver | Taken:
    """Look at the e-mail that is due first: lease it, or move it to where it belongs.

    What is due together leaves in the order in which it was made, to one person one by one.
    One delivery in each transaction, so that no lease outlives a process that had not begun it.
    """
    delivery = store.delivery.c
    row = tx.connection.execute(
        sa.select(store.delivery)
        .where(delivery.next_attempt <= tx.now, sa.not_(_older_leaves_first(tx.now)))
        .order_by(delivery.next_attempt, delivery.created_at, delivery.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).one_or_none()
    if row is None:
        return Taken.NOTHING_DUE
    message = messages.message_row(tx.connection, row.message_id)
    assert message is not None, "a delivery has a message"
    tx.correlation = message.correlation or tx.correlation
    leased = _lease(tx, row, message, lease_for, mail_server)
    return leased or Taken.MOVED


def _older_leaves_first(now: datetime) -> sa.ColumnElement[bool]:
    """Whether something older to the same person is due or under way.

    One that is put off or waits for its next try holds nobody up: a mail server that refuses one
    text for four hours must not keep back the others, nor the night what is critical.
    """
    older, this = store.delivery.alias("older").c, store.delivery.c
    return sa.exists().where(
        older.person_id == this.person_id,
        sa.or_(older.next_attempt <= now, older.lease_until.is_not(None)),
        sa.tuple_(older.created_at, older.id) < sa.tuple_(this.created_at, this.id),
    )


def _lease(
    tx: Transaction,
    row: sa.Row[Any],
    message: sa.Row[Any],
    lease_for: timedelta,
    mail_server: bool,
) -> HandOver | None:
    if domain.of_no_use(message.useful_until, tx.now):
        states.not_sent(tx, row, message, Why.LATE)
        return None
    why, contact = messages.way(
        tx.connection, message.kind, message.person_id, message.household_id
    )
    if why is Why.CONTACT:
        again = domain.wait_for_contact(row.created_at, tx.now)
        if again is not None:
            _defer(tx, row, again, Why.CONTACT)
            return None
        why = Why.NO_ADDRESS
    if why is Why.NOTHING and not mail_server:
        why = Why.NO_MAIL_SERVER
    if why is not Why.NOTHING:
        states.not_sent(tx, row, message, why)
        return None
    leaves = messages.may_leave(tx.connection, message, tx.now)
    if leaves > tx.now:
        _defer(tx, row, leaves, Why.QUIET_HOURS, due_at=leaves)
        return None
    address = hashlib.sha256(contact.address.strip().lower().encode()).hexdigest()
    content = _digest(message.kind, message.data, contact)
    store.alone_with(tx.connection, address)
    again = _too_many(tx.connection, row.id, address, content, tx.now)
    if again is not None:
        leaves = messages.may_leave(tx.connection, message, again)
        _defer(tx, row, leaves, Why.TOO_MANY)
        return None
    lease_id = tx.ids.new()
    tx.connection.execute(
        sa.insert(store.attempt).values(
            delivery_id=row.id, lease_id=lease_id, at=tx.now, answer="", code=""
        )
    )
    states.move(
        tx,
        row,
        message,
        State.SENDING,
        tries=row.tries + 1,
        lease_id=lease_id,
        lease_until=tx.now + lease_for,
        address_digest=address,
        content_digest=content,
        taken_at=tx.now,
    )
    return HandOver(
        delivery_id=row.id,
        lease_id=lease_id,
        message_id=message.id,
        kind=message.kind,
        data=message.data,
        name=contact.name,
        address=contact.address.strip(),
        owner_id=contact.owner_id,
        language=contact.language,
        centre=store.centre(tx.connection, message.centre_id),
    )


def finish(tx: Transaction, leased: HandOver, answer: Answer, code: str = "") -> bool:
    """Write what the mail server answered; False when the lease is not in force any more."""
    row = tx.connection.execute(
        sa.select(store.delivery)
        .where(
            store.delivery.c.id == leased.delivery_id,
            store.delivery.c.lease_id == leased.lease_id,
            store.delivery.c.state.in_([State.SENDING.value, State.UNKNOWN.value]),
        )
        .with_for_update()
    ).one_or_none()
    if row is None or (row.state == State.UNKNOWN and answer is Answer.LOST):
        return False
    message = messages.message_row(tx.connection, row.message_id)
    assert message is not None, "a delivery has a message"
    _answered(tx, row, message, answer, code)
    if answer is Answer.NEVER:
        _unreachable(tx, message, leased.owner_id, row.address_digest)
    elif answer is Answer.TAKEN:
        tx.connection.execute(
            sa.delete(store.unreachable).where(
                store.unreachable.c.person_id == leased.owner_id,
                store.unreachable.c.channel == Channel.EMAIL.value,
            )
        )
    return True


def lose_expired(tx: Transaction, *, mine: Collection[str] = ()) -> int:
    """Leases whose time is over, other than the caller's own: ``unknown``; how many."""
    rows = tx.connection.execute(
        sa.select(store.delivery)
        .where(
            store.delivery.c.lease_until <= tx.now,
            store.delivery.c.lease_id.not_in(list(mine)),
        )
        .order_by(store.delivery.c.id)
        .limit(200)
        .with_for_update(skip_locked=True)
    ).all()
    for row in rows:
        message = messages.message_row(tx.connection, row.message_id)
        assert message is not None, "a delivery has a message"
        _answered(tx, row, message, Answer.LOST, "lease_over")
    return len(rows)


def _answered(
    tx: Transaction, row: sa.Row[Any], message: sa.Row[Any], answer: Answer, code: str
) -> None:
    tx.correlation = message.correlation or tx.correlation
    tx.connection.execute(
        sa.update(store.attempt)
        .where(store.attempt.c.delivery_id == row.id, store.attempt.c.lease_id == row.lease_id)
        .values(ended_at=tx.now, answer=answer.value, code=code[:40])
    )
    step = domain.after(answer, tries=row.tries, now=tx.now)
    again = step.retry_at
    if again is not None:
        again = messages.may_leave(tx.connection, message, again)
    states.move(tx, row, message, step.state, next_attempt=again)


def _defer(
    tx: Transaction,
    row: sa.Row[Any],
    until: datetime,
    why: Why,
    *,
    due_at: datetime | None = None,
) -> None:
    """Later; its state stays."""
    tx.connection.execute(
        sa.update(store.delivery)
        .where(store.delivery.c.id == row.id)
        .values(
            next_attempt=until,
            why=why.value,
            due_at=row.due_at if due_at is None or row.tries else due_at,
        )
    )


def _too_many(
    connection: sa.Connection, delivery_id: str, address: str, content: str, now: datetime
) -> datetime | None:
    """When the next identical message may go to this address; None: now."""
    delivery = store.delivery.c
    oldest: datetime | None = connection.scalar(
        sa.select(delivery.taken_at)
        .where(
            delivery.address_digest == address,
            delivery.content_digest == content,
            delivery.taken_at > now - domain.IDENTICAL_WITHIN,
            delivery.id != delivery_id,
        )
        .order_by(delivery.taken_at.desc())
        .offset(domain.MOST_IDENTICAL - 1)
        .limit(1)
    )
    return None if oldest is None else oldest + domain.IDENTICAL_WITHIN


def _digest(kind: str, data: Mapping[str, Any], contact: store.Contact) -> str:
    """What makes two messages identical: the same text would come of it."""
    content = json.dumps([kind, data, contact.name, contact.language], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _unreachable(tx: Transaction, message: sa.Row[Any], owner_id: str, address_digest: str) -> None:
    """Tell the others once for each address that failed for good."""
    known = tx.connection.scalar(
        sa.select(store.unreachable.c.address_digest).where(
            store.unreachable.c.person_id == owner_id,
            store.unreachable.c.channel == Channel.EMAIL.value,
        )
    )
    if known == address_digest:
        return
    upsert(
        tx.connection,
        store.unreachable,
        [
            {
                "person_id": owner_id,
                "channel": Channel.EMAIL.value,
                "address_digest": address_digest,
                "seen_at": tx.now,
            }
        ],
        key=("person_id", "channel"),
    )
    tx.emit(
        ContactUnreachable(
            person_id=owner_id,
            household_id=message.household_id,
            centre_id=message.centre_id,
            channel=Channel.EMAIL,
            seen_at=tx.now,
        ),
        centre=message.centre_id,
    )
