"""The saga of a payment in points against a pure model, on both engines.

The bus is hostile: answers of cards come late, twice, in any order across sales, after the time
limit, or not at all. Whatever happens, the shop ends every sale once, its stock is that of the
model, and what it told adds up.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from contracts import cards, shop
from messaging.testing import orders
from runtime.refusals import Refusal
from runtime.testing import examples
from solidarity_shop import commands, queries
from solidarity_shop.domain.sale import State

PRICE, VALUE, STOCK, PURSE = 35, 10, 12, 40


@dataclass
class Sold:
    """What the model knows of a sale."""

    quantity: int
    points: int
    money: int
    opened: int
    state: str
    back: int = 0
    answers: list[cards.HoldPlaced | cards.HoldDeclined] = field(default_factory=list)


class SagaMachine(RuleBasedStateMachine):
    """One product, one household, one till; minutes are whole."""

    bench: Any = None

    @initialize()
    def begin(self) -> None:
        self.product = self.bench.product(PRICE, on_hand=STOCK)
        self.card = self.bench.card(points=PURSE)
        self.household = self.bench.household_of(self.card)
        self.known = PURSE
        self.on_hand = STOCK
        self.minute = 0
        self.sales: dict[str, Sold] = {}
        self.seen_before = len(self.bench.bench.emitted())

    # the till

    @rule(quantity=st.integers(1, 4), share=st.integers(0, 14))
    def sell(self, quantity: int, share: int) -> None:
        points = min(share, quantity * PRICE // VALUE)
        money = quantity * PRICE - points * VALUE
        asked = sum(s.points for s in self.sales.values() if s.state == "waiting_for_points")
        covered = not points or points <= self.known - asked
        allowed = covered and quantity <= self.on_hand
        sell = partial(
            self.bench.sell,
            (self.product.id, quantity),
            cash=money,
            points=points,
            card_id=self.card,
        )
        if not allowed:
            with pytest.raises(Refusal) as refused:
                sell()
            assert refused.value.reason in ("points.too_few", "stock.none")
            return
        sold = sell()
        self.on_hand -= quantity
        state = "waiting_for_points" if points else "completed"
        assert sold.state == state
        self.sales[sold.id] = Sold(quantity, points, money, self.minute, state)
        if points:
            self.sales[sold.id].answers = [
                self.bench.placed(sold, available=max(self.known - points, 0)),
                self.bench.declined(sold),
            ]

    @precondition(lambda self: self.sales)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        sale_id = data.draw(st.sampled_from(sorted(self.sales)))
        sold = self.sales[sale_id]
        give_up = partial(
            self.bench.run, lambda tx: commands.cancel_sale(tx, sale_id, centre="centre-1")
        )
        if sold.state == "completed":
            with pytest.raises(Refusal) as refused:
                give_up()
            assert refused.value.reason == "sale.completed_already"
            return
        give_up()
        self.cancelled(sold)

    @precondition(lambda self: self.sales)
    @rule(data=st.data(), quantity=st.integers(1, 4), returned=st.booleans())
    def refund(self, data: st.DataObject, quantity: int, returned: bool) -> None:
        sale_id = data.draw(st.sampled_from(sorted(self.sales)))
        sold = self.sales[sale_id]
        allowed = sold.state == "completed" and quantity <= sold.quantity - sold.back
        try:
            self.bench.refund(sale_id, (self.product.id, quantity), goods_returned=returned)
        except Refusal:
            assert not allowed
            return
        assert allowed
        sold.back += quantity
        self.on_hand += quantity if returned else 0

    # the bus and the clock

    @precondition(lambda self: any(s.answers for s in self.sales.values()))
    @rule(data=st.data(), kind=st.sampled_from([0, 0, 0, 1]))
    def cards_answers(self, data: st.DataObject, kind: int) -> None:
        """Any answer to any sale, again and again, however late."""
        sale_id = data.draw(st.sampled_from(sorted(i for i, s in self.sales.items() if s.answers)))
        sold = self.sales[sale_id]
        answer = sold.answers[kind].model_copy(
            update={("placed_at", "declined_at")[kind]: self.bench.clock.now()}
        )
        self.bench.bench.deliver(answer)
        self.known = answer.available
        if sold.state != "waiting_for_points":
            return
        if kind == 0:
            sold.state = "completed"
        else:
            self.cancelled(sold)

    @rule(points=st.integers(0, PURSE))
    def cards_tells_a_balance(self, points: int) -> None:
        self.bench.points(self.household, points)
        self.known = points

    @rule(minutes=st.sampled_from([1, 7, 15]))
    def time_passes(self, minutes: int) -> None:
        self.minute += minutes
        self.bench.clock.advance(timedelta(minutes=minutes))
        self.bench.bench.tick()
        for sold in self.sales.values():
            if sold.state == "waiting_for_points" and self.minute - sold.opened >= 15:
                self.cancelled(sold)

    def cancelled(self, sold: Sold) -> None:
        if sold.state == "waiting_for_points":
            sold.state = "cancelled"
            self.on_hand += sold.quantity

    # what always holds

    @invariant()
    def the_store_is_the_model(self) -> None:
        if not hasattr(self, "sales"):
            return
        assert self.bench.on_hand(self.product.id) == self.on_hand
        for sale_id, sold in self.sales.items():
            seen = self.bench.sale(sale_id)
            assert seen.state == sold.state, sale_id
            assert seen.lines[0].refunded == sold.back
            money = sum(refund.money_cents for refund in seen.refunds)
            points = sum(refund.points for refund in seen.refunds)
            if sold.back == sold.quantity:
                assert (money, points) == (sold.money, sold.points)
            else:
                assert money <= sold.money
                assert points <= sold.points

    def teardown(self) -> None:
        if not hasattr(self, "sales"):
            return
        told = Counter[tuple[str, str]]()
        for event in self.bench.bench.emitted()[self.seen_before :]:
            if isinstance(event, shop.SaleCompleted | shop.SaleCancelled):
                told[event.sale_id, type(event).__name__] += 1
        for sale_id, sold in self.sales.items():
            assert told[sale_id, "SaleCompleted"] == (sold.state == "completed")
            assert told[sale_id, "SaleCancelled"] == (sold.state == "cancelled")
        assert self.bench.bench.set_aside() == []
        now = self.bench.clock.now()
        assert [d for d in self.bench.differences() if "sale.waiting" not in d] == []
        assert self.bench.bench.read(lambda c: queries.open_takings(c, "till-1")).waiting >= 0
        self.bench.clock.set(now + timedelta(minutes=15))
        self.bench.bench.tick()
        assert all(self.bench.sale(i).state != State.WAITING for i in self.sales)


@pytest.mark.properties
def test_the_saga_is_its_model_whatever_the_bus_does(shop_bench: Any) -> None:
    class OnThisStore(SagaMachine):
        bench = shop_bench

    run_state_machine_as_test(
        OnThisStore,
        settings=settings(
            max_examples=examples(8),
            stateful_step_count=14,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("late", ["placed", "declined"])
def test_answers_come_in_every_order_across_households(shop_bench: Any, late: str) -> None:
    """Two sales of two households: each order of their answers ends both alike."""
    bread = shop_bench.product(100, on_hand=100)
    for order in orders(["a", "b", "a-again", "b-again"], key=lambda name: name[0]):
        sales = {
            name: shop_bench.sell((bread.id, 1), points=10, card_id=shop_bench.card(points=10))
            for name in ("a", "b")
        }
        answers = {
            "a": shop_bench.placed(sales["a"]),
            "a-again": shop_bench.placed(sales["a"]),
            "b": shop_bench.declined(sales["b"]),
            "b-again": (shop_bench.placed if late == "placed" else shop_bench.declined)(sales["b"]),
        }
        shop_bench.bench.deliver(*(answers[name] for name in order))
        assert shop_bench.sale(sales["a"].id).state is State.COMPLETED
        assert shop_bench.sale(sales["b"].id).state is State.CANCELLED
    assert shop_bench.differences() == []


def test_what_is_remembered_of_others_equals_its_rebuild(shop_bench: Any) -> None:
    card = shop_bench.card(points=40, household="home")
    now = shop_bench.clock.now()
    shop_bench.bench.deliver(
        cards.PointsExpired(
            household_id="home",
            transfer_id="t",
            points=10,
            buckets=(),
            available=30,
            held=0,
            expired_at=now,
        ),
        cards.PointsDebited(
            household_id="home",
            transfer_id="u",
            reason=cards.DebitReason.ADJUSTMENT,
            origin="o",
            points=5,
            available=25,
            held=0,
            debited_at=now,
        ),
        cards.CardBlocked(household_id="home", card_id=card, reason="lost", blocked_at=now),
        cards.HoldReleased(
            household_id="home",
            hold_id="h",
            sale_id="s",
            points=5,
            available=30,
            held=0,
            released_at=now,
        ),
    )
    assert shop_bench.bench.read(lambda c: queries.spendable(c, "home")) == 30
    row = shop_bench.bench.read(lambda c: queries.find_card(c, "centre-1", card_id=card))
    assert row["blocked"]
    shop_bench.bench.rebuild_equals()
