"""Stock movements. Every change of what is on hand goes through `moved`."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from contracts.shop import StockMoved, StockReason
from messaging import Transaction
from runtime.prepared import Prepared
from solidarity_shop import queries, store
from solidarity_shop.commands import known
from solidarity_shop.commands.catalogue import tell_low
from solidarity_shop.domain import stock
from solidarity_shop.views import MovementView


@dataclass(frozen=True)
class Why:
    """What a movement belongs to."""

    reason: StockReason
    origin: str = ""
    note: str = ""
    override_reason: str = ""


def move_stock(
    tx: Transaction,
    product_id: str,
    *,
    centre: str,
    reason: StockReason,
    quantity: int,
    note: str = "",
    override_reason: str = "",
    movement_id: str = "",
) -> MovementView:
    """A delivery, return, adjustment, audit or loss, written by hand.

    The same id with the same content again gives the movement that is there. The product's lock
    comes first, so that of two requests with one id the second sees the first.
    """
    product = known.locked_product(tx.connection, product_id, centre)
    if movement_id and (there := store.row_of(tx.connection, store.movement, movement_id)):
        wanted = stock.signed(reason, quantity, there["on_hand"] - there["quantity"])
        same = (
            there["product_id"] == product_id
            and there["reason"] == reason
            and there["quantity"] == wanted
            and there["note"] == note.strip()
        )
        if not same:
            raise known.other_content("movement.repeated_with_other_content")
        return queries.movement_view(there)
    movement_id = movement_id or tx.ids.new()
    moved(
        tx,
        product,
        movement_id,
        stock.signed(reason, quantity, product["on_hand"]),
        Why(reason, note=note.strip(), override_reason=override_reason.strip()),
    )
    row = store.row_of(tx.connection, store.movement, movement_id)
    assert row is not None
    return queries.movement_view(row)


_ON_HAND = Prepared(
    sa.update(store.product)
    .where(store.product.c.id == sa.bindparam("moved"))
    .values(on_hand=sa.bindparam("now"))
)


def moved(
    tx: Transaction,
    product: store.Row,
    movement_id: str,
    quantity: int,
    why: Why,
) -> None:
    """Move a product that this transaction has locked; refuses with "stock.none"."""
    done = stock.move(
        name=product["name"],
        on_hand=product["on_hand"],
        minimum=product["minimum"],
        quantity=quantity,
        override_reason=why.override_reason,
    )
    row = {
        "id": movement_id,
        "product_id": product["id"],
        "reason": why.reason.value,
        "quantity": done.quantity,
        "on_hand": done.on_hand,
        "origin": why.origin,
        "note": why.note,
        "override_reason": done.override_reason,
        "actor": tx.actor,
        "at": tx.now,
    }
    if not store.insert_once(tx.connection, store.movement, row):
        raise known.other_content("movement.repeated_with_other_content")
    _ON_HAND.run(tx.connection, moved=product["id"], now=done.on_hand)
    tx.emit(
        StockMoved(
            product_id=product["id"],
            movement_id=movement_id,
            reason=why.reason,
            quantity=done.quantity,
            on_hand=done.on_hand,
            origin=why.origin,
            override_reason=done.override_reason,
            moved_at=tx.now,
        ),
        centre=product["centre_id"],
    )
    if done.fell_low:
        tell_low(tx, product, done.on_hand)
