"""What follows when somebody is forgotten."""

from __future__ import annotations

import sqlalchemy as sa

from activities import store
from activities.commands.sessions import HOUSE, opened
from activities.domain.waiting_list import LIVE, State
from messaging import Transaction


def forget_person(tx: Transaction, person_id: str) -> None:
    """Somebody erased comes to no session any more: their places go to the next.

    Sessions are locked in the order of their ids. What was is kept by id, without a name.
    """
    session_ids = tx.connection.execute(
        sa.select(store.sign_up.c.session_id)
        .join(store.session, store.session.c.id == store.sign_up.c.session_id)
        .where(
            store.sign_up.c.person_id == person_id,
            store.sign_up.c.state.in_([str(state) for state in LIVE]),
            store.session.c.starts_at > tx.now,
        )
        .order_by(store.sign_up.c.session_id)
    ).scalars()
    for session_id in session_ids.all():
        work = opened(tx, HOUSE, session_id)
        for one in work.session.live:
            if one.person_id == person_id and one.live:
                work.end(one, State.CANCELLED, "person_erased")
        work.settle()
        work.save()
