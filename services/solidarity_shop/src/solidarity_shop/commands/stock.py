"""Stock movements. Every change of what is on hand goes through `moved`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from contracts.shop import StockMoved, StockReason
from messaging import Transaction
from runtime.store import change, insert_once
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

    The same id with the same content again gives the movement that is there; one that a restored
    store took from its event has no note to compare. The product's lock comes first, so that of two
    requests with one id the second sees the first.
    """
    product = known.locked_product(tx.connection, product_id, centre)
    if movement_id and (there := store.row_of(tx.connection, store.movement, movement_id)):
        wanted = stock.signed(reason, quantity, there["on_hand"] - there["quantity"])
        same = (
            there["product_id"] == product_id
            and there["reason"] == reason
            and there["quantity"] == wanted
            and (there["note"] == note.strip() or there["actor"] == store.RECOVERED)
        )
        if not same:
            raise known.other_content("movement.repeated_with_other_content")
        return queries.movement_view(there)
    movement_id = movement_id or tx.ids.new()
    signed = stock.signed(reason, quantity, product["on_hand"])
    why = Why(reason, note=note.strip(), override_reason=override_reason.strip())
    moved(tx, [planned(product, movement_id, signed, why)])
    row = store.row_of(tx.connection, store.movement, movement_id)
    assert row is not None
    return queries.movement_view(row)


@dataclass(frozen=True)
class Move:
    """A movement of a product that this transaction has locked, and what is on hand after it."""

    product: store.Row
    movement_id: str
    after: stock.Moved
    why: Why


def planned(product: store.Row, movement_id: str, quantity: int, why: Why) -> Move:
    """So many pieces come in, or go out when they are less than none; refuses with "stock.none"."""
    after = stock.move(
        name=product["name"],
        on_hand=product["on_hand"],
        minimum=product["minimum"],
        quantity=quantity,
        override_reason=why.override_reason,
    )
    return Move(product, movement_id, after, why)


def moved(tx: Transaction, moves: Sequence[Move]) -> None:
    """Write movements, of each product one, and tell them."""
    rows = [
        {
            "id": move.movement_id,
            "product_id": move.product["id"],
            "reason": move.why.reason.value,
            "quantity": move.after.quantity,
            "on_hand": move.after.on_hand,
            "origin": move.why.origin,
            "note": move.why.note,
            "override_reason": move.after.override_reason,
            "actor": tx.actor,
            "at": tx.now,
        }
        for move in moves
    ]
    if not insert_once(tx.connection, store.movement, rows):
        recovered = _recovered(tx, rows)
        moves = [move for move in moves if move.movement_id not in recovered]
    on_hand = [{"id": move.product["id"], "on_hand": move.after.on_hand} for move in moves]
    change(tx.connection, store.product, on_hand, key="id")
    for move in moves:
        _tell_moved(tx, move)


def moved_already(connection: sa.Connection, origin: str) -> dict[str, int]:
    """By product what a restored store knows to have moved for a sale or refund that it does not
    know itself (`moved`)."""
    table = store.movement
    rows = connection.execute(
        sa.select(table.c.product_id, table.c.quantity).where(
            table.c.origin == origin, table.c.actor == store.RECOVERED
        )
    )
    return dict(map(tuple, rows))


def _recovered(tx: Transaction, rows: Sequence[store.Row]) -> set[str]:
    """Which of these movements were there already: in a store that was put back, where the event of
    a movement had reached the bus and that of the sale or refund had not. Their goods have moved.

    Raises Refusal("movement.repeated_with_other_content") when one is there for another reason.
    """
    table, wanted = store.movement, {row["id"]: row for row in rows}
    found = tx.connection.execute(sa.select(table).where(table.c.id.in_(wanted))).mappings()
    recovered: set[str] = set()
    for there in found:
        row = wanted[there["id"]]
        if there["actor"] == store.RECOVERED and all(
            there[name] == row[name] for name in ("product_id", "reason", "quantity", "origin")
        ):
            recovered.add(there["id"])
        elif (there["actor"], there["at"]) != (row["actor"], row["at"]):  # not written just now
            raise known.other_content("movement.repeated_with_other_content")
    return recovered


def _tell_moved(tx: Transaction, move: Move) -> None:
    product, after = move.product, move.after
    tx.emit(
        StockMoved(
            product_id=product["id"],
            movement_id=move.movement_id,
            reason=move.why.reason,
            quantity=after.quantity,
            on_hand=after.on_hand,
            origin=move.why.origin,
            override_reason=after.override_reason,
            moved_at=tx.now,
        ),
        centre=product["centre_id"],
    )
    if after.fell_low:
        tell_low(tx, product, after.on_hand)
