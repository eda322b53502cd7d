"""The closing of the day, products, producers and stock."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from contracts import shop
from runtime.refusals import Refusal
from solidarity_shop import commands, queries
from web.paging import Paging
from web.testing import Client

Shop = Any


# -- the day -----------------------------------------------------------------------------------


def close(shop_bench: Shop, counted: int, closing_id: str = "") -> Any:
    return shop_bench.run(
        lambda tx: commands.close_day(
            tx, "till-1", centre="centre-1", counted_cents=counted, closing_id=closing_id
        )
    )


def test_a_day_closes_once_and_what_comes_after_belongs_to_the_next(shop_bench: Shop) -> None:
    bread = shop_bench.product(100, on_hand=50)
    first = shop_bench.sell((bread.id, 3), cash=300)
    shop_bench.refund(first.id, (bread.id, 1))
    closed = close(shop_bench, 150, "c1")
    assert (closed.sales, closed.refunds, closed.money_cents) == (1, 1, 200)
    assert closed.difference_cents == -50
    assert close(shop_bench, 150, "c1") == closed
    with pytest.raises(Refusal) as caught:
        close(shop_bench, 150)
    assert caught.value.reason == "day.closed_already"
    with pytest.raises(Refusal) as caught:
        close(shop_bench, 151, "c1")
    assert caught.value.reason == "closing.repeated_with_other_content"
    shop_bench.sell((bread.id, 2), cash=200)
    shop_bench.clock.advance(timedelta(days=1))
    shop_bench.sell((bread.id, 1), cash=100)
    second = close(shop_bench, 300)
    assert (second.sales, second.money_cents) == (2, 300)
    assert [event.money_cents for event in shop_bench.bench.emitted(shop.DayClosed)] == [200, 300]
    listed = shop_bench.bench.read(lambda c: queries.closings(c, "till-1", Paging()))
    assert [item.id for item in listed.items] == [second.id, closed.id]
    assert shop_bench.differences() == []


def test_a_sale_that_waits_at_the_closing_belongs_to_the_next(shop_bench: Shop) -> None:
    bread = shop_bench.product(100)
    sold = shop_bench.sell((bread.id, 1), cash=50, points=5, card_id=shop_bench.card(points=5))
    assert shop_bench.bench.read(lambda c: queries.open_takings(c, "till-1")).waiting == 1
    assert close(shop_bench, 0).sales == 0
    shop_bench.hold_placed(sold)
    shop_bench.clock.advance(timedelta(days=1))
    closed = close(shop_bench, 50)
    assert (closed.sales, closed.money_cents, closed.points) == (1, 50, 5)


# -- the catalogue -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "meanwhile",
    [
        commands.ProductChange(price_cents=150),
        commands.ProductChange(name="Pane nero"),
        commands.ProductChange(barcode="800"),
        commands.ProductChange(category="forno"),
        commands.ProductChange(minimum=2),
        commands.ProductChange(sellable=False),
    ],
    ids=lambda change: next(name for name, value in vars(change).items() if value is not None),
)
def test_what_somebody_else_changed_of_a_product_meanwhile_is_not_undone(
    shop_bench: Shop, meanwhile: commands.ProductChange
) -> None:
    bread = shop_bench.product(100, on_hand=3)
    shown = commands.ProductChange(
        name=bread.name,
        price_cents=100,
        barcode=bread.barcode,
        category=bread.category,
        producer_id=bread.producer_id,
        minimum=bread.minimum,
        sellable=True,
    )

    def change(what: commands.ProductChange) -> Any:
        return shop_bench.run(
            lambda tx: commands.change_product(tx, bread.id, what, centre="centre-1", seen=shown)
        )

    now = change(meanwhile)
    with pytest.raises(Refusal, match=r"product\.changed_meanwhile"):
        change(replace(shown, category="dolci"))
    kept = shop_bench.bench.read(lambda c: queries.product_of(c, bread.id))
    assert kept == now


async def test_a_save_undoes_nothing_that_somebody_else_changed_meanwhile(
    shop_bench: Shop, shop_client: Client
) -> None:
    bread = shop_bench.product(100)
    path = f"/shop/products/{bread.id}/edit"
    open_before = (await shop_client.page(path)).form("product")
    other = (await shop_client.page(path)).form("product")
    await other.submit(price_cents="1,50", minimum=4, sellable=None)
    page = await open_before.submit(category="forno", minimum=2, status=422)
    assert "Somebody else has changed this product meanwhile." in page
    form = page.form("product")
    assert form.values["price_cents"] == "1,50", "what was not touched is shown as it is now"
    assert (form.values["category"], form.values["minimum"]) == ("forno", "2"), "typed: kept"
    assert "sellable" not in form.values
    page = await form.submit()
    for text in ("€1.50", "forno"):
        assert text in page
    now = shop_bench.bench.read(lambda c: queries.product_of(c, bread.id))
    assert (now.price_cents, now.category, now.minimum, now.sellable) == (150, "forno", 2, False)


def test_a_product_changes_by_what_is_given_and_tells_it(shop_bench: Shop) -> None:
    bread = shop_bench.product(100, on_hand=3)
    change = commands.ProductChange(price_cents=150, minimum=5)
    now = shop_bench.run(
        lambda tx: commands.change_product(tx, bread.id, change, centre="centre-1")
    )
    assert (now.price_cents, now.name, now.low) == (150, bread.name, True)
    assert shop_bench.bench.emitted(shop.ProductChanged)[-1].price_cents == 150
    assert len(shop_bench.bench.emitted(shop.StockLow)) == 1
    events = shop_bench.bench.emitted()
    shop_bench.run(lambda tx: commands.change_product(tx, bread.id, change, centre="centre-1"))
    assert shop_bench.bench.emitted() == events, "nothing changed, nothing is told"


def test_what_is_not_for_sale_is_not_low(shop_bench: Shop) -> None:
    bread = shop_bench.product(on_hand=1, minimum=2)
    gone = shop_bench.product(on_hand=0, minimum=2, sellable=False)

    def seen() -> tuple[int, list[str], dict[str, bool]]:
        def read(connection: sa.Connection) -> tuple[int, list[str], dict[str, bool]]:
            listed = queries.products(connection, "centre-1", Paging(), low=True)
            marked = {p: queries.product_of(connection, p).low for p in (bread.id, gone.id)}
            count = queries.low_count(connection, "centre-1")
            return count, [product.id for product in listed.items], marked

        return shop_bench.bench.read(read)  # type: ignore[no-any-return]

    assert seen() == (1, [bread.id], {bread.id: True, gone.id: False})
    back = commands.ProductChange(sellable=True)
    shop_bench.run(lambda tx: commands.change_product(tx, gone.id, back, centre="centre-1"))
    assert seen() == (2, [bread.id, gone.id], {bread.id: True, gone.id: True})


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("Caffè", "caffe"),
        ("Caffe", "CAFFÈ"),
        ("Caffè macinato", "fe\u0300 mac"),
        ("Piñón tostado", "pinon"),
        ("Œufs frais", "oeufs"),
        ("Crème brûlée 100%", "creme brulee 100%"),
        ("زيت", "زيت"),
        ("أرز", "أرز"),
        ("àáâçèéêëìíîïñòóôùúûüÿœæ", "aaaceeeeiiiinooouuuuyoeae"),
    ],
)
def test_a_product_is_found_with_and_without_its_accents(
    shop_bench: Shop, name: str, typed: str
) -> None:
    made = shop_bench.product(name=name)
    shop_bench.product(name="Pane")
    page = shop_bench.bench.read(lambda c: queries.products(c, "centre-1", Paging(), name=typed))
    assert [product.id for product in page.items] == [made.id]


def test_a_barcode_is_of_one_product_of_a_centre(shop_bench: Shop) -> None:
    first, second = shop_bench.product(), shop_bench.product()
    for act in (
        lambda tx: commands.change_product(
            tx, second.id, commands.ProductChange(barcode=first.barcode), centre="centre-1"
        ),
        lambda tx: commands.create_product(
            tx,
            commands.NewProduct(name="Other", price_cents=1, barcode=first.barcode),
            centre_id="centre-1",
        ),
    ):
        with pytest.raises(Refusal) as caught:
            shop_bench.run(act)
        assert caught.value.reason == "product.barcode_taken"
    elsewhere = commands.NewProduct(name="Other", price_cents=1, barcode=first.barcode)
    shop_bench.run(lambda tx: commands.create_product(tx, elsewhere, centre_id="centre-2"))


def test_a_product_repeated_is_the_same_or_refused(shop_bench: Shop) -> None:
    new = commands.NewProduct(id="p", name="Bread", price_cents=100)
    first = shop_bench.run(lambda tx: commands.create_product(tx, new, centre_id="centre-1"))
    assert (
        shop_bench.run(lambda tx: commands.create_product(tx, new, centre_id="centre-1")) == first
    )
    other = commands.NewProduct(id="p", name="Bread", price_cents=101)
    with pytest.raises(Refusal) as caught:
        shop_bench.run(lambda tx: commands.create_product(tx, other, centre_id="centre-1"))
    assert caught.value.reason == "product.repeated_with_other_content"


def test_producers_are_of_a_centre_and_named_once(shop_bench: Shop) -> None:
    register = lambda **more: shop_bench.run(  # noqa: E731
        lambda tx: commands.register_producer(
            tx, **{"centre_id": "centre-1", "name": "Orto", "fee_percent": 10, **more}
        )
    )
    orto = register(producer_id="orto")
    assert register(producer_id="orto") == orto
    with pytest.raises(Refusal) as caught:
        register(name=" ORTO ")
    assert caught.value.reason == "producer.name_taken"
    with pytest.raises(Refusal) as caught:
        register(producer_id="orto", fee_percent=11)
    assert caught.value.reason == "producer.repeated_with_other_content"
    register(centre_id="centre-2", producer_id="orto-2")
    with pytest.raises(Refusal) as caught:
        shop_bench.product(producer_id="orto-2")
    assert caught.value.reason == "producer.unknown"
    assert len(shop_bench.bench.emitted(shop.ProducerRegistered)) == 2


def test_what_was_sold_of_a_producer_counts_refunds_and_the_fee(shop_bench: Shop) -> None:
    shop_bench.run(
        lambda tx: commands.register_producer(
            tx, centre_id="centre-1", name="Orto", fee_percent=15, producer_id="orto"
        )
    )
    jam = shop_bench.product(333, on_hand=9, producer_id="orto")
    own = shop_bench.product(500)
    now = shop_bench.clock.now()
    sold = shop_bench.sell((jam.id, 3), (own.id, 1), cash=1499)
    shop_bench.refund(sold.id, (jam.id, 1))
    waits = shop_bench.sell((jam.id, 1), points=33, cash=3, card_id=shop_bench.card(points=99))
    seen = shop_bench.bench.read(
        lambda c: queries.producer_sales(c, "orto", now, now + timedelta(hours=1))
    )
    assert (seen.quantity, seen.amount_cents) == (2, 666), "what waits is not sold yet"
    assert seen.fee_cents == 150 - 50
    assert seen.due_cents == 666 - 100
    shop_bench.hold_placed(waits)
    seen = shop_bench.bench.read(
        lambda c: queries.producer_sales(c, "orto", now, now + timedelta(hours=1))
    )
    assert seen.quantity == 3


def test_what_comes_back_spoiled_is_due_to_its_producer_all_the_same(shop_bench: Shop) -> None:
    shop_bench.run(
        lambda tx: commands.register_producer(
            tx, centre_id="centre-1", name="Orto", fee_percent=10, producer_id="orto"
        )
    )
    jam = shop_bench.product(300, on_hand=9, producer_id="orto")
    now = shop_bench.clock.now()
    sold = shop_bench.sell((jam.id, 4), cash=1200)
    shop_bench.refund(sold.id, (jam.id, 1), goods_returned=False)

    def seen() -> Any:
        return shop_bench.bench.read(
            lambda c: queries.producer_sales(c, "orto", now, now + timedelta(hours=1))
        )

    assert (seen().quantity, seen().due_cents) == (4, 1080), "the shop bears the loss"
    shop_bench.refund(sold.id, (jam.id, 2))
    assert (seen().quantity, seen().due_cents) == (2, 540)
    assert shop_bench.on_hand(jam.id) == 7


def test_a_movement_repeated_is_the_same_or_refused(shop_bench: Shop) -> None:
    bread = shop_bench.product(on_hand=0)
    move = lambda **more: shop_bench.run(  # noqa: E731
        lambda tx: commands.move_stock(
            tx,
            bread.id,
            **{
                "centre": "centre-1",
                "reason": shop.StockReason.DELIVERY,
                "quantity": 5,
                "movement_id": "m1",
                **more,
            },
        )
    )
    first = move()
    assert move() == first
    assert shop_bench.on_hand(bread.id) == 5
    with pytest.raises(Refusal) as caught:
        move(quantity=6)
    assert caught.value.reason == "movement.repeated_with_other_content"
    with pytest.raises(Refusal) as caught:
        move(movement_id="m2", reason=shop.StockReason.LOSS, quantity=6)
    assert caught.value.reason == "stock.none"
    move(movement_id="m3", reason=shop.StockReason.LOSS, quantity=6, override_reason="counted")
    assert shop_bench.on_hand(bread.id) == -1
    audit = move(movement_id="m4", reason=shop.StockReason.AUDIT, quantity=3)
    assert (audit.quantity, audit.on_hand) == (4, 3)
    assert move(movement_id="m4", reason=shop.StockReason.AUDIT, quantity=3) == audit
    assert shop_bench.differences() == []
