"""What the ledger remembers of households, holds, sales and attendances, as plain rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cards.domain.points import Part


class HoldState(StrEnum):
    """A hold is placed and ends once, or was declined."""

    PLACED = "placed"
    DECLINED = "declined"
    CAPTURED = "captured"
    RELEASED = "released"
    TIMED_OUT = "timed_out"


class SaleState(StrEnum):
    """How the shop ended a sale."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"


@dataclass(slots=True)
class HouseholdRow:
    """What the ledger needs to know of a household."""

    id: str
    centre_id: str
    erased: bool


@dataclass(slots=True)
class HoldRow:
    """A payment in points that the shop asked for."""

    id: str
    household_id: str
    sale_id: str
    points: int
    state: HoldState
    placed_at: datetime
    reason: str = ""
    ended_at: datetime | None = None
    captured: int = 0
    uncovered: int = 0
    parts: tuple[Part, ...] = ()

    @property
    def open(self) -> bool:
        return self.state is HoldState.PLACED


@dataclass(slots=True)
class SaleRow:
    """A sale that has ended."""

    id: str
    household_id: str
    state: SaleState
    money_cents: int
    refunded_cents: int
    per_euro: int
    uncovered: int
    ended_at: datetime


@dataclass(slots=True)
class AttendanceRow:
    """The newest revision of an attendance, what stands credited for it, and what corrections could
    not take back."""

    session_id: str
    person_id: str
    household_id: str
    revision: int
    present: bool
    credited: int
    uncovered: int = 0
