"""The points of a household: buckets by expiry, holds, and transfers that sum to zero (DESIGN §4).

What holds, whatever happens in whatever order (``tests/test_cards_points.py``):

* no bucket below zero, and never less in it than is held of it;
* what is spent, held or taken back comes from the bucket that expires soonest;
* points in a bucket whose time has come cannot be spent, even before the expiry has been booked;
* points in a hold do not expire; freed ones whose time has passed expire at the next run;
* every transfer sums to zero.

All functions take the present as an argument and points as whole numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

NEVER = datetime(9999, 12, 31, tzinfo=UTC)
"""The bucket of points that do not expire. Told to others as no date at all."""

MOST = 10**9
"""The most points that one household can have, and that an event can tell (contract)."""


class LedgerAccount(StrEnum):
    """The two sides of a transfer: a household's buckets, and what stands against them."""

    HOUSEHOLD = "household"
    ALLOWANCE = "allowance"
    """What the centre grants by period."""
    SHOP = "shop"
    """What buying earns."""
    ACTIVITIES = "activities"
    """What attending earns."""
    REDEMPTION = "redemption"
    """What was paid with points."""
    EXPIRY = "expiry"
    """What was not used in time."""
    ADJUSTMENT = "adjustment"
    """What staff gave or took by hand, with a reason."""
    UNCOVERED = "uncovered"
    """What had to be booked and no household had: the coordinator's matter, below zero."""


class TransferKind(StrEnum):
    """What a transfer is, for those who read the ledger."""

    SALE = "sale"
    ATTENDANCE = "attendance"
    ALLOWANCE = "allowance"
    ADJUSTMENT = "adjustment"
    REDEMPTION = "redemption"
    REFUND = "refund"
    REFUND_EARNED = "refund_earned"
    ATTENDANCE_CORRECTED = "attendance_corrected"
    EXPIRY = "expiry"


class Part(NamedTuple):
    """Points of one bucket; always more than zero."""

    expires_at: datetime
    points: int


class Entry(NamedTuple):
    """One line of a transfer. ``expires_at`` names the bucket on the household's side."""

    account: LedgerAccount
    points: int
    expires_at: datetime | None = None


@dataclass(slots=True)
class Bucket:
    """Points that expire together. ``held`` is the part of ``balance`` in open holds."""

    expires_at: datetime
    balance: int = 0
    held: int = 0

    @property
    def free(self) -> int:
        return self.balance - self.held


@dataclass(frozen=True, slots=True)
class Capture:
    """How a hold ended in a sale: ``spent`` left the buckets, ``released`` was freed, and
    ``uncovered`` was nowhere to be had."""

    spent: tuple[Part, ...]
    released: int
    uncovered: int

    @property
    def captured(self) -> int:
        return total(self.spent)


class TooFew(Exception):  # noqa: N818 - an answer of the domain
    """Fewer points are available than are needed; nothing was changed."""

    def __init__(self, available: int) -> None:
        super().__init__(available)
        self.available = available


@dataclass
class HouseholdAccount:
    """The buckets of one household. Methods change them and say which parts moved.

    ``changed`` names the buckets that differ from the store since it was last cleared.
    """

    buckets: dict[datetime, Bucket] = field(default_factory=dict)
    changed: set[datetime] = field(default_factory=set)

    def available(self, now: datetime) -> int:
        """What can be spent now: neither held nor past its time."""
        return sum([b.balance - b.held for b in self.buckets.values() if b.expires_at > now])

    @property
    def held(self) -> int:
        return sum([b.held for b in self.buckets.values()])

    @property
    def balance(self) -> int:
        """All points booked, also those whose expiry is due."""
        return sum([b.balance for b in self.buckets.values()])

    @property
    def room(self) -> int:
        """How many points still fit."""
        return MOST - self.balance

    def credit(self, points: int, expires_at: datetime) -> tuple[Part, ...]:
        """Points come in."""
        if points <= 0:
            raise ValueError(f"a credit of {points} points")
        bucket = self._bucket(expires_at)
        bucket.balance += points
        return (Part(expires_at, points),)

    def take_up_to(self, points: int, now: datetime) -> tuple[Part, ...]:
        """As many of these points as are available leave, soonest-expiring first."""
        parts = tuple(self._soonest(points, now))
        for part in parts:
            self._bucket(part.expires_at).balance -= part.points
        return parts

    def take(self, points: int, now: datetime) -> tuple[Part, ...]:
        """All of these points leave, or TooFew."""
        self._need(points, now)
        return self.take_up_to(points, now)

    def hold(self, points: int, now: datetime) -> tuple[Part, ...]:
        """Set all of these points aside, or TooFew."""
        self._need(points, now)
        parts = tuple(self._soonest(points, now))
        for part in parts:
            self._bucket(part.expires_at).held += part.points
        return parts

    def release(self, held: Iterable[Part]) -> int:
        """Free the parts of a hold; gives their sum."""
        freed = 0
        for part in held:
            bucket = self._bucket(part.expires_at)
            if bucket.held < part.points:
                raise ValueError("more freed than is held")
            bucket.held -= part.points
            freed += part.points
        return freed

    def capture(self, held: Iterable[Part], points: int, now: datetime) -> Capture:
        """End a hold (no parts: there was none) by a sale that costs ``points``.

        The hold gives what it has, soonest-expiring first, and the rest of it is freed. Points
        that the hold does not cover come from what is available; what is missing then is
        uncovered. Never below zero, never refused.
        """
        parts = sorted(held, key=lambda part: part.expires_at)
        self.release(parts)
        missing = points
        spent: dict[datetime, int] = {}
        for part in parts:
            taken = min(part.points, missing)
            if taken:
                self._bucket(part.expires_at).balance -= taken
                spent[part.expires_at] = taken
                missing -= taken
        released = total(parts) - (points - missing)
        for part in self.take_up_to(missing, now):
            spent[part.expires_at] = spent.get(part.expires_at, 0) + part.points
            missing -= part.points
        return Capture(tuple(Part(when, spent[when]) for when in sorted(spent)), released, missing)

    def expire(self, now: datetime) -> tuple[Part, ...]:
        """Everything whose time has come and that is not held leaves."""
        parts = tuple(
            Part(when, self.buckets[when].free)
            for when in sorted(self.buckets)
            if when <= now and self.buckets[when].free > 0
        )
        for part in parts:
            self._bucket(part.expires_at).balance -= part.points
        return parts

    def apply(self, parts: Iterable[Part], sign: int) -> None:
        """Book parts that were decided elsewhere (adoption after a restore)."""
        for part in parts:
            self._bucket(part.expires_at).balance += sign * part.points

    def hold_parts(self, parts: Iterable[Part]) -> None:
        """Set parts aside that were decided elsewhere (adoption after a restore)."""
        for part in parts:
            self._bucket(part.expires_at).held += part.points

    def _bucket(self, expires_at: datetime) -> Bucket:
        self.changed.add(expires_at)
        bucket = self.buckets.get(expires_at)
        if bucket is None:
            bucket = self.buckets[expires_at] = Bucket(expires_at)
        return bucket

    def _need(self, points: int, now: datetime) -> None:
        if points <= 0:
            raise ValueError(f"{points} points")
        available = self.available(now)
        if points > available:
            raise TooFew(available)

    def _soonest(self, points: int, now: datetime) -> Iterator[Part]:
        for when in sorted(self.buckets):
            if points <= 0:
                return
            if when <= now:
                continue
            taken = min(points, self.buckets[when].free)
            if taken > 0:
                points -= taken
                yield Part(when, taken)


def total(parts: Iterable[Part]) -> int:
    """The sum of the points of these parts."""
    return sum([part.points for part in parts])


def incoming(
    parts: Iterable[Part], source: LedgerAccount, *, covered: int = 0
) -> tuple[Entry, ...]:
    """A transfer into a household from a system account; ``covered`` goes to what was uncovered."""
    parts = tuple(parts)
    entries = [Entry(LedgerAccount.HOUSEHOLD, part.points, part.expires_at) for part in parts]
    if covered:
        entries.append(Entry(LedgerAccount.UNCOVERED, covered))
    entries.append(Entry(source, -(total(parts) + covered)))
    return balanced(entries)


def outgoing(
    parts: Iterable[Part], target: LedgerAccount, *, uncovered: int = 0
) -> tuple[Entry, ...]:
    """A transfer out of a household to a system account; ``uncovered`` is what it had not."""
    parts = tuple(parts)
    entries = [Entry(LedgerAccount.HOUSEHOLD, -part.points, part.expires_at) for part in parts]
    if uncovered:
        entries.append(Entry(LedgerAccount.UNCOVERED, -uncovered))
    entries.append(Entry(target, total(parts) + uncovered))
    return balanced(entries)


def balanced(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """The entries, after making sure that they sum to zero and that none is empty."""
    lines = tuple(entries)
    points = [entry.points for entry in lines]
    if sum(points) != 0 or not all(points):
        raise ValueError(f"a transfer that does not balance: {lines}")
    return lines
