"""The checks name what does not hold: each rule is broken by hand and must be named."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from contracts import shop
from solidarity_shop import store
from solidarity_shop.checks import LATE, overdue

Shop = Any


@pytest.fixture
def busy(shop_bench: Shop) -> Shop:
    """A shop in which everything has happened once."""
    bread = shop_bench.product(100, on_hand=9)
    paid = shop_bench.sell(
        (bread.id, 2), cash=100, points=10, card_id=shop_bench.card(points=10), id="mixed"
    )
    shop_bench.hold_placed(paid)
    shop_bench.refund(paid.id, (bread.id, 1), id="back")
    gone = shop_bench.sell(
        (bread.id, 1), points=10, card_id=shop_bench.card(points=10), id="cancelled"
    )
    shop_bench.bench.deliver(shop_bench.declined(gone))
    from solidarity_shop import commands

    shop_bench.run(
        lambda tx: commands.close_day(tx, "till-1", centre="centre-1", counted_cents=100)
    )
    return shop_bench


def test_a_shop_that_was_left_alone_has_no_differences(busy: Shop) -> None:
    assert busy.differences() == []


def test_every_rule_that_is_broken_is_named(busy: Shop) -> None:
    breaks: dict[str, sa.Update] = {
        "stock.sum": sa.update(store.product).values(on_hand=77),
        "stock.below_zero": sa.update(store.movement)
        .where(store.movement.c.reason == "sale", store.movement.c.quantity < 0)
        .values(on_hand=-3),
        "stock.origin": sa.update(store.movement)
        .where(store.movement.c.reason == "refund")
        .values(origin="nobody"),
        "sale.payments": sa.update(store.sale).where(store.sale.c.id == "mixed").values(points=9),
        "sale.payment_id": sa.update(store.sale)
        .where(store.sale.c.id == "mixed")
        .values(payment_id=""),
        "sale.lines": sa.update(store.sale_line).values(amount_cents=1),
        "sale.stock": sa.update(store.sale)
        .where(store.sale.c.id == "cancelled")
        .values(state="completed"),
        "refund.pieces": sa.update(store.refund_line).values(quantity=3),
        "refund.paid": sa.update(store.refund).values(points=11),
        "closing.money": sa.update(store.closing).values(money_cents=1),
    }
    for name, statement in breaks.items():
        with pytest.raises(KeyError):
            busy.bench.store.write_now(lambda c, s=statement, n=name: broken(c, s, n))


def broken(connection: sa.Connection, statement: sa.Update, name: str) -> None:
    """Break, look, and roll back."""
    from solidarity_shop.checks import CHECKS

    connection.execute(statement)
    found = [difference for check in CHECKS for difference in check.run(connection)]
    assert name in {difference.check for difference in found}, (name, found)
    assert all(difference.subject for difference in found)
    raise KeyError(name)


def test_a_sale_that_waits_too_long_is_named(shop_bench: Shop) -> None:
    bread = shop_bench.product(100)
    sold = shop_bench.sell((bread.id, 1), points=10, card_id=shop_bench.card(points=10))
    limit = shop_bench.clock.now() + timedelta(minutes=15) + LATE
    assert shop_bench.bench.read(lambda c: overdue(c, limit)) == []
    (found,) = shop_bench.bench.read(lambda c: overdue(c, limit + timedelta(seconds=1)))
    assert (found.check, found.subject) == ("sale.waiting", sold.id)
    shop_bench.clock.set(limit + timedelta(seconds=1))
    shop_bench.move(bread.id, shop.StockReason.DELIVERY, 1)
    assert [d for d in shop_bench.differences() if d.startswith("sale.waiting")]
    shop_bench.bench.tick()
    assert shop_bench.differences() == []
