"""Producers and products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from contracts.shop import ProducerRegistered, ProductChanged, StockLow
from messaging import Transaction
from runtime.refusals import N_, Refusal
from solidarity_shop import queries, store
from solidarity_shop.commands import known
from solidarity_shop.views import ProducerView, ProductView


def register_producer(
    tx: Transaction, *, centre_id: str, name: str, fee_percent: int, producer_id: str = ""
) -> ProducerView:
    """A workshop begins to deliver. Asked again with the same id and content: the same answer."""
    row: dict[str, Any] = {
        "id": producer_id or tx.ids.new(),
        "centre_id": centre_id,
        "name": name.strip(),
        "name_key": store.name_key(name),
        "fee_percent": fee_percent,
        "registered_at": tx.now,
    }
    if not store.insert_once(tx.connection, store.producer, row):
        there = store.row_of(tx.connection, store.producer, row["id"])
        if there is None:
            raise Refusal(
                "producer.name_taken",
                N_("There is already a producer with this name."),
                N_("Look for it in the list, or write another name."),
                field="name",
            )
        if any(there[k] != row[k] for k in ("centre_id", "name_key", "fee_percent")):
            raise known.other_content("producer.repeated_with_other_content")
        return queries.producer_view(there)
    tx.emit(
        ProducerRegistered(
            producer_id=row["id"],
            centre_id=centre_id,
            fee_percent=fee_percent,
            registered_at=tx.now,
        ),
        centre=centre_id,
    )
    return queries.producer_view(row)


@dataclass(frozen=True)
class NewProduct:
    """A product to be sold. ``minimum``: at this number or below the stock is low."""

    name: str
    price_cents: int
    id: str = ""
    barcode: str = ""
    category: str = ""
    producer_id: str = ""
    minimum: int = 0
    sellable: bool = True


@dataclass(frozen=True)
class ProductChange:
    """What changes of a product; None stays as it is. "" takes barcode or producer away."""

    name: str | None = None
    price_cents: int | None = None
    barcode: str | None = None
    category: str | None = None
    producer_id: str | None = None
    minimum: int | None = None
    sellable: bool | None = None

    def columns(self) -> dict[str, Any]:
        """The columns that it names, with their values."""
        values: dict[str, Any] = {}
        if self.name is not None:
            values |= {"name": self.name.strip(), "name_key": store.name_key(self.name)}
        if self.barcode is not None:
            values["barcode"] = self.barcode.strip() or None
        if self.producer_id is not None:
            values["producer_id"] = self.producer_id or None
        if self.category is not None:
            values["category"] = self.category.strip()
        for column in ("price_cents", "minimum", "sellable"):
            if (value := getattr(self, column)) is not None:
                values[column] = value
        return values


def create_product(tx: Transaction, new: NewProduct, *, centre_id: str) -> ProductView:
    """A new product with nothing on hand. The same id and content again: the same answer."""
    row: dict[str, Any] = {
        "id": new.id or tx.ids.new(),
        "centre_id": centre_id,
        "producer_id": new.producer_id or None,
        "name": new.name.strip(),
        "name_key": store.name_key(new.name),
        "barcode": new.barcode.strip() or None,
        "category": new.category.strip(),
        "price_cents": new.price_cents,
        "minimum": new.minimum,
        "sellable": new.sellable,
        "on_hand": 0,
        "changed_at": tx.now,
    }
    there = store.row_of(tx.connection, store.product, row["id"])
    if there is None:
        if new.producer_id:
            known.producer(tx.connection, new.producer_id, centre_id)
        if store.insert_once(tx.connection, store.product, row):
            _tell_changed(tx, row)
            return queries.product_of(tx.connection, row["id"])
        there = store.row_of(tx.connection, store.product, row["id"])
    if there is None:
        raise _barcode_taken(row["barcode"])
    same = set(row) - {"on_hand", "changed_at"}
    if any(there[column] != row[column] for column in same):
        raise known.other_content("product.repeated_with_other_content")
    return queries.product_of(tx.connection, row["id"])


def product_changed_meanwhile() -> Refusal:
    """Somebody else changed the product since it was looked at."""
    return Refusal(
        "product.changed_meanwhile",
        N_("Somebody else has changed this product meanwhile."),
        N_("Look at it as it is now, with what you typed, then save again."),
    )


def change_product(
    tx: Transaction,
    product_id: str,
    change: ProductChange,
    *,
    centre: str,
    seen: ProductChange | None = None,
) -> ProductView:
    """Change what is given. A minimum raised above what is on hand tells that stock is low.

    ``seen`` is the product that the caller looked at: when something of it is different by now,
    nothing is written, and Refusal("product.changed_meanwhile") is raised.
    """
    before = known.locked_product(tx.connection, product_id, centre)
    if seen is not None and any(before[name] != value for name, value in seen.columns().items()):
        raise product_changed_meanwhile()
    if change.producer_id:
        known.producer(tx.connection, change.producer_id, before["centre_id"])
    values = {name: value for name, value in change.columns().items() if before[name] != value}
    if not values:
        return queries.product_of(tx.connection, product_id)
    try:
        with tx.connection.begin_nested():
            tx.connection.execute(
                sa.update(store.product)
                .where(store.product.c.id == product_id)
                .values(**values, changed_at=tx.now)
            )
    except sa.exc.IntegrityError as error:
        raise _barcode_taken(values.get("barcode")) from error
    after = {**before, **values}
    _tell_changed(tx, after)
    if before["on_hand"] > before["minimum"] and after["on_hand"] <= after["minimum"]:
        tell_low(tx, after, after["on_hand"])
    return queries.product_of(tx.connection, product_id)


def tell_low(tx: Transaction, product: Any, on_hand: int) -> None:
    """On hand fell to the minimum or below."""
    tx.emit(
        StockLow(
            product_id=product["id"],
            centre_id=product["centre_id"],
            on_hand=on_hand,
            minimum=product["minimum"],
            seen_at=tx.now,
        ),
        centre=product["centre_id"],
    )


def _tell_changed(tx: Transaction, product: Any) -> None:
    tx.emit(
        ProductChanged(
            product_id=product["id"],
            centre_id=product["centre_id"],
            producer_id=product["producer_id"] or "",
            name=product["name"],
            barcode=product["barcode"] or "",
            category=product["category"],
            price_cents=product["price_cents"],
            minimum=product["minimum"],
            sellable=product["sellable"],
            changed_at=tx.now,
        ),
        centre=product["centre_id"],
    )


def _barcode_taken(barcode: str | None) -> Refusal:
    return Refusal(
        "product.barcode_taken",
        N_("Another product has the barcode {barcode}."),
        N_("Look for it in the list, or scan again."),
        field="barcode",
        barcode=barcode or "",
    )
