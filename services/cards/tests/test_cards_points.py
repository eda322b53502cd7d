"""The rules of points against a model that keeps every single point as a coin of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)

from cards.domain import earning, points
from cards.domain.earning import NO_RULE, Rule, in_order, rule_at
from cards.domain.points import NEVER, HouseholdAccount, LedgerAccount, TooFew
from runtime.testing import examples

START = datetime(2026, 11, 16, 9, tzinfo=UTC)
ROME = ZoneInfo("Europe/Rome")


@dataclass
class Coin:
    """One point: where it expires, and the hold that it is in."""

    expires_at: datetime
    hold: str = ""


@dataclass
class Purse:
    """The model: a household's points one by one."""

    coins: list[Coin] = field(default_factory=list)

    def free(self, now: datetime) -> list[Coin]:
        usable = [coin for coin in self.coins if not coin.hold and coin.expires_at > now]
        return sorted(usable, key=lambda coin: coin.expires_at)

    def drop(self, gone: list[Coin]) -> None:
        ids = {id(coin) for coin in gone}
        self.coins = [coin for coin in self.coins if id(coin) not in ids]


class LedgerOfOneHousehold(RuleBasedStateMachine):
    """Everything that can happen to points, in any order, with the clock moving on."""

    holds = Bundle("holds")

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.account = HouseholdAccount()
        self.purse = Purse()
        self.parts: dict[str, tuple[points.Part, ...]] = {}
        self.booked: list[points.Entry] = []
        self.names = 0

    def book(self, entries: tuple[points.Entry, ...]) -> None:
        assert sum(entry.points for entry in entries) == 0
        self.booked += entries

    @rule(amount=st.integers(1, 40), days=st.sampled_from([1, 2, 3, 10, 30, 0]))
    def credit(self, amount: int, days: int) -> None:
        expires_at = self.now + timedelta(days=days) if days else NEVER
        parts = self.account.credit(amount, expires_at)
        self.book(points.incoming(parts, LedgerAccount.SHOP))
        self.purse.coins += [Coin(expires_at) for _ in range(amount)]

    @rule(hours=st.integers(1, 100))
    def clock_moves(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule(target=holds, amount=st.integers(1, 60))
    def hold(self, amount: int) -> object:
        free = self.purse.free(self.now)
        if amount > len(free):
            before = [(b.balance, b.held) for b in self.account.buckets.values()]
            with pytest.raises(TooFew) as refused:
                self.account.hold(amount, self.now)
            assert refused.value.available == len(free)
            assert before == [(b.balance, b.held) for b in self.account.buckets.values()]
            return multiple()
        self.names += 1
        name = f"hold-{self.names}"
        self.parts[name] = self.account.hold(amount, self.now)
        for coin in free[:amount]:
            coin.hold = name
        return name

    @rule(name=consumes(holds))
    def release_or_time_out(self, name: str) -> None:
        mine = [coin for coin in self.purse.coins if coin.hold == name]
        assert self.account.release(self.parts.pop(name)) == len(mine)
        for coin in mine:
            coin.hold = ""

    @rule(name=consumes(holds), amount=st.integers(1, 80))
    def capture(self, name: str, amount: int) -> None:
        self._capture(name, self.parts.pop(name), amount)

    @rule(amount=st.integers(1, 80))
    def capture_without_a_hold(self, amount: int) -> None:
        self._capture("no hold", (), amount)

    def _capture(self, name: str, parts: tuple[points.Part, ...], amount: int) -> None:
        mine = sorted(
            (coin for coin in self.purse.coins if coin.hold == name), key=lambda c: c.expires_at
        )
        outcome = self.account.capture(parts, amount, self.now)
        self.book(
            points.outgoing(outcome.spent, LedgerAccount.REDEMPTION, uncovered=outcome.uncovered)
        )
        gone = mine[:amount]
        for coin in mine[amount:]:
            coin.hold = ""
        assert outcome.released == len(mine[amount:])
        gone += self.purse.free(self.now)[: amount - len(gone)]
        assert outcome.captured == len(gone)
        assert outcome.uncovered == amount - len(gone)
        self.purse.drop(gone)

    @rule(amount=st.integers(1, 80))
    def take_back(self, amount: int) -> None:
        parts = self.account.take_up_to(amount, self.now)
        taken = points.total(parts)
        self.book(points.outgoing(parts, LedgerAccount.SHOP, uncovered=amount - taken))
        gone = self.purse.free(self.now)[:amount]
        assert taken == len(gone)
        self.purse.drop(gone)

    @rule(amount=st.integers(1, 80))
    def adjust(self, amount: int) -> None:
        free = self.purse.free(self.now)
        if amount > len(free):
            with pytest.raises(TooFew):
                self.account.take(amount, self.now)
            return
        self.book(points.outgoing(self.account.take(amount, self.now), LedgerAccount.ADJUSTMENT))
        self.purse.drop(free[:amount])

    @rule()
    def expire(self) -> None:
        parts = self.account.expire(self.now)
        gone = [c for c in self.purse.coins if not c.hold and c.expires_at <= self.now]
        assert points.total(parts) == len(gone)
        if parts:
            self.book(points.outgoing(parts, LedgerAccount.EXPIRY))
        self.purse.drop(gone)

    @invariant()
    def account_and_model_agree(self) -> None:
        assert self.account.available(self.now) == len(self.purse.free(self.now))
        assert self.account.held == sum(1 for coin in self.purse.coins if coin.hold)
        for when, bucket in self.account.buckets.items():
            mine = [coin for coin in self.purse.coins if coin.expires_at == when]
            assert bucket.balance == len(mine)
            assert bucket.held == sum(1 for coin in mine if coin.hold)
            assert 0 <= bucket.held <= bucket.balance

    @invariant()
    def entries_are_the_balances(self) -> None:
        assert sum(entry.points for entry in self.booked) == 0
        for when, bucket in self.account.buckets.items():
            assert bucket.balance == sum(e.points for e in self.booked if e.expires_at == when)


TestLedgerOfOneHousehold = LedgerOfOneHousehold.TestCase
TestLedgerOfOneHousehold.settings = settings(max_examples=examples(60), stateful_step_count=40)


def test_spends_what_expires_soonest_first() -> None:
    account = HouseholdAccount()
    late, soon = START + timedelta(days=9), START + timedelta(days=1)
    account.credit(10, NEVER)
    account.credit(10, late)
    account.credit(10, soon)
    assert account.take(25, START) == (
        points.Part(soon, 10),
        points.Part(late, 10),
        points.Part(NEVER, 5),
    )


def test_a_transfer_that_does_not_balance_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="balance"):
        points.balanced([points.Entry(LedgerAccount.SHOP, 1)])
    with pytest.raises(ValueError, match="balance"):
        points.balanced([points.Entry(LedgerAccount.SHOP, 0)])


def test_more_than_is_held_cannot_be_freed() -> None:
    account = HouseholdAccount()
    account.credit(5, NEVER)
    with pytest.raises(ValueError, match="held"):
        account.release([points.Part(NEVER, 1)])


@given(
    money=st.integers(0, 100_000),
    cuts=st.lists(st.integers(1, 30_000), max_size=6),
    per_euro=st.integers(0, 10),
)
def test_many_small_refunds_take_back_what_one_large_one_would(
    money: int, cuts: list[int], per_euro: int
) -> None:
    refunded, lost = 0, 0
    for cut in cuts:
        part = min(cut, money - refunded)
        lost += earning.lost_by_refund(money, refunded, part, per_euro)
        refunded += part
    assert lost == earning.lost_by_refund(money, 0, refunded, per_euro)
    assert lost == earning.earned_by_money(money, per_euro) - earning.earned_by_money(
        money - refunded, per_euro
    )


@pytest.mark.parametrize(
    ("cents", "earned"), [(-500, 0), (0, 0), (99, 0), (100, 2), (1999, 38), (2000, 40)]
)
def test_only_whole_euros_earn(cents: int, earned: int) -> None:
    assert earning.earned_by_money(cents, 2) == earned


def test_the_last_rule_that_has_begun_holds() -> None:
    def made(days: int, rule_id: str) -> Rule:
        return Rule(START + timedelta(days=days), rule_id, 1, 1, 10)

    old, new, newer, future = made(0, "a"), made(5, "b"), made(5, "c"), made(9, "d")
    rules = in_order([future, newer, old, new])
    assert rules == [old, new, newer, future]
    assert rule_at(rules, START - timedelta(seconds=1)) is NO_RULE
    assert rule_at(rules, START) is old
    assert rule_at(rules, START + timedelta(days=5)) is newer
    assert rule_at(rules, START + timedelta(days=50)) is future
    assert NO_RULE.per_euro == NO_RULE.per_attendance == 0


@pytest.mark.parametrize(
    ("moment", "days", "expected"),
    [
        ("2026-11-16T09:00Z", 1, "2026-11-17T22:59:59Z"),
        ("2026-11-16T23:30Z", 1, "2026-11-18T22:59:59Z"),  # the next day in Rome already
        ("2027-03-27T09:00Z", 2, "2027-03-29T21:59:59Z"),  # summer time begins between
    ],
)
def test_points_live_to_the_end_of_the_centres_day(moment: str, days: int, expected: str) -> None:
    ends = earning.expiry_of(datetime.fromisoformat(moment), days, ROME)
    assert ends == datetime.fromisoformat(expected)


def test_an_unknown_zone_falls_back_to_the_default() -> None:
    assert earning.zone_of("Nowhere/At_all") == ROME
    assert earning.zone_of("") == ROME
    assert earning.zone_of("Europe/Madrid") == ZoneInfo("Europe/Madrid")
