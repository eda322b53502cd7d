"""The life of a signing key: published, then signs, then only checks, then gone.

A key is published a day before it signs, so that every service knows it in time even when the bus
is away for hours; it stays valid after its last signature for as long as the longest token lives.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from identity.domain.sessions import API_LONGEST

SIGNS_FOR = timedelta(days=30)
AHEAD = timedelta(days=1)
SKEW = timedelta(minutes=5)
"""A key that is needed at once counts from a little earlier: clocks of machines differ."""


@dataclass(frozen=True)
class Span:
    """``[not_before, signs_until)`` it signs; until ``not_after`` it checks."""

    not_before: datetime
    signs_until: datetime

    @property
    def not_after(self) -> datetime:
        """No token that it signed is valid after this."""
        return self.signs_until + API_LONGEST

    def signs(self, now: datetime) -> bool:
        return self.not_before <= now < self.signs_until


def signer(spans: Iterable[Span], now: datetime) -> Span | None:
    """The one that signs now: the newest of those that may."""
    return max((s for s in spans if s.signs(now)), key=lambda s: s.not_before, default=None)


def next_span(spans: Iterable[Span], now: datetime) -> Span | None:
    """The key to make now, or None when those that are there will do.

    Needed at once when none signs now; ahead when the last one signs for a day or less.
    """
    known = list(spans)
    current = signer(known, now)
    if current is None:
        return Span(now - SKEW, now + SIGNS_FOR)
    last = max(s.signs_until for s in known if s.not_before <= now + AHEAD)
    if last - AHEAD > now:
        return None
    return Span(last, last + SIGNS_FOR)
