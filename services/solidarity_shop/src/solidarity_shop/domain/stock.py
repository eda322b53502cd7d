"""Stock is a log of movements: what is on hand is their sum, and nothing else.

It goes below zero only by an override that is recorded with its reason: the shelf is right and the
log is late, never the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass

from contracts.shop import StockReason
from runtime.refusals import N_, Invalid, Refusal

MOVEMENT_LIMIT = 100_000
"""Pieces in one movement."""

BY_HAND = frozenset(
    {
        StockReason.DELIVERY,
        StockReason.RETURN,
        StockReason.ADJUSTMENT,
        StockReason.AUDIT,
        StockReason.LOSS,
    }
)
"""Reasons that people may write; sales and refunds move stock by themselves."""


@dataclass(frozen=True)
class Moved:
    """What one movement does to a product. ``fell_low``: it went to the minimum or below now."""

    quantity: int
    on_hand: int
    override_reason: str
    fell_low: bool


def signed(reason: StockReason, quantity: int, on_hand: int) -> int:
    """What a person wrote as a movement: positive comes in, negative goes out.

    A delivery comes in. A return goes back to its producer and a loss goes out, with or without a
    minus. An adjustment says its sign. For an audit the quantity is what was counted, and the
    movement is the difference (0 is kept too: it tells that somebody counted).
    """
    if reason not in BY_HAND:
        raise Invalid(
            "stock.reason_not_by_hand",
            N_("Sales and refunds move the stock by themselves."),
            N_("Choose delivery, return, adjustment, audit or loss."),
            field="reason",
        )
    counted = reason is StockReason.AUDIT
    if abs(quantity) > MOVEMENT_LIMIT or (quantity == 0 and not counted):
        raise Invalid(
            "quantity.out_of_limits",
            N_("{quantity} pieces cannot be moved."),
            N_("Write a number from 1 to {limit}."),
            field="quantity",
            quantity=quantity,
            limit=MOVEMENT_LIMIT,
        )
    if quantity < 0 and (counted or reason is StockReason.DELIVERY):
        raise Invalid(
            "quantity.negative",
            N_("Here the number of pieces cannot be less than nothing."),
            N_("For pieces that go out choose return, loss or adjustment."),
            field="quantity",
        )
    if counted:
        return quantity - on_hand
    if reason in (StockReason.RETURN, StockReason.LOSS):
        return -abs(quantity)
    return quantity


def move(
    *, name: str, on_hand: int, minimum: int, quantity: int, override_reason: str = ""
) -> Moved:
    """Apply a movement, or refuse with "stock.none" what would go below zero without an override.

    The override is kept only where it was needed, so that each one kept tells of a real case.
    """
    left = on_hand + quantity
    needed = quantity < 0 and left < 0
    if needed and not override_reason:
        raise Refusal(
            "stock.none",
            N_("{product}: {on_hand} on hand, {wanted} wanted."),
            N_("Take fewer, or write why they are there all the same."),
            field="override_reason",
            product=name,
            on_hand=max(on_hand, 0),
            wanted=-quantity,
        )
    return Moved(
        quantity=quantity,
        on_hand=left,
        override_reason=override_reason if needed else "",
        fell_low=left <= minimum < on_hand,
    )
