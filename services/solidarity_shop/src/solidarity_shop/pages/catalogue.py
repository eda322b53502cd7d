"""Products, their stock, and producers."""

from __future__ import annotations

from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, Json
from starlette.responses import Response

from contracts.shop import StockReason
from solidarity_shop import commands, queries
from solidarity_shop.access import LEADS, centre_of
from solidarity_shop.api.models import ID, LINE, Barcode, Category, Name, Note
from solidarity_shop.domain.amounts import PRICE_LIMIT
from solidarity_shop.domain.stock import BY_HAND
from solidarity_shop.pages.words import MOVED, Lead, RowId, Seller
from solidarity_shop.views import MovementView, ProducerView, ProductView
from web import answers, forms
from web.call import Call
from web.forms import Euros, Form
from web.paging import Page, Paged, Paging

router = APIRouter()


class ProductForm(BaseModel):
    name: Name
    price_cents: Annotated[Euros, Field(ge=0, le=PRICE_LIMIT)]
    barcode: Barcode = ""
    category: Category = ""
    producer_id: str = Field(default="", pattern=r"^$|" + ID)
    minimum: int = Field(default=0, ge=0, le=100_000)
    sellable: bool = False


class EditForm(ProductForm):
    """The form of a product that is there; what it showed travels with it."""

    seen: Json[commands.ProductChange]


class MovementForm(BaseModel):
    reason: StockReason
    quantity: int
    note: Note = ""
    override_reason: Note = ""


class FindForm(BaseModel):
    """Part of a product's name, as it was typed."""

    q: str = ""


class ProducerForm(BaseModel):
    name: Name
    fee_percent: int = Field(ge=0, le=100)


@router.get("/products")
async def products(
    call: Seller,
    paging: Paged,
    q: Annotated[str, Query(max_length=120, pattern=LINE)] = "",
    low: bool = False,
) -> Response:
    """What the shop has, by name; what is low is marked."""
    centre = centre_of(call)

    def found(connection: sa.Connection) -> tuple[Page[ProductView], int]:
        page = queries.products(connection, centre, paging, name=q, low=low)
        return page, queries.low_count(connection, centre)

    page, low_count = await call.query(found)
    find = call.blank(FindForm, {"q": q})
    return call.render(
        "shop/products.html", page=page, q=q, low=low, low_count=low_count, find=find
    )


@router.get("/products/new")
async def new_product(call: Seller) -> Response:
    form = call.blank(ProductForm, {"sellable": True, "minimum": 0})
    return await _product_form(call, form, None)


@router.post("/products/new")
async def create_product(call: Seller) -> Response:
    form = await call.form(ProductForm)
    made = None
    if form.ok:
        new = commands.NewProduct(**form.data.model_dump())
        made = await form.attempt(
            call.command(
                lambda tx: commands.create_product(tx, new, centre_id=call.centre_or(None))
            )
        )
    if made is None:
        return await _product_form(call, form, None)
    return call.redirect(f"/shop/products/{made.id}")


@router.get("/products/{product_id}/edit")
async def edit_product(product_id: RowId, call: Seller) -> Response:
    centre = centre_of(call)
    product = await call.query(lambda c: queries.product_of(c, product_id, centre))
    form = call.blank(EditForm, forms.showing(_shown(product)))
    return await _product_form(call, form, product)


@router.post("/products/{product_id}/edit")
async def change_product(product_id: RowId, call: Seller) -> Response:
    centre = centre_of(call)
    form = await call.form(EditForm)
    if form.ok:
        change = commands.ProductChange(**form.data.model_dump(exclude={forms.SEEN}))
        seen = form.data.seen
        await form.command(
            lambda tx: commands.change_product(tx, product_id, change, centre=centre, seen=seen)
        )
    if form.errors:
        product = await call.query(lambda c: queries.product_of(c, product_id, centre))
        forms.renew(form, _shown(product), commands.product_changed_meanwhile())
        return await _product_form(call, form, product)
    return call.redirect(f"/shop/products/{product_id}")


def _shown(product: ProductView) -> commands.ProductChange:
    """What the form shows of a product."""
    return commands.ProductChange(
        name=product.name,
        price_cents=product.price_cents,
        barcode=product.barcode,
        category=product.category,
        producer_id=product.producer_id,
        minimum=product.minimum,
        sellable=product.sellable,
    )


async def _product_form(
    call: Call, form: Form[ProductForm] | Form[EditForm], product: ProductView | None
) -> Response:
    centre = product.centre_id if product is not None else centre_of(call)

    def found(connection: sa.Connection) -> tuple[list[ProducerView], list[str]]:
        page = queries.producers(connection, centre, Paging(limit=200))
        return page.items, queries.categories(connection, centre)

    producers, categories = await call.query(found)
    return call.render(
        "shop/product_form.html",
        form.status,
        form=form,
        product=product,
        producers=[(producer.id, producer.name) for producer in producers],
        categories=categories,
    )


@router.get("/products/{product_id}")
async def product(product_id: RowId, call: Seller, paging: Paged) -> Response:
    """A product, its stock and every movement of it."""
    form = call.blank(MovementForm, {"reason": StockReason.DELIVERY.value})
    return await _product(call, product_id, form, paging)


@router.post("/products/{product_id}/movements")
async def move_stock(product_id: RowId, call: Seller) -> Response:
    """A delivery, return, adjustment, count or loss."""
    centre = centre_of(call)
    form = await call.form(MovementForm)
    if form.ok:
        asked: dict[str, Any] = form.data.model_dump()
        await form.command(
            lambda tx: commands.move_stock(
                tx, product_id, centre=centre, movement_id=answers.id_of(tx), **asked
            )
        )
    if form.errors:
        return await _product(call, product_id, form, Paging())
    return call.redirect(f"/shop/products/{product_id}")


async def _product(
    call: Call, product_id: str, form: Form[MovementForm], paging: Paging
) -> Response:
    centre = centre_of(call)

    def found(connection: sa.Connection) -> tuple[ProductView, Page[MovementView]]:
        product = queries.product_of(connection, product_id, centre)
        return product, queries.movements(connection, product_id, paging)

    product, page = await call.query(found)
    return call.render(
        "shop/product.html",
        form.status,
        product=product,
        page=page,
        form=form,
        reasons=[(reason.value, call.say(MOVED[reason])) for reason in MOVED if reason in BY_HAND],
        moved=MOVED,
    )


@router.get("/producers")
async def producers(call: Seller, paging: Paged) -> Response:
    """The workshops that deliver."""
    return await _producers(call, call.blank(ProducerForm), paging)


@router.post("/producers")
async def register_producer(call: Lead) -> Response:
    form = await call.form(ProducerForm)
    if form.ok:
        asked = form.data
        await form.command(
            lambda tx: commands.register_producer(
                tx,
                centre_id=call.centre_or(None),
                name=asked.name,
                fee_percent=asked.fee_percent,
            )
        )
    if form.errors:
        return await _producers(call, form, Paging())
    return call.redirect("/shop/producers")


async def _producers(call: Call, form: Form[ProducerForm], paging: Paging) -> Response:
    centre = centre_of(call)
    page = await call.query(lambda c: queries.producers(c, centre, paging))
    return call.render(
        "shop/producers.html",
        form.status,
        page=page,
        form=form,
        leads=call.caller.has(*LEADS),
    )
