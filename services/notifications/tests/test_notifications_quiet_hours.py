"""Quiet hours: deferred, never dropped, always inside the window, whatever the clocks do."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from notifications.domain.quiet_hours import (
    LEAD,
    Hours,
    Window,
    is_holiday,
    is_open,
    leaves_at,
    next_open,
    time_zone,
)

ROME = ZoneInfo("Europe/Rome")
ZONES = [
    ROME,
    ZoneInfo("America/New_York"),
    ZoneInfo("Australia/Lord_Howe"),  # half an hour of summer time
    ZoneInfo("America/Santiago"),  # changes at midnight
    ZoneInfo("Asia/Kathmandu"),
]
MOMENTS = st.timedeltas(timedelta(0), timedelta(days=5 * 365)).map(
    lambda passed: datetime(2025, 1, 1, tzinfo=UTC) + passed
)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    opens, closes = sorted(
        draw(st.lists(st.integers(0, 24 * 60 - 1), min_size=2, max_size=2, unique=True))
    )
    return Window(opens=time(opens // 60, opens % 60), closes=time(closes // 60, closes % 60))


@st.composite
def some_hours(draw: st.DrawFn) -> Hours:
    maybe = st.none() | windows()
    return Hours(
        weekdays=draw(windows()),
        saturdays=draw(maybe),
        sundays=draw(maybe),
        holidays=draw(maybe),
    )


def rome(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ROME)


@given(MOMENTS, some_hours(), st.sampled_from(ZONES), st.sampled_from(["IT-MI", "IT", "FR", "XX"]))
def test_a_message_leaves_inside_the_window_and_not_before_it_is_ready(
    ready: datetime, hours: Hours, zone: ZoneInfo, region: str
) -> None:
    leaves = next_open(ready, hours, zone, region)
    assert leaves >= ready
    local = leaves.astimezone(zone)
    window = hours.on(local.date(), region)
    assert window is not None
    assert window.opens <= local.time() < window.closes


@given(MOMENTS)
def test_a_message_is_never_dropped_and_waits_some_days_at_most(ready: datetime) -> None:
    leaves = next_open(ready, Hours(), ROME, "IT-MI")
    # The longest rest of Milan: two holidays around a weekend.
    assert leaves - ready < timedelta(days=5)


@given(MOMENTS, some_hours(), st.sampled_from(ZONES))
def test_what_is_ready_in_the_window_leaves_at_once(
    ready: datetime, hours: Hours, zone: ZoneInfo
) -> None:
    assert (next_open(ready, hours, zone, "IT") == ready) == is_open(ready, hours, zone, "IT")


@given(MOMENTS, st.timedeltas(timedelta(0), timedelta(hours=12)))
def test_who_is_ready_later_does_not_leave_earlier(ready: datetime, later: timedelta) -> None:
    first = next_open(ready, Hours(), ROME, "IT-MI")
    assert next_open(ready + later, Hours(), ROME, "IT-MI") >= first


@given(MOMENTS, st.timedeltas(timedelta(hours=-3), timedelta(days=7)))
def test_only_what_would_come_too_late_passes(ready: datetime, left: timedelta) -> None:
    until = ready + left
    opens = next_open(ready, Hours(), ROME, "IT-MI")
    leaves = leaves_at(ready, Hours(), ROME, "IT-MI", useful_until=until)
    assert leaves == (ready if ready < until < opens + LEAD else opens)


@given(
    MOMENTS, st.timedeltas(timedelta(0), timedelta(days=7)), some_hours(), st.sampled_from(ZONES)
)
def test_what_waits_is_of_use_for_long_after_it_leaves(
    ready: datetime, left: timedelta, hours: Hours, zone: ZoneInfo
) -> None:
    until = ready + left
    leaves = leaves_at(ready, hours, zone, "IT", useful_until=until)
    assert leaves >= ready
    assert leaves == ready or until <= ready or until - leaves >= LEAD


@given(MOMENTS, some_hours(), st.sampled_from(ZONES))
def test_what_is_of_no_use_any_more_disturbs_nobody(
    ready: datetime, hours: Hours, zone: ZoneInfo
) -> None:
    opens = next_open(ready, hours, zone, "IT")
    assert leaves_at(ready, hours, zone, "IT", useful_until=ready) == opens


@pytest.mark.parametrize(
    ("ready", "until", "leaves"),
    [
        ("2026-11-15 11:00", "2026-11-16 09:30", "2026-11-15 11:00"),  # Sunday, of Monday morning
        ("2026-11-15 11:00", "2026-11-16 12:59", "2026-11-15 11:00"),
        ("2026-11-15 11:00", "2026-11-16 13:00", "2026-11-16 09:00"),
        ("2026-11-15 11:00", "2026-11-16 16:30", "2026-11-16 09:00"),  # the homework club
        ("2026-11-20 21:00", "2026-11-21 11:00", "2026-11-20 21:00"),  # Saturdays from ten on
        ("2026-11-16 10:00", "2026-11-16 10:05", "2026-11-16 10:00"),  # no quiet hours
    ],
)
def test_a_session_of_the_next_morning_is_cancelled_in_time(
    ready: str, until: str, leaves: str
) -> None:
    found = leaves_at(rome(ready), Hours(), ROME, "IT-MI", useful_until=rome(until))
    assert found == rome(leaves)


@pytest.mark.parametrize(
    ("ready", "leaves"),
    [
        ("2026-11-16 08:59", "2026-11-16 09:00"),
        ("2026-11-16 09:00", "2026-11-16 09:00"),
        ("2026-11-16 19:59", "2026-11-16 19:59"),
        ("2026-11-16 20:00", "2026-11-17 09:00"),
        ("2026-11-20 21:00", "2026-11-21 10:00"),  # Friday night to Saturday
        ("2026-11-21 18:59", "2026-11-21 18:59"),
        ("2026-11-21 19:00", "2026-11-23 09:00"),  # Saturday evening to Monday
        ("2026-12-07 10:00", "2026-12-09 09:00"),  # Sant'Ambrogio and the Immaculate, in Milan
        ("2026-12-24 20:30", "2026-12-28 09:00"),  # Christmas, Santo Stefano, Sunday
        ("2026-03-28 23:00", "2026-03-30 09:00"),  # the clocks go forward in between
        ("2026-10-24 23:00", "2026-10-26 09:00"),  # and back
    ],
)
def test_the_default_hours_of_milan(ready: str, leaves: str) -> None:
    assert next_open(rome(ready), Hours(), ROME, "IT-MI") == rome(leaves)


def test_the_hours_are_those_of_the_wall_clock() -> None:
    winter = next_open(rome("2026-03-27 21:00"), Hours(), ROME, "IT-MI")
    summer = next_open(rome("2026-03-30 21:00"), Hours(), ROME, "IT-MI")
    assert (winter.hour, summer.hour) == (9, 7)  # Saturday from 10 in UTC+1, Tuesday 9 in UTC+2


def test_a_holiday_of_the_region_is_none_elsewhere() -> None:
    day = date(2026, 12, 7)
    assert is_holiday(day, "IT-MI")
    assert not is_holiday(day, "IT-TO")
    assert not is_holiday(day, "not a region")
    assert is_holiday(date(2026, 12, 25), "IT-??")


def test_an_unknown_zone_is_rome() -> None:
    assert time_zone("Mars/Olympus") == time_zone("") == time_zone("../etc") == ROME


@pytest.mark.parametrize(
    "hours",
    [
        {"weekdays": {"opens": "20:00", "closes": "09:00"}},
        {"weekdays": {"opens": "09:00", "closes": "09:00"}},
        {"weekdays": {"opens": "09:00", "closes": "25:00"}},
        {"weekdays": {"opens": "09:00Z", "closes": "20:00Z"}},
        {"weekdays": None, "saturdays": None},
        {"mondays": None},
    ],
)
def test_hours_that_make_no_sense_are_refused(hours: object) -> None:
    with pytest.raises(ValidationError):
        Hours.model_validate(hours)
