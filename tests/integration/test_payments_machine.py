"""Payments in points across both services against a pure model, on both engines.

Shop and cards are real, each with its store, outbox, inbox and jobs; between them is a bus that
keeps order per key and nothing else: events come late, twice, and when the other side has long
given up. The clock runs over the shop's fifteen minutes and the 24 hours of cards. The model says
after each step what both sides have; when everything has arrived, each sale and each hold has ended
once, and no point is lost or made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
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

from cards import commands as cards_commands
from cards import queries as cards_queries
from cards.app import SERVICE as CARDS
from cards.domain.card import digest_of, new_token
from cards.models import Adjustment, HouseholdNew, Member, RuleNew
from contracts import Event, identity, shop
from contracts import cards as card_facts
from messaging.envelope import Received, Record, decode, wire_headers
from messaging.tables import outbox
from messaging.testing import PARTITIONS, Bench
from runtime.clock import FixedClock
from runtime.ids import SequenceIds
from runtime.refusals import Refusal
from runtime.testing import ENGINES, examples, fresh_store
from solidarity_shop import commands as shop_commands
from solidarity_shop import queries as shop_queries
from solidarity_shop.app import SERVICE as SHOP
from solidarity_shop.domain.amounts import Method, Payment
from vicinato.verify import sagas

CENTRE, TILL, PRICE, VALUE = "centre-1", "till-1", 50, 10
PURSE, PER_EURO = 30, 3
SHOP_GIVES_UP, CARDS_GIVES_UP = timedelta(minutes=15), timedelta(hours=24)


@dataclass
class Wire:
    """What one side has told and the other has not heard: a queue for each key."""

    teller: Bench
    listener: Bench
    topic: str
    queues: dict[str, list[Record]] = field(default_factory=lambda: defaultdict(list))
    heard: list[Record] = field(default_factory=list)
    row: int = 0

    def collect(self) -> None:
        """Take what was written since, as the relay would."""
        query = sa.select(outbox).where(outbox.c.row > self.row, outbox.c.topic == self.topic)
        for row in self.teller.read(lambda c: c.execute(query.order_by(outbox.c.row)).all()):
            self.row = row.row
            headers = wire_headers(row.headers, previous=row.previous, cause=row.cause, era=0)
            key = row.key.encode()
            stamp = int(row.at.timestamp() * 1000)
            record = Record(self.topic, sum(key) % PARTITIONS, -1, stamp, key, row.body, headers)
            self.queues[row.key].append(record)

    def waiting(self) -> list[str]:
        return sorted(key for key, queue in self.queues.items() if queue)

    def carry(self, key: str) -> Event:
        """The next of a key arrives."""
        record = self.queues[key].pop(0)
        self.listener.settle([record])
        self.heard.append(record)
        content = decode(record).content
        assert isinstance(content, Received)
        return content.event


@dataclass
class Sale:
    """What the model knows of a sale, on both sides."""

    points: int
    money: int
    opened: datetime
    at_shop: str
    """waiting_for_points, completed, cancelled."""
    hold: str = ""
    """At cards: nothing yet, placed, declined, captured, released, timed_out."""
    placed: datetime | None = None
    ended: bool = False
    """Whether cards has heard the end."""
    earned: int = 0
    uncovered: int = 0
    back: bool = False


class PaymentsMachine(RuleBasedStateMachine):
    """One household, one product, many sales."""

    house: Any = None

    @initialize()
    def begin(self) -> None:
        self.household, self.card = self.house.household()
        self.product = self.house.product()
        self.sales: dict[str, Sale] = {}
        self.purse = 0
        self._give(PURSE)
        self.house.drain()

    # what people do

    @rule(points=st.integers(1, 20), quantity=st.integers(1, 3))
    def sell(self, points: int, quantity: int) -> None:
        points = min(points, quantity * PRICE // VALUE)
        money = quantity * PRICE - points * VALUE
        sale = self.house.sell(self.product, self.card, quantity, points, money)
        if sale:
            now = self.house.clock.now()
            self.sales[sale] = Sale(points, money, now, "waiting_for_points")

    @precondition(lambda self: any(s.at_shop == "waiting_for_points" for s in self.sales.values()))
    @rule(data=st.data())
    def the_till_gives_up(self, data: st.DataObject) -> None:
        waiting = [i for i, s in self.sales.items() if s.at_shop == "waiting_for_points"]
        sale = data.draw(st.sampled_from(sorted(waiting)))
        self.house.shop.run(lambda tx: shop_commands.cancel_sale(tx, sale, centre=CENTRE))
        self.sales[sale].at_shop = "cancelled"

    @precondition(lambda self: self._refundable())
    @rule(data=st.data())
    def refund_all(self, data: st.DataObject) -> None:
        sale = data.draw(st.sampled_from(self._refundable()))
        self.house.refund(sale, self.product)
        self.sales[sale].back = True

    @rule(points=st.integers(1, 15))
    def give(self, points: int) -> None:
        self._give(points)

    @rule(points=st.integers(1, 40))
    def take(self, points: int) -> None:
        points = min(points, self.purse)
        if points:
            self._give(-points)

    # what the bus does

    @precondition(lambda self: self.house.to_cards.waiting())
    @rule(data=st.data(), twice=st.booleans())
    def cards_hears(self, data: st.DataObject, twice: bool) -> None:
        key = data.draw(st.sampled_from(self.house.to_cards.waiting()))
        self._cards_heard(self.house.to_cards.carry(key))
        if twice:
            self.house.again(self.house.to_cards, -1)

    @precondition(lambda self: self.house.to_shop.waiting())
    @rule(data=st.data(), twice=st.booleans())
    def the_shop_hears(self, data: st.DataObject, twice: bool) -> None:
        key = data.draw(st.sampled_from(self.house.to_shop.waiting()))
        self._shop_heard(self.house.to_shop.carry(key))
        if twice:
            self.house.again(self.house.to_shop, -1)

    @rule(data=st.data())
    def something_old_comes_again(self, data: st.DataObject) -> None:
        wires = [wire for wire in (self.house.to_cards, self.house.to_shop) if wire.heard]
        if wires:
            wire = data.draw(st.sampled_from(wires))
            self.house.again(wire, data.draw(st.integers(0, len(wire.heard) - 1)))

    # what time does

    @rule(minutes=st.sampled_from([1, 8, 16]), shop_first=st.booleans())
    def minutes_pass(self, minutes: int, shop_first: bool) -> None:
        self.house.clock.advance(timedelta(minutes=minutes))
        self._tick(shop_first)

    @rule(hours=st.sampled_from([13, 25]), shop_sleeps=st.booleans())
    def hours_pass(self, hours: int, shop_sleeps: bool) -> None:
        """The shop may be off all the while: then cards gives up first."""
        self.house.clock.advance(timedelta(hours=hours))
        if shop_sleeps:
            self._cards_tick()
        else:
            self._tick(shop_first=True)

    # the model

    def _refundable(self) -> list[str]:
        done = (i for i, s in self.sales.items() if s.at_shop == "completed" and not s.back)
        return sorted(done)

    def _give(self, points: int) -> None:
        self.house.give(self.household, points)
        self.purse += points

    def _cards_heard(self, event: Event) -> None:
        match event:
            case shop.PointsPaymentRequested():
                self._requested(self.sales[event.sale_id])
            case shop.SaleCompleted():
                self._completed(self.sales[event.sale_id])
            case shop.SaleCancelled():
                self._cancelled(self.sales[event.sale_id])
            case shop.SaleRefunded():
                self._refunded(self.sales[event.sale_id])

    def _requested(self, sale: Sale) -> None:
        if sale.points > self.purse:
            sale.hold = "declined"
        else:
            sale.hold, sale.placed = "placed", self.house.clock.now()
            self.purse -= sale.points

    def _completed(self, sale: Sale) -> None:
        sale.ended = True
        if sale.hold != "placed":  # cards gave up in between: it takes what is there
            covered = min(self.purse, sale.points)
            self.purse -= covered
            sale.uncovered = sale.points - covered
        sale.hold = "captured"
        sale.earned = sale.money // 100 * PER_EURO
        self.purse += sale.earned

    def _cancelled(self, sale: Sale) -> None:
        sale.ended = True
        if sale.hold == "placed":
            sale.hold = "released"
            self.purse += sale.points

    def _refunded(self, sale: Sale) -> None:
        self.purse += sale.points - sale.uncovered
        self.purse -= min(self.purse, sale.earned)

    def _shop_heard(self, event: Event) -> None:
        if isinstance(event, card_facts.HoldPlaced | card_facts.HoldDeclined):
            sale = self.sales.get(event.sale_id)
            if sale is not None and sale.at_shop == "waiting_for_points":
                placed = isinstance(event, card_facts.HoldPlaced)
                sale.at_shop = "completed" if placed else "cancelled"

    def _tick(self, shop_first: bool) -> None:
        for tick in (
            (self._shop_tick, self._cards_tick)
            if shop_first
            else (self._cards_tick, self._shop_tick)
        ):
            tick()

    def _shop_tick(self) -> None:
        self.house.shop.tick()
        for sale in self.sales.values():
            late = self.house.clock.now() - sale.opened >= SHOP_GIVES_UP
            if sale.at_shop == "waiting_for_points" and late:
                sale.at_shop = "cancelled"

    def _cards_tick(self) -> None:
        self.house.cards.tick()
        for sale in self.sales.values():
            placed = sale.placed if sale.hold == "placed" else None
            if placed is not None and self.house.clock.now() - placed >= CARDS_GIVES_UP:
                sale.hold = "timed_out"
                self.purse += sale.points

    # what holds

    @invariant()
    def both_sides_are_their_model(self) -> None:
        if not hasattr(self, "sales"):
            return
        self.house.collect()
        held = sum(sale.points for sale in self.sales.values() if sale.hold == "placed")
        assert self.house.points(self.household) == (self.purse, held)
        states = {sale: self.house.state(sale) for sale in self.sales}
        assert states == {sale: known.at_shop for sale, known in self.sales.items()}

    def teardown(self) -> None:
        if not hasattr(self, "sales"):
            return
        self.house.clock.advance(SHOP_GIVES_UP)
        self._shop_tick()
        for _ in range(2 * len(self.sales) + 2):
            self.house.collect()
            for key in self.house.to_cards.waiting():
                while self.house.to_cards.queues[key]:
                    self._cards_heard(self.house.to_cards.carry(key))
            self.house.collect()
            for key in self.house.to_shop.waiting():
                while self.house.to_shop.queues[key]:
                    self._shop_heard(self.house.to_shop.carry(key))
        self.both_sides_are_their_model()
        assert all(sale.ended for sale in self.sales.values())
        assert self.house.points(self.household)[1] == 0
        self.house.holds_together()


class PaymentHouse:
    """Both services on benches, with wires between them."""

    def __init__(self, cards_bench: Bench, shop_bench: Bench, clock: FixedClock) -> None:
        self.cards, self.shop, self.clock = cards_bench, shop_bench, clock
        self.to_cards = Wire(shop_bench, cards_bench, "shop.events")
        self.to_shop = Wire(cards_bench, shop_bench, "cards.events")
        self._count = 0
        opened = identity.CentreOpened(centre_id=CENTRE, name="Casa", opened_at=clock.now())
        for bench in (cards_bench, shop_bench):
            bench.deliver(opened)
        rule_of_earning = RuleNew(per_euro=PER_EURO, per_attendance=0, valid_days=3650)
        cards_bench.run(lambda tx: cards_commands.set_earning_rule(tx, rule_of_earning))
        shop_bench.run(
            lambda tx: shop_commands.open_till(tx, centre_id=CENTRE, name="1", till_id=TILL)
        )

    def name(self, what: str) -> str:
        self._count += 1
        return f"{what}-{self._count}"

    def household(self) -> tuple[str, str]:
        """A new one; its id and its card's."""
        new = HouseholdNew(members=[Member(given_name="Amina", family_name="Prova")], zone="Satta")
        made = self.cards.run(lambda tx: cards_commands.register_household(tx, new))
        digest = digest_of(new_token())
        assert digest is not None
        card = self.cards.run(lambda tx: cards_commands.issue_card(tx, made, digest))
        return made, card.id

    def product(self) -> str:
        name = self.name("product")
        new = shop_commands.NewProduct(id=name, name=name, price_cents=PRICE, barcode=name)
        self.shop.run(lambda tx: shop_commands.create_product(tx, new, centre_id=CENTRE))
        delivery = {"reason": shop.StockReason.DELIVERY, "quantity": 100_000}
        self.shop.run(lambda tx: shop_commands.move_stock(tx, name, centre=CENTRE, **delivery))
        return name

    def give(self, household: str, points: int) -> None:
        asked = Adjustment(points=points, reason="for the test")
        self.cards.run(lambda tx: cards_commands.adjust_points(tx, household, asked))

    def sell(self, product: str, card: str, quantity: int, points: int, money: int) -> str:
        """The id of the sale; "" when the shop knows already that there are too few points."""
        payments = [Payment(Method.POINTS, points)]
        if money:
            payments.append(Payment(Method.CASH, money))
        new = shop_commands.NewSale(
            id=self.name("sale"),
            till_id=TILL,
            lines=(shop_commands.WantedLine(quantity=quantity, product_id=product),),
            payments=tuple(payments),
            card_id=card,
        )
        try:
            return str(self.shop.run(lambda tx: shop_commands.sell(tx, new, centre=CENTRE)).id)
        except Refusal as refused:
            if refused.reason != "points.too_few":
                raise
            return ""

    def refund(self, sale: str, product: str) -> None:
        line = self.shop.read(lambda c: shop_queries.sale_of(c, sale)).lines[0]
        new = shop_commands.NewRefund(
            id=self.name("refund"), lines=((product, line.quantity),), reason="damaged"
        )
        self.shop.run(lambda tx: shop_commands.refund_sale(tx, sale, new, centre=CENTRE))

    def points(self, household: str) -> tuple[int, int]:
        """Available and held."""
        now = self.clock.now()
        seen = self.cards.read(lambda c: cards_queries.points(c, household, now))
        return seen.available, seen.held

    def state(self, sale: str) -> str:
        return str(self.shop.read(lambda c: shop_queries.sale_of(c, sale)).state)

    # the bus

    def collect(self) -> None:
        self.to_cards.collect()
        self.to_shop.collect()

    def again(self, wire: Wire, number: int) -> None:
        """Something that was heard comes once more, at the end of the log."""
        wire.listener.settle([wire.heard[number]])

    def drain(self) -> None:
        """Everything arrives that was told before an example begins, and nothing of it comes again:
        what an example draws must not depend on those before it."""
        self.collect()
        for wire in (self.to_cards, self.to_shop):
            for key in wire.waiting():
                while wire.queues[key]:
                    wire.carry(key)
            wire.heard.clear()

    def holds_together(self) -> None:
        for bench, service in ((self.cards, CARDS), (self.shop, SHOP)):
            assert bench.set_aside() == []
            for check in service.checks:
                found = bench.read(lambda c, check=check: list(check.run(c)))
                assert not found, "\n".join(map(str, found))
        between = self.shop.read(lambda s: self.cards.read(lambda c: sagas.payments(s, c)))
        assert not between, "\n".join(map(str, between))


@pytest.fixture(params=ENGINES)
def payment_house(
    request: pytest.FixtureRequest, tmp_path: Path, clock: FixedClock
) -> Iterator[PaymentHouse]:
    """A house on fresh stores of each engine."""
    with ExitStack() as stack:

        def bench(service: Any, start: int) -> Bench:
            url = stack.enter_context(
                fresh_store(request.param, service.package, service.metadata, tmp_path)
            )
            made = Bench(service, url, clock=clock, ids=SequenceIds(start))
            return stack.enter_context(made)

        yield PaymentHouse(bench(CARDS, 1), bench(SHOP, 10**9), clock)


@pytest.mark.properties
@pytest.mark.timeout(3600)
def test_payments_are_their_model_whatever_bus_and_clock_do(payment_house: PaymentHouse) -> None:
    class OnTheseStores(PaymentsMachine):
        house = payment_house

    run_state_machine_as_test(
        OnTheseStores,
        settings=settings(
            max_examples=examples(3),
            stateful_step_count=20,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_hold_whose_time_was_over_may_still_be_taken(payment_house: PaymentHouse) -> None:
    """Cards hears of a completed sale a day too late: `verify` finds no fault in that."""
    house = payment_house
    household, card = house.household()
    product = house.product()
    house.give(household, PURSE)
    house.drain()
    house.sell(product, card, quantity=1, points=5, money=0)
    house.drain()  # cards hears what is asked
    house.drain()  # and the shop the answer
    house.clock.advance(CARDS_GIVES_UP)
    house.cards.tick()
    assert house.points(household) == (PURSE, 0)
    house.drain()
    assert house.points(household) == (PURSE - 5, 0)
    house.holds_together()
