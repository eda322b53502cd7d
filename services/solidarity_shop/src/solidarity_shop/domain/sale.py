"""A sale and its payment in points: a small machine with one owner.

Cash only: completed at once. With points: it waits until cards has set them aside, then is
completed; it is cancelled when cards declines, when the till gives up, or after 15 minutes. Only
the shop ends a sale, under its lock, and it ends once: whatever comes after does nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

WAITING_LIMIT = timedelta(minutes=15)
"""How long a sale waits for cards before it is cancelled."""

BY_TILL = "by_till"
TIMED_OUT = "timed_out"
FORGOTTEN = "forgotten"
"""The store was restored from before the sale."""
UNKNOWN_TILL = "unknown"
"""The till of a sale whose content no event told: it can only be ended."""
TOO_FEW = "points.too_few"


class State(StrEnum):
    """Where a sale stands."""

    WAITING = "waiting_for_points"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class PointsState(StrEnum):
    """Where the points of a sale stand, as far as the shop knows."""

    NONE = "none"
    REQUESTED = "requested"
    HELD = "held"
    """Set aside by cards; the sale is completed, the capture is on its way."""
    CAPTURED = "captured"
    DECLINED = "declined"
    RELEASED = "released"
    """The sale was cancelled; whatever cards had set aside is freed."""


@dataclass(frozen=True)
class Progress:
    """The part of a sale that moves."""

    state: State
    points_state: PointsState
    reason: str = ""
    """Why it was cancelled: a code of cards, ``timed_out``, ``by_till``."""


Step = Callable[[Progress, int], Progress]
"""A step of the machine: where a sale stands and the points that it asked for, to where it goes."""


def opened(points: int) -> Progress:
    """A new sale: it waits when it asks for points."""
    if points:
        return Progress(State.WAITING, PointsState.REQUESTED)
    return Progress(State.COMPLETED, PointsState.NONE)


def hold_placed(now: Progress, *, wanted: int, held: int) -> Progress:
    """Cards set points aside. Fewer than asked for do not pay the sale.

    After the end of the sale nothing changes: a cancelled sale has told cards so already, and cards
    frees the hold when it learns of it.
    """
    if now.state is not State.WAITING:
        return now
    if held < wanted:
        return Progress(State.CANCELLED, PointsState.RELEASED, TOO_FEW)
    return Progress(State.COMPLETED, PointsState.HELD)


def hold_declined(now: Progress, reason: str) -> Progress:
    """Cards said no, with its reason."""
    if now.state is not State.WAITING:
        return now
    return Progress(State.CANCELLED, PointsState.DECLINED, reason)


def given_up(now: Progress, reason: str) -> Progress:
    """The till or the time limit ends a sale that waits."""
    if now.state is not State.WAITING:
        return now
    return Progress(State.CANCELLED, PointsState.RELEASED, reason)


def captured(now: Progress) -> Progress:
    """Cards took the points of a completed sale."""
    if now.state is not State.COMPLETED or now.points_state is not PointsState.HELD:
        return now
    return replace(now, points_state=PointsState.CAPTURED)
