"""Places of a session and who gets them: the waiting list by its declared policy.

What holds (DOMAIN, from pretix and CiviCRM):

* Confirmed and offered people take places, waiting people do not; taken never exceeds capacity.
* Whom a register taken before the beginning says to be there sits on a seat, with a place or
  without: nobody else gets it. When they sign up, it is theirs as soon as their turn comes.
* The order is priority (greater first), then the time of *entry in the list*, then the id.
* Siblings who want to come together are one item of the list: all of them get a place or none.
* When a group waits and too few places are free, the declared policy decides: ``keep_for_group``
  keeps them for the group, and everybody behind it waits; ``next_who_fits`` lets the next pass.
* An offered place is kept for the hold (48 h unless set otherwise), never beyond the beginning of
  the session; at the beginning the offers stop.
* A state that has ended never lives again: who cancelled, declined or let an offer run out may
  sign up anew, which is a new entry at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

HOLD = timedelta(hours=48)
"""How long an offered place is kept when nobody set it otherwise (DOMAIN, from pretix)."""


class State(StrEnum):
    """Where a sign-up stands. The first three are live, the others have ended for good."""

    CONFIRMED = "confirmed"
    WAITING = "waiting"
    OFFERED = "offered"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    """Nobody answered the offer in time."""
    NOT_PLACED = "not_placed"
    """Still waiting when the session began: there was no place."""


LIVE = frozenset({State.CONFIRMED, State.WAITING, State.OFFERED})
TAKEN = frozenset({State.CONFIRMED, State.OFFERED})
"""The states that take a place."""


class Policy(StrEnum):
    """Who gets a place that is free while a group waits that does not fit into it."""

    KEEP_FOR_GROUP = "keep_for_group"
    NEXT_WHO_FITS = "next_who_fits"


@dataclass(frozen=True)
class Entry:
    """One person's sign-up, as the rules see it. ``group_id`` is "" for who comes alone."""

    id: str
    person_id: str
    state: State
    entered_at: datetime
    priority: int = 0
    group_id: str = ""


@dataclass(frozen=True)
class Item:
    """What moves in the waiting list as one: a person, or siblings who come together."""

    entries: tuple[Entry, ...]

    @property
    def size(self) -> int:
        return len(self.entries)

    @property
    def key(self) -> tuple[int, datetime, str]:
        return min(order_key(entry) for entry in self.entries)


def order_key(entry: Entry) -> tuple[int, datetime, str]:
    """Smaller is served first: priority, time of entry, id."""
    return (-entry.priority, entry.entered_at, entry.id)


def taken(entries: Iterable[Entry], present: Set[str] = frozenset()) -> int:
    """Places that are gone: confirmed and offered, and those of who is there without one."""
    return len({entry.person_id for entry in entries if entry.state in TAKEN} | present)


def queue(entries: Iterable[Entry]) -> list[Item]:
    """The waiting list in its order, groups in one piece."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.state is State.WAITING:
            groups.setdefault(entry.group_id or entry.id, []).append(entry)
    items = [Item(tuple(sorted(group, key=order_key))) for group in groups.values()]
    return sorted(items, key=lambda item: item.key)


def positions(entries: Iterable[Entry]) -> dict[str, int]:
    """The place in the waiting list of each sign-up that waits, in people, from 1."""
    waiting = (entry for item in queue(entries) for entry in item.entries)
    return {entry.id: place for place, entry in enumerate(waiting, start=1)}


def due_for_places(
    capacity: int, policy: Policy, entries: Sequence[Entry], present: Set[str] = frozenset()
) -> list[Entry]:
    """Who of the waiting list gets a place now, in order.

    ``present`` are the people of the register who are there. After these have got theirs, nobody
    else is due: the list is *settled*.
    """
    free = capacity - taken(entries, present)
    due: list[Entry] = []
    for item in queue(entries):
        needed = sum(entry.person_id not in present for entry in item.entries)
        if needed <= free:
            due.extend(item.entries)
            free -= needed
        elif free <= 0 or policy is Policy.KEEP_FOR_GROUP:
            break
    return due


def open_places(capacity: int, policy: Policy, *, places_taken: int, waiting: int) -> int:
    """Places that somebody who signs up now could get at once.

    While a group waits under ``keep_for_group`` the free places are kept for it: none.
    """
    free = max(0, capacity - places_taken)
    return 0 if waiting and policy is Policy.KEEP_FOR_GROUP else free


def largest_group(entries: Iterable[Entry]) -> int:
    """The size of the largest group that waits; 0 when nobody does."""
    return max((item.size for item in queue(entries)), default=0)


def answer_by(offered_at: datetime, hold: timedelta, starts_at: datetime) -> datetime:
    """Until when an offer is valid: for the hold, but never beyond the session's beginning."""
    return min(offered_at + hold, starts_at)
