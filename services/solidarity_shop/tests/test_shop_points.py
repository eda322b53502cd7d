"""Sales that are paid with points, and refunds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from contracts import cards, shop
from runtime.refusals import Refusal
from solidarity_shop import commands
from solidarity_shop.domain.sale import PointsState, State

Shop = Any


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


def test_points_count_also_after_the_clock_of_cards_was_ahead(shop_bench: Shop) -> None:
    bread = shop_bench.product(100)
    right = shop_bench.clock.now()
    shop_bench.clock.set(right + timedelta(days=50))
    card = shop_bench.card(points=1)
    shop_bench.clock.set(right)
    shop_bench.points(shop_bench.household_of(card), 30)
    sold = shop_bench.sell((bread.id, 1), points=10, card_id=card)
    assert sold.points_state is PointsState.REQUESTED
    assert shop_bench.differences() == []


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
