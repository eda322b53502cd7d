"""The rules that live in time: sessions, signing keys, attempts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from contracts.identity import Role
from identity.domain import keys, throttle
from identity.domain.keys import AHEAD, SIGNS_FOR, Span, next_span, signer
from identity.domain.sessions import API_LONGEST, Session, api_life, lifetime_for
from identity.domain.throttle import Rate, given_back, taken, wait
from runtime.refusals import Invalid

MONDAY = datetime(2026, 11, 16, 9, 0, tzinfo=UTC)
STEPS = st.timedeltas(timedelta(0), timedelta(days=20))


# -- sessions ------------------------------------------------------------------------------------


class SessionLife(RuleBasedStateMachine):
    """A session that has ended never lives again, and none lives beyond its idle or whole end."""

    @initialize(
        idle=st.one_of(st.none(), st.timedeltas(timedelta(minutes=1), timedelta(days=30))),
        whole=st.timedeltas(timedelta(minutes=1), timedelta(days=90)),
    )
    def begins(self, idle: timedelta | None, whole: timedelta) -> None:
        self.now = MONDAY
        self.session = Session(MONDAY, MONDAY, MONDAY + whole, idle)
        self.ended = False
        self.last_use = MONDAY

    @rule(by=STEPS)
    def time_passes(self, by: timedelta) -> None:
        self.now += by
        self.ended |= self.now >= self.session.ends_at
        if self.session.idle is not None:
            self.ended |= self.now - self.last_use >= self.session.idle

    @rule()
    def is_used(self) -> None:
        self.session = self.session.seen(self.now)
        if not self.ended:
            self.last_use = self.now

    @rule()
    def is_revoked(self) -> None:
        self.session = self.session.revoked(self.now)
        self.ended = True

    @invariant()
    def lives_exactly_until_its_end(self) -> None:
        if hasattr(self, "session"):
            assert self.session.live(self.now) is not self.ended
            assert self.session.over_at <= self.session.ends_at


TestSessionLife = SessionLife.TestCase


def test_a_shared_desk_is_signed_out_within_the_day_and_a_phone_is_not() -> None:
    assert lifetime_for({Role.RECEPTION}).whole < timedelta(days=1)
    assert lifetime_for({Role.FAMILY, Role.TILL}).whole < timedelta(days=1)
    assert lifetime_for({Role.FAMILY}).idle >= timedelta(days=30)


@pytest.mark.parametrize("days", [0, -1, 91])
def test_an_api_token_lives_one_to_ninety_days(days: int) -> None:
    with pytest.raises(Invalid) as refused:
        api_life(days)
    assert refused.value.reason == "token.days"
    assert api_life(None) == timedelta(hours=12)
    assert api_life(90) == API_LONGEST


# -- signing keys --------------------------------------------------------------------------------


class KeysInTurn(RuleBasedStateMachine):
    """However rarely the work runs: it leaves a key that signs, published in time if it was there
    in time, and every key outlives every token that it may have signed."""

    @initialize()
    def begins(self) -> None:
        self.now = MONDAY
        self.spans: dict[Span, datetime] = {}
        self.work_runs()

    @rule(by=st.timedeltas(timedelta(0), timedelta(days=45)))
    def time_passes(self, by: timedelta) -> None:
        self.now += by

    @rule()
    def work_runs(self) -> None:
        for _ in range(3):
            span = next_span(self.spans, self.now)
            if span is None:
                break
            self.spans[span] = self.now
        assert next_span(self.spans, self.now) is None
        assert signer(self.spans, self.now) is not None

    @invariant()
    def holds(self) -> None:
        for span in self.spans:
            assert span.not_before < span.signs_until
            assert span.not_after >= span.signs_until + API_LONGEST
        current = signer(getattr(self, "spans", {}), self.now) if hasattr(self, "now") else None
        if current is not None:
            assert current.not_before <= self.now < current.signs_until


TestKeysInTurn = KeysInTurn.TestCase


def test_with_regular_work_every_key_is_published_a_day_before_it_signs() -> None:
    now, spans = MONDAY, {}
    spans[Span(now - keys.SKEW, now + SIGNS_FOR)] = now
    for _ in range(400):
        now += timedelta(hours=6)
        while (span := next_span(spans, now)) is not None:
            spans[span] = now
        current = signer(spans, now)
        assert current is not None
        if len(spans) > 1 and current is not next(iter(spans)):
            assert current.not_before - spans[current] >= AHEAD - timedelta(hours=6)
    assert len(spans) == 400 * 6 // 24 // 30 + 1


def test_a_clock_set_back_finds_a_key_at_once() -> None:
    future = Span(MONDAY + timedelta(days=365), MONDAY + timedelta(days=395))
    span = next_span([future], MONDAY)
    assert span is not None
    assert span.signs(MONDAY)
    assert next_span([future, span], MONDAY) is None


# -- attempts ------------------------------------------------------------------------------------

RATES = st.builds(
    Rate, burst=st.integers(1, 20), every=st.timedeltas(timedelta(seconds=1), timedelta(minutes=5))
)


@given(RATES, st.lists(st.timedeltas(timedelta(0), timedelta(minutes=10)), max_size=60))
def test_no_more_guesses_than_the_rate_says(rate: Rate, pauses: list[timedelta]) -> None:
    now, full_at, let_through = MONDAY, None, 0
    for pause in pauses:
        now += pause
        waits = wait(rate, full_at, now)
        assert timedelta(0) <= waits <= rate.every
        if not waits:
            full_at = taken(rate, full_at, now)
            let_through += 1
    assert let_through <= rate.burst + (now - MONDAY) // rate.every + 1
    if not pauses:
        assert let_through == 0


@given(RATES, st.integers(0, 40))
def test_who_waits_as_told_may_try_whatever_others_did(rate: Rate, tries: int) -> None:
    full_at = None
    for _ in range(tries):
        if not wait(rate, full_at, MONDAY):
            full_at = taken(rate, full_at, MONDAY)
    told = wait(rate, full_at, MONDAY)
    assert not wait(rate, full_at, MONDAY + told)


@given(RATES, st.integers(1, 200))
def test_right_passwords_do_not_count(rate: Rate, times: int) -> None:
    full_at = None
    for _ in range(times):
        assert not wait(rate, full_at, MONDAY)
        full_at = given_back(rate, taken(rate, full_at, MONDAY))


@given(RATES, st.timedeltas(timedelta(0), timedelta(days=3650)))
def test_a_clock_set_back_locks_nobody_out(rate: Rate, by: timedelta) -> None:
    told = wait(rate, MONDAY + by, MONDAY)
    assert told <= rate.every + throttle.SKEW
    assert not wait(rate, MONDAY + by, MONDAY + told), "it would be told the same again and again"
    assert not wait(rate, taken(rate, MONDAY + by, MONDAY + told), MONDAY + told + rate.every)


def test_the_burst_is_let_through_and_not_one_more() -> None:
    rate, full_at = throttle.FROM_ONE_PLACE, None
    for _ in range(rate.burst):
        assert not wait(rate, full_at, MONDAY)
        full_at = taken(rate, full_at, MONDAY)
    assert wait(rate, full_at, MONDAY) == rate.every
