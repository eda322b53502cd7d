"""Periodic work: keys take turns, what has ended is forgotten."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from identity import store
from identity.commands import keys
from messaging import Transaction
from runtime.scheduler import Job, Jobs

KEYS = "identity.keys_in_turn"
FORGET = "identity.forget_ended"
EVERY = {KEYS: timedelta(hours=6), FORGET: timedelta(days=1)}
ALL = "all"

ENDED_SESSIONS_KEPT = timedelta(days=30)
"""So that somebody who looks sees what was signed in lately."""

SLICE = 5_000

jobs = Jobs()


def schedule(tx: Transaction, *, after: timedelta | None = None) -> None:
    """Have all periodic work done after a while; asked again it is only moved."""
    for name, every in EVERY.items():
        tx.schedule(name, ALL, tx.now + (every if after is None else after))


@jobs.handler(KEYS)
def keys_in_turn(tx: Transaction, job: Job) -> None:
    """The next signing key is published a day before the last one ends."""
    keys.keep_in_turn(tx)
    tx.schedule(KEYS, ALL, tx.now + EVERY[KEYS])


@jobs.handler(FORGET)
def forget_ended(tx: Transaction, job: Job) -> None:
    """Sessions that ended a month ago, empty buckets of attempts, keys and revocations of no use.

    In slices: when there is more, the rest comes a minute later.
    """
    keys.forget_ended(tx)
    full = _forget(tx, store.session.c.id, store.session.c.ends_at <= tx.now - ENDED_SESSIONS_KEPT)
    full |= _forget(tx, store.attempt.c.subject, store.attempt.c.forget_at <= tx.now)
    tx.schedule(FORGET, ALL, tx.now + (timedelta(minutes=1) if full else EVERY[FORGET]))


def _forget(tx: Transaction, key: sa.Column[str], ended: sa.ColumnElement[bool]) -> bool:
    """Delete a slice; True when it was full."""
    table = key.table
    assert isinstance(table, sa.Table)
    done = tx.connection.execute(
        sa.delete(table).where(key.in_(sa.select(key).where(ended).limit(SLICE)))
    )
    return done.rowcount >= SLICE
