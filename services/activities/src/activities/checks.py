"""What `vicinato verify` recomputes of activities (DESIGN §6, I3), from its own store alone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from activities import store
from activities.commands.sessions import OFFER_EXPIRY
from activities.domain.audit import Stay, passed_over
from activities.domain.waiting_list import LIVE, TAKEN, Policy, State
from messaging import Check, Difference
from runtime.scheduler import JOB, WAITING


def capacity(connection: sa.Connection) -> list[Difference]:
    """Confirmed and offered places never exceed the capacity of a session."""
    taken = sa.func.count()
    rows = connection.execute(
        sa.select(store.session.c.id, store.session.c.capacity, taken.label("taken"))
        .join(store.sign_up, store.sign_up.c.session_id == store.session.c.id)
        .where(store.sign_up.c.state.in_([str(state) for state in TAKEN]))
        .group_by(store.session.c.id, store.session.c.capacity)
        .having(taken > store.session.c.capacity)
    )
    return [
        Difference("activities.capacity", row.id, f"at most {row.capacity}", str(row.taken))
        for row in rows
    ]


def one_live(connection: sa.Connection) -> list[Difference]:
    """Nobody holds two live sign-ups for one session, and none lives in a cancelled session."""
    live = store.sign_up.c.state.in_([str(state) for state in LIVE])
    twice = connection.execute(
        sa.select(store.sign_up.c.session_id, store.sign_up.c.person_id, sa.func.count())
        .where(live)
        .group_by(store.sign_up.c.session_id, store.sign_up.c.person_id)
        .having(sa.func.count() > 1)
    )
    found = [
        Difference("activities.one_live_sign_up", f"{session_id}/{person_id}", "1", str(count))
        for session_id, person_id, count in twice
    ]
    stranded = connection.execute(
        sa.select(store.sign_up.c.id)
        .join(store.session, store.session.c.id == store.sign_up.c.session_id)
        .where(live, store.session.c.state == "cancelled")
    ).scalars()
    return found + [
        Difference("activities.session_cancelled", sign_up_id, "ended", "live")
        for sign_up_id in stranded
    ]


def offers_due(connection: sa.Connection) -> list[Difference]:
    """Every offer has its due row, at its deadline (later only when it is tried again) and not
    given up, and no deadline is beyond the beginning."""
    rows = connection.execute(
        sa.select(
            store.sign_up.c.id,
            store.sign_up.c.answer_by,
            store.session.c.starts_at,
            JOB.c.due,
            JOB.c.tries,
            JOB.c.state,
        )
        .join(store.session, store.session.c.id == store.sign_up.c.session_id)
        .outerjoin(
            JOB,
            sa.and_(
                JOB.c.name == OFFER_EXPIRY,
                JOB.c.period == "",
                JOB.c.subject == store.sign_up.c.id,
            ),
        )
        .where(store.sign_up.c.state == str(State.OFFERED))
    )
    found = []
    for row in rows:
        if row.due is None:
            wrong = "no due row"
        elif row.state != WAITING:
            wrong = str(row.state)
        elif not row.tries and row.due != row.answer_by:
            wrong = f"due at {row.due}"
        else:
            wrong = ""
        if wrong:
            found.append(
                Difference("activities.offer_due", row.id, f"due at {row.answer_by}", wrong)
            )
        if row.answer_by is None or row.answer_by > row.starts_at:
            found.append(
                Difference(
                    "activities.offer_deadline",
                    row.id,
                    f"by {row.starts_at}",
                    str(row.answer_by),
                )
            )
    return found


def order(connection: sa.Connection) -> list[Difference]:
    """Nobody got a place while somebody waited who had to be served first, where decidable."""
    return [
        Difference("activities.waiting_list_order", passed, "served first", f"passed by {other}")
        for passed, other in _passed_over(connection)
    ]


def _passed_over(connection: sa.Connection) -> Iterator[tuple[str, str]]:
    rows = connection.execute(
        sa.select(store.sign_up, store.activity.c.waiting_list_policy)
        .join(store.session, store.session.c.id == store.sign_up.c.session_id)
        .join(store.activity, store.activity.c.id == store.session.c.activity_id)
        .order_by(store.sign_up.c.session_id)
        # Of the statement: on the connection it would hold for whoever uses that next.
        .execution_options(yield_per=1000)
    )
    for _, of_session in groupby(rows, key=lambda row: row.session_id):
        stays = []
        policy = Policy.NEXT_WHO_FITS
        for row in of_session:
            policy = Policy(row.waiting_list_policy)
            if not row.recovered:
                stays.append(_stay(row))
        yield from passed_over(policy, stays)


def _stay(row: sa.Row[Any]) -> Stay:
    placed_at = row.offered_at or row.confirmed_at
    return Stay(
        store.sign_up_of(row).entry,
        waited=row.offered_at is not None or row.confirmed_at is None,
        waited_until=placed_at or row.ended_at,
        placed_at=placed_at,
    )


def registers(connection: sa.Connection) -> list[Difference]:
    """The sums that a register told are the sums of its marks."""
    one = store.attendance.c
    sums = (
        sa.select(
            one.session_id,
            sa.func.sum(sa.case((one.present.is_(True), 1), else_=0)).label("present"),
            sa.func.sum(
                sa.case((sa.and_(one.present.is_(False), one.expected.is_(True)), 1), else_=0)
            ).label("absent"),
        )
        .group_by(one.session_id)
        .subquery()
    )
    present = sa.func.coalesce(sums.c.present, 0)
    absent = sa.func.coalesce(sums.c.absent, 0)
    rows = connection.execute(
        sa.select(
            store.session.c.id,
            store.session.c.register_present,
            store.session.c.register_absent,
            present.label("present"),
            absent.label("absent"),
        )
        .outerjoin(sums, sums.c.session_id == store.session.c.id)
        .where(
            sa.or_(
                store.session.c.register_present != present,
                store.session.c.register_absent != absent,
            )
        )
    )
    return [
        Difference(
            "activities.register_sums",
            row.id,
            f"{row.present} present, {row.absent} absent",
            f"{row.register_present} present, {row.register_absent} absent",
        )
        for row in rows
    ]


CHECKS = (
    Check("activities.capacity", capacity),
    Check("activities.one_live_sign_up", one_live),
    Check("activities.offer_due", offers_due),
    Check("activities.waiting_list_order", order),
    Check("activities.register_sums", registers),
)
