"""What goes back when goods come back, in proportion to how the sale was paid.

Rounding, as declared: points go back whole and rounded down; what is missing to a whole point goes
back in money, as long as money was paid; what no money is left for follows with the next refund.
The family is never short by a whole point's value, never gets more than it paid, and has
everything back, to the point and to the cent, once the whole sale is refunded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runtime.refusals import N_, Invalid, Refusal
from solidarity_shop.domain.amounts import Paid


@dataclass(frozen=True)
class Sold:
    """A line as it was sold, with what went back of it since."""

    product_id: str
    name: str
    quantity: int
    price_cents: int
    refunded: int = 0


def lines_back(sold: Mapping[str, Sold], wanted: Mapping[str, int]) -> int:
    """The price in cents of what comes back; never more of a product than was bought in total."""
    if not wanted:
        raise Invalid(
            "lines.empty",
            N_("Nothing was chosen."),
            N_("Choose at least one product."),
            field="lines",
        )
    total = 0
    for product_id, quantity in wanted.items():
        line = sold.get(product_id)
        if line is None:
            raise Invalid(
                "refund.not_bought",
                N_("This product is not part of the sale."),
                N_("Choose from the products of the receipt."),
                field="lines",
                product_id=product_id,
            )
        if quantity < 1:
            raise Invalid(
                "quantity.out_of_limits",
                N_("{quantity} pieces cannot be given back."),
                N_("Write a number from 1 to {limit}."),
                field="lines",
                quantity=quantity,
                limit=line.quantity - line.refunded,
            )
        if quantity > line.quantity - line.refunded:
            raise Refusal(
                "refund.more_than_bought",
                N_("{product}: bought {bought}, given back already {refunded}."),
                N_("Give back {left} at most."),
                field="lines",
                product=line.name,
                bought=line.quantity,
                refunded=line.refunded,
                left=line.quantity - line.refunded,
            )
        total += quantity * line.price_cents
    return total


def parts_back(
    *, total_cents: int, paid: Paid, point_value: int, before_cents: int, before: Paid, cents: int
) -> Paid:
    """Money and points of a refund of goods worth ``cents``.

    ``before_cents`` is the worth of the goods refunded earlier, ``before`` what was paid back for
    them. Pure and cumulative: it does not matter how a refund is cut into parts for what has gone
    back at the end.
    """
    if total_cents == 0:
        return Paid(0, 0)
    worth = before_cents + cents
    open_cents = worth - before.money_cents - before.points * point_value
    fair = paid.points * worth // total_cents
    points = max(0, min(fair - before.points, open_cents // point_value))
    money = min(open_cents - points * point_value, paid.money_cents - before.money_cents)
    return Paid(money, points)
