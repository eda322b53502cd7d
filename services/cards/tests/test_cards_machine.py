"""The whole service against a model of single coins: random sales, payments, refunds, attendances,
corrections, expiries and time-outs, delivered twice through the real inbox of both engines."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cards import store
from cards.domain.points import LedgerAccount
from runtime.clock import FixedClock
from runtime.testing import examples

PER_EURO, PER_ATTENDANCE, VALID_DAYS = 2, 7, 3
STEP = st.tuples(
    st.sampled_from(
        ["give", "take", "ask", "complete", "complete more", "complete unasked", "cancel",
         "buy", "refund", "attend", "correct", "wait", "wait long", "late"]
    ),
    st.integers(1, 40),
)  # fmt: skip


@dataclass
class Coin:
    """One point."""

    expires_at: datetime
    hold: str = ""


@dataclass
class Model:
    """What one household should have, by the rules as they are written down, coin by coin."""

    clock: FixedClock
    coins: list[Coin] = field(default_factory=list)
    open: dict[str, datetime] = field(default_factory=dict)
    uncovered: int = 0

    def free(self) -> list[Coin]:
        now = self.clock.now()
        found = [coin for coin in self.coins if not coin.hold and coin.expires_at > now]
        return sorted(found, key=lambda coin: coin.expires_at)

    def come(self, number: int, expires_at: datetime) -> None:
        self.coins += [Coin(expires_at) for _ in range(number)]

    def go(self, gone: list[Coin]) -> None:
        ids = {id(coin) for coin in gone}
        self.coins = [coin for coin in self.coins if id(coin) not in ids]

    def take(self, number: int) -> None:
        gone = self.free()[:number]
        self.uncovered += number - len(gone)
        self.go(gone)

    def ask(self, sale: str, number: int) -> None:
        free = self.free()
        if number <= len(free):
            self.open[sale] = self.clock.now()
            for coin in free[:number]:
                coin.hold = sale

    def end(self, sale: str, number: int) -> int:
        """A completion: from the hold, then from what is free, then uncovered."""
        self.open.pop(sale, None)
        mine = sorted(
            (coin for coin in self.coins if coin.hold == sale), key=lambda coin: coin.expires_at
        )
        for coin in mine:
            coin.hold = ""
        self.go(mine[:number])
        missing = number - len(mine[:number])
        gone = self.free()[:missing]
        self.go(gone)
        self.uncovered += missing - len(gone)
        return missing - len(gone)

    def jobs(self) -> None:
        now = self.clock.now()
        for sale, placed in list(self.open.items()):
            if now - placed >= timedelta(hours=24):
                self.end(sale, 0)
        self.coins = [coin for coin in self.coins if coin.hold or coin.expires_at > now]


class Run:
    """One household on the bench beside its model, step by step."""

    def __init__(self, bench: Any, clock: FixedClock, name: str) -> None:
        self.bench, self.clock, self.model = bench, clock, Model(clock)
        self.house = bench.household(name)
        self.name = name
        self.numbers = itertools.count()
        self.sales: dict[str, dict[str, int]] = {}
        self.sessions: dict[str, tuple[int, bool]] = {}
        self.owed: dict[str, int] = {}
        self.asked: list[tuple[str, int]] = []

    def step(self, what: str, amount: int) -> None:
        do: Callable[[int], None] = getattr(self, what.replace(" ", "_"))
        do(amount)
        model, (available, held) = self.model, self.house.points
        assert available == len(model.free()), (what, amount)
        assert held == sum(1 for coin in model.coins if coin.hold), (what, amount)
        assert self.uncovered() == model.uncovered, (what, amount)

    def uncovered(self) -> int:
        booked = (
            sa.select(sa.func.coalesce(-sa.func.sum(store.entry.c.points), 0))
            .join(store.transfer, store.transfer.c.id == store.entry.c.transfer_id)
            .where(
                store.transfer.c.household_id == self.house.id,
                store.entry.c.account == LedgerAccount.UNCOVERED,
            )
        )
        return int(self.bench.read(lambda c: c.scalar(booked)))

    def expiry(self) -> datetime:
        day = (self.clock.now() + timedelta(hours=1)).date() + timedelta(days=VALID_DAYS)
        return datetime.fromisoformat(f"{day}T22:59:59+00:00")

    def new(self) -> str:
        return f"{self.name}-{next(self.numbers)}"

    def give(self, amount: int) -> None:
        until = self.clock.now() + timedelta(hours=amount)
        self.house.give(amount, until)
        self.model.come(amount, until)

    def take(self, amount: int) -> None:
        take = min(amount, len(self.model.free()))
        if take:
            self.house.give(-take)
            self.model.take(take)

    def ask(self, amount: int) -> None:
        sale = self.new()
        self.asked.append((sale, amount))
        self.bench.deliver(self.house.asks(amount, sale=sale))
        self.model.ask(sale, amount)

    def complete(self, amount: int) -> None:
        self._complete(min)

    def complete_more(self, amount: int) -> None:
        self._complete(lambda asked, _: asked + amount)

    def _complete(self, cost: Callable[[int, int], int]) -> None:
        if not self.asked:
            return
        sale, asked = self.asked.pop()
        self._sell(sale, cost(asked, asked // 2 + 1), money=350)

    def complete_unasked(self, amount: int) -> None:
        self._sell(self.new(), amount, money=0)

    def buy(self, amount: int) -> None:
        self._sell(self.new(), 0, money=amount * 33)

    def _sell(self, sale: str, points: int, *, money: int) -> None:
        self.bench.deliver(self.house.buys(money=money, points=points, sale=sale))
        uncovered = self.model.end(sale, points)
        self.model.come(money // 100 * PER_EURO, self.expiry())
        self.sales[sale] = {"money": money, "points": points, "uncovered": uncovered}

    def cancel(self, amount: int) -> None:
        if self.asked:
            sale, _ = self.asked.pop(0)
            self.bench.deliver(self.house.cancels(sale=sale))
            self.model.end(sale, 0)

    def late(self, amount: int) -> None:
        """A sale that ended before its request was seen."""
        sale = self.new()
        self.bench.deliver(self.house.cancels(sale=sale), self.house.asks(amount, sale=sale))

    def refund(self, amount: int) -> None:
        unreturned = [s for s, left in self.sales.items() if left["money"] or left["points"]]
        if not unreturned:
            return
        sale = unreturned[0]
        left = self.sales[sale]
        money, points = min(left["money"], amount * 10), min(left["points"], amount)
        refund = self.new()
        self.bench.deliver(self.house.returns(money=money, points=points, sale=sale, refund=refund))
        covered = min(points, left["uncovered"])
        self.model.come(points - covered, self.expiry())
        self.model.uncovered -= covered
        before = left["money"] // 100 * PER_EURO
        left["money"] -= money
        left["points"] -= points
        left["uncovered"] -= covered
        self.model.take(before - left["money"] // 100 * PER_EURO)

    def attend(self, amount: int) -> None:
        session = self.new()
        self.sessions[session] = (1, True)
        self.bench.deliver(self.house.attends(session=session))
        self.model.come(PER_ATTENDANCE, self.expiry())

    def correct(self, amount: int) -> None:
        if not self.sessions:
            return
        session, (revision, present) = next(iter(self.sessions.items()))
        self.sessions[session] = (revision + 1, not present)
        self.bench.deliver(self.house.attends(not present, revision + 1, session=session))
        owed = self.owed.get(session, 0)
        if present:
            before = self.model.uncovered
            self.model.take(PER_ATTENDANCE)
            self.owed[session] = owed + self.model.uncovered - before
        else:
            covered = min(PER_ATTENDANCE, owed)
            self.owed[session] = owed - covered
            self.model.uncovered -= covered
            self.model.come(PER_ATTENDANCE - covered, self.expiry())

    def wait(self, amount: int) -> None:
        self.clock.advance(timedelta(minutes=amount * 17))
        self._tick()

    def wait_long(self, amount: int) -> None:
        self.clock.advance(timedelta(hours=amount))
        self._tick()

    def _tick(self) -> None:
        self.bench.tick()
        self.bench.tick()  # what a time-out freed too late expires in the next run
        self.model.jobs()


@pytest.fixture
def machine(bench: Any, clock: FixedClock) -> Any:
    bench.rule(per_euro=PER_EURO, per_attendance=PER_ATTENDANCE, valid_days=VALID_DAYS)
    return bench, clock, itertools.count()


@settings(
    max_examples=examples(8),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(STEP, min_size=5, max_size=14))
@example([("attend", 1), ("complete unasked", 3), ("correct", 1), ("correct", 1), ("correct", 1)])
@example([("attend", 1), ("complete unasked", 9), ("correct", 1), ("correct", 1), ("attend", 1)])
def test_a_household_always_has_what_the_model_has(
    machine: Any, steps: list[tuple[str, int]]
) -> None:
    """Each example is one more household on the same store; the clock only moves on."""
    bench, clock, names = machine
    run = Run(bench, clock, f"h{next(names)}")
    for what, amount in steps:
        run.step(what, amount)
    bench.holds_together()
