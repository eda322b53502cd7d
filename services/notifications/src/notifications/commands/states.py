"""The one place where the state of a delivery is written, with what the others are told of it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from contracts.notifications import Channel, MessageDelivered, MessageFailed
from messaging import Transaction
from notifications import store
from notifications.domain import delivery as domain
from notifications.domain.delivery import State, Why
from notifications.domain.kinds import rule_of
from runtime.ids import derived
from runtime.store import insert_ignore

TOLD_AS_FAILED = domain.FAILED | {State.UNKNOWN}


def delivery_id(message_id: str, channel: Channel) -> str:
    """The id of the delivery of a message by a channel: there is only one."""
    return derived("delivery", message_id, channel.value)


def delivery_row(
    message: sa.Row[Any] | Any,
    channel: Channel,
    state: State,
    *,
    now: datetime,
    why: Why = Why.NOTHING,
    due_at: datetime | None = None,
    next_attempt: datetime | None = None,
) -> dict[str, Any]:
    """A new delivery. Every row names the same columns, so that many are written as one set."""
    return {
        "id": delivery_id(message.id, channel),
        "message_id": message.id,
        "intent": message.intent,
        "person_id": message.person_id,
        "channel": channel.value,
        "centre_id": message.centre_id,
        "state": state.value,
        "why": why.value,
        "tries": 0,
        "created_at": now,
        "due_at": due_at or now,
        "next_attempt": next_attempt,
        "taken_at": None,
        "ended_at": None if state in domain.OPEN else now,
    }


def move(
    tx: Transaction, row: sa.Row[Any], message: sa.Row[Any], state: State, **values: Any
) -> None:
    """Bring an e-mail to a state; its message follows. The caller has locked the delivery."""
    ended = None if state in domain.OPEN else tx.now
    tx.connection.execute(
        sa.update(store.delivery)
        .where(store.delivery.c.id == row.id)
        .values(
            state=state.value,
            **{"why": "", "next_attempt": None, "lease_until": None, "ended_at": ended, **values},
        )
    )
    tx.connection.execute(
        sa.update(store.message)
        .where(store.message.c.id == message.id)
        .values(state=domain.of_message(state).value)
    )
    tell(tx, message, Channel.EMAIL, state)
    if state in TOLD_AS_FAILED and rule_of(message.kind).needs_call:
        call(tx, message)


def not_sent(tx: Transaction, row: sa.Row[Any], message: sa.Row[Any], why: Why) -> None:
    """This e-mail will not be sent."""
    move(tx, row, message, State.NOT_SENT, why=why.value)
    if rule_of(message.kind).needs_call:
        call(tx, message)


def call(tx: Transaction, message: sa.Row[Any] | Any) -> None:
    """The end of the chain: somebody of the staff calls, as long as it is of use. Once for each
    message."""
    if domain.of_no_use(message.useful_until, tx.now):
        return
    insert_ignore(
        tx.connection,
        store.delivery,
        [delivery_row(message, Channel.CALL, State.CREATED, now=tx.now)],
    )


def no_calls(tx: Transaction, ids: Collection[str], why: Why) -> None:
    """Nobody needs to make these calls any more. The caller has locked the deliveries."""
    tx.connection.execute(
        sa.update(store.delivery)
        .where(store.delivery.c.id.in_(ids))
        .values(state=State.NOT_SENT.value, why=why.value, ended_at=tx.now)
    )


def tell(tx: Transaction, message: sa.Row[Any] | Any, channel: Channel, state: State) -> None:
    """Tell the others how a delivery ended, if it did."""
    what: dict[str, Any] = {
        "message_id": message.id,
        "person_id": message.person_id,
        "household_id": message.household_id,
        "centre_id": message.centre_id,
        "kind": message.kind,
        "channel": channel,
    }
    if state is State.DELIVERED:
        tx.emit(MessageDelivered(**what, delivered_at=tx.now), centre=message.centre_id)
    elif state in TOLD_AS_FAILED:
        tx.emit(
            MessageFailed(**what, state=state.value, failed_at=tx.now), centre=message.centre_id
        )
