"""The till: one field for everything that is scanned, a basket that is kept on the server, and the
payment. Whatever is refused leaves the basket on the page, with the reason above it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from solidarity_shop import commands, queries
from solidarity_shop.access import centre_of
from solidarity_shop.api.models import ID, LINE, Key, Name, Note
from solidarity_shop.commands import known
from solidarity_shop.pages.words import Lead, RowId, Seller
from solidarity_shop.views import ProductView
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


class LineForm(BaseModel):
    product_id: str = Field(pattern=ID)
    quantity: int | None = None
    remove: str = ""


class PayForm(BaseModel):
    method: Literal["cash", "points", "both"]
    points: int = Field(default=0, ge=0)
    tendered_cents: Annotated[Euros, Field(ge=0, le=10**9)] | None = None
    override_reason: Note = ""
    shown_cents: int = 0


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
    till_id: RowId, call: Seller, q: Annotated[str, Query(max_length=120, pattern=LINE)] = ""
) -> Response:
    return await show(call, till_id, call.blank(ScanForm), call.blank(PayForm), q=q)


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
    """Other pieces of a product, one more, or none."""
    centre = centre_of(call)
    form = await call.form(LineForm)
    if form.ok:
        quantity = 0 if form.data.remove else form.data.quantity
        await form.command(
            lambda tx: commands.change_line(
                tx, till_id, form.data.product_id, quantity, centre=centre
            )
        )
    if form.errors:
        return await show(call, till_id, form, call.blank(PayForm))
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
        points = {"cash": 0, "points": None, "both": asked.points}[asked.method]
        sold = await form.attempt(
            call.command(
                lambda tx: commands.sell_basket(
                    tx,
                    till_id,
                    centre=centre,
                    points=points,
                    tendered_cents=asked.tendered_cents,
                    override_reason=asked.override_reason,
                    shown_cents=asked.shown_cents,
                )
            )
        )
    if sold is None:
        return await show(call, till_id, call.blank(ScanForm), form)
    return call.redirect(f"/shop/sales/{sold.id}")


async def show(
    call: Call, till_id: str, scan: Form[Any], pay: Form[PayForm], *, q: str = ""
) -> Response:
    """The page of a till with what is in its basket now."""
    centre = centre_of(call)
    now = call.parts.clock.now()

    def found(connection: sa.Connection) -> tuple[Any, Any, Page[ProductView]]:
        row = known.till(connection, till_id, centre)
        basket = queries.basket_of(connection, row, call.caller.account_id, now)
        products = Page[ProductView](items=[])
        if q.strip():
            products = queries.products(connection, row["centre_id"], FOUND, name=q)
        return queries.till_view(row), basket, products

    till, basket, products = await call.query(found)
    card = basket.card
    if "points" not in pay.values and card is not None:
        pay.values["points"] = min(card.available, basket.points_possible)
    return call.render(
        "shop/till.html",
        max(scan.status, pay.status),
        till=till,
        basket=basket,
        products=products.items,
        q=q,
        scan=scan,
        pay=pay,
        short=any(line.quantity > line.on_hand for line in basket.lines),
    )
