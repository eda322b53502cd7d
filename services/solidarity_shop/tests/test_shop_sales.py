"""Selling on both engines: what is refused and why, and what one sale changes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from contracts import cards, shop
from runtime.refusals import Refusal
from solidarity_shop import commands, queries, store
from solidarity_shop.domain.sale import PointsState, State
from web.paging import Paging

Shop = Any


def refused(shop_bench: Shop, *lines: tuple[str, int], **more: Any) -> Refusal:
    """The refusal of a sale that must not be, and the proof that nothing was written."""
    before = shop_bench.bench.emitted()
    new = shop_bench.new(*lines, **more)
    with pytest.raises(Refusal) as caught:
        shop_bench.run(lambda tx: commands.sell(tx, new, centre="centre-1"))
    assert shop_bench.bench.emitted() == before
    assert shop_bench.bench.read(lambda c: store.row_of(c, store.sale, new.id)) is None
    assert caught.value.next_step, "a refusal says what to do next"
    return caught.value


def test_a_cash_sale_is_completed_at_once_and_told(shop_bench: Shop) -> None:
    bread = shop_bench.product(120, on_hand=10, category="food")
    card = shop_bench.card()
    sold = shop_bench.sell((bread.id, 2), cash=240, card_id=card, tendered_cents=500)
    assert sold.state is State.COMPLETED
    assert sold.points_state is PointsState.NONE
    assert sold.change_cents == 260
    assert shop_bench.on_hand(bread.id) == 8
    (told,) = shop_bench.bench.emitted(shop.SaleCompleted)
    assert (told.total_cents, told.money_cents, told.points) == (240, 240, 0)
    assert told.payment_id == ""
    assert told.card_id == card
    assert [(line.product_id, line.quantity, line.amount_cents) for line in told.lines] == [
        (bread.id, 2, 240)
    ]
    moved = shop_bench.bench.emitted(shop.StockMoved)[-1]
    assert (moved.reason, moved.quantity, moved.on_hand, moved.origin) == (
        shop.StockReason.SALE,
        -2,
        8,
        sold.id,
    )
    assert shop_bench.differences() == []


def test_a_sale_without_a_card_names_nobody(shop_bench: Shop) -> None:
    bread = shop_bench.product(100)
    sold = shop_bench.sell((bread.id, 1), cash=100)
    assert (sold.household_id, sold.card_id) == ("", "")


def test_lines_of_one_product_are_one(shop_bench: Shop) -> None:
    bread, milk = shop_bench.product(100), shop_bench.product(50)
    sold = shop_bench.sell((bread.id, 1), (milk.id, 1), (bread.id, 2), cash=350)
    assert [(line.product_id, line.quantity) for line in sold.lines] == [
        (bread.id, 3),
        (milk.id, 1),
    ]


def test_a_product_is_found_by_its_barcode(shop_bench: Shop) -> None:
    bread = shop_bench.product(100)
    new = shop_bench.new(cash=100, lines=(commands.WantedLine(1, barcode=bread.barcode),))
    sold = shop_bench.run(lambda tx: commands.sell(tx, new, centre="centre-1"))
    assert sold.lines[0].product_id == bread.id


def test_a_card_is_known_by_its_number_and_its_token(shop_bench: Shop) -> None:
    bread = shop_bench.product(100)
    card = shop_bench.card(number="123412341234")
    shown = {"card_id": card, "card_number": "1234 1234 1234", "card_token": f"token-{card}"}
    for key, value in shown.items():
        sold = shop_bench.sell((bread.id, 1), cash=100, **{key: value})
        assert sold.card_id == card
        assert sold.household_id == shop_bench.household_of(card)


def test_an_unknown_card_is_refused(shop_bench: Shop) -> None:
    bread = shop_bench.product(100)
    assert refused(shop_bench, (bread.id, 1), cash=100, card_number="999").reason == "card.unknown"


def test_a_card_of_another_centre_is_unknown_here(shop_bench: Shop) -> None:
    bread = shop_bench.product(100)
    card = shop_bench.card(household="moved")
    now = shop_bench.clock.advance(timedelta(minutes=1))
    shop_bench.bench.deliver(
        cards.HouseholdChanged(
            household_id="moved",
            centre_id="centre-2",
            holder_id="p",
            person_ids=("p",),
            changed_at=now,
        )
    )
    assert refused(shop_bench, (bread.id, 1), cash=100, card_id=card).reason == "card.unknown"


def test_a_blocked_card_is_refused_and_its_replacement_is_not(shop_bench: Shop) -> None:
    bread = shop_bench.product(100)
    card = shop_bench.card(household="home")
    now = shop_bench.clock.now()
    shop_bench.bench.deliver(
        cards.CardReplaced(
            household_id="home",
            card_id=card,
            new_card_id="card-new",
            number="777",
            token_digest="0" * 64,
            replaced_at=now,
        )
    )
    assert refused(shop_bench, (bread.id, 1), cash=100, card_id=card).reason == "card.blocked"
    assert shop_bench.sell((bread.id, 1), cash=100, card_number="777").card_id == "card-new"


def test_the_card_of_an_erased_household_opens_nothing(shop_bench: Shop) -> None:
    bread = shop_bench.product(100)
    card = shop_bench.card(household="gone")
    shop_bench.bench.deliver(
        cards.HouseholdErased(
            household_id="gone", centre_id="centre-1", erased_at=shop_bench.clock.now()
        )
    )
    assert refused(shop_bench, (bread.id, 1), cash=100, card_id=card).reason == "card.blocked"


def test_points_need_a_card(shop_bench: Shop) -> None:
    bread = shop_bench.product(100)
    assert refused(shop_bench, (bread.id, 1), points=10).reason == "card.missing"


def test_too_few_points_are_refused_early(shop_bench: Shop) -> None:
    bread = shop_bench.product(100)
    card = shop_bench.card(points=9)
    told = refused(shop_bench, (bread.id, 1), points=10, card_id=card)
    assert told.reason == "points.too_few"
    assert told.values["available"] == 9


def test_points_that_another_sale_has_asked_for_are_not_counted_again(shop_bench: Shop) -> None:
    bread = shop_bench.product(100)
    card = shop_bench.card(points=15)
    shop_bench.sell((bread.id, 1), points=10, card_id=card)
    told = refused(shop_bench, (bread.id, 1), points=10, card_id=card)
    assert told.reason == "points.too_few"
    assert told.values["available"] == 5


def test_amounts_that_do_not_add_up_are_refused(shop_bench: Shop) -> None:
    bread = shop_bench.product(100)
    card = shop_bench.card(points=50)
    wrong: list[dict[str, int]] = [{"cash": 99}, {"cash": 101}, {}, {"cash": 100, "points": 1}]
    for given in wrong:
        told = refused(shop_bench, (bread.id, 1), card_id=card, **given)
        assert told.reason == "amounts.do_not_add_up"
        assert told.values["expected"] == "€ 1,00"


def test_too_little_cash_is_refused(shop_bench: Shop) -> None:
    bread = shop_bench.product(100)
    assert (
        refused(shop_bench, (bread.id, 1), cash=100, tendered_cents=50).reason == "cash.too_little"
    )


def test_products_that_are_unknown_or_not_for_sale_are_refused(shop_bench: Shop) -> None:
    old = shop_bench.product(100, sellable=False)
    assert refused(shop_bench, ("nothing", 1), cash=100).reason == "product.unknown"
    assert refused(shop_bench, (old.id, 1), cash=100).reason == "product.not_sellable"
    assert (
        refused(shop_bench, (old.id, 1), cash=100, override_reason="it is here").reason
        == "product.not_sellable"
    )


def test_a_product_of_another_centre_is_unknown(shop_bench: Shop) -> None:
    other = commands.NewProduct(id="other", name="Other", price_cents=100)
    shop_bench.run(lambda tx: commands.create_product(tx, other, centre_id="centre-2"))
    assert refused(shop_bench, ("other", 1), cash=100).reason == "product.unknown"


def test_quantities_have_limits(shop_bench: Shop) -> None:
    bread = shop_bench.product(100, on_hand=2000)
    for quantity in (0, -1, 1000):
        told = refused(shop_bench, (bread.id, quantity), cash=100)
        assert told.reason == "quantity.out_of_limits"


def test_an_empty_or_endless_basket_is_refused(shop_bench: Shop) -> None:
    bread = shop_bench.product(1, on_hand=2000)
    assert refused(shop_bench, cash=0).reason == "lines.empty"
    assert refused(shop_bench, *[(bread.id, 1)] * 101, cash=101).reason == "lines.too_many"


def test_an_unknown_till_or_one_of_another_centre_is_refused(shop_bench: Shop) -> None:
    bread = shop_bench.product(100)
    assert refused(shop_bench, (bread.id, 1), cash=100, till_id="none").reason == "till.unknown"
    shop_bench.run(lambda tx: commands.open_till(tx, centre_id="centre-2", name="1", till_id="t2"))
    assert refused(shop_bench, (bread.id, 1), cash=100, till_id="t2").reason == "till.unknown"


def test_stock_that_is_not_there_is_sold_only_with_a_reason(shop_bench: Shop) -> None:
    bread = shop_bench.product(100, on_hand=1)
    assert refused(shop_bench, (bread.id, 2), cash=200).reason == "stock.none"
    assert shop_bench.on_hand(bread.id) == 1
    sold = shop_bench.sell((bread.id, 2), cash=200, override_reason="on the shelf")
    assert sold.override_reason == "on the shelf"
    assert shop_bench.on_hand(bread.id) == -1
    assert shop_bench.bench.emitted(shop.StockMoved)[-1].override_reason == "on the shelf"
    assert shop_bench.differences() == []


def test_low_stock_is_told_once_for_each_fall(shop_bench: Shop) -> None:
    bread = shop_bench.product(100, on_hand=4, minimum=2)
    low = lambda: len(shop_bench.bench.emitted(shop.StockLow))  # noqa: E731
    assert low() == 0
    shop_bench.sell((bread.id, 2), cash=200)
    assert low() == 1
    shop_bench.sell((bread.id, 1), cash=100)
    assert low() == 1, "it was low already"
    shop_bench.move(bread.id, shop.StockReason.DELIVERY, 5)
    shop_bench.sell((bread.id, 5), cash=500)
    assert low() == 2


def test_the_same_sale_again_gives_the_same_answer(shop_bench: Shop) -> None:
    bread = shop_bench.product(100, on_hand=1)
    new = shop_bench.new((bread.id, 1), cash=100)
    sell = lambda: shop_bench.run(lambda tx: commands.sell(tx, new, centre="centre-1"))  # noqa: E731
    first = sell()
    events = shop_bench.bench.emitted()
    assert sell() == first
    assert shop_bench.bench.emitted() == events
    assert shop_bench.on_hand(bread.id) == 0


def test_the_same_id_with_other_content_is_refused(shop_bench: Shop) -> None:
    bread = shop_bench.product(100)
    sold = shop_bench.sell((bread.id, 1), cash=100)
    for again in (
        shop_bench.new((bread.id, 2), cash=200, id=sold.id),
        shop_bench.new((bread.id, 1), cash=100, override_reason="x", id=sold.id),
    ):
        with pytest.raises(Refusal) as caught:
            shop_bench.run(lambda tx, new=again: commands.sell(tx, new, centre="centre-1"))
        assert caught.value.reason == "sale.repeated_with_other_content"
    assert shop_bench.on_hand(bread.id) == 9


# -- paying with points ------------------------------------------------------------------------


def test_a_sale_with_points_waits_with_its_stock_taken(shop_bench: Shop) -> None:
    bread = shop_bench.product(105, on_hand=3)
    card = shop_bench.card(points=20)
    sold = shop_bench.sell((bread.id, 1), cash=5, points=10, card_id=card)
    assert sold.state is State.WAITING
    assert sold.points_state is PointsState.REQUESTED
    assert shop_bench.on_hand(bread.id) == 2
    (asked,) = shop_bench.bench.emitted(shop.PointsPaymentRequested)
    assert (asked.points, asked.payment_id, asked.card_id) == (10, sold.payment_id, card)
    assert shop_bench.bench.emitted(shop.SaleCompleted) == []


def test_a_hold_completes_the_sale_once(shop_bench: Shop) -> None:
    bread = shop_bench.product(105, on_hand=3)
    sold = shop_bench.sell((bread.id, 1), cash=5, points=10, card_id=shop_bench.card(points=20))
    shop_bench.hold_placed(sold, available=10)
    now = shop_bench.sale(sold.id)
    assert (now.state, now.points_state) == (State.COMPLETED, PointsState.HELD)
    (told,) = shop_bench.bench.emitted(shop.SaleCompleted)
    assert (told.money_cents, told.points, told.payment_id) == (5, 10, sold.payment_id)
    shop_bench.clock.advance(timedelta(minutes=16))
    shop_bench.bench.tick()
    assert shop_bench.sale(sold.id).state is State.COMPLETED
    assert shop_bench.differences() == []


def test_the_capture_is_noted(shop_bench: Shop) -> None:
    bread = shop_bench.product(100)
    sold = shop_bench.sell((bread.id, 1), points=10, card_id=shop_bench.card(points=10))
    shop_bench.hold_placed(sold)
    shop_bench.bench.deliver(
        cards.HoldCaptured(
            household_id=sold.household_id,
            hold_id=sold.payment_id,
            sale_id=sold.id,
            captured=10,
            available=0,
            held=0,
            captured_at=shop_bench.clock.now(),
        )
    )
    assert shop_bench.sale(sold.id).points_state is PointsState.CAPTURED


def test_a_declined_hold_cancels_the_sale_and_brings_the_stock_back(shop_bench: Shop) -> None:
    bread = shop_bench.product(100, on_hand=3)
    sold = shop_bench.sell((bread.id, 2), points=20, card_id=shop_bench.card(points=20))
    shop_bench.bench.deliver(shop_bench.declined(sold, "card.blocked"))
    now = shop_bench.sale(sold.id)
    assert (now.state, now.reason, now.points_state) == (
        State.CANCELLED,
        "card.blocked",
        PointsState.DECLINED,
    )
    assert shop_bench.on_hand(bread.id) == 3
    (told,) = shop_bench.bench.emitted(shop.SaleCancelled)
    assert (told.reason, told.payment_id) == ("card.blocked", sold.payment_id)
    assert shop_bench.differences() == []


def test_after_fifteen_minutes_a_waiting_sale_is_cancelled_and_a_late_hold_does_nothing(
    shop_bench: Shop,
) -> None:
    bread = shop_bench.product(100, on_hand=3)
    sold = shop_bench.sell((bread.id, 1), points=10, card_id=shop_bench.card(points=10))
    shop_bench.clock.advance(timedelta(minutes=14, seconds=59))
    assert shop_bench.bench.tick() == 0
    shop_bench.clock.advance(timedelta(seconds=1))
    assert shop_bench.bench.tick() == 1
    assert shop_bench.sale(sold.id).reason == "timed_out"
    events = shop_bench.bench.emitted()
    shop_bench.hold_placed(sold)
    assert shop_bench.bench.emitted() == events
    assert shop_bench.sale(sold.id).state is State.CANCELLED
    assert shop_bench.on_hand(bread.id) == 3


def test_the_till_may_give_up_a_waiting_sale_but_not_a_completed_one(shop_bench: Shop) -> None:
    bread = shop_bench.product(100, on_hand=3)
    card = shop_bench.card(points=20)
    waiting = shop_bench.sell((bread.id, 1), points=10, card_id=card)
    cancel = lambda i: shop_bench.run(lambda tx: commands.cancel_sale(tx, i, centre="centre-1"))  # noqa: E731
    assert cancel(waiting.id).reason == "by_till"
    assert cancel(waiting.id).state is State.CANCELLED
    assert len(shop_bench.bench.emitted(shop.SaleCancelled)) == 1
    done = shop_bench.sell((bread.id, 1), cash=100)
    with pytest.raises(Refusal) as caught:
        cancel(done.id)
    assert caught.value.reason == "sale.completed_already"


def test_a_hold_of_fewer_points_or_of_another_payment_does_not_pay(shop_bench: Shop) -> None:
    bread = shop_bench.product(100, on_hand=3)
    card = shop_bench.card(points=20)
    sold = shop_bench.sell((bread.id, 1), points=10, card_id=card)
    other = shop_bench.placed(sold).model_copy(update={"hold_id": "another"})
    shop_bench.bench.deliver(other)
    assert shop_bench.sale(sold.id).state is State.WAITING
    shop_bench.hold_placed(sold, points=9)
    assert shop_bench.sale(sold.id).reason == "points.too_few"
    assert shop_bench.on_hand(bread.id) == 3


def test_a_hold_of_a_sale_that_was_never_here_is_passed_over(shop_bench: Shop) -> None:
    shop_bench.bench.deliver(
        cards.HoldPlaced(
            household_id="h",
            hold_id="p",
            sale_id="s",
            points=5,
            available=0,
            held=5,
            placed_at=shop_bench.clock.now(),
        )
    )
    assert shop_bench.bench.set_aside() == []


def test_the_value_of_a_point_is_dated(shop_bench: Shop) -> None:
    bread = shop_bench.product(100)
    card = shop_bench.card(points=100)
    later = shop_bench.clock.now() + timedelta(days=1)
    shop_bench.run(
        lambda tx: commands.set_point_value(tx, centre_id="centre-1", cents=20, from_time=later)
    )
    assert shop_bench.sell((bread.id, 1), points=10, card_id=card).point_value_cents == 10
    shop_bench.clock.set(later)
    assert shop_bench.sell((bread.id, 1), points=5, card_id=card).point_value_cents == 20
    with pytest.raises(Refusal) as caught:
        shop_bench.run(
            lambda tx: commands.set_point_value(
                tx, centre_id="centre-1", cents=5, from_time=later - timedelta(hours=1)
            )
        )
    assert caught.value.reason == "point_value.in_the_past"


# -- refunds -----------------------------------------------------------------------------------


def test_a_refund_gives_money_and_points_back_in_proportion(shop_bench: Shop) -> None:
    bread = shop_bench.product(100, on_hand=5)
    sold = shop_bench.sell((bread.id, 4), cash=200, points=20, card_id=shop_bench.card(points=20))
    shop_bench.hold_placed(sold)
    back = shop_bench.refund(sold.id, (bread.id, 1))
    assert (back.total_cents, back.money_cents, back.points) == (100, 50, 5)
    assert shop_bench.on_hand(bread.id) == 2
    rest = shop_bench.refund(sold.id, (bread.id, 3), goods_returned=False)
    assert (rest.money_cents, rest.points) == (150, 15)
    assert shop_bench.on_hand(bread.id) == 2, "these goods did not come back"
    told = shop_bench.bench.emitted(shop.SaleRefunded)
    assert sum(event.points for event in told) == 20
    assert told[0].household_id == sold.household_id
    assert shop_bench.sale(sold.id).lines[0].refunded == 4
    with pytest.raises(Refusal) as caught:
        shop_bench.refund(sold.id, (bread.id, 1))
    assert caught.value.reason == "refund.more_than_bought"
    assert shop_bench.differences() == []


def test_the_same_refund_again_gives_the_same_answer(shop_bench: Shop) -> None:
    bread = shop_bench.product(100)
    sold = shop_bench.sell((bread.id, 2), cash=200)
    first = shop_bench.refund(sold.id, (bread.id, 1), id="r1")
    assert shop_bench.refund(sold.id, (bread.id, 1), id="r1") == first
    assert shop_bench.on_hand(bread.id) == 9
    with pytest.raises(Refusal) as caught:
        shop_bench.refund(sold.id, (bread.id, 2), id="r1")
    assert caught.value.reason == "refund.repeated_with_other_content"


def test_only_a_completed_sale_is_refunded_and_with_a_reason(shop_bench: Shop) -> None:
    bread = shop_bench.product(100)
    waiting = shop_bench.sell((bread.id, 1), points=10, card_id=shop_bench.card(points=10))
    with pytest.raises(Refusal) as caught:
        shop_bench.refund(waiting.id, (bread.id, 1))
    assert caught.value.reason == "refund.not_completed"
    done = shop_bench.sell((bread.id, 1), cash=100)
    with pytest.raises(Refusal) as caught:
        shop_bench.refund(done.id, (bread.id, 1), reason="  ")
    assert caught.value.reason == "refund.reason_missing"
    with pytest.raises(Refusal) as caught:
        shop_bench.refund("nothing", (bread.id, 1))
    assert caught.value.reason == "sale.unknown"


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
