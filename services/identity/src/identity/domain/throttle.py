"""How fast somebody may guess: many at first, then few, and never locked out for ever.

Each way of counting is a leaky bucket kept as one moment (GCRA: the *theoretical arrival time*).
An attempt takes a place before the password is looked at, so that a thousand at once are counted as
a thousand; the right password gives its place back. Refused attempts take no place: trying on does
not lengthen the wait, which is never longer than ``every`` (and ``SKEW``, where a clock was set
back), and who has waited so long may try.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Rate:
    """``burst`` wrong attempts at once, then one more for each ``every`` that passes."""

    burst: int
    every: timedelta


FROM_ONE_PLACE = Rate(burst=5, every=timedelta(minutes=1))
"""One account tried from one client."""

ONE_CLIENT = Rate(burst=50, every=timedelta(seconds=6))
"""One client, whatever accounts: a centre with one address has many people with typing errors."""

ONE_ACCOUNT = Rate(burst=30, every=timedelta(minutes=2))
"""One account from all clients together. Does not count for a client from which this account was
signed in before, so that strangers cannot keep its owner out."""

SKEW = timedelta(minutes=1)
"""How far the clocks of two replicas may be apart, so that places taken at one are not free at the
other."""

KNOWN_FOR = timedelta(days=90)
"""How long a client from which somebody signed in counts as known."""


def wait(rate: Rate, full_at: datetime | None, now: datetime) -> timedelta:
    """How long until an attempt may be made; zero when it may be made now."""
    if full_at is None:
        return timedelta(0)
    ahead = _of_now(rate, full_at, now) - now
    over = ahead - (rate.burst - 1) * rate.every
    return max(over, timedelta(0))


def taken(rate: Rate, full_at: datetime | None, now: datetime) -> datetime:
    """The moment to keep after an attempt that was let through."""
    before = now if full_at is None else max(_of_now(rate, full_at, now), now)
    return before + rate.every


def given_back(rate: Rate, full_at: datetime) -> datetime:
    """The moment to keep when an attempt turned out right."""
    return full_at - rate.every


def _of_now(rate: Rate, full_at: datetime, now: datetime) -> datetime:
    """A clock that was set back must not make anybody wait for what was the future: a moment that
    no attempts can have made by now counts for nothing."""
    return now if full_at > now + rate.burst * rate.every + SKEW else full_at
