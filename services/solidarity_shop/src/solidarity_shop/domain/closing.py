"""Closing a till: what was counted against what the sales say.

A till closes once a day (of its centre's time zone). What is sold after the closing belongs to the
next one, also when it is the same day.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DEFAULT_ZONE = "Europe/Rome"


@dataclass(frozen=True)
class Takings:
    """What a till took since its last closing. Money is cash of sales less cash of refunds."""

    sales: int
    refunds: int
    sold_cents: int
    refunded_cents: int
    points_in: int
    points_back: int

    @property
    def money_cents(self) -> int:
        """The cash that should be in the drawer, without the float of coins."""
        return self.sold_cents - self.refunded_cents

    @property
    def points(self) -> int:
        """Points taken less points given back, never below zero."""
        return max(self.points_in - self.points_back, 0)


def day_of(moment: datetime, zone: str) -> date:
    """The calendar day of a moment where the till stands."""
    try:
        return moment.astimezone(ZoneInfo(zone or DEFAULT_ZONE)).date()
    except (ZoneInfoNotFoundError, ValueError):
        return moment.astimezone(ZoneInfo(DEFAULT_ZONE)).date()
