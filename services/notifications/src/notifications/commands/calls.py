"""Somebody to call: the end of every chain, done by people."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from contracts.notifications import Channel
from messaging import Transaction
from notifications import store
from notifications.commands import messages, states
from notifications.domain.delivery import State, Why
from runtime.refusals import N_, NotFound, Refusal


def call_done(tx: Transaction, call_id: str, *, reached: bool, centre_id: str = "") -> None:
    """Somebody called; ``reached`` says whether the person was told.

    Raises:
        NotFound: there is no such call in this centre ("" is the foundation).
        Refusal: ``call.done`` when somebody was faster; ``call.not_needed`` when it ended by
            itself.
    """
    row = tx.connection.execute(
        sa.select(store.delivery)
        .where(store.delivery.c.id == call_id, store.delivery.c.channel == Channel.CALL.value)
        .with_for_update()
    ).one_or_none()
    if row is None or centre_id not in ("", row.centre_id):
        raise NotFound(
            "call.unknown", N_("There is no such call."), N_("Go back to the list of calls.")
        )
    if row.state == State.NOT_SENT:
        raise Refusal(
            "call.not_needed",
            N_("This call is not needed any more: there is newer news, or it is too late."),
            N_("Go on with the next one."),
        )
    if row.state != State.CREATED:
        raise Refusal(
            "call.done",
            N_("Somebody has already made this call."),
            N_("Go on with the next one."),
        )
    message = messages.message_row(tx.connection, row.message_id)
    state = State.DELIVERED if reached else State.PERMANENT_FAILURE
    tx.connection.execute(
        sa.update(store.delivery)
        .where(store.delivery.c.id == row.id)
        .values(state=state.value, ended_at=tx.now, tries=1, done_by=tx.actor[:64])
    )
    states.tell(tx, message, Channel.CALL, state)


def over(now: datetime) -> sa.Select[str]:
    """Ids of calls that nobody made and that are of no use any more."""
    delivery = store.delivery.c
    return (
        sa.select(delivery.id)
        .join(store.message, store.message.c.id == delivery.message_id)
        .where(
            delivery.channel == Channel.CALL.value,
            delivery.state == State.CREATED.value,
            store.message.c.useful_until <= now,
        )
    )


def end_calls(tx: Transaction) -> int:
    """Calls that are of no use any more leave the list, 200 at once; how many."""
    ids = tx.connection.scalars(
        over(tx.now)
        .order_by(store.delivery.c.id)
        .limit(200)
        .with_for_update(skip_locked=True, of=store.delivery)
    ).all()
    states.no_calls(tx, ids, Why.LATE)
    return len(ids)
