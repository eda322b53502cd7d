"""Money and points of one sale.

Money is whole cents of euro, points are whole. A point is worth ``point_value`` cents on the day of
the sale (dated by centre; 10 cents by default, as in Terni). What is paid must be the total to the
cent: change is a matter of the till's drawer, not of the sale.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from runtime.refusals import N_, Invalid

DEFAULT_POINT_VALUE = 10
"""Cents that a point is worth where a centre has said nothing."""

QUANTITY_LIMIT = 999
"""Pieces on one line: more is a slip of the finger or a barcode in the wrong field."""
LINES_LIMIT = 100
"""Lines of one sale."""
PRICE_LIMIT = 10_000_00
"""The dearest product, in cents."""


class Method(StrEnum):
    """How a part of a sale is paid."""

    CASH = "cash"
    POINTS = "points"


@dataclass(frozen=True)
class Payment:
    """A part of the payment: cents when it is cash, whole points when it is points."""

    method: Method
    amount: int


@dataclass(frozen=True)
class Paid:
    """How a sale is paid: ``money_cents`` + ``points`` x the value of a point = the total."""

    money_cents: int
    points: int


def add_up(total_cents: int, payments: Iterable[Payment], point_value: int) -> Paid:
    """The payments as one, or `Invalid` "amounts.do_not_add_up" with what was expected and given.

    Several payments of one method are added. A free sale (total 0) needs none.
    """
    money = points = 0
    for payment in payments:
        if payment.amount < 0:
            raise Invalid(
                "amounts.negative",
                N_("An amount that is paid cannot be less than nothing."),
                N_("Correct the amount."),
                field="payments",
            )
        if payment.method is Method.CASH:
            money += payment.amount
        else:
            points += payment.amount
    given = money + points * point_value
    if given != total_cents:
        raise Invalid(
            "amounts.do_not_add_up",
            N_("The total is {expected}, but {given} was paid."),
            N_("Correct the cash or the points so that they make the total exactly."),
            field="payments",
            expected=euros(total_cents),
            given=euros(given),
            expected_cents=total_cents,
            given_cents=given,
        )
    return Paid(money, points)


def points_for(total_cents: int, point_value: int) -> Paid:
    """As much as possible in whole points, the rest in money."""
    points, rest = divmod(total_cents, point_value)
    return Paid(rest, points)


def change(money_cents: int, tendered_cents: int) -> int:
    """Cents to give back, or `Invalid` "cash.too_little"."""
    if tendered_cents < money_cents:
        raise Invalid(
            "cash.too_little",
            N_("{expected} is to be paid in cash, but {given} was given."),
            N_("Ask for the rest, or take something out of the basket."),
            field="tendered_cents",
            expected=euros(money_cents),
            given=euros(tendered_cents),
            expected_cents=money_cents,
            given_cents=tendered_cents,
        )
    return tendered_cents - money_cents


def euros(cents: int) -> str:
    """``€ 12,50``: as it is said in a sentence, the same in every language of the house."""
    sign = "-" if cents < 0 else ""
    whole, part = divmod(abs(cents), 100)
    return f"{sign}€ {whole},{part:02d}"


def quantity_in_limits(quantity: int) -> int:
    """The quantity, or `Invalid` "quantity.out_of_limits"."""
    if not 1 <= quantity <= QUANTITY_LIMIT:
        raise Invalid(
            "quantity.out_of_limits",
            N_("{quantity} pieces cannot be sold on one line."),
            N_("Write a number from 1 to {limit}."),
            field="lines",
            quantity=quantity,
            limit=QUANTITY_LIMIT,
        )
    return quantity
