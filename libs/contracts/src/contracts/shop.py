"""Facts of the solidarity shop, on ``shop.events``.

The saga of a payment in points (DESIGN §3.11): ``points_payment.requested`` asks cards for a hold;
cards answers ``hold.placed`` or ``hold.declined``; only the shop ends it, with ``sale.completed``
(captures) or ``sale.cancelled`` (frees).
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from contracts.event import Cents, Event, Id, Moment, Points

TOPIC = "shop.events"


class StockReason(StrEnum):
    """Why stock moved."""

    DELIVERY = "delivery"
    SALE = "sale"
    REFUND = "refund"
    RETURN = "return"
    ADJUSTMENT = "adjustment"
    AUDIT = "audit"
    LOSS = "loss"


class SaleLine(BaseModel):
    """One line of a receipt. ``amount_cents`` is quantity × price."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    product_id: Id
    producer_id: str = ""
    category: str = ""
    quantity: int = Field(ge=1)
    amount_cents: Cents


class ProducerRegistered(Event, type="shop.producer.registered", topic=TOPIC, key="producer_id"):
    """A workshop delivers on consignment. Its name stays in the shop."""

    producer_id: Id
    centre_id: Id
    fee_percent: int = Field(ge=0, le=100)
    registered_at: Moment


class ProductChanged(Event, type="shop.product.changed", topic=TOPIC, key="product_id"):
    """A product is new, or its price, levels or name are now these."""

    product_id: Id
    centre_id: Id
    producer_id: str = ""
    name: str
    barcode: str = ""
    category: str = ""
    price_cents: Cents
    minimum: int = 0
    sellable: bool = True
    changed_at: Moment


class StockMoved(Event, type="shop.stock.moved", topic=TOPIC, key="product_id"):
    """The stock of a product moved; ``on_hand`` is the sum of all its movements."""

    product_id: Id
    movement_id: Id
    reason: StockReason
    quantity: int
    """Positive comes in, negative goes out."""
    on_hand: int
    origin: str = ""
    """The sale, refund or delivery note."""
    override_reason: str = ""
    """Why it may go below zero."""
    moved_at: Moment


class StockLow(Event, type="shop.stock.low", topic=TOPIC, key="product_id"):
    """On hand fell to the minimum or below."""

    product_id: Id
    centre_id: Id
    on_hand: int
    minimum: int
    seen_at: Moment


class TillOpened(Event, type="shop.till.opened", topic=TOPIC, key="till_id"):
    """A till where one can pay."""

    till_id: Id
    centre_id: Id
    name: str
    opened_at: Moment


class PointValueSet(Event, type="shop.point_value.set", topic=TOPIC, key="centre_id"):
    """From ``from_time`` on, a point pays so many cents in a centre."""

    centre_id: Id
    cents: Cents
    from_time: Moment
    set_at: Moment


class PointsPaymentRequested(
    Event, type="shop.points_payment.requested", topic=TOPIC, key="sale_id"
):
    """Cards should set ``points`` aside for this sale. The rest of the sale goes with it, so that a
    shop that comes back from a backup can complete it (empty in events from before 0.2)."""

    sale_id: Id
    payment_id: Id
    household_id: Id
    card_id: Id
    points: Points
    requested_at: Moment
    till_id: str = ""
    total_cents: Cents = 0
    money_cents: Cents = 0
    lines: tuple[SaleLine, ...] = ()


class SaleCompleted(Event, type="shop.sale.completed", topic=TOPIC, key="sale_id"):
    """A sale is done and paid. ``money_cents`` + the value of ``points`` = ``total_cents``."""

    sale_id: Id
    centre_id: Id
    till_id: Id
    household_id: str = ""
    card_id: str = ""
    payment_id: str = ""
    """The hold to capture; empty when nothing was paid in points."""
    total_cents: Cents
    money_cents: Cents
    points: Points = 0
    lines: tuple[SaleLine, ...]
    sold_at: Moment


class SaleCancelled(Event, type="shop.sale.cancelled", topic=TOPIC, key="sale_id"):
    """A sale that waited for points will not be; the hold is freed."""

    sale_id: Id
    centre_id: Id
    till_id: Id
    household_id: str = ""
    payment_id: str = ""
    reason: str
    """points.too_few, card.blocked, timed_out, by_till, …"""
    cancelled_at: Moment


class SaleRefunded(Event, type="shop.sale.refunded", topic=TOPIC, key="sale_id"):
    """Goods came back; money and points go back. ``points`` spent are given back by cards, and
    points earned by ``money_cents`` are taken back."""

    sale_id: Id
    refund_id: Id
    centre_id: Id
    till_id: Id
    household_id: str = ""
    total_cents: Cents
    money_cents: Cents
    points: Points = 0
    lines: tuple[SaleLine, ...]
    refunded_at: Moment


class DayClosed(Event, type="shop.day.closed", topic=TOPIC, key="till_id"):
    """A till was counted at the end of a day."""

    till_id: Id
    centre_id: Id
    closing_id: Id
    day: date
    sales: int
    refunds: int
    money_cents: Cents
    counted_cents: Cents
    points: Points
    closed_at: Moment
