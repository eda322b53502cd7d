"""How often somebody may try, counted in this process.

Enough for sign-in on one machine; with replicas each counts by itself, so the limit grows with
their number, which the slow password hash makes harmless.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

from runtime.refusals import N_, Refusal

MOST_KEYS = 10_000


class TooMany(Refusal):
    """Tried too often. ``after`` is how many seconds to wait."""

    status = 429

    def __init__(self, after: int) -> None:
        super().__init__(
            "rate.too_many",
            N_("There were too many attempts."),
            N_("Wait a few minutes, then try again."),
        )
        self.after = after


class RateLimit:
    """At most ``times`` in ``within`` for each key."""

    def __init__(self, times: int, within: timedelta) -> None:
        self.times = times
        self.within = within
        self._seen: dict[str, deque[datetime]] = {}

    def check(self, key: str, now: datetime) -> None:
        """Count one attempt; raises TooMany when it is one too many."""
        seen = self._seen.setdefault(key, deque(maxlen=self.times))
        while seen and seen[0] <= now - self.within:
            seen.popleft()
        if len(seen) >= self.times:
            left = seen[0] + self.within - now
            raise TooMany(max(1, int(left.total_seconds())))
        seen.append(now)
        if len(self._seen) > MOST_KEYS:
            self._forget(now)

    def forgive(self, key: str) -> None:
        """Forget a key's attempts, as after a successful sign-in."""
        self._seen.pop(key, None)

    def _forget(self, now: datetime) -> None:
        old = [key for key, seen in self._seen.items() if not seen or seen[-1] <= now - self.within]
        for key in old:
            del self._seen[key]
