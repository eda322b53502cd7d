"""A later fact of a sign-up ends what is still to be told of it: who was told that an activity does
not take place must not hear afterwards that the place is confirmed.

The inbox keeps everything: there each message has its time.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from contracts.notifications import Channel
from messaging import Transaction
from notifications import store
from notifications.commands import messages, states
from notifications.domain.delivery import OPEN, State, Why


def overtake(tx: Transaction, about: str, *, intent: str, happened_at: datetime) -> None:
    """E-mails that have not left and calls that were not made of what a sign-up was before.

    An e-mail that is under way ends as the mail server says, but is not tried again and leaves no
    call: from now on it is of no use.
    """
    earlier = sa.and_(
        store.message.c.about == about,
        store.message.c.happened_at <= happened_at,
        store.message.c.intent != intent,
    )
    rows = tx.connection.execute(
        sa.select(store.delivery)
        .where(
            store.delivery.c.message_id.in_(sa.select(store.message.c.id).where(earlier)),
            store.delivery.c.state.in_([state.value for state in OPEN]),
        )
        .order_by(store.delivery.c.id)
        .with_for_update()
    ).all()
    for row in rows:
        if row.channel == Channel.CALL:
            states.no_calls(tx, [row.id], Why.OVERTAKEN)
        elif row.state != State.SENDING:
            message = messages.message_row(tx.connection, row.message_id)
            assert message is not None, "a delivery has a message"
            states.move(tx, row, message, State.NOT_SENT, why=Why.OVERTAKEN.value)
    useful_until = store.message.c.useful_until
    tx.connection.execute(
        sa.update(store.message)
        .where(earlier, sa.or_(useful_until.is_(None), useful_until > tx.now))
        .values(useful_until=tx.now)
    )
