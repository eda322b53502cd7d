"""A shop on the bench: its real store on both engines, with a till, and cards that are told of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

import pytest

from contracts import cards, identity, shop
from messaging import Transaction
from messaging.testing import Bench
from runtime.clock import FixedClock
from runtime.ids import SequenceIds
from runtime.testing import store_of
from solidarity_shop import commands, queries
from solidarity_shop.app import SERVICE
from solidarity_shop.checks import CHECKS
from solidarity_shop.domain.amounts import Method, Payment
from solidarity_shop.queries import token_digest
from solidarity_shop.views import ProductView, RefundView, SaleView
from web.roles import Role
from web.testing import Client, token

T = TypeVar("T")

CENTRE = "centre-1"


class ShopBench:
    """What a test does with a shop, in its own words. One till, ``till-1``, of ``centre-1``."""

    def __init__(self, bench: Bench, clock: FixedClock) -> None:
        self.bench = bench
        self.clock = clock
        self._count = 0
        bench.deliver(identity.CentreOpened(centre_id=CENTRE, name="Casa", opened_at=clock.now()))
        self.run(lambda tx: commands.open_till(tx, centre_id=CENTRE, name="1", till_id="till-1"))

    def run(self, fn: Callable[[Transaction], T], **who: str) -> T:
        return self.bench.run(fn, **{"actor": "volunteer", "centre": CENTRE, **who})

    def name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}-{self._count}"

    # the catalogue

    def product(self, price_cents: int = 100, on_hand: int = 10, **more: Any) -> ProductView:
        name = self.name("product")
        new = commands.NewProduct(
            **{"id": name, "name": name, "price_cents": price_cents, "barcode": f"b-{name}", **more}
        )
        made = self.run(lambda tx: commands.create_product(tx, new, centre_id=CENTRE))
        if on_hand:
            self.move(made.id, shop.StockReason.DELIVERY, on_hand)
        return made

    def move(self, product_id: str, reason: shop.StockReason, quantity: int, **more: str) -> None:
        self.run(
            lambda tx: commands.move_stock(
                tx, product_id, centre=CENTRE, reason=reason, quantity=quantity, **more
            )
        )

    def on_hand(self, product_id: str) -> int:
        return self.bench.read(lambda c: queries.product_of(c, product_id)).on_hand

    # what others tell

    def card(self, points: int = 0, household: str = "", number: str = "") -> str:
        """A new card of a (new) household with so many points; gives the card's id."""
        household = household or self.name("household")
        card = self.name("card")
        now = self.clock.now()
        self.bench.deliver(
            cards.HouseholdRegistered(
                household_id=household,
                centre_id=CENTRE,
                holder_id="person-1",
                person_ids=("person-1",),
                registered_at=now,
            ),
            cards.CardIssued(
                household_id=household,
                card_id=card,
                number=number or f"1000{self._count:08d}",
                token_digest=token_digest(f"TOKEN-{card}"),
                issued_at=now,
            ),
        )
        if points:
            self.points(household, points)
        return card

    def household_of(self, card_id: str) -> str:
        row = self.bench.read(lambda c: queries.find_card(c, CENTRE, card_id=card_id))
        assert row is not None
        return str(row["household_id"])

    def points(self, household: str, available: int) -> None:
        self.bench.deliver(
            cards.PointsCredited(
                household_id=household,
                transfer_id=self.name("transfer"),
                reason=cards.CreditReason.ALLOWANCE,
                origin=self.name("period"),
                points=available,
                buckets=(),
                available=available,
                held=0,
                credited_at=self.clock.now(),
            )
        )

    def hold_placed(self, sale: SaleView, points: int | None = None, available: int = 0) -> None:
        self.bench.deliver(self.placed(sale, points, available))

    def placed(
        self, sale: SaleView, points: int | None = None, available: int = 0
    ) -> cards.HoldPlaced:
        return cards.HoldPlaced(
            household_id=sale.household_id,
            hold_id=sale.payment_id,
            sale_id=sale.id,
            points=sale.points if points is None else points,
            available=available,
            held=sale.points,
            placed_at=self.clock.now(),
        )

    def declined(self, sale: SaleView, reason: str = "points.too_few") -> cards.HoldDeclined:
        return cards.HoldDeclined(
            household_id=sale.household_id,
            hold_id=sale.payment_id,
            sale_id=sale.id,
            reason=reason,
            points=sale.points,
            available=0,
            declined_at=self.clock.now(),
        )

    # selling

    def new(self, *lines: tuple[str, int], **more: Any) -> commands.NewSale:
        payments = []
        if "cash" in more:
            payments.append(Payment(Method.CASH, more.pop("cash")))
        if "points" in more:
            payments.append(Payment(Method.POINTS, more.pop("points")))
        return commands.NewSale(
            **{
                "id": self.name("sale"),
                "till_id": "till-1",
                "lines": tuple(
                    commands.WantedLine(product_id=product, quantity=quantity)
                    for product, quantity in lines
                ),
                "payments": tuple(payments),
                **more,
            }
        )

    def sell(self, *lines: tuple[str, int], **more: Any) -> SaleView:
        new = self.new(*lines, **more)
        return self.run(lambda tx: commands.sell(tx, new, centre=CENTRE))

    def sale(self, sale_id: str) -> SaleView:
        return self.bench.read(lambda c: queries.sale_of(c, sale_id))

    def refund(self, sale_id: str, *lines: tuple[str, int], **more: Any) -> RefundView:
        new = commands.NewRefund(
            **{"id": self.name("refund"), "lines": lines, "reason": "damaged", **more}
        )
        return self.run(lambda tx: commands.refund_sale(tx, sale_id, new, centre=CENTRE))

    def differences(self) -> list[str]:
        """All that the shop's checks name."""
        return [str(found) for check in CHECKS for found in self.bench.read(check.run)]


store_url = store_of(SERVICE.package, SERVICE.metadata)


@pytest.fixture
def shop_bench(store_url: str, clock: FixedClock, ids: SequenceIds) -> Iterator[ShopBench]:
    with Bench(SERVICE, store_url, clock=clock, ids=ids) as bench:
        yield ShopBench(bench, clock)


@pytest.fixture
async def shop_client(shop_bench: ShopBench, store_url: str) -> AsyncIterator[Client]:
    """The application of the shop on the bench's store, signed in as a volunteer of the till."""
    async with Client(SERVICE, store_url, clock=shop_bench.clock) as client:
        client.sign_in(token(Role.TILL, centre=CENTRE, account="volunteer"))
        yield client
