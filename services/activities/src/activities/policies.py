"""What activities does because of others' facts, and what falls due."""

from __future__ import annotations

from activities import commands
from activities.commands.sessions import OFFER_EXPIRY, SESSION_BEGINS
from contracts.people import PersonErased
from messaging import Policies, Received, Transaction
from runtime.scheduler import Job, Jobs

FORGET_PERSON = "activities.forget_person"

policies = Policies()
jobs = Jobs()


@policies.on(PersonErased)
def person_erased(tx: Transaction, received: Received[PersonErased]) -> None:
    """Their live sign-ups end: as work of its own, since the places go on to others."""
    tx.schedule(FORGET_PERSON, received.event.person_id, tx.now)


@jobs.handler(FORGET_PERSON)
def forget_person(tx: Transaction, job: Job) -> None:
    commands.forget_person(tx, job.subject)


@jobs.handler(OFFER_EXPIRY)
def offer_expiry(tx: Transaction, job: Job) -> None:
    commands.expire_offers(tx, job.subject)


@jobs.handler(SESSION_BEGINS)
def session_begins(tx: Transaction, job: Job) -> None:
    commands.begin_session(tx, job.subject)
