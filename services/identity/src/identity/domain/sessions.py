"""How long somebody stays signed in.

A session ends when it is revoked, when it was idle for too long, or when its absolute end has come,
whichever is first; an ended session never lives again (unless the clock is set back before an end
that only time had brought).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from contracts.identity import Role
from identity.domain.accounts import Kind, kind_of
from runtime.refusals import N_, Invalid


class Use(StrEnum):
    """Who holds the session: a person's browser, or a program with an API token."""

    BROWSER = "browser"
    API = "api"


@dataclass(frozen=True)
class Lifetime:
    """``idle``: without any request; ``whole``: from the sign-in on, whatever happens."""

    idle: timedelta
    whole: timedelta


LIFETIMES = {
    Kind.STAFF: Lifetime(idle=timedelta(hours=4), whole=timedelta(hours=16)),
    Kind.PARTNER: Lifetime(idle=timedelta(days=7), whole=timedelta(days=30)),
    Kind.FAMILY: Lifetime(idle=timedelta(days=30), whole=timedelta(days=180)),
}
"""Staff share desks: theirs end within the day. A family's phone is its own."""

PROVED_FOR = timedelta(minutes=15)
"""How long the password need not be given again before what somebody else at an open desk must not
do: tokens for programs, sessions, the addresses, roles and passwords of others (OWASP ASVS 5.0,
7.5)."""

CHOOSING = timedelta(minutes=30)
"""Of whoever signed in with a first password: the time to choose one of their own."""

API_DEFAULT = timedelta(hours=12)
API_LONGEST = timedelta(days=90)


def lifetime_for(roles: Iterable[Role]) -> Lifetime:
    """The lifetime of a browser session, by the sort of the account."""
    return LIFETIMES[kind_of(roles)]


def api_life(days: int | None) -> timedelta:
    """How long an API token lives: 12 hours, or 1 to 90 days. Raises Invalid("token.days")."""
    if days is None:
        return API_DEFAULT
    if not 1 <= days <= API_LONGEST.days:
        raise Invalid(
            "token.days",
            N_("A token can live from 1 to {longest} days."),
            N_("Choose a number in between, or leave it out for 12 hours."),
            field="days",
            longest=API_LONGEST.days,
        )
    return timedelta(days=days)


@dataclass(frozen=True)
class Session:
    """Times of a session. ``idle`` is None for API tokens, which end by their own date alone."""

    created_at: datetime
    seen_at: datetime
    ends_at: datetime
    idle: timedelta | None = None
    revoked_at: datetime | None = None

    @property
    def over_at(self) -> datetime:
        """When it ends if nobody comes back."""
        over = self.ends_at if self.idle is None else min(self.ends_at, self.seen_at + self.idle)
        return over if self.revoked_at is None else min(over, self.revoked_at)

    def live(self, now: datetime) -> bool:
        """True while tokens may be made for it."""
        return self.revoked_at is None and now < self.over_at

    def seen(self, now: datetime) -> Session:
        """Used now. Never moves back; an ended session stays as it is."""
        if not self.live(now) or now <= self.seen_at:
            return self
        return Session(self.created_at, now, self.ends_at, self.idle, self.revoked_at)

    def revoked(self, now: datetime) -> Session:
        """Ended by somebody; the first time counts."""
        if self.revoked_at is not None:
            return self
        return Session(self.created_at, self.seen_at, self.ends_at, self.idle, now)
