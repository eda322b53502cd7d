"""When an answer is due: business days of the centre, counted in its own time zone.

An answer is due in 2 business days, then 2 more of grace pass before it is called overdue; after 14
business days nobody is expected to answer (DOMAIN). A day ends at 23:59 of the wall clock, so that
"by Wednesday" is true whether the clocks change or not. Counting begins on the day after the
request; what is asked at a weekend counts from Monday.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import holidays
from pydantic import BaseModel, ConfigDict, Field, model_validator

END_OF_DAY = time(23, 59)
REMIND_AT = time(9, 0)
DEFAULT_ZONE = "Europe/Rome"


class DeadlineRule(BaseModel):
    """Business days; the defaults are those of DOMAIN. A dated configuration of a centre."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    answer_days: int = Field(default=2, ge=1, le=60, description="Until an answer is due")
    grace_days: int = Field(default=2, ge=0, le=60, description="From due to overdue")
    expiry_days: int = Field(default=14, ge=1, le=250, description="From the request to expired")

    @model_validator(mode="after")
    def _in_order(self) -> DeadlineRule:
        if self.expiry_days <= self.answer_days + self.grace_days:
            raise ValueError("a referral cannot expire before it is overdue")
        return self


@dataclass(frozen=True)
class Deadlines:
    """Aware UTC; ``remind_at`` < ``answer_by`` <= ``overdue_at`` < ``expires_at``."""

    remind_at: datetime
    answer_by: datetime
    overdue_at: datetime
    expires_at: datetime


def deadlines(asked_at: datetime, rule: DeadlineRule, *, zone: str, region: str) -> Deadlines:
    """The deadlines of what is asked at ``asked_at`` (aware).

    ``zone`` is an IANA name, ``region`` an ISO 3166-2 code (IT-MI brings Sant'Ambrogio); an unknown
    one falls back to Rome and to the national holidays, because a referral without a deadline would
    be worse than one that overlooks a local holiday.
    """
    where = time_zone(zone)
    day = asked_at.astimezone(where).date()

    def moment(days: int, at: time) -> datetime:
        return _wall(nth_business_day(day, days, region), at, where)

    due = rule.answer_days
    return Deadlines(
        remind_at=moment(due, REMIND_AT),
        answer_by=moment(due, END_OF_DAY),
        overdue_at=moment(due + rule.grace_days, END_OF_DAY),
        expires_at=moment(rule.expiry_days, END_OF_DAY),
    )


def nth_business_day(day: date, days: int, region: str) -> date:
    """The ``days``-th business day after ``day``; Saturdays, Sundays and holidays do not count."""
    return _calendar(region).get_nth_working_day(day, days)


def is_business_day(day: date, region: str) -> bool:
    return _calendar(region).is_working_day(day)


def time_zone(name: str) -> ZoneInfo:
    """The zone of this name, Rome when there is none."""
    try:
        return ZoneInfo(name or DEFAULT_ZONE)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo(DEFAULT_ZONE)


def _wall(day: date, at: time, where: ZoneInfo) -> datetime:
    moment = datetime.combine(day, at, tzinfo=where).astimezone(UTC)
    if moment.astimezone(where).date() != day:
        moment -= timedelta(days=1)
    return moment


@lru_cache(maxsize=256)
def _calendar(region: str) -> holidays.HolidayBase:
    country, _, part = region.partition("-")
    for subdivision in (part or None, None):
        try:
            return holidays.country_holidays(country or "IT", subdiv=subdivision)
        except NotImplementedError:
            continue
    return holidays.country_holidays("IT")
