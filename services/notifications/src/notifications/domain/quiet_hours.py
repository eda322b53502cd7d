"""Quiet hours: a message is deferred, never dropped.

Messages leave between 9 and 20 on weekdays, 10 and 19 on Saturdays, never on Sundays and holidays
(DOMAIN); each centre may have other hours from a day on. Hours are those of the wall clock in the
centre's time zone, whatever the clocks do. What is critical, because it would be of no use soon
after the quiet hours, passes at once.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import holidays
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from notifications.domain.delivery import RETRIES, RETRY_AFTER
from runtime.refusals import N_

DEFAULT_ZONE = "Europe/Rome"
FURTHEST = 370
"""Days: hours that open on some day of the week open within so many."""

LEAD = RETRIES * RETRY_AFTER
"""Four hours from the opening, in which a message must still be of use to wait for it: so long may
a mail server say *later* before the last try (DOMAIN), and the person must read it before leaving
home, or be called. News of an afternoon's workshop waits for its morning, of a morning's not."""


WallClock = Annotated[
    time,
    WithJsonSchema({"type": "string", "pattern": r"^([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?$"}),
]
"""A time of the day without a zone, which JSON Schema's format ``time`` would want."""


class Window(BaseModel):
    """From ``opens`` (inclusive) to ``closes`` (exclusive), within one day."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    opens: WallClock = Field(examples=["09:00"])
    closes: WallClock = Field(examples=["20:00"])

    @model_validator(mode="after")
    def _in_order(self) -> Window:
        if self.opens.tzinfo or self.closes.tzinfo or self.opens >= self.closes:
            raise PydanticCustomError(
                "quiet_hours.order", N_("The window must open before it closes.")
            )
        return self


class Hours(BaseModel):
    """When messages may leave; None: not at all on such a day."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weekdays: Window | None = Window(opens=time(9), closes=time(20))
    saturdays: Window | None = Window(opens=time(10), closes=time(19))
    sundays: Window | None = None
    holidays: Window | None = None

    @model_validator(mode="after")
    def _opens_some_day(self) -> Hours:
        if self.weekdays is None and self.saturdays is None and self.sundays is None:
            raise PydanticCustomError(
                "quiet_hours.closed",
                N_("Messages must be able to leave on some day of the week."),
            )
        return self

    def on(self, day: date, region: str) -> Window | None:
        """The window of a day."""
        if is_holiday(day, region):
            return self.holidays
        return {5: self.saturdays, 6: self.sundays}.get(day.weekday(), self.weekdays)


def is_open(moment: datetime, hours: Hours, zone: ZoneInfo, region: str) -> bool:
    """Whether a message may leave at this moment."""
    local = moment.astimezone(zone)
    window = hours.on(local.date(), region)
    return window is not None and window.opens <= local.time() < window.closes


def next_open(moment: datetime, hours: Hours, zone: ZoneInfo, region: str) -> datetime:
    """The first moment from ``moment`` on at which a message may leave, aware UTC."""
    if is_open(moment, hours, zone, region):
        return moment.astimezone(UTC)
    today = moment.astimezone(zone).date()
    for ahead in range(FURTHEST):
        day = today + timedelta(days=ahead)
        window = hours.on(day, region)
        if window is None:
            continue
        # Where the clock jumps over the opening, this is the moment after the jump.
        opens = datetime.combine(day, window.opens, tzinfo=zone).astimezone(UTC)
        if opens >= moment and is_open(opens, hours, zone, region):
            return opens
    raise ValueError("these hours never open")


def leaves_at(
    moment: datetime,
    hours: Hours,
    zone: ZoneInfo,
    region: str,
    *,
    useful_until: datetime | None = None,
) -> datetime:
    """When a message that is ready at ``moment`` leaves.

    In the window, or at once when it would come too late after the quiet hours: an offer runs out
    or a session begins less than `LEAD` after they end.
    """
    opens = next_open(moment, hours, zone, region)
    if useful_until is not None and moment < useful_until < opens + LEAD:
        return moment.astimezone(UTC)
    return opens


def time_zone(name: str) -> ZoneInfo:
    """The zone of this name, Rome when there is none."""
    try:
        return ZoneInfo(name or DEFAULT_ZONE)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo(DEFAULT_ZONE)


def is_holiday(day: date, region: str) -> bool:
    """Whether a day is a holiday of the region (ISO 3166-2; IT-MI brings Sant'Ambrogio)."""
    return day in _calendar(region)


@lru_cache(maxsize=256)
def _calendar(region: str) -> holidays.HolidayBase:
    country, _, part = region.partition("-")
    for subdivision in (part or None, None):
        try:
            return holidays.country_holidays(country or "IT", subdiv=subdivision)
        except NotImplementedError:
            continue
    return holidays.country_holidays("IT")
