"""Producers, products and their stock."""

from __future__ import annotations

from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Path, Query, status

from solidarity_shop import commands, queries
from solidarity_shop.access import Leading, Reading, Writing, centre_of
from solidarity_shop.api.models import (
    ID,
    LINE,
    PROBLEMS,
    MovementIn,
    ProducerIn,
    ProductIn,
    ProductPatch,
)
from solidarity_shop.views import MovementView, ProducerView, ProductView
from web.paging import Page, Paged

router = APIRouter(prefix="/shop/api", tags=["shop"], responses=PROBLEMS)

ProductId = Annotated[str, Path(pattern=ID)]


@router.post("/producers", status_code=status.HTTP_201_CREATED)
async def register_producer(body: ProducerIn, call: Leading) -> ProducerView:
    """A workshop begins to deliver. Its name stays in the shop."""
    centre_id = call.centre_or(body.centre_id)
    return await call.command(
        lambda tx: commands.register_producer(
            tx,
            centre_id=centre_id,
            name=body.name,
            fee_percent=body.fee_percent,
            producer_id=body.id,
        )
    )


@router.get("/producers")
async def list_producers(call: Reading, paging: Paged) -> Page[ProducerView]:
    """The producers of the caller's centre, by name."""
    centre = centre_of(call)
    return await call.query(lambda c: queries.producers(c, centre, paging))


@router.post("/products", status_code=status.HTTP_201_CREATED)
async def create_product(body: ProductIn, call: Writing) -> ProductView:
    """A new product, with nothing on hand. The same id and content again: the same answer."""
    centre_id = call.centre_or(body.centre_id)
    new = commands.NewProduct(**body.model_dump(exclude={"centre_id"}))
    return await call.command(lambda tx: commands.create_product(tx, new, centre_id=centre_id))


@router.get("/products")
async def list_products(
    call: Reading,
    paging: Paged,
    name: Annotated[str, Query(max_length=120, pattern=LINE)] = "",
    barcode: Annotated[str, Query(max_length=64, pattern=LINE)] = "",
    category: Annotated[str, Query(max_length=60, pattern=LINE)] = "",
    producer_id: Annotated[str, Query(pattern=r"^$|" + ID)] = "",
    low: bool = False,
) -> Page[ProductView]:
    """The products of the caller's centre, by name; `low` gives those for sale
    that are at their minimum or below."""
    centre = centre_of(call)
    return await call.query(
        lambda c: queries.products(
            c,
            centre,
            paging,
            name=name,
            barcode=barcode,
            category=category,
            producer_id=producer_id,
            low=low,
        )
    )


@router.get("/products/{product_id}")
async def get_product(product_id: ProductId, call: Reading) -> ProductView:
    """One product with what is on hand."""
    centre = centre_of(call)
    return await call.query(lambda c: queries.product_of(c, product_id, centre))


@router.patch("/products/{product_id}")
async def change_product(product_id: ProductId, body: ProductPatch, call: Writing) -> ProductView:
    """Change what is given; what is left out stays."""
    centre = centre_of(call)
    change = commands.ProductChange(**body.model_dump())
    return await call.command(
        lambda tx: commands.change_product(tx, product_id, change, centre=centre)
    )


@router.post("/products/{product_id}/stock-movements", status_code=status.HTTP_201_CREATED)
async def move_stock(product_id: ProductId, body: MovementIn, call: Writing) -> MovementView:
    """A delivery, return, adjustment, audit or loss. Sales and refunds move stock by themselves."""
    centre = centre_of(call)
    return await call.command(
        lambda tx: commands.move_stock(
            tx,
            product_id,
            centre=centre,
            reason=body.reason,
            quantity=body.quantity,
            note=body.note,
            override_reason=body.override_reason,
            movement_id=body.id,
        )
    )


@router.get("/products/{product_id}/stock-movements")
async def list_movements(product_id: ProductId, call: Reading, paging: Paged) -> Page[MovementView]:
    """The log of a product, newest first."""
    centre = centre_of(call)

    def found(connection: sa.Connection) -> Page[MovementView]:
        queries.product_of(connection, product_id, centre)
        return queries.movements(connection, product_id, paging)

    return await call.query(found)
