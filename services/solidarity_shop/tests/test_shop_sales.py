"""Selling at the till: what is sold, what is refused, and the same again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from contracts import cards, shop
from runtime.refusals import Refusal
from solidarity_shop import commands, store
from solidarity_shop.domain.sale import PointsState, State

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
    for number in ("999", "- . -"):
        found = refused(shop_bench, (bread.id, 1), cash=100, card_number=number)
        assert found.reason == "card.unknown"


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
