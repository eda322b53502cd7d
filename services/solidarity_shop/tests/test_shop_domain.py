"""The rules of the shop as properties: amounts, stock, the sale's machine, refunds, closing."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from contracts.shop import StockReason
from runtime.refusals import Invalid, Refusal
from solidarity_shop.domain import amounts, refunds, sale, stock
from solidarity_shop.domain.amounts import Method, Paid, Payment
from solidarity_shop.domain.closing import Takings, day_of

cents = st.integers(0, 100_000)
points = st.integers(0, 2_000)
value = st.integers(1, 100)


@given(cents, points, value, st.integers(-500, 500))
def test_payments_make_the_total_exactly_or_are_refused(
    money: int, some: int, worth: int, off: int
) -> None:
    payments = [Payment(Method.CASH, money), Payment(Method.POINTS, some)]
    total = money + some * worth
    assert amounts.add_up(total, payments, worth) == Paid(money, some)
    assume(off != 0)
    with pytest.raises(Invalid) as refused:
        amounts.add_up(total + off, payments, worth)
    assert refused.value.reason == "amounts.do_not_add_up"
    assert refused.value.values["expected_cents"] == total + off
    assert refused.value.values["given_cents"] == total


def test_a_negative_payment_never_makes_up_for_another() -> None:
    with pytest.raises(Invalid) as refused:
        amounts.add_up(100, [Payment(Method.CASH, 200), Payment(Method.CASH, -100)], 10)
    assert refused.value.reason == "amounts.negative"


def test_a_free_sale_needs_no_payment() -> None:
    assert amounts.add_up(0, [], 10) == Paid(0, 0)


@given(cents, value)
def test_as_much_as_possible_in_points_leaves_less_than_a_point_in_money(
    total: int, worth: int
) -> None:
    paid = amounts.points_for(total, worth)
    assert 0 <= paid.money_cents < worth
    assert paid.money_cents + paid.points * worth == total


@given(cents, cents)
def test_change_is_what_was_given_less_what_is_to_be_paid(money: int, given_cents: int) -> None:
    if given_cents < money:
        with pytest.raises(Invalid) as refused:
            amounts.change(money, given_cents)
        assert refused.value.reason == "cash.too_little"
    else:
        assert amounts.change(money, given_cents) == given_cents - money


@pytest.mark.parametrize(
    ("amount", "said"), [(0, "€ 0,00"), (5, "€ 0,05"), (123_456, "€ 1234,56"), (-150, "-€ 1,50")]
)
def test_amounts_are_said_in_euros(amount: int, said: str) -> None:
    assert amounts.euros(amount) == said


@given(st.lists(st.tuples(st.integers(-30, 30), st.booleans()), max_size=30), st.integers(0, 5))
def test_stock_is_the_sum_of_its_movements_and_below_zero_only_by_an_override(
    wanted: list[tuple[int, bool]], minimum: int
) -> None:
    on_hand, done, falls = 0, [], 0
    for quantity, override in wanted:

        def move(
            on_hand: int = on_hand, quantity: int = quantity, override: bool = override
        ) -> stock.Moved:
            return stock.move(
                name="x",
                on_hand=on_hand,
                minimum=minimum,
                quantity=quantity,
                override_reason="seen on the shelf" if override else "",
            )

        if quantity < 0 and on_hand + quantity < 0 and not override:
            with pytest.raises(Refusal) as refused:
                move()
            assert refused.value.reason == "stock.none"
            continue
        moved = move()
        done.append(moved)
        assert moved.on_hand == on_hand + quantity
        assert bool(moved.override_reason) == (quantity < 0 and moved.on_hand < 0)
        assert moved.fell_low == (on_hand > minimum >= moved.on_hand)
        falls += moved.fell_low
        on_hand = moved.on_hand
    assert on_hand == sum(moved.quantity for moved in done)
    rises = sum(1 for moved in done if moved.on_hand > minimum >= moved.on_hand - moved.quantity)
    assert falls <= rises, "stock was told to be low twice without having risen"


@pytest.mark.parametrize(
    ("reason", "quantity", "moved"),
    [
        (StockReason.DELIVERY, 5, 5),
        (StockReason.RETURN, 5, -5),
        (StockReason.RETURN, -5, -5),
        (StockReason.LOSS, 2, -2),
        (StockReason.LOSS, -2, -2),
        (StockReason.ADJUSTMENT, 3, 3),
        (StockReason.ADJUSTMENT, -3, -3),
        (StockReason.AUDIT, 10, 3),
        (StockReason.AUDIT, 7, 0),
        (StockReason.AUDIT, 0, -7),
    ],
)
def test_what_people_write_becomes_a_movement(
    reason: StockReason, quantity: int, moved: int
) -> None:
    assert stock.signed(reason, quantity, on_hand=7) == moved


@pytest.mark.parametrize(
    ("reason", "quantity", "code"),
    [
        (StockReason.SALE, 1, "stock.reason_not_by_hand"),
        (StockReason.REFUND, 1, "stock.reason_not_by_hand"),
        (StockReason.DELIVERY, 0, "quantity.out_of_limits"),
        (StockReason.ADJUSTMENT, stock.MOVEMENT_LIMIT + 1, "quantity.out_of_limits"),
        (StockReason.DELIVERY, -1, "quantity.negative"),
        (StockReason.AUDIT, -1, "quantity.negative"),
    ],
)
def test_movements_that_make_no_sense_are_refused(
    reason: StockReason, quantity: int, code: str
) -> None:
    with pytest.raises(Invalid) as refused:
        stock.signed(reason, quantity, on_hand=7)
    assert refused.value.reason == code


steps = st.lists(
    st.one_of(
        st.tuples(st.just("placed"), st.integers(0, 20)),
        st.tuples(st.just("declined"), st.just(0)),
        st.tuples(st.just("given_up"), st.just(0)),
        st.tuples(st.just("captured"), st.just(0)),
    ),
    max_size=8,
)


@given(points, steps)
def test_a_sale_ends_once_and_never_changes_its_end(
    wanted: int, taken: list[tuple[str, int]]
) -> None:
    now = sale.opened(wanted)
    assert (now.state is sale.State.WAITING) == (wanted > 0)
    for name, held in taken:
        before = now
        if name == "placed":
            now = sale.hold_placed(now, wanted=wanted, held=held)
        elif name == "declined":
            now = sale.hold_declined(now, "card.blocked")
        elif name == "given_up":
            now = sale.given_up(now, sale.TIMED_OUT)
        else:
            now = sale.captured(now)
        if before.state is not sale.State.WAITING:
            assert (now.state, now.reason) == (before.state, before.reason)
        elif name == "placed":
            assert (now.state is sale.State.COMPLETED) == (held >= wanted)
        if now.state is sale.State.CANCELLED:
            assert now.reason
    if wanted == 0:
        assert now == sale.opened(0)


def test_the_points_of_a_cancelled_sale_are_never_captured() -> None:
    cancelled = sale.given_up(sale.opened(5), sale.BY_TILL)
    assert sale.captured(cancelled) == cancelled
    assert sale.hold_placed(cancelled, wanted=5, held=5) == cancelled


@st.composite
def paid_and_cut(draw: st.DrawFn) -> tuple[int, Paid, int, list[int]]:
    """A paid sale and its worth cut into refunds that give all of it back."""
    worth = draw(value)
    paid = Paid(draw(st.integers(0, 5_000)), draw(st.integers(0, 200)))
    total = paid.money_cents + paid.points * worth
    cuts = sorted(draw(st.lists(st.integers(0, total), max_size=6)))
    edges = [0, *cuts, total]
    return total, paid, worth, [b - a for a, b in pairwise(edges)]


@given(paid_and_cut())
def test_refunds_give_back_exactly_what_was_paid_and_are_never_short_by_a_point(
    case: tuple[int, Paid, int, list[int]],
) -> None:
    total, paid, worth, parts = case
    done, back = 0, Paid(0, 0)
    for part in parts:
        refund = refunds.parts_back(
            total_cents=total,
            paid=paid,
            point_value=worth,
            before_cents=done,
            before=back,
            cents=part,
        )
        assert refund.money_cents >= 0
        assert refund.points >= 0
        done += part
        back = Paid(back.money_cents + refund.money_cents, back.points + refund.points)
        short = done - back.money_cents - back.points * worth
        assert 0 <= short < worth
        assert back.points * total <= paid.points * done, "more points back than in proportion"
    assert back == paid


def test_cash_is_refunded_to_the_cent() -> None:
    assert refunds.parts_back(
        total_cents=999,
        paid=Paid(999, 0),
        point_value=10,
        before_cents=0,
        before=Paid(0, 0),
        cents=333,
    ) == Paid(333, 0)


SOLD = {"bread": refunds.Sold("bread", "Bread", 3, 120, refunded=1)}


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({}, "lines.empty"),
        ({"milk": 1}, "refund.not_bought"),
        ({"bread": 0}, "quantity.out_of_limits"),
        ({"bread": -1}, "quantity.out_of_limits"),
        ({"bread": 3}, "refund.more_than_bought"),
    ],
)
def test_what_was_not_bought_does_not_come_back(wanted: dict[str, int], code: str) -> None:
    with pytest.raises(Refusal) as refused:
        refunds.lines_back(SOLD, wanted)
    assert refused.value.reason == code


def test_what_was_bought_comes_back_at_its_price() -> None:
    assert refunds.lines_back(SOLD, {"bread": 2}) == 240


def test_a_day_ends_at_midnight_of_the_centre() -> None:
    late = datetime(2026, 11, 16, 23, 30, tzinfo=UTC)
    assert day_of(late, "Europe/Rome") == date(2026, 11, 17)
    assert day_of(late, "UTC") == date(2026, 11, 16)
    assert day_of(late, "Nowhere/Else") == date(2026, 11, 17)


def test_takings_are_sales_less_refunds() -> None:
    taken = Takings(
        sales=3, refunds=1, sold_cents=900, refunded_cents=200, points_in=5, points_back=9
    )
    assert taken.money_cents == 700
    assert taken.points == 0
