"""The basket of a till's page: kept in the store, so that a reload, a refusal or a browser without
JavaScript loses nothing. One for each account at each till; it holds the id of the sale it will be.

Its row is locked before its lines are read or changed, and before the products that are sold: what
a second device scans meanwhile waits, and goes into the next basket once this one is sold.
"""

from __future__ import annotations

import sqlalchemy as sa

from messaging import Transaction
from runtime.refusals import N_, Invalid, Refusal
from solidarity_shop import queries, store
from solidarity_shop.commands import known
from solidarity_shop.commands.sales import NewSale, WantedLine, sell, usable_card
from solidarity_shop.domain import amounts
from solidarity_shop.views import BasketView, SaleView

BASKET, LINE = store.basket, store.basket_line
SCAN_LIMIT = 64


def scan(tx: Transaction, till_id: str, code: str, *, centre: str) -> BasketView:
    """One field for everything that is scanned: a barcode adds a piece, a card is put beside the
    basket (number or token). A barcode goes before a card number."""
    till = known.till(tx.connection, till_id, centre)
    code = code.strip()
    found = queries.products_by_barcode(tx.connection, till["centre_id"], [code[:SCAN_LIMIT]])
    if product_id := found.get(code):
        return _add(tx, till, product_id)
    card = queries.find_card(tx.connection, till["centre_id"], number=code) or queries.find_card(
        tx.connection, till["centre_id"], token=code
    )
    if card is None:
        raise Invalid(
            "scan.unknown",
            N_("Neither a product nor a card has this code."),
            N_("Scan it again, or choose the product from the list."),
            field="code",
        )
    usable_card(card)
    _open(tx, till)
    tx.connection.execute(
        sa.update(BASKET).where(_mine(tx, till)).values(card_id=card["card_id"], changed_at=tx.now)
    )
    return _shown(tx, till)


def change_line(
    tx: Transaction, till_id: str, product_id: str, quantity: int | None, *, centre: str
) -> BasketView:
    """Set the pieces of a product; None adds one, 0 takes it out."""
    till = known.till(tx.connection, till_id, centre)
    if quantity is None:
        if product_id not in queries.products_of_centre(
            tx.connection, till["centre_id"], [product_id]
        ):
            raise Invalid(
                "product.unknown",
                N_("This product does not exist."),
                N_("Look for it in the list."),
                field="product_id",
            )
        return _add(tx, till, product_id)
    _locked(tx, till)
    line = sa.and_(
        LINE.c.till_id == till["id"],
        LINE.c.account_id == tx.actor,
        LINE.c.product_id == product_id,
    )
    if quantity == 0:
        tx.connection.execute(sa.delete(LINE).where(line))
    else:
        amounts.quantity_in_limits(quantity)
        tx.connection.execute(sa.update(LINE).where(line).values(quantity=quantity))
    return _shown(tx, till)


def forget_card(tx: Transaction, till_id: str, *, centre: str) -> BasketView:
    """Sell without a card."""
    till = known.till(tx.connection, till_id, centre)
    tx.connection.execute(
        sa.update(BASKET).where(_mine(tx, till)).values(card_id="", changed_at=tx.now)
    )
    return _shown(tx, till)


def clear_basket(tx: Transaction, till_id: str, *, centre: str) -> BasketView:
    """Begin anew."""
    till = known.till(tx.connection, till_id, centre)
    _locked(tx, till)
    _drop(tx, till)
    return _shown(tx, till)


def sell_basket(
    tx: Transaction,
    till_id: str,
    *,
    centre: str,
    points: int | None,
    tendered_cents: int | None,
    override_reason: str,
    shown_cents: int,
) -> SaleView:
    """Sell what is in the basket: so many points (None: as many as fit), the rest in cash.

    ``shown_cents`` is the total that the volunteer saw: another one by now (a price was changed, a
    second window was used) is shown before anybody pays it.

    The sale has the basket's id, so that a form sent twice sells once. Refused, the basket stays.
    """
    till = known.till(tx.connection, till_id, centre)
    _locked(tx, till)
    basket = _shown(tx, till)
    if basket.lines and basket.total_cents != shown_cents:
        raise Refusal(
            "basket.total_changed",
            N_("The total is {total} now."),
            N_("Look at the basket again, then pay."),
            total=amounts.euros(basket.total_cents),
        )
    if points is None:
        points = basket.points_possible
    money = basket.total_cents - points * basket.point_value_cents
    if money < 0:
        raise Invalid(
            "points.too_many",
            N_("So many points ({points}) are worth more than the basket."),
            N_("Use {possible} points at most."),
            field="points",
            points=points,
            possible=basket.points_possible,
        )
    payments = []
    if money:
        payments.append(amounts.Payment(amounts.Method.CASH, money))
    if points:
        payments.append(amounts.Payment(amounts.Method.POINTS, points))
    sold = sell(
        tx,
        NewSale(
            id=basket.sale_id or tx.ids.new(),
            till_id=till_id,
            lines=tuple(
                WantedLine(product_id=line.product_id, quantity=line.quantity)
                for line in basket.lines
            ),
            payments=tuple(payments),
            card_id=basket.card.card_id if basket.card else "",
            override_reason=override_reason,
            tendered_cents=tendered_cents if money else None,
        ),
        centre=centre,
    )
    _drop(tx, till)
    return sold


def _mine(tx: Transaction, till: store.Row) -> sa.ColumnElement[bool]:
    return sa.and_(BASKET.c.till_id == till["id"], BASKET.c.account_id == tx.actor)


def _shown(tx: Transaction, till: store.Row) -> BasketView:
    return queries.basket_of(tx.connection, till, tx.actor, tx.now)


def _locked(tx: Transaction, till: store.Row) -> bool:
    """Nobody else changes the basket before this transaction ends; False when there is none."""
    mine = sa.select(BASKET.c.sale_id).where(_mine(tx, till)).with_for_update()
    return tx.connection.execute(mine).one_or_none() is not None


def _open(tx: Transaction, till: store.Row) -> None:
    """The basket is there, and locked: of two scans at once none is lost. One that was sold while
    we waited for its lock is gone, and another begins."""
    row = {
        "till_id": till["id"],
        "account_id": tx.actor,
        "sale_id": tx.ids.new(),
        "card_id": "",
        "changed_at": tx.now,
    }
    store.insert_once(tx.connection, BASKET, row)
    while not _locked(tx, till):
        store.insert_once(tx.connection, BASKET, row)
    tx.connection.execute(sa.update(BASKET).where(_mine(tx, till)).values(changed_at=tx.now))


def _add(tx: Transaction, till: store.Row, product_id: str) -> BasketView:
    """One piece more of a product of the till's centre."""
    _open(tx, till)
    mine = sa.and_(LINE.c.till_id == till["id"], LINE.c.account_id == tx.actor)
    there, last = tx.connection.execute(
        sa.select(
            sa.func.sum(sa.case((LINE.c.product_id == product_id, LINE.c.quantity), else_=0)),
            sa.func.max(LINE.c.place),
        ).where(mine)
    ).one()
    if there:
        amounts.quantity_in_limits(int(there) + 1)
        tx.connection.execute(
            sa.update(LINE)
            .where(mine, LINE.c.product_id == product_id)
            .values(quantity=int(there) + 1)
        )
    else:
        tx.connection.execute(
            sa.insert(LINE).values(
                till_id=till["id"],
                account_id=tx.actor,
                product_id=product_id,
                place=0 if last is None else last + 1,
                quantity=1,
            )
        )
    return _shown(tx, till)


def _drop(tx: Transaction, till: store.Row) -> None:
    mine = sa.and_(LINE.c.till_id == till["id"], LINE.c.account_id == tx.actor)
    tx.connection.execute(sa.delete(LINE).where(mine))
    tx.connection.execute(sa.delete(BASKET).where(_mine(tx, till)))
