"""What the shop shows of itself: the answers of the API and the values of the pages."""

from __future__ import annotations

from datetime import date, datetime

from pydantic import BaseModel, ConfigDict, Field

from contracts.shop import StockReason
from solidarity_shop.domain.sale import PointsState, State


class View(BaseModel):
    """Read-only."""

    model_config = ConfigDict(frozen=True)


class ProducerView(View):
    """A workshop that delivers on consignment."""

    id: str
    centre_id: str
    name: str = Field(examples=["Orto di via Satta"])
    fee_percent: int = Field(description="What the shop keeps of each sale, in percent.")
    registered_at: datetime


class ProductView(View):
    """A product and what is on hand of it."""

    id: str
    centre_id: str
    producer_id: str = ""
    producer_name: str = ""
    name: str = Field(examples=["Pasta 500 g"])
    barcode: str = ""
    category: str = ""
    price_cents: int = Field(examples=[120])
    minimum: int = Field(description="At this number or below the stock is low.")
    sellable: bool = True
    on_hand: int = Field(description="The sum of all movements.")
    low: bool = Field(description="For sale, and at the minimum or below.")
    changed_at: datetime


class MovementView(View):
    """One movement of stock."""

    id: str
    product_id: str
    reason: StockReason
    quantity: int = Field(description="Positive came in, negative went out.")
    on_hand: int = Field(description="What was on hand afterwards.")
    origin: str = Field(default="", description="The sale or refund that moved it.")
    note: str = ""
    override_reason: str = Field(default="", description="Why it was allowed to go below zero.")
    at: datetime


class TillView(View):
    """A till of a centre."""

    id: str
    centre_id: str
    name: str
    created_at: datetime


class PointValueView(View):
    """What a point is worth from a moment on."""

    centre_id: str
    cents: int
    from_time: datetime


class SaleLineView(View):
    """A line as it was sold."""

    product_id: str
    name: str
    category: str = ""
    quantity: int
    price_cents: int
    amount_cents: int
    refunded: int = Field(default=0, description="Pieces given back since.")


class PaymentView(View):
    """A part of the payment: cents for cash, points for points."""

    method: str
    amount_cents: int | None = None
    points: int | None = None


class RefundView(View):
    """What was given back."""

    id: str
    sale_id: str
    till_id: str
    total_cents: int = Field(description="The price of the goods.")
    money_cents: int = Field(description="Paid back in money.")
    points: int = Field(description="Points given back.")
    lines: list[SaleLineView]
    reason: str
    goods_returned: bool
    refunded_at: datetime


class SaleView(View):
    """A sale, where it stands, and why."""

    id: str
    till_id: str
    centre_id: str
    state: State
    points_state: PointsState
    reason: str = Field(default="", description="Why it was cancelled, as a code.")
    household_id: str = ""
    card_id: str = ""
    payment_id: str = ""
    total_cents: int
    money_cents: int
    points: int
    point_value_cents: int
    tendered_cents: int | None = None
    change_cents: int | None = None
    lines: list[SaleLineView]
    payments: list[PaymentView]
    refunds: list[RefundView] = []
    override_reason: str = ""
    opened_at: datetime
    ended_at: datetime | None = None


class ClosingView(View):
    """A day of a till, counted."""

    id: str
    till_id: str
    centre_id: str
    day: date
    sales: int
    refunds: int
    money_cents: int = Field(description="The cash that should be there.")
    counted_cents: int
    difference_cents: int = Field(description="Counted less expected.")
    points: int
    closed_at: datetime


class TakingsView(View):
    """What a till has taken since its last closing."""

    till_id: str
    sales: int
    refunds: int
    money_cents: int
    points: int
    waiting: int = Field(description="Sales that still wait for points; they belong to the next.")


class CardView(View):
    """A card as the shop knows it. No name: these stay in cards."""

    card_id: str
    household_id: str
    number: str
    available: int
    blocked: bool


class BasketLineView(View):
    """A line of an open basket, at today's price."""

    product_id: str
    name: str
    quantity: int
    price_cents: int
    amount_cents: int
    on_hand: int


class BasketView(View):
    """What somebody is selling at a till right now."""

    till_id: str
    sale_id: str
    card: CardView | None = None
    lines: list[BasketLineView] = []
    total_cents: int = 0
    point_value_cents: int
    points_possible: int = Field(default=0, description="Whole points that can pay the total.")


class SoldView(View):
    """What was sold of one product of a producer, less what came back."""

    product_id: str
    name: str
    quantity: int
    amount_cents: int
    fee_cents: int


class ProducerSalesView(View):
    """What was sold of a producer in a time."""

    lines: list[SoldView]
    quantity: int
    amount_cents: int
    fee_cents: int
    due_cents: int
