"""The till: one field for everything that is scanned, a basket that is kept on the server, payment
by one press. Whatever is refused leaves the basket on the page, with the reason above it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import sqlalchemy as sa
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from messaging import Transaction
from solidarity_shop import commands, queries
from solidarity_shop.access import centre_of
from solidarity_shop.api.models import ID, LINE, Key, Name, Note
from solidarity_shop.commands import known
from solidarity_shop.pages.catalogue import FindForm
from solidarity_shop.pages.words import Lead, RowId, Seller
from solidarity_shop.views import BasketView, ProductView
from web.call import Call
from web.forms import Euros, Form
from web.paging import Page, Paged, Paging
from web.roles import Role

router = APIRouter()

FOUND = Paging(limit=20)
"""How many products a search at the till shows: more means that the name is too short."""


class TillForm(BaseModel):
    name: Name


class ScanForm(BaseModel):
    code: Key = Field(min_length=1)


NOTES = (500, 1000, 2000, 5000)
"""The notes in euro cents that a family pays with, each a button."""


class LineForm(BaseModel):
    product_id: str = Field(pattern=ID)
    quantity: int | None = None
    remove: str = ""
    put_back: int | None = Field(default=None, ge=1)


class PayForm(BaseModel):
    """By what is typed and `method`, or by one press: `quick_cents` is the cash given, in cents,
    `quick_points` the points used, the rest in cash."""

    method: Literal["cash", "points", "both"] = "cash"
    points: int = Field(default=0, ge=0)
    tendered_cents: Annotated[Euros, Field(ge=0, le=10**9)] | None = None
    override_reason: Note = ""
    shown_cents: int = 0
    quick_cents: int | None = Field(default=None, ge=0, le=10**9)
    quick_points: int | None = Field(default=None, ge=1)

    def paid(self) -> tuple[int | None, int | None]:
        """Points (None: as many as fit) and cash given in cents (None: exactly)."""
        if self.quick_points is not None:
            return self.quick_points, None
        if self.quick_cents is not None:
            return 0, self.quick_cents
        points = {"cash": 0, "points": None, "both": self.points}[self.method]
        return points, self.tendered_cents


@dataclass(frozen=True)
class Ways:
    """What can be paid by one press: so many points (all that fit and are there), which cover the
    total or leave `rest_cents`; and the notes that are enough."""

    points: int
    covers: bool
    rest_cents: int
    notes: tuple[int, ...]

    @classmethod
    def of(cls, basket: BasketView) -> Ways:
        there = basket.card.available if basket.card and not basket.card.blocked else 0
        points = max(0, min(there, basket.points_possible))
        return cls(
            points=points,
            covers=points == basket.points_possible,
            rest_cents=basket.total_cents - points * basket.point_value_cents,
            notes=tuple(cents for cents in NOTES if cents > basket.total_cents),
        )


@router.get("/till")
async def choose(call: Seller, paging: Paged) -> Response:
    return await _choose(call, paging, call.blank(TillForm))


@router.post("/till")
async def open_till(call: Lead) -> Response:
    """A coordinator opens a till."""
    form = await call.form(TillForm)
    made = (
        await form.attempt(
            call.command(
                lambda tx: commands.open_till(
                    tx, centre_id=call.centre_or(None), name=form.data.name
                )
            )
        )
        if form.ok
        else None
    )
    if made is None:
        return await _choose(call, Paging(), form)
    return call.redirect(f"/shop/till/{made.id}")


async def _choose(call: Call, paging: Paging, form: Form[TillForm]) -> Response:
    centre = centre_of(call)
    page = await call.query(lambda c: queries.tills(c, centre, paging))
    leads = call.caller.has(Role.COORDINATOR, Role.ADMINISTRATOR)
    return call.render("shop/tills.html", form.status, page=page, form=form, leads=leads)


@router.get("/till/{till_id}")
async def till(
    till_id: RowId,
    call: Seller,
    q: Annotated[str, Query(max_length=120, pattern=LINE)] = "",
    out: Annotated[str, Query(pattern=r"^$|" + ID)] = "",
    pieces: Annotated[int, Query(ge=1, le=999)] = 1,
) -> Response:
    """The page of a till. ``out`` is the product that was just taken out, and ``pieces`` of it."""
    return await show(
        call, till_id, call.blank(ScanForm), call.blank(PayForm), q=q, out=(out, pieces)
    )


@router.post("/till/{till_id}/scan")
async def scan(till_id: RowId, call: Seller) -> Response:
    """A barcode, a card's number or its token, from a scanner that types and presses Enter."""
    centre = centre_of(call)
    form = await call.form(ScanForm)
    await form.command(lambda tx: commands.scan(tx, till_id, form.data.code, centre=centre))
    if form.errors:
        # The next scan is typed into the same field: what is left in it would spoil that one.
        form.values["code"] = ""
        return await show(call, till_id, form, call.blank(PayForm))
    return call.redirect(f"/shop/till/{till_id}")


@router.post("/till/{till_id}/lines")
async def change_line(till_id: RowId, call: Seller) -> Response:
    """Other pieces of a product, one more, none, or again what was taken out."""
    centre = centre_of(call)
    form = await call.form(LineForm)
    if form.ok:
        asked = form.data

        def change(tx: Transaction) -> None:
            quantity = 0 if asked.remove else asked.quantity
            if asked.put_back is not None:
                commands.change_line(tx, till_id, asked.product_id, None, centre=centre)
                quantity = asked.put_back
            commands.change_line(tx, till_id, asked.product_id, quantity, centre=centre)

        await form.command(change)
    if form.errors:
        return await show(call, till_id, form, call.blank(PayForm))
    if form.data.remove and form.data.quantity:
        query = urlencode({"out": form.data.product_id, "pieces": form.data.quantity})
        return call.redirect(f"/shop/till/{till_id}?{query}")
    return call.redirect(f"/shop/till/{till_id}")


@router.post("/till/{till_id}/card")
async def forget_card(till_id: RowId, call: Seller) -> Response:
    """Sell without the card."""
    centre = centre_of(call)
    await call.command(lambda tx: commands.forget_card(tx, till_id, centre=centre))
    return call.redirect(f"/shop/till/{till_id}")


@router.post("/till/{till_id}/clear")
async def clear(till_id: RowId, call: Seller) -> Response:
    """Begin anew."""
    centre = centre_of(call)
    await call.command(lambda tx: commands.clear_basket(tx, till_id, centre=centre))
    return call.redirect(f"/shop/till/{till_id}")


@router.post("/till/{till_id}/pay")
async def pay(till_id: RowId, call: Seller) -> Response:
    """Cash, points, or both: the sale is made, or the basket stays with the reason."""
    centre = centre_of(call)
    form = await call.form(PayForm)
    sold = None
    if form.ok:
        asked = form.data
        points, tendered = asked.paid()
        sold = await form.attempt(
            call.command(
                lambda tx: commands.sell_basket(
                    tx,
                    till_id,
                    centre=centre,
                    points=points,
                    tendered_cents=tendered,
                    override_reason=asked.override_reason,
                    shown_cents=asked.shown_cents,
                )
            )
        )
    if sold is None:
        return await show(call, till_id, call.blank(ScanForm), form)
    return call.redirect(f"/shop/sales/{sold.id}")


async def show(
    call: Call,
    till_id: str,
    scan: Form[Any],
    pay: Form[PayForm],
    *,
    q: str = "",
    out: tuple[str, int] = ("", 0),
) -> Response:
    """The page of a till with what is in its basket now. Without a search it offers what has no
    barcode: bread, eggs, what is weighed by eye."""
    centre = centre_of(call)
    now = call.parts.clock.now()

    def found(connection: sa.Connection) -> tuple[Any, BasketView, Page[ProductView], str]:
        row = known.till(connection, till_id, centre)
        basket = queries.basket_of(connection, row, call.caller.account_id, now)
        typed = q.strip()
        products = queries.products(
            connection, row["centre_id"], FOUND, name=typed, loose=not typed, sellable=True
        )
        taken_out = queries.product_name(connection, row["centre_id"], out[0]) if out[0] else ""
        return queries.till_view(row), basket, products, taken_out

    till, basket, products, taken_out = await call.query(found)
    card = basket.card
    if "points" not in pay.values and card is not None:
        pay.values["points"] = min(card.available, basket.points_possible)
    return call.render(
        "shop/till.html",
        max(scan.status, pay.status),
        till=till,
        basket=basket,
        pieces=sum(line.quantity for line in basket.lines),
        ways=Ways.of(basket),
        products=products.items,
        q=q,
        find=call.blank(FindForm, {"q": q}),
        scan=scan,
        pay=pay,
        short=any(line.quantity > line.on_hand for line in basket.lines),
        taken_out={"id": out[0], "name": taken_out, "quantity": out[1]} if taken_out else None,
    )
