"""When a session is, in the centre's wall-clock time, and who is of the age for it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

LONGEST = timedelta(hours=24)
"""A session that lasts longer is surely a slip of the pen."""
MOST_WEEKS = 52


def age_on(birth_date: date, day: date) -> int:
    """Whole years on a day; who was born on 29 February has their birthday on 1 March."""
    before_birthday = (day.month, day.day) < (birth_date.month, birth_date.day)
    return day.year - birth_date.year - before_birthday


def weekly(
    starts_at: datetime, ends_at: datetime, weeks: int, zone: ZoneInfo
) -> Iterator[tuple[datetime, datetime]]:
    """Beginning and end of each session of a weekly series, at the same wall-clock time.

    The clocks change twice a year: seven days later at 16:30 is not always 168 hours later.
    """
    begin, end = starts_at.astimezone(zone), ends_at.astimezone(zone)
    for week in range(weeks):
        days = timedelta(days=7 * week)
        yield _moved(begin, days, zone), _moved(end, days, zone)


def _moved(moment: datetime, by: timedelta, zone: ZoneInfo) -> datetime:
    wall = moment.replace(tzinfo=None) + by
    return wall.replace(tzinfo=zone).astimezone(ZoneInfo("UTC"))


def local_day(moment: datetime, zone: ZoneInfo) -> date:
    """The day of a moment as people at the centre call it."""
    return moment.astimezone(zone).date()


def day_bounds(day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The beginning of a day and of the next, in UTC."""
    utc = ZoneInfo("UTC")
    start = datetime.combine(day, time(), tzinfo=zone)
    following = datetime.combine(day + timedelta(days=1), time(), tzinfo=zone)
    return start.astimezone(utc), following.astimezone(utc)
