"""Refunds: in proportion to how it was paid (`domain.refunds` declares the rounding)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import sqlalchemy as sa

from contracts.shop import SaleRefunded, StockReason
from messaging import Transaction
from runtime.ids import derived
from runtime.refusals import N_, Invalid, Refusal
from solidarity_shop import queries, store
from solidarity_shop.commands import known
from solidarity_shop.commands.sales import event_lines
from solidarity_shop.commands.stock import Why, moved, planned
from solidarity_shop.domain import refunds
from solidarity_shop.domain.amounts import Paid
from solidarity_shop.domain.sale import State
from solidarity_shop.views import RefundView


@dataclass(frozen=True)
class NewRefund:
    """What comes back. ``goods_returned`` puts it on the shelf again; ``till_id`` is where the
    money comes from, the sale's own till when it is empty."""

    id: str
    lines: tuple[tuple[str, int], ...]
    reason: str
    goods_returned: bool = True
    till_id: str = ""

    @property
    def digest(self) -> str:
        content = [list(map(list, self.lines)), self.reason.strip(), self.goods_returned]
        return hashlib.sha256(
            json.dumps([*content, self.till_id], ensure_ascii=False).encode()
        ).hexdigest()


def refund_sale(tx: Transaction, sale_id: str, new: NewRefund, *, centre: str) -> RefundView:
    """Give back, never more than was bought in total. The sale's lock makes the sum of all refunds
    true; the same id and content again gives the same refund. Of one that a restored store took
    from its event the content is not known: its id is believed."""
    connection = tx.connection
    known.sale(store.row_of(connection, store.sale, sale_id), centre)
    sale = store.locked_row(connection, store.sale, sale_id)
    assert sale is not None
    if there := store.row_of(connection, store.refund, new.id):
        if there["digest"] not in ("", new.digest) or there["sale_id"] != sale_id:
            raise known.other_content("refund.repeated_with_other_content")
        return queries.refund_of(connection, new.id)
    if sale["state"] != State.COMPLETED:
        raise Refusal(
            "refund.not_completed",
            N_("Only a completed sale can be refunded."),
            N_("Wait until it is completed, or cancel it."),
        )
    till_id = new.till_id or sale["till_id"]
    till = known.till(connection, till_id, sale["centre_id"])
    if not new.reason.strip():
        raise Invalid(
            "refund.reason_missing",
            N_("A refund needs a reason."),
            N_("Write why the goods come back."),
            field="reason",
        )
    wanted: dict[str, int] = {}
    for product_id, quantity in new.lines:
        wanted[product_id] = wanted.get(product_id, 0) + quantity
    lines = {row["product_id"]: row for row in queries.sale_lines(connection, sale_id)}
    back = queries.refunded_quantities(connection, sale_id)
    worth = refunds.lines_back(
        {
            p: refunds.Sold(p, row["name"], row["quantity"], row["price_cents"], back.get(p, 0))
            for p, row in lines.items()
        },
        wanted,
    )
    before_cents, before = queries.refunded_amounts(connection, sale_id)
    parts = refunds.parts_back(
        total_cents=sale["total_cents"],
        paid=Paid(sale["money_cents"], sale["points"]),
        point_value=sale["point_value"],
        before_cents=before_cents,
        before=before,
        cents=worth,
    )
    row = {
        "id": new.id,
        "sale_id": sale_id,
        "till_id": till["id"],
        "centre_id": sale["centre_id"],
        "digest": new.digest,
        "total_cents": worth,
        "money_cents": parts.money_cents,
        "points": parts.points,
        "reason": new.reason.strip(),
        "goods_returned": new.goods_returned,
        "actor": tx.actor,
        "refunded_at": tx.now,
    }
    if not store.insert_once(connection, store.refund, row):
        raise known.other_content("refund.repeated_with_other_content")
    connection.execute(
        sa.insert(store.refund_line),
        [
            {
                "refund_id": new.id,
                "product_id": product_id,
                "producer_id": lines[product_id]["producer_id"],
                "quantity": quantity,
                "amount_cents": quantity * lines[product_id]["price_cents"],
                "refunded_at": tx.now,
            }
            for product_id, quantity in wanted.items()
        ],
    )
    if new.goods_returned:
        products = store.locked_products(connection, wanted)
        why = Why(StockReason.REFUND, origin=new.id)
        moves = [
            planned(product, derived("refund", new.id, product_id), wanted[product_id], why)
            for product_id, product in sorted(products.items())
        ]
        moved(tx, moves)
    tx.emit(
        SaleRefunded(
            sale_id=sale_id,
            refund_id=new.id,
            centre_id=sale["centre_id"],
            till_id=till["id"],
            household_id=sale["household_id"],
            total_cents=worth,
            money_cents=parts.money_cents,
            points=parts.points,
            lines=tuple(event_lines(queries.refund_lines(connection, new.id))),
            refunded_at=tx.now,
        ),
        centre=sale["centre_id"],
    )
    return queries.refund_of(connection, new.id)
