"""Was the waiting list moved by its declared policy? Found out from what the sign-ups say.

Decidable is: nobody who waits is due for a place now; and nobody got a place while somebody with a
better claim waited who must have been served first. Under ``next_who_fits`` a group that waited may
rightly have been passed, so only those who waited alone are looked at; under ``keep_for_group``
nobody may be passed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from activities.domain.waiting_list import Entry, Policy, order_key


@dataclass(frozen=True)
class Stay:
    """The history of a sign-up: when it waited, and when it got a place (by offer or at once)."""

    entry: Entry
    waited_until: datetime | None
    """When the waiting ended; None while it waits or when it never did."""
    waited: bool
    placed_at: datetime | None


def passed_over(policy: Policy, stays: Sequence[Stay]) -> Iterator[tuple[str, str]]:
    """Pairs (who was passed, who got the place) of sign-up ids."""
    placed = [stay for stay in stays if stay.placed_at is not None]
    for waiting in stays:
        if not waiting.waited:
            continue
        if policy is Policy.NEXT_WHO_FITS and waiting.entry.group_id:
            continue
        for other in placed:
            assert other.placed_at is not None
            if (
                order_key(waiting.entry) < order_key(other.entry)
                and waiting.entry.entered_at < other.placed_at
                and (waiting.waited_until is None or other.placed_at < waiting.waited_until)
                and not _together(waiting.entry, other.entry)
            ):
                yield waiting.entry.id, other.entry.id


def _together(one: Entry, other: Entry) -> bool:
    return bool(one.group_id) and one.group_id == other.group_id
