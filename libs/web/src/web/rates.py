"""The refusal of whoever tries too often, and the pace of whoever is signed in."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from runtime.refusals import N_, Refusal

AT_ONCE = 20.0
"""Seconds' worth of requests that may come at once: a page of many parts, a register of a class, an
import that has waited."""

REMEMBERED = 10_000
"""Sessions whose pace is known, some 2 MB; the one that was quiet longest is forgotten."""


class TooMany(Refusal):
    """Tried too often. ``after`` is how many seconds to wait."""

    status = 429

    def __init__(self, after: int) -> None:
        super().__init__(
            "rate.too_many",
            N_("There were too many attempts."),
            N_("Wait {minutes} min, then try again."),
            minutes=-(-after // 60),
        )
        self.after = after


class TooFast(Refusal):
    """More requests than anybody types. ``after`` is how many seconds to wait."""

    status = 429

    def __init__(self, after: int) -> None:
        super().__init__(
            "rate.too_fast",
            N_("Too many requests came from your sign-in at once."),
            N_("Nothing of this one was done: wait {seconds} s, then try again."),
            seconds=after,
        )
        self.after = after


class Pace:
    """How fast one session or API token may ask this process: ``per_second`` on and on, and
    `AT_ONCE` seconds' worth of that in one go. 0: as fast as they like.

    It is there for scripts that ran wild, not for people; each replica counts for itself.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._most = per_second * AT_ONCE
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, session_id: str) -> None:
        """One request of this session. Raises TooFast when there were too many; it counts not."""
        if not self._per_second:
            return
        now = self._clock()
        left, at = self._left.pop(session_id, (self._most, now))
        left = min(self._most, left + (now - at) * self._per_second)
        passes = left >= 1
        self._left[session_id] = (left - 1 if passes else left, now)
        if len(self._left) > REMEMBERED:
            self._left.popitem(last=False)
        if not passes:
            raise TooFast(math.ceil((1 - left) / self._per_second))
