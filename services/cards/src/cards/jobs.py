"""What cards does by itself when its time has come (rows ``due``, see ``runtime.scheduler``)."""

from __future__ import annotations

import sqlalchemy as sa

from cards import moves, store
from cards.store.ledger import EXPIRY_JOB, TIMEOUT_JOB, Ledger
from cards.store.people import FORGET_JOB
from contracts.people import PersonErased
from messaging import Transaction
from runtime.logging import get_logger
from runtime.scheduler import Job, Jobs

log = get_logger()
jobs = Jobs()

EXPIRY_SLICE = 500
"""Households whose points expire in one transaction; the till waits no longer than that takes."""


@jobs.handler(EXPIRY_JOB)
def expire_points(tx: Transaction, job: Job) -> None:
    """Points whose time has come are lost, household by household, a slice at a time."""
    table = store.bucket
    due = list(
        tx.connection.scalars(
            sa.select(table.c.household_id)
            .where(table.c.expires_at <= tx.now, table.c.balance > table.c.held)
            .distinct()
            .order_by(table.c.household_id)
            .limit(EXPIRY_SLICE)
        )
    )
    ledger = Ledger.of(tx)
    ledger.load(households=due)
    expired = 0
    for household_id in due:
        household = ledger.household(household_id)
        if household is not None:
            expired += moves.expire(ledger, household)
    if expired:
        log.info("cards.points.expired", count=expired, rows=len(due))
    if len(due) == EXPIRY_SLICE:
        tx.schedule(job.name, job.subject, tx.now)


@jobs.handler(TIMEOUT_JOB)
def time_out_hold(tx: Transaction, job: Job) -> None:
    """A hold that the shop has not ended within 24 hours is freed, with an alarm."""
    ledger = Ledger.of(tx)
    owner = tx.connection.scalar(
        sa.select(store.hold.c.household_id).where(store.hold.c.id == job.subject)
    )
    ledger.load(households=[owner or ""], holds=[job.subject])
    hold = ledger.holds.get(job.subject)
    household = ledger.household(owner) if owner else None
    if hold is None or household is None or not hold.open:
        return
    log.error("cards.hold.timed_out", subject_id=hold.id)
    moves.release(ledger, household, hold, timed_out=True)


@jobs.handler(FORGET_JOB)
def forget_once_more(tx: Transaction, job: Job) -> None:
    """The tombstone again, so that the bus lets go of what lies before it (``people.erase``)."""
    tx.emit(PersonErased(person_id=job.subject), centre=job.data["centre_id"])
