"""What happens to a referral as time goes by."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from contracts.network import (
    ReferralExpired,
    ReferralOverdue,
    ReferralRequested,
)
from messaging.testing import Bench
from network import commands, store
from network.domain.deadlines import DeadlineRule
from network.domain.referral import Action
from network.models import (
    NewRule,
    ReferralView,
)
from runtime.clock import FixedClock
from runtime.refusals import Refusal

from .network_cases import AUSER, CENTRE, NOW, STAFF, ask, differences, do, read, rows


def test_nobody_answers_reminded_then_overdue_then_expired(bench: Bench, clock: FixedClock) -> None:
    referral = ask(bench)  # Monday; due by Wednesday, overdue after Friday, 14 days: 4 December

    def now_at(day: int, hour: int, month: int = 11) -> ReferralView:
        clock.set(datetime(2026, month, day, hour, tzinfo=UTC))
        bench.tick()
        assert differences(bench) == []
        return read(bench, STAFF, referral)

    assert not now_at(18, 7).reminded
    seen = now_at(18, 8)
    assert seen.reminded
    assert not seen.late
    seen = now_at(19, 8)
    assert seen.late
    assert not seen.overdue
    assert bench.emitted(ReferralOverdue) == []
    assert now_at(20, 23).overdue
    assert len(bench.emitted(ReferralOverdue)) == 1
    assert now_at(4, 22, 12).state == "requested"
    seen = now_at(4, 23, 12)
    assert (seen.state, seen.reason) == ("expired", "no_answer")
    assert len(bench.emitted(ReferralExpired)) == 1
    now_at(31, 23, 12)
    assert len(bench.emitted()) == 2 + 3


def test_an_answer_in_time_is_not_followed_by_reminders(bench: Bench, clock: FixedClock) -> None:
    referral = ask(bench)
    do(bench, AUSER, referral, Action.ACCEPT)
    clock.advance(timedelta(days=60))
    bench.tick()
    assert read(bench, STAFF, referral).state == "accepted"
    assert bench.emitted(ReferralOverdue) == []
    assert rows(bench, store.metadata.tables["job"]) == []


def test_asked_elsewhere_the_time_begins_anew_and_the_old_deadlines_say_nothing(
    bench: Bench, clock: FixedClock
) -> None:
    referral = ask(bench)
    clock.set(datetime(2026, 11, 20, 10, tzinfo=UTC))
    again = do(bench, STAFF, referral, Action.REROUTE, to_organisation_id="torri")
    assert again.answer_by == datetime(2026, 11, 24, 22, 59, tzinfo=UTC)
    clock.set(datetime(2026, 11, 21, 10, tzinfo=UTC))
    bench.tick()
    assert not read(bench, STAFF, referral).overdue
    assert differences(bench) == []


def test_an_expired_referral_can_be_asked_of_somebody_else(bench: Bench, clock: FixedClock) -> None:
    referral = ask(bench)
    clock.advance(timedelta(days=30))
    bench.tick()
    with pytest.raises(Refusal, match="not_possible_now"):
        do(bench, AUSER, referral, Action.ACCEPT)
    assert do(
        bench, STAFF, referral, Action.REROUTE, to_organisation_id="torri"
    ).state == "requested"  # fmt: skip


def test_a_centre_sets_its_own_deadlines_from_a_day_on(bench: Bench, clock: FixedClock) -> None:
    asked = NewRule(
        from_time=NOW + timedelta(days=1),
        deadlines=DeadlineRule(answer_days=5, grace_days=0, expiry_days=20),
    )
    bench.run(lambda tx: commands.set_rules(tx, STAFF, asked, centre_id=CENTRE))
    ask(bench)
    clock.advance(timedelta(days=1))
    ask(bench)
    before, after = bench.emitted(ReferralRequested)
    assert (after.answer_by - before.answer_by).days == 6


def test_a_referral_without_its_due_rows_is_named_by_the_checks(bench: Bench) -> None:
    referral = ask(bench)
    job = store.metadata.tables["job"]
    bench.run(lambda tx: tx.connection.execute(sa.delete(job)))
    found = differences(bench)
    assert len(found) == 3
    assert all(referral in line for line in found)
