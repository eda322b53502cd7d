"""Selling, and the payment in points: the shop asks, cards decides, only the shop ends.

A sale and its stock move in one transaction. What waits for points has its stock already; when it
is cancelled, for whatever reason, the stock comes back by a movement of its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from contracts.shop import (
    PointsPaymentRequested,
    SaleCancelled,
    SaleCompleted,
    SaleLine,
    StockReason,
)
from messaging import Transaction
from runtime.ids import derived
from runtime.refusals import N_, Invalid, Refusal
from runtime.store import insert, together
from solidarity_shop import queries, store
from solidarity_shop.commands import known
from solidarity_shop.commands.stock import Move, Why, moved, moved_already, planned
from solidarity_shop.domain import amounts
from solidarity_shop.domain import sale as machine
from solidarity_shop.live import tell_page
from solidarity_shop.views import SaleView

TIMEOUT_JOB = "shop.points_payment_timeout"


@dataclass(frozen=True)
class WantedLine:
    """What is bought: a product by its id or its barcode."""

    quantity: int
    product_id: str = ""
    barcode: str = ""


@dataclass(frozen=True)
class NewSale:
    """A sale as the till says it. The card is named by one of its three keys, or not at all."""

    id: str
    till_id: str
    lines: tuple[WantedLine, ...]
    payments: tuple[amounts.Payment, ...]
    card_id: str = ""
    card_number: str = ""
    card_token: str = ""
    override_reason: str = ""
    tendered_cents: int | None = None

    @property
    def digest(self) -> str:
        """The same for the same request, whatever the shop looks like when it comes again."""
        token = queries.token_digest(self.card_token) if self.card_token else ""
        content = [
            self.till_id,
            [self.card_id, queries.plain_number(self.card_number), token],
            [[line.product_id, line.barcode, line.quantity] for line in self.lines],
            [[payment.method, payment.amount] for payment in self.payments],
            self.override_reason.strip(),
            self.tendered_cents,
        ]
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


def sell(tx: Transaction, new: NewSale, *, centre: str) -> SaleView:
    """Sell, or refuse and change nothing.

    The same id with the same content gives the sale as it stands now; with other content it is
    refused. Products are locked before the stock is read, so that the last piece is sold once.
    """
    connection = tx.connection
    found = queries.opening(
        connection,
        new.till_id,
        new.id,
        queries.card_key(new.card_id, new.card_number, new.card_token),
        tx.now,
    )
    till = known.found_till(found, centre)
    if till["sale_id"] and (there := _repeated(connection, new)):
        return there
    wanted = _wanted(connection, new, till["centre_id"])
    card = _card(new, till)
    products = store.locked_products(connection, wanted)
    total = sum(product["price_cents"] * wanted[name] for name, product in products.items())
    try:
        _all_there(new, products, till["centre_id"])
        paid = amounts.add_up(total, new.payments, till["point_value"])
        if new.tendered_cents is not None:
            amounts.change(paid.money_cents, new.tendered_cents)
        if paid.points:
            _enough_points(connection, card, paid.points)
        moves = _moves(new, wanted, products)
    except Refusal as refusal:
        if there := _repeated(connection, new):
            return there  # it was sold while we waited for the locks: its points are asked for
        gone = moved_already(connection, new.id) if refusal.reason == "stock.none" else {}
        if not gone:
            raise
        back = {
            name: {**product, "on_hand": product["on_hand"] - gone.get(name, 0)}
            for name, product in products.items()
        }
        moves = _moves(new, wanted, back)
    progress = machine.opened(paid.points)
    row = {
        "id": new.id,
        "till_id": new.till_id,
        "centre_id": till["centre_id"],
        "digest": new.digest,
        "state": progress.state.value,
        "points_state": progress.points_state.value,
        "reason": "",
        "household_id": card["household_id"] if card else "",
        "card_id": card["card_id"] if card else "",
        "payment_id": derived("payment", new.id) if paid.points else "",
        "total_cents": total,
        "money_cents": paid.money_cents,
        "points": paid.points,
        "point_value": till["point_value"],
        "tendered_cents": new.tendered_cents,
        "override_reason": new.override_reason.strip(),
        "actor": tx.actor,
        "opened_at": tx.now,
        "ended_at": None if progress.state is machine.State.WAITING else tx.now,
    }
    lines = _lines(connection, row, wanted, products)
    with together(connection, later=True):
        if not store.insert_once(connection, store.sale, row):
            there = _repeated(connection, new)
            assert there is not None
            return there
        insert(connection, store.sale_line, lines)
        moved(tx, moves)
    if progress.state is machine.State.WAITING:
        _ask_for_points(tx, row, lines)
    else:
        _tell_completed(tx, row, lines)
    return queries.new_sale(row, lines)


def cancel_sale(tx: Transaction, sale_id: str, *, centre: str) -> SaleView:
    """The till gives up a sale that waits for points. Cancelled already: the same answer."""
    known.sale(store.row_of(tx.connection, store.sale, sale_id), centre)
    row = store.locked_row(tx.connection, store.sale, sale_id)
    assert row is not None
    if row["state"] == machine.State.COMPLETED:
        raise Refusal(
            "sale.completed_already",
            N_("This sale is paid and completed."),
            N_("Give the goods back with a refund."),
        )
    advance(tx, row, lambda now: machine.given_up(now, machine.BY_TILL))
    return queries.sale_of(tx.connection, sale_id)


def advance(
    tx: Transaction,
    sale: store.Row,
    step: Callable[[machine.Progress], machine.Progress],
) -> machine.Progress:
    """Take a step of the machine on a sale that this transaction has locked, with all effects."""
    before = machine.Progress(
        machine.State(sale["state"]), machine.PointsState(sale["points_state"]), sale["reason"]
    )
    after = step(before)
    if after == before:
        return after
    ends = after.state is not before.state
    tx.connection.execute(
        sa.update(store.sale)
        .where(store.sale.c.id == sale["id"])
        .values(
            state=after.state.value,
            points_state=after.points_state.value,
            reason=after.reason[:100],
            ended_at=tx.now if ends else sale["ended_at"],
        )
    )
    if ends and after.state is machine.State.COMPLETED:
        tx.connection.execute(
            sa.update(store.sale_line)
            .where(store.sale_line.c.sale_id == sale["id"])
            .values(sold_at=tx.now)
        )
        _tell_completed(tx, sale, queries.sale_lines(tx.connection, sale["id"]))
    elif ends:
        _put_back(tx, sale)
        tx.emit(
            SaleCancelled(
                sale_id=sale["id"],
                centre_id=sale["centre_id"],
                till_id=sale["till_id"],
                household_id=sale["household_id"],
                payment_id=sale["payment_id"],
                reason=after.reason,
                cancelled_at=tx.now,
            ),
            centre=sale["centre_id"],
        )
    tell_page(tx, sale["id"])
    return after


def _repeated(connection: sa.Connection, new: NewSale) -> SaleView | None:
    """The sale with this id when it is the same; a refusal when it is another.

    One that a restored store took from its events alone has no digest: its id is believed.
    """
    there = store.row_of(connection, store.sale, new.id)
    if there is None:
        return None
    if there["digest"] not in ("", new.digest) or there["till_id"] != new.till_id:
        raise known.other_content("sale.repeated_with_other_content")
    return queries.sale_of(connection, new.id)


def _wanted(connection: sa.Connection, new: NewSale, centre_id: str) -> dict[str, int]:
    """Pieces by product, in the order of the basket; lines of one product are one."""
    if not new.lines:
        raise Invalid(
            "lines.empty",
            N_("The basket is empty."),
            N_("Scan a product first."),
            field="lines",
        )
    if len(new.lines) > amounts.LINES_LIMIT:
        raise Invalid(
            "lines.too_many",
            N_("A sale has {limit} lines at most."),
            N_("Divide it into two sales."),
            field="lines",
            limit=amounts.LINES_LIMIT,
        )
    by_barcode = queries.products_by_barcode(
        connection, centre_id, [line.barcode for line in new.lines if not line.product_id]
    )
    wanted: dict[str, int] = {}
    for place, line in enumerate(new.lines):
        product_id = line.product_id or by_barcode.get(line.barcode.strip(), "")
        if not product_id:
            raise _unknown_product(place, line)
        amounts.quantity_in_limits(line.quantity)
        wanted[product_id] = amounts.quantity_in_limits(wanted.get(product_id, 0) + line.quantity)
    return wanted


def _unknown_product(place: int, line: WantedLine) -> Invalid:
    return Invalid(
        "product.unknown",
        N_("The shop has no product {product}."),
        N_("Scan it again, or look for it by its name."),
        field=f"lines.{place}",
        product=line.barcode or line.product_id,
    )


def _all_there(new: NewSale, products: Mapping[str, store.Row], centre_id: str) -> None:
    """Every product is one of the centre and for sale."""
    for place, line in enumerate(new.lines):
        if line.product_id:
            product = products.get(line.product_id)
            if product is None or product["centre_id"] != centre_id:
                raise _unknown_product(place, line)
    for product in products.values():
        _sellable(product)


def _sellable(product: store.Row) -> None:
    if not product["sellable"]:
        raise Refusal(
            "product.not_sellable",
            N_("{product} is not for sale."),
            N_("Take it out of the basket and put it aside."),
            field="lines",
            product=product["name"],
        )


def _card(new: NewSale, found: store.Row) -> store.Row | None:
    """The card of the sale, if one was shown; refuses one that is unknown or blocked."""
    if not (new.card_id or new.card_number or new.card_token):
        return None
    return usable_card(found if found.get("household_id") else None)


def usable_card(card: store.Row | None) -> store.Row:
    """The card, or "card.unknown", or "card.blocked"."""
    if card is None:
        raise Invalid(
            "card.unknown",
            N_("This card is not known here."),
            N_("Scan it again; if it is new, wait a minute. Else sell without a card."),
            field="card",
        )
    if card["blocked"]:
        raise Refusal(
            "card.blocked",
            N_("This card is blocked."),
            N_("Send the family to the desk for a new one, or sell without a card."),
            field="card",
        )
    return card


def _enough_points(connection: sa.Connection, card: store.Row | None, points: int) -> None:
    """An honest early refusal from what is known here; the decision is that of cards."""
    if card is None:
        raise Invalid(
            "card.missing",
            N_("Points can be used only with a card."),
            N_("Scan the card first, or take cash."),
            field="card",
        )
    available = queries.spendable(connection, card["household_id"])
    if points > available:
        raise Refusal(
            "points.too_few",
            N_("Points on the card: {available}. Asked for: {wanted}."),
            N_("Use fewer points and take the rest in cash."),
            field="payments",
            available=max(available, 0),
            wanted=points,
        )


def _moves(
    new: NewSale, wanted: Mapping[str, int], products: Mapping[str, store.Row]
) -> list[Move]:
    """What goes out of the stock; refuses with "stock.none"."""
    why = Why(StockReason.SALE, origin=new.id, override_reason=new.override_reason.strip())
    return [
        planned(products[name], derived("sale", new.id, name), -wanted[name], why)
        for name in sorted(wanted)
    ]


def _lines(
    connection: sa.Connection,
    sale: Mapping[str, Any],
    wanted: Mapping[str, int],
    products: Mapping[str, store.Row],
) -> list[dict[str, Any]]:
    """The rows of the sale's lines, in the order of the basket."""
    fees = queries.fees(connection, [p["producer_id"] for p in products.values()])
    return [
        {
            "sale_id": sale["id"],
            "product_id": product_id,
            "place": place,
            "producer_id": products[product_id]["producer_id"] or "",
            "fee_percent": fees.get(products[product_id]["producer_id"], 0),
            "name": products[product_id]["name"],
            "category": products[product_id]["category"],
            "quantity": quantity,
            "price_cents": products[product_id]["price_cents"],
            "amount_cents": products[product_id]["price_cents"] * quantity,
            "sold_at": sale["ended_at"],
        }
        for place, (product_id, quantity) in enumerate(wanted.items())
    ]


def _ask_for_points(tx: Transaction, sale: dict[str, Any], lines: Sequence[store.Row]) -> None:
    tx.emit(
        PointsPaymentRequested(
            sale_id=sale["id"],
            payment_id=sale["payment_id"],
            household_id=sale["household_id"],
            card_id=sale["card_id"],
            points=sale["points"],
            requested_at=tx.now,
            till_id=sale["till_id"],
            total_cents=sale["total_cents"],
            money_cents=sale["money_cents"],
            lines=tuple(event_lines(lines)),
        ),
        centre=sale["centre_id"],
    )
    tx.schedule(TIMEOUT_JOB, sale["id"], tx.now + machine.WAITING_LIMIT)


def _tell_completed(tx: Transaction, sale: store.Row, lines: Sequence[store.Row]) -> None:
    tx.emit(
        SaleCompleted(
            sale_id=sale["id"],
            centre_id=sale["centre_id"],
            till_id=sale["till_id"],
            household_id=sale["household_id"],
            card_id=sale["card_id"],
            payment_id=sale["payment_id"],
            total_cents=sale["total_cents"],
            money_cents=sale["money_cents"],
            points=sale["points"],
            lines=tuple(event_lines(lines)),
            sold_at=tx.now,
        ),
        centre=sale["centre_id"],
    )


def event_lines(rows: Sequence[store.Row]) -> list[SaleLine]:
    """Lines as others are told of them."""
    return [
        SaleLine(
            product_id=row["product_id"],
            producer_id=row["producer_id"],
            category=row["category"],
            quantity=row["quantity"],
            amount_cents=row["amount_cents"],
        )
        for row in rows
    ]


def _put_back(tx: Transaction, sale: store.Row) -> None:
    """What the sale took comes back, product by product."""
    taken = queries.taken_by_sale(tx.connection, sale["id"])
    products = store.locked_products(tx.connection, taken)
    why = Why(StockReason.SALE, origin=sale["id"])
    moves = [
        planned(products[name], derived("cancelled", sale["id"], name), taken[name], why)
        for name in sorted(taken)
    ]
    moved(tx, moves)
