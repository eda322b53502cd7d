"""What clients send. Limits of the domain are refused by the domain, with its own reasons."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from contracts.shop import StockReason
from runtime.refusals import N_
from solidarity_shop.domain.amounts import PRICE_LIMIT
from web.errors import ProblemAnswer

ID = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$"
LINE = r"^[^\x00-\x1f\x7f]*$"
"""Text on one line: no control characters."""
TEXT = r"^[^\x00]*$"

ClientId = Annotated[str, Field(pattern=ID, description="An id made by the client, best a UUIDv7.")]
OptionalId = Annotated[str, Field(pattern=r"^$|" + ID, description="Made here when empty.")]
Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120, pattern=LINE)
]
Category = Annotated[str, StringConstraints(strip_whitespace=True, max_length=60, pattern=LINE)]
Barcode = Annotated[str, StringConstraints(strip_whitespace=True, max_length=64, pattern=LINE)]
Key = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200, pattern=LINE)]
Note = Annotated[str, StringConstraints(strip_whitespace=True, max_length=500, pattern=TEXT)]
Price = Annotated[int, Field(ge=0, le=PRICE_LIMIT, description="Cents of euro.")]
Amount = Annotated[int, Field(ge=-(10**11), le=10**11, description="Cents of euro.")]
Minimum = Annotated[int, Field(ge=0, le=100_000)]
Pieces = Annotated[int, Field(ge=-(10**9), le=10**9)]
Centre = Annotated[
    str, Field(pattern=r"^$|" + ID, description="Only for callers of the whole foundation.")
]

PROBLEMS: dict[int | str, dict[str, object]] = {
    status: {
        "model": ProblemAnswer,
        "description": said,
        "content": {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemAnswer"}}
        },
    }
    for status, said in {
        401: "No valid token.",
        403: "The role or the scope does not allow it.",
        404: "Not there, or of another centre.",
        409: "Refused by the rules as things stand now; `reason` says why.",
        422: "What was sent makes no sense as it is; `reason` says why.",
        503: "The store is away for a moment; try again.",
    }.items()
}
"""The documented refusals of every endpoint."""


class Body(BaseModel):
    """What is sent. Fields that are not known are refused, so that a slip is seen."""

    model_config = ConfigDict(extra="forbid")


class ProducerIn(Body):
    """A workshop that delivers on consignment."""

    id: OptionalId = ""
    centre_id: Centre = ""
    name: Name = Field(examples=["Orto di via Satta"])
    fee_percent: int = Field(default=0, ge=0, le=100, examples=[10])


class ProductIn(Body):
    """A product to be sold."""

    id: OptionalId = ""
    centre_id: Centre = ""
    name: Name = Field(examples=["Pasta 500 g"])
    barcode: Barcode = Field(default="", examples=["8001234567893"])
    category: Category = Field(default="", examples=["food"])
    price_cents: Price = Field(examples=[120])
    producer_id: OptionalId = ""
    minimum: Minimum = Field(default=0, description="At this number or below the stock is low.")
    sellable: bool = True


class ProductPatch(Body):
    """What changes; what is left out stays. "" takes barcode or producer away."""

    name: Name | None = None
    barcode: Barcode | None = None
    category: Category | None = None
    price_cents: Price | None = None
    producer_id: OptionalId | None = None
    minimum: Minimum | None = None
    sellable: bool | None = None


class MovementIn(Body):
    """A movement of stock by hand.

    A delivery comes in; a return (to its producer) and a loss go out, with or without a minus; an
    adjustment says its sign; for an audit the quantity is what was counted.
    """

    id: OptionalId = ""
    reason: StockReason = Field(examples=["delivery"])
    quantity: Pieces = Field(examples=[24])
    note: Note = Field(default="", examples=["delivery note 12"])
    override_reason: Note = Field(default="", description="Why it may go below zero.")


class TillIn(Body):
    """A till of a centre."""

    id: OptionalId = ""
    centre_id: Centre = ""
    name: Name = Field(examples=["Cassa 1"])


class PointValueIn(Body):
    """What a point is worth from a moment on (now when it is left out)."""

    centre_id: Centre = ""
    cents: int = Field(ge=1, le=1000, examples=[10])
    from_time: AwareDatetime | None = None


class ClosingIn(Body):
    """A till is counted: the cash without the float of coins."""

    id: OptionalId = ""
    counted_cents: int = Field(ge=0, le=10**9, examples=[12350])


class CardIn(Body):
    """The card that was shown: its scanned token or its printed number."""

    token: Key | None = None
    number: Key | None = Field(default=None, examples=["123456789015"])

    @model_validator(mode="after")
    def one_of_two(self) -> CardIn:
        if bool(self.token) == bool(self.number):
            raise ValueError(N_("Give the token of the card or its number, one of the two."))
        return self


class SaleLineIn(Body):
    """What is bought, by the product's id or its barcode."""

    product_id: str | None = Field(default=None, pattern=ID)
    barcode: Barcode | None = None
    quantity: Pieces = Field(examples=[2])

    @model_validator(mode="after")
    def one_of_two(self) -> SaleLineIn:
        if bool(self.product_id) == bool(self.barcode):
            raise ValueError(N_("Give the id of the product or its barcode, one of the two."))
        return self


class CashIn(Body):
    """A part paid in money."""

    method: Literal["cash"]
    amount_cents: Amount = Field(examples=[150])


class PointsIn(Body):
    """A part paid in points."""

    method: Literal["points"]
    points: Pieces = Field(examples=[20])


class SaleIn(Body):
    """A sale. The payments must make the total exactly."""

    id: ClientId = Field(examples=["019aa0c4-7c00-7000-8000-000000000001"])
    card: CardIn | None = None
    lines: list[SaleLineIn] = Field(max_length=1000)
    payments: list[Annotated[CashIn | PointsIn, Field(discriminator="method")]] = Field(
        default_factory=list, max_length=20
    )
    tendered_cents: int | None = Field(
        default=None, ge=0, le=10**9, description="The cash that was handed over, for the change."
    )
    override_reason: Note = Field(
        default="", description="Why it is sold although the stock says that there is none."
    )


class RefundLineIn(Body):
    """What comes back."""

    product_id: str = Field(pattern=ID)
    quantity: Pieces = Field(examples=[1])


class RefundIn(Body):
    """Goods that come back. Money and points go back as they were paid."""

    id: ClientId
    lines: list[RefundLineIn] = Field(max_length=1000)
    reason: Note = Field(examples=["damaged"])
    goods_returned: bool = Field(default=True, description="The goods are on the shelf again.")
    till_id: OptionalId = Field(default="", description="Where the money comes from.")
