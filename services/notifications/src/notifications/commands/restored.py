"""Deliveries in a store that came from a backup: nobody knows which e-mails left meanwhile.

What was open in the backup, and what came of facts heard since, may have been handed over before
the store was lost: it is ``unknown`` and never sent again (I4); where it matters somebody calls.
"""

from __future__ import annotations

import sqlalchemy as sa

from contracts.notifications import Channel
from messaging import Transaction
from notifications import store
from notifications.commands import messages, states
from notifications.domain.delivery import OPEN, Answer, State
from notifications.domain.kinds import rule_of
from runtime.settings import Settings


def deliveries_unknown(tx: Transaction, _settings: Settings) -> None:
    """Every e-mail that is still to leave, and that of every message that came back without."""
    delivery = store.delivery
    rows = tx.connection.execute(
        sa.select(delivery)
        .where(
            delivery.c.channel == Channel.EMAIL.value,
            delivery.c.state.in_([state.value for state in OPEN]),
        )
        .order_by(delivery.c.id)
        .with_for_update()
    ).all()
    for row in rows:
        message = messages.message_row(tx.connection, row.message_id)
        assert message is not None, "a delivery has a message"
        tx.correlation = message.correlation or tx.correlation
        tx.connection.execute(
            sa.update(store.attempt)
            .where(store.attempt.c.delivery_id == row.id, store.attempt.c.ended_at.is_(None))
            .values(ended_at=tx.now, answer=Answer.LOST.value, code="restored")
        )
        states.move(tx, row, message, State.UNKNOWN)
    _came_back_without(tx)


def _came_back_without(tx: Transaction) -> None:
    """A message is told in the app at once and by e-mail later: the first fact may have reached the
    bus alone."""
    there = sa.exists().where(
        store.delivery.c.message_id == store.message.c.id,
        store.delivery.c.channel == Channel.EMAIL.value,
    )
    found = tx.connection.execute(sa.select(store.message).where(sa.not_(there))).all()
    for message in found:
        row = states.delivery_row(message, Channel.EMAIL, State.UNKNOWN, now=tx.now)
        tx.connection.execute(sa.insert(store.delivery).values(**row))
        tx.connection.execute(
            sa.update(store.message)
            .where(store.message.c.id == message.id)
            .values(state=State.UNKNOWN.value)
        )
        tx.correlation = message.correlation or tx.correlation
        states.tell(tx, message, Channel.EMAIL, State.UNKNOWN)
        if rule_of(message.kind).needs_call:
            states.call(tx, message)
