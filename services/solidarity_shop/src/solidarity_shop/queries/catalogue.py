"""Producers, products and movements."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from contracts.shop import StockReason
from runtime.named import among
from runtime.prepared import Prepared
from runtime.refusals import N_, NotFound
from solidarity_shop import store
from solidarity_shop.domain import names
from solidarity_shop.views import MovementView, ProducerView, ProductView
from web.paging import Page, Paging

PRODUCT, PRODUCER, MOVEMENT = store.product, store.producer, store.movement
LOW = sa.and_(PRODUCT.c.sellable, PRODUCT.c.on_hand <= PRODUCT.c.minimum)
"""At the minimum or below, and for sale: nobody misses more of what is not sold any more."""


def producer_view(row: store.Row) -> ProducerView:
    return ProducerView(**{name: row[name] for name in ProducerView.model_fields})


def producers(connection: sa.Connection, centre: str, paging: Paging) -> Page[ProducerView]:
    """The producers of a centre (of all when it is ""), by name."""
    statement = sa.select(PRODUCER)
    if centre:
        statement = statement.where(PRODUCER.c.centre_id == centre)
    return paging.read(
        connection,
        statement,
        by=(PRODUCER.c.name_key, PRODUCER.c.id),
        show=lambda row: producer_view(row._mapping),
    )


def _products() -> sa.Select[Any]:
    return sa.select(PRODUCT, PRODUCER.c.name.label("producer_name")).outerjoin(
        PRODUCER, PRODUCER.c.id == PRODUCT.c.producer_id
    )


def product_view(row: store.Row) -> ProductView:
    return ProductView(
        id=row["id"],
        centre_id=row["centre_id"],
        producer_id=row["producer_id"] or "",
        producer_name=row["producer_name"] or "",
        name=row["name"],
        barcode=row["barcode"] or "",
        category=row["category"],
        price_cents=row["price_cents"],
        minimum=row["minimum"],
        sellable=row["sellable"],
        on_hand=row["on_hand"],
        low=row["sellable"] and row["on_hand"] <= row["minimum"],
        changed_at=row["changed_at"],
    )


def product_of(connection: sa.Connection, product_id: str, centre: str = "") -> ProductView:
    """One product, or "product.unknown"."""
    statement = _products().where(PRODUCT.c.id == product_id)
    if centre:
        statement = statement.where(PRODUCT.c.centre_id == centre)
    row = connection.execute(statement).mappings().first()
    if row is None:
        raise NotFound(
            "product.unknown",
            N_("This product does not exist."),
            N_("Look for it in the list."),
        )
    return product_view(row)


def products(
    connection: sa.Connection,
    centre: str,
    paging: Paging,
    *,
    name: str = "",
    barcode: str = "",
    category: str = "",
    producer_id: str = "",
    low: bool = False,
    loose: bool = False,
    sellable: bool = False,
    there: bool = False,
) -> Page[ProductView]:
    """The products of a centre by name; ``name`` is a part of it, accents or not. ``loose`` are
    those without a barcode, ``there`` those on hand."""
    statement = _products()
    if centre:
        statement = statement.where(PRODUCT.c.centre_id == centre)
    if name:
        statement = statement.where(_named(name))
    if barcode:
        statement = statement.where(PRODUCT.c.barcode == barcode)
    if category:
        statement = statement.where(PRODUCT.c.category == category)
    if producer_id:
        statement = statement.where(PRODUCT.c.producer_id == producer_id)
    if low:
        statement = statement.where(LOW)
    if loose:
        statement = statement.where(PRODUCT.c.barcode.is_(None))
    if sellable:
        statement = statement.where(PRODUCT.c.sellable)
    if there:
        statement = statement.where(PRODUCT.c.on_hand > 0)
    return paging.read(
        connection,
        statement,
        by=(PRODUCT.c.name_key, PRODUCT.c.id),
        show=lambda row: product_view(row._mapping),
    )


def _named(part: str) -> sa.ColumnElement[bool]:
    """Whether a product's name holds this part, with or without accents on either side."""
    key = names.folded(store.name_key(part))
    name: sa.ColumnElement[str] = PRODUCT.c.name_key
    for accented, plain in names.hiding(key).items():
        name = sa.func.replace(name, accented, plain)
    return name.contains(key, autoescape=True)


def product_name(connection: sa.Connection, centre_id: str, product_id: str) -> str:
    """The name of a product of a centre; "" when it has none like that."""
    return str(
        connection.scalar(
            sa.select(PRODUCT.c.name).where(
                PRODUCT.c.id == product_id, PRODUCT.c.centre_id == centre_id
            )
        )
        or ""
    )


def categories(connection: sa.Connection, centre: str) -> list[str]:
    """The categories in use, for a list to choose from."""
    statement = sa.select(PRODUCT.c.category).where(PRODUCT.c.category != "").distinct()
    if centre:
        statement = statement.where(PRODUCT.c.centre_id == centre)
    return sorted(connection.scalars(statement.limit(200)))


def low_count(connection: sa.Connection, centre: str) -> int:
    """How many products are low."""
    statement = sa.select(sa.func.count()).where(LOW)
    if centre:
        statement = statement.where(PRODUCT.c.centre_id == centre)
    return int(connection.scalar(statement) or 0)


def products_by_barcode(
    connection: sa.Connection, centre_id: str, barcodes: Iterable[str]
) -> dict[str, str]:
    """Product ids by barcode, within a centre."""
    wanted = {barcode.strip() for barcode in barcodes if barcode.strip()}
    if not wanted:
        return {}
    return dict(_BY_BARCODE.tuples(connection, centre=centre_id, wanted=sorted(wanted)))


_BY_BARCODE = Prepared(
    lambda dialect: sa.select(PRODUCT.c.barcode, PRODUCT.c.id).where(
        PRODUCT.c.centre_id == sa.bindparam("centre"), among(dialect, PRODUCT.c.barcode)
    )
)


def products_of_centre(
    connection: sa.Connection, centre_id: str, product_ids: Iterable[str]
) -> set[str]:
    """Those of these ids that are products of the centre."""
    wanted = sorted(set(product_ids))
    if not wanted:
        return set()
    return set(
        connection.scalars(
            sa.select(PRODUCT.c.id).where(
                PRODUCT.c.centre_id == centre_id, PRODUCT.c.id.in_(wanted)
            )
        )
    )


def fees(connection: sa.Connection, producer_ids: Iterable[str | None]) -> dict[str, int]:
    """What the shop keeps of each producer's sales, in percent."""
    wanted = sorted({producer_id for producer_id in producer_ids if producer_id})
    if not wanted:
        return {}
    return dict(_FEES.tuples(connection, wanted=wanted))


_FEES = Prepared(
    lambda dialect: sa.select(PRODUCER.c.id, PRODUCER.c.fee_percent).where(
        among(dialect, PRODUCER.c.id)
    )
)


def movement_view(row: store.Row) -> MovementView:
    return MovementView(
        id=row["id"],
        product_id=row["product_id"],
        reason=StockReason(row["reason"]),
        quantity=row["quantity"],
        on_hand=row["on_hand"],
        origin=row["origin"],
        note=row["note"],
        override_reason=row["override_reason"],
        at=row["at"],
    )


def movements(connection: sa.Connection, product_id: str, paging: Paging) -> Page[MovementView]:
    """The log of a product, newest first."""
    return paging.read(
        connection,
        sa.select(MOVEMENT).where(MOVEMENT.c.product_id == product_id),
        by=(MOVEMENT.c.at, MOVEMENT.c.id),
        show=lambda row: movement_view(row._mapping),
        newest_first=True,
    )
