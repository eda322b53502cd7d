"""Time is passed in, never asked of the machine by the domain.

Every clock gives aware datetimes in UTC. `ClockGuard` keeps work with lasting effect (expiries,
monthly allowances, reminders) from running on a wrong date: a parish PC whose battery is empty
starts in the year 2000 and would otherwise expire nothing, or everything.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa

JUMP = timedelta(minutes=5)
_JUMP_S = JUMP.total_seconds()
FAR_AHEAD = timedelta(days=30)
EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)
"""No installation is older than the product: a clock before this is surely wrong."""


class Clock(Protocol):
    """What tells the time. Always aware, always UTC."""

    def now(self) -> datetime: ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class SteadyClock:
    """The clock of the machine, as long as it does not go back.

    Where a machine's clock falls back (an empty battery, a wrong time server), what happens now
    would be written into the past, and end at once when the clock is right again: a hold of 24
    hours that was placed "400 days ago" (seen under `make chaos`). So this one goes on from where
    it was until the machine's is believed anew, or has caught up. Forward it follows: a machine
    that was paused was late, and is not wrong.
    """

    def __init__(
        self, under: Clock | None = None, *, monotonic: Callable[[], float] | None = None
    ) -> None:
        self.under: Clock = under or SystemClock()
        self._monotonic = monotonic or _since_boot
        self._lock = threading.Lock()
        self._believed = self.under.now()
        self._ticks = self._monotonic()

    def now(self) -> datetime:
        with self._lock:
            wall, ticks = self.under.now(), self._monotonic()
            passed = ticks - self._ticks
            if abs((wall - self._believed).total_seconds() - passed) > _JUMP_S:
                return max(wall, self._believed + timedelta(seconds=passed))
            self._believed, self._ticks = wall, ticks
            return wall

    def believe(self, moment: datetime) -> None:
        """It is this late now, whatever the machine said before."""
        with self._lock:
            self._believed, self._ticks = moment, self._monotonic()


class FixedClock:
    """A clock that moves only when it is told to; for tests. Safe to move from any thread."""

    def __init__(self, start: datetime) -> None:
        self.under: Clock = SystemClock()
        self._lock = threading.Lock()
        self._now = _utc(start)

    def now(self) -> datetime:
        with self._lock:
            return self._now

    def advance(self, by: timedelta) -> datetime:
        """Move by an amount and give the new time."""
        with self._lock:
            self._now += by
            return self._now

    def set(self, to: datetime) -> None:
        with self._lock:
            self._now = _utc(to)


class PlayedClock:
    """The machine's clock plus an offset in seconds that a small text file holds.

    All processes of an installation share the file, so that a day can be played: time still
    flows, and jumps when the file is rewritten. No file means no offset. The file is read at each
    call (some 10 µs), hence there is nothing to notify.
    """

    def __init__(self, path: Path | str, *, under: Clock | None = None) -> None:
        self.path = Path(path)
        self.under: Clock = under or SystemClock()
        self._offset = timedelta(0)

    def now(self) -> datetime:
        return self.under.now() + self.offset()

    def offset(self) -> timedelta:
        """The offset now. A file that cannot be opened, as when a process may open no more, or not
        be read as a number leaves the last one in force."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            self._offset = timedelta(0)
            return self._offset
        except OSError:
            return self._offset
        try:
            text = os.read(descriptor, 64)
        finally:
            os.close(descriptor)
        try:
            self._offset = timedelta(seconds=float(text))
        except (ValueError, OverflowError):
            return self._offset
        return self._offset

    def play(self, offset: timedelta) -> None:
        """Set the offset for every process that shares the file."""
        part = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
        part.write_text(f"{offset.total_seconds():.6f}\n", encoding="ascii")
        part.replace(self.path)


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"a time without a zone has no meaning here: {moment!r}")
    return moment.astimezone(UTC)


def _since_boot() -> float:
    """Seconds that also pass while the machine sleeps: a lid closed for a night is no jump."""
    return time.monotonic() if _BOOTTIME is None else time.clock_gettime(_BOOTTIME)


_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)


ReadMeta = Callable[[sa.Connection, str], str | None]
WriteMeta = Callable[[sa.Connection, str, str], None]


class ClockGuard:
    """Says whether the date may be trusted.

    *Suspicious* from a jump of more than 5 minutes against the monotonic clock, or when at a start
    the clock is more than 5 minutes behind the latest time that the store saw, or more than 30 days
    ahead of it; until `confirm`, here or in another process on the same store (`heed`). Declared
    play (`PlayedClock`, `FixedClock`) is no jump, since the clock *under* the offset is watched.
    A `SteadyClock` is told what to believe: at such a start the latest time that the store saw.
    `read` and `write` reach a key-value table of the store.
    """

    KEY = "clock.latest"
    CONFIRMED = "clock.confirmed"

    def __init__(
        self,
        clock: Clock,
        *,
        read: ReadMeta,
        write: WriteMeta,
        monotonic: Callable[[], float] = _since_boot,
    ) -> None:
        self._whole = clock
        under: Clock = getattr(clock, "under", clock)
        self._steady = next((c for c in (clock, under) if isinstance(c, SteadyClock)), None)
        self._clock: Clock = under if self._steady is None else self._steady.under
        self._read = read
        self._write = write
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._wall = self._clock.now()
        self._ticks = monotonic()
        self._reason = ""

    @property
    def reason(self) -> str:
        """Why the date is doubted, in English for staff and logs; empty when it is not."""
        return self._reason

    @property
    def suspicious(self) -> bool:
        """Looks at both clocks; cheap, and needs no store."""
        with self._lock:
            wall, ticks = self._clock.now(), self._monotonic()
            jump = wall - self._wall - timedelta(seconds=ticks - self._ticks)
            if abs(jump) > JUMP and not self._reason:
                direction = "forward" if jump > timedelta(0) else "back"
                self._reason = f"the clock jumped {direction} by {_spoken(abs(jump))}"
            self._wall, self._ticks = wall, ticks
            return bool(self._reason)

    def shown(self) -> datetime:
        """What `confirm` takes for right: the time of the machine, with what is played on it."""
        if self._steady is None:
            return self._whole.now()
        offset = self._whole.offset() if isinstance(self._whole, PlayedClock) else timedelta(0)
        return self._clock.now() + offset

    def open(self, connection: sa.Connection) -> None:
        """At a start: compare with the latest time that the store saw."""
        stored = self._read(connection, self.KEY)
        latest = None if stored is None else datetime.fromisoformat(stored)
        with self._lock:
            now = self._clock.now()
            if now < EARLIEST:
                self._reason = f"the clock says {now:%Y-%m-%d}, before this product existed"
            elif latest is not None and now < latest - JUMP:
                self._reason = (
                    f"the clock is {_spoken(latest - now)} behind the last time of work here"
                )
            elif latest is not None and now > latest + FAR_AHEAD:
                self._reason = (
                    f"the clock is {_spoken(now - latest)} ahead of the last time of work here"
                )
            if self._reason and latest is not None:
                self._believe(latest)

    def save(self, connection: sa.Connection) -> None:
        """Remember the time as seen, unless it is doubted. Once a minute is enough."""
        if not self.suspicious:
            self._write(connection, self.KEY, self._clock.now().isoformat())

    def confirm(self, connection: sa.Connection) -> None:
        """Staff say that the date is right: it is the latest seen from now on, even if earlier."""
        with self._lock:
            self._wall, self._ticks = self._clock.now(), self._monotonic()
            self._reason = ""
            self._believe(self._wall)
            self._write(connection, self.KEY, self._wall.isoformat())
            self._write(connection, self.CONFIRMED, self._wall.isoformat())

    def heed(self, connection: sa.Connection) -> None:
        """Staff may have confirmed the date in another process: it holds here as well if it is the
        time that this clock tells. To be asked every few seconds while the date is doubted."""
        if not self.suspicious:
            return
        stored = self._read(connection, self.CONFIRMED)
        if stored is None:
            return
        with self._lock:
            now = self._clock.now()
            if abs(now - datetime.fromisoformat(stored)) <= JUMP:
                self._reason = ""
                self._believe(now)

    def _believe(self, moment: datetime) -> None:
        if self._steady is not None:
            self._steady.believe(moment)


def _spoken(span: timedelta) -> str:
    minutes = int(span.total_seconds() // 60)
    if minutes < 120:
        return f"{minutes} minutes"
    if minutes < 2 * 24 * 60:
        return f"{minutes // 60} hours"
    return f"{minutes // (24 * 60)} days"
