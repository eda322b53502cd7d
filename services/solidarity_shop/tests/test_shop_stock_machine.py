"""Stock against a pure model: a shelf, and a list of what was written about it.

Deliveries, returns, losses, adjustments, counts, sales of several products at once, refunds
with and without the goods, overrides, and the same request again: on hand is always the sum of what
was written, it goes below zero only where somebody said why, and a fall to the minimum is told
once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
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

from contracts import shop
from contracts.shop import StockReason
from runtime.refusals import Refusal
from runtime.testing import examples
from solidarity_shop.queries import movements
from web import Paging

PRICE, MINIMUM, PRODUCTS = 50, 3, 2
OUT = (StockReason.RETURN, StockReason.LOSS)
BY_HAND = (StockReason.DELIVERY, *OUT, StockReason.ADJUSTMENT, StockReason.AUDIT)


@dataclass
class Shelf:
    """What the model knows of a product."""

    written: list[int] = field(default_factory=list)
    low: int = 0
    overridden: int = 0

    @property
    def on_hand(self) -> int:
        return sum(self.written)

    def allows(self, quantity: int) -> bool:
        return quantity >= 0 or self.on_hand + quantity >= 0

    def move(self, quantity: int) -> None:
        before = self.on_hand
        self.overridden += not self.allows(quantity)
        self.written.append(quantity)
        self.low += self.on_hand <= MINIMUM < before


@dataclass
class Sold:
    """A sale in cash: pieces of each product, and how many came back."""

    pieces: dict[str, int]
    back: dict[str, int] = field(default_factory=dict)


class StockMachine(RuleBasedStateMachine):
    """A few products on one till."""

    bench: Any = None

    @initialize()
    def begin(self) -> None:
        made = [self.bench.product(PRICE, on_hand=0, minimum=MINIMUM) for _ in range(PRODUCTS)]
        self.shelves = {product.id: Shelf() for product in made}
        self.sales: dict[str, Sold] = {}
        self.last: dict[str, Any] = {}
        self.seen_before = len(self.bench.bench.emitted())

    def chosen(self, number: int) -> str:
        return sorted(self.shelves)[number % PRODUCTS]

    @rule(
        number=st.integers(0, PRODUCTS - 1),
        reason=st.sampled_from(BY_HAND),
        quantity=st.integers(1, 8),
        minus=st.booleans(),
        why=st.sampled_from(["", "found behind the fridge"]),
    )
    def write(self, number: int, reason: StockReason, quantity: int, minus: bool, why: str) -> None:
        product = self.chosen(number)
        shelf = self.shelves[product]
        told = (
            -quantity
            if minus and reason not in (StockReason.DELIVERY, StockReason.AUDIT)
            else quantity
        )
        moves = -quantity if reason in OUT else told
        if reason is StockReason.AUDIT:
            moves = quantity - shelf.on_hand
        name = self.bench.name("movement")
        asked = {"movement_id": name, "override_reason": why}
        allowed = shelf.allows(moves) or bool(why)
        self.last = {"product": product, "reason": reason, "quantity": told, **asked}
        try:
            self.bench.move(product, reason, told, **asked)
        except Refusal as refused:
            assert not allowed, refused.reason  # noqa: PT017 - both ways are looked at
            self.last = {}
            return
        assert allowed
        shelf.move(moves)

    @precondition(lambda self: self.last)
    @rule()
    def write_the_same_again(self) -> None:
        """The answer was lost: the same id with the same content changes nothing."""
        last = dict(self.last)
        self.bench.move(last.pop("product"), last.pop("reason"), last.pop("quantity"), **last)

    @rule(
        pieces=st.lists(st.integers(0, 4), min_size=PRODUCTS, max_size=PRODUCTS), why=st.booleans()
    )
    def sell(self, pieces: list[int], why: bool) -> None:
        basket = {self.chosen(k): n for k, n in enumerate(pieces) if n}
        if not basket:
            return
        allowed = why or all(self.shelves[p].allows(-n) for p, n in basket.items())
        try:
            sold = self.bench.sell(
                *basket.items(),
                cash=PRICE * sum(basket.values()),
                override_reason="it is on the shelf" if why else "",
            )
        except Refusal as refused:
            assert not allowed, refused.reason  # noqa: PT017 - both ways are looked at
            return
        assert allowed
        self.sales[sold.id] = Sold(basket)
        for product, quantity in basket.items():
            self.shelves[product].move(-quantity)

    @precondition(lambda self: self.sales)
    @rule(
        data=st.data(),
        number=st.integers(0, PRODUCTS - 1),
        quantity=st.integers(1, 4),
        returned=st.booleans(),
    )
    def refund(self, data: st.DataObject, number: int, quantity: int, returned: bool) -> None:
        sale_id = data.draw(st.sampled_from(sorted(self.sales)))
        sold, product = self.sales[sale_id], self.chosen(number)
        left = sold.pieces.get(product, 0) - sold.back.get(product, 0)
        try:
            self.bench.refund(sale_id, (product, quantity), goods_returned=returned)
        except Refusal as refused:
            assert quantity > left, refused.reason  # noqa: PT017 - both ways are looked at
            return
        assert quantity <= left
        sold.back[product] = sold.back.get(product, 0) + quantity
        if returned:
            self.shelves[product].move(quantity)

    @invariant()
    def on_hand_is_what_was_written(self) -> None:
        for product, shelf in getattr(self, "shelves", {}).items():
            assert self.bench.on_hand(product) == shelf.on_hand
            page = self.bench.bench.read(lambda c, p=product: movements(c, p, Paging(limit=200)))
            assert sorted(m.quantity for m in page.items) == sorted(shelf.written)
            assert sum(bool(m.override_reason) for m in page.items) == shelf.overridden

    def teardown(self) -> None:
        if not hasattr(self, "shelves"):
            return
        told = self.bench.bench.emitted()[self.seen_before :]
        for product, shelf in self.shelves.items():
            moved = [
                e.quantity
                for e in told
                if isinstance(e, shop.StockMoved) and e.product_id == product
            ]
            assert moved == shelf.written
            low = [e for e in told if isinstance(e, shop.StockLow) and e.product_id == product]
            assert len(low) == shelf.low
        assert self.bench.differences() == []


@pytest.mark.properties
@pytest.mark.timeout(3600)
def test_stock_is_its_model(shop_bench: Any) -> None:
    class OnThisStore(StockMachine):
        bench = shop_bench

    run_state_machine_as_test(
        OnThisStore,
        settings=settings(
            max_examples=examples(4),
            stateful_step_count=12,
            suppress_health_check=list(HealthCheck),
        ),
    )
