"""What always holds in the network, recomputed from its own store (``vicinato verify``)."""

from __future__ import annotations

import sqlalchemy as sa

from messaging import Check, Difference
from network import store
from network.commands.referrals import EXPIRE, OVERDUE, REMIND
from network.domain.referral import CLOSED, UNFINISHED, State

_MOST = 1000
"""Differences that are named; more say nothing more."""


def outcomes(connection: sa.Connection) -> list[Difference]:
    """No referral is closed without an outcome or a reason."""
    referral = store.referral
    rows = connection.execute(
        sa.select(referral.c.id, referral.c.state)
        .where(
            referral.c.state.in_(sorted(CLOSED)),
            referral.c.outcome == "",
            referral.c.reason == "",
        )
        .limit(_MOST)
    )
    return [
        Difference("referral_outcome", row.id, "an outcome or a reason", f"none in {row.state}")
        for row in rows
    ]


def due_rows(connection: sa.Connection) -> list[Difference]:
    """Whatever waits for an answer has its deadline and the rows that watch it."""
    referral = store.referral
    job = store.metadata.tables["job"]
    found: list[Difference] = []
    for name, done in (
        (REMIND, referral.c.reminded),
        (OVERDUE, referral.c.overdue),
        (EXPIRE, sa.false()),
    ):
        subject = referral.c.id + ":" + sa.cast(referral.c.round, sa.String)
        there = sa.exists().where(
            job.c.name == name,
            job.c.period == "",
            job.c.subject == subject,
            job.c.state == "waiting",
        )
        rows = connection.execute(
            sa.select(referral.c.id)
            .where(referral.c.state == State.REQUESTED, ~done, ~there)
            .limit(_MOST)
        )
        found += [Difference("referral_due", row.id, f"a row of {name}", "none") for row in rows]
    rows = connection.execute(
        sa.select(referral.c.id)
        .where(
            referral.c.state == State.REQUESTED,
            sa.or_(referral.c.answer_by.is_(None), referral.c.expires_at.is_(None)),
        )
        .limit(_MOST)
    )
    return found + [Difference("referral_due", row.id, "a deadline", "none") for row in rows]


def last_steps(connection: sa.Connection) -> list[Difference]:
    """The state is the one to which the last step led."""
    referral, step = store.referral, store.referral_step
    last = (
        sa.select(step.c.referral_id, sa.func.max(step.c.number).label("number"))
        .group_by(step.c.referral_id)
        .subquery()
    )
    rows = connection.execute(
        sa.select(referral.c.id, referral.c.state, step.c.state.label("told"))
        .join(last, last.c.referral_id == referral.c.id, isouter=True)
        .join(
            step,
            sa.and_(step.c.referral_id == last.c.referral_id, step.c.number == last.c.number),
            isouter=True,
        )
        .where(sa.or_(step.c.state.is_(None), step.c.state != referral.c.state))
        .limit(_MOST)
    )
    return [
        Difference("referral_step", row.id, f"a last step to {row.state}", row.told or "none")
        for row in rows
    ]


def consents(connection: sa.Connection) -> list[Difference]:
    """Nothing goes on for a household that withdrew, unless somebody answers for it."""
    referral, consent = store.referral, store.consent_seen
    rows = connection.execute(
        sa.select(referral.c.id, referral.c.state)
        .join(consent, consent.c.household_id == referral.c.household_id)
        .where(
            referral.c.state.in_(sorted(UNFINISHED - {State.DRAFT})),
            ~referral.c.overridden,
            ~consent.c.given,
        )
        .limit(_MOST)
    )
    return [
        Difference("referral_consent", row.id, "cancelled: consent withdrawn", row.state)
        for row in rows
    ]


CHECKS = (
    Check("referral_outcome", outcomes),
    Check("referral_due", due_rows),
    Check("referral_step", last_steps),
    Check("referral_consent", consents),
)


def waiting(connection: sa.Connection) -> float:
    """Referrals that wait for an answer."""
    return _count(connection, store.referral.c.state == State.REQUESTED)


def overdue(connection: sa.Connection) -> float:
    """Referrals without an answer after the days of grace."""
    referral = store.referral
    return _count(connection, (referral.c.state == State.REQUESTED) & referral.c.overdue)


def _count(connection: sa.Connection, wanted: sa.ColumnElement[bool]) -> float:
    return float(
        connection.execute(
            sa.select(sa.func.count()).select_from(store.referral).where(wanted)
        ).scalar_one()
    )
