"""When an answer is due, over calendars: weekends, holidays, changes of the clock."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from network.domain.deadlines import (
    DeadlineRule,
    deadlines,
    is_business_day,
    nth_business_day,
    time_zone,
)
from runtime.testing import examples

ROME = ZoneInfo("Europe/Rome")
MINUTES = st.integers(0, 7 * 365 * 24 * 60)
MOMENTS = MINUTES.map(lambda n: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=n))
ZONES = st.sampled_from(["Europe/Rome", "America/Sao_Paulo", "Asia/Beirut", "Atlantic/Azores"])
REGIONS = st.sampled_from(["IT-MI", "IT-PV", "IT", "IT-XX", "ZZ-1", ""])


@st.composite
def rules(draw: st.DrawFn) -> DeadlineRule:
    answer, grace = draw(st.integers(1, 10)), draw(st.integers(0, 10))
    return DeadlineRule(
        answer_days=answer,
        grace_days=grace,
        expiry_days=answer + grace + draw(st.integers(1, 20)),
    )


def business_days_between(after: date, until: date, region: str) -> int:
    days = (until - after).days
    return sum(is_business_day(after + timedelta(days=n), region) for n in range(1, days + 1))


@settings(max_examples=examples(200))
@given(MOMENTS, rules(), ZONES, REGIONS)
def test_deadlines_fall_on_business_days_in_their_order(
    asked_at: datetime, rule: DeadlineRule, zone: str, region: str
) -> None:
    result = deadlines(asked_at, rule, zone=zone, region=region)
    where = ZoneInfo(zone)
    asked_on = asked_at.astimezone(where).date()
    assert asked_at < result.remind_at < result.answer_by <= result.overdue_at < result.expires_at
    for moment, days in (
        (result.remind_at, rule.answer_days),
        (result.answer_by, rule.answer_days),
        (result.overdue_at, rule.answer_days + rule.grace_days),
        (result.expires_at, rule.expiry_days),
    ):
        day = moment.astimezone(where).date()
        assert is_business_day(day, region)
        assert business_days_between(asked_on, day, region) == days


@settings(max_examples=examples(200))
@given(MOMENTS, MOMENTS, rules(), REGIONS)
def test_who_was_asked_earlier_is_never_due_later(
    one: datetime, other: datetime, rule: DeadlineRule, region: str
) -> None:
    first, second = sorted((one, other))
    early = deadlines(first, rule, zone="Europe/Rome", region=region)
    late = deadlines(second, rule, zone="Europe/Rome", region=region)
    assert early.answer_by <= late.answer_by
    assert early.expires_at <= late.expires_at


@settings(max_examples=examples(100))
@given(MOMENTS, rules())
def test_the_wall_clock_says_the_same_in_summer_and_winter(
    asked_at: datetime, rule: DeadlineRule
) -> None:
    result = deadlines(asked_at, rule, zone="Europe/Rome", region="IT-MI")
    assert result.answer_by.astimezone(ROME).time() == time(23, 59)
    assert result.remind_at.astimezone(ROME).time() == time(9, 0)


def test_over_a_weekend_in_which_the_clocks_change_two_days_are_monday_and_tuesday() -> None:
    friday = datetime(2026, 10, 23, 15, 0, tzinfo=ROME)
    result = deadlines(friday, DeadlineRule(), zone="Europe/Rome", region="IT-MI")
    assert result.answer_by == datetime(2026, 10, 27, 22, 59, tzinfo=UTC)
    summer = deadlines(
        datetime(2026, 10, 20, 15, 0, tzinfo=ROME), DeadlineRule(), zone="", region="IT-MI"
    )
    assert summer.answer_by == datetime(2026, 10, 22, 21, 59, tzinfo=UTC)


def test_milan_rests_on_sant_ambrogio_and_pavia_does_not() -> None:
    friday = date(2026, 12, 4)
    assert nth_business_day(friday, 1, "IT-PV") == date(2026, 12, 7)
    assert nth_business_day(friday, 1, "IT-MI") == date(2026, 12, 9)


def test_asked_on_sunday_counts_from_monday() -> None:
    sunday = datetime(2026, 11, 15, 18, 0, tzinfo=ROME)
    result = deadlines(sunday, DeadlineRule(), zone="Europe/Rome", region="IT-MI")
    assert result.answer_by.astimezone(ROME).date() == date(2026, 11, 17)


def test_late_in_the_evening_it_is_still_the_centres_day() -> None:
    """23:30 of Monday in Rome is 22:30 UTC; 00:30 of Tuesday is still Monday in UTC."""
    monday = datetime(2026, 11, 16, 23, 30, tzinfo=ROME)
    tuesday = datetime(2026, 11, 17, 0, 30, tzinfo=ROME)
    rule = DeadlineRule()
    first = deadlines(monday, rule, zone="Europe/Rome", region="IT-MI").answer_by
    second = deadlines(tuesday, rule, zone="Europe/Rome", region="IT-MI").answer_by
    assert second - first == timedelta(days=1)


@pytest.mark.parametrize(
    "values",
    [{"answer_days": 0}, {"grace_days": -1}, {"expiry_days": 4}, {"answer_days": 14}, {"more": 1}],
)
def test_a_rule_without_sense_is_refused(values: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        DeadlineRule(**values)


def test_an_unknown_time_zone_is_rome() -> None:
    assert time_zone("Mars/Olympus") == ROME
    assert time_zone("../../etc/passwd") == ROME
