"""A restored shop gets back from its own events what its backup has forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from datetime import timedelta
from functools import partial
from itertools import permutations
from typing import Any

import pytest
import sqlalchemy as sa

from contracts import Event, event_type, shop
from messaging import Received, tables
from messaging.adoption import Adoption
from messaging.envelope import Item, decode, wire_headers
from messaging.testing import Bench
from runtime.refusals import Refusal
from runtime.testing import migrated, postgresql_database
from solidarity_shop import commands, queries, store
from solidarity_shop.app import SERVICE
from solidarity_shop.checks import CHECKS
from solidarity_shop.domain.sale import WAITING_LIMIT
from web.forms import NONCE
from web.roles import Role
from web.testing import Client, token

Shop = Any


@pytest.fixture
def restored(shop_bench: Shop, store_url: str, tmp_path: Any) -> Iterator[Bench]:
    """An empty store of the same engine: the backup of before the first day."""
    postgresql = store_url.startswith("postgresql")
    file = f"sqlite:///{tmp_path / 'restored.db'}"
    with postgresql_database() if postgresql else nullcontext(file) as url:
        migrated(url, SERVICE.package, SERVICE.metadata)
        with Bench(SERVICE, url, clock=shop_bench.clock, ids=shop_bench.bench.ids) as bench:
            yield bench


def adopt(source: Bench, target: Bench) -> None:
    """Every own event, as adoption hands it over: the type's `recover`, each twice."""
    rows = source.read(lambda c: c.execute(sa.select(tables.outbox).order_by("row")).all())
    for row in rows:
        kind = event_type(row.type)
        assert kind is not None
        recover = SERVICE.recover.get(kind)
        if recover is None:
            assert kind is shop.StockLow, f"{row.type} cannot be recovered"
            continue
        received = Received(
            event=kind.model_validate_json(row.body),
            id=row.id,
            type=row.type,
            source="/shop",
            time=row.at,
            order=row.at,
            subject=row.key,
            key=row.key,
            previous=row.previous,
            cause=row.cause,
            correlation="",
            centre="centre-1",
            traceparent="",
            era=0,
            topic=row.topic,
            partition=0,
            offset=0,
        )
        for _ in range(2):
            target.run(lambda tx, r=recover, e=received: r(tx, e))
    assert target.emitted() == [], "what is recovered is not told again"


def test_what_was_told_comes_back(shop_bench: Shop, restored: Bench) -> None:
    shop_bench.run(
        lambda tx: commands.register_producer(
            tx, centre_id="centre-1", name="Orto", fee_percent=10, producer_id="orto"
        )
    )
    bread = shop_bench.product(100, on_hand=9, producer_id="orto")
    change = commands.ProductChange(price_cents=50)
    paid = shop_bench.sell((bread.id, 2), cash=100, points=10, card_id=shop_bench.card(points=10))
    shop_bench.hold_placed(paid)
    shop_bench.refund(paid.id, (bread.id, 1))
    shop_bench.run(lambda tx: commands.change_product(tx, bread.id, change, centre="centre-1"))
    gone = shop_bench.sell((bread.id, 1), points=5, card_id=shop_bench.card(points=10))
    shop_bench.bench.deliver(shop_bench.declined(gone))
    cash = shop_bench.sell((bread.id, 1), cash=50)
    shop_bench.run(
        lambda tx: commands.close_day(tx, "till-1", centre="centre-1", counted_cents=100)
    )
    adopt(shop_bench.bench, restored)
    for sale_id in (paid.id, gone.id, cash.id):
        before, after = (
            shop_bench.sale(sale_id),
            restored.read(lambda c, i=sale_id: queries.sale_of(c, i)),
        )
        assert (after.state, after.reason) == (before.state, before.reason)
        if before.state == "completed":
            assert (after.total_cents, after.money_cents, after.points) == (
                before.total_cents,
                before.money_cents,
                before.points,
            )
            assert [(x.product_id, x.quantity, x.refunded) for x in after.lines] == [
                (x.product_id, x.quantity, x.refunded) for x in before.lines
            ]
    product = restored.read(lambda c: queries.product_of(c, bread.id))
    assert (product.on_hand, product.price_cents) == (shop_bench.on_hand(bread.id), 50)
    assert restored.read(lambda c: queries.open_takings(c, "till-1")).sales == 0
    assert [found for check in CHECKS for found in restored.read(check.run)] == []
    again = restored.run(
        lambda tx: commands.sell(tx, shop_bench.new((bread.id, 1), cash=50, id=cash.id), centre="")
    )
    assert again.id == cash.id, "its id is believed"


def test_tills_and_values_of_a_point_come_back_as_they_were(
    shop_bench: Shop, restored: Bench
) -> None:
    later = shop_bench.clock.now() + timedelta(days=7)
    for cents, begins in ((5, None), (8, later), (9, later)):
        shop_bench.run(
            lambda tx, c=cents, b=begins: commands.set_point_value(
                tx, centre_id="centre-1", cents=c, from_time=b
            )
        )
        shop_bench.clock.advance(timedelta(minutes=1))
    shop_bench.run(
        lambda tx: commands.open_till(tx, centre_id="centre-1", name="Banco", till_id="till-2")
    )
    adopt(shop_bench.bench, restored)
    for table in (store.till, store.point_value):
        rows = sa.select(table).order_by(*table.primary_key)
        before = shop_bench.bench.read(lambda c, r=rows: c.execute(r).all())
        assert restored.read(lambda c, r=rows: c.execute(r).all()) == before
        assert len(before) == 2


def before_it_told(source: Bench) -> None:
    """As 0.1 asked for points: without what else was sold."""

    def forget(connection: sa.Connection) -> None:
        kind = shop.PointsPaymentRequested
        asked = tables.outbox.c.type == kind.ce_type()
        for row in connection.execute(sa.select(tables.outbox).where(asked)).all():
            event = kind.model_validate_json(row.body)
            old = event.model_dump_json(exclude={"till_id", "total_cents", "money_cents", "lines"})
            connection.execute(sa.update(tables.outbox).where(asked).values(body=old.encode()))

    source.store.write_now(forget)


def test_a_sale_that_waited_goes_on(shop_bench: Shop, restored: Bench) -> None:
    """Half in cash, half in points: the points come, and it is as it was asked."""
    bread = shop_bench.product(100, on_hand=9)
    sold = shop_bench.sell((bread.id, 2), cash=100, points=10, card_id=shop_bench.card(points=20))
    adopt(shop_bench.bench, restored)
    restored.deliver(shop_bench.placed(sold))
    after = restored.read(lambda c: queries.sale_of(c, sold.id))
    assert (after.state, after.total_cents, after.money_cents) == ("completed", 200, 100)
    assert [(x.product_id, x.quantity) for x in after.lines] == [(bread.id, 2)]
    (told,) = restored.emitted(shop.SaleCompleted)
    assert (told.money_cents, told.points, told.till_id) == (100, 10, "till-1")
    assert restored.read(lambda c: queries.product_of(c, bread.id)).on_hand == 7
    assert [found for check in CHECKS for found in restored.read(check.run)] == []


def test_a_sale_that_waited_is_given_up_in_its_time(shop_bench: Shop, restored: Bench) -> None:
    bread = shop_bench.product(100, on_hand=9)
    sold = shop_bench.sell((bread.id, 2), points=20, card_id=shop_bench.card(points=20))
    adopt(shop_bench.bench, restored)
    assert restored.tick() == 0
    shop_bench.clock.advance(WAITING_LIMIT)
    assert restored.tick() == 1
    assert restored.read(lambda c: queries.sale_of(c, sold.id)).reason == "timed_out"
    assert restored.read(lambda c: queries.product_of(c, bread.id)).on_hand == 9


def test_a_sale_without_content_is_ended_and_its_stock_is_back(
    shop_bench: Shop, restored: Bench
) -> None:
    bread = shop_bench.product(100, on_hand=9)
    sold = shop_bench.sell((bread.id, 2), points=20, card_id=shop_bench.card(points=20))
    before_it_told(shop_bench.bench)
    adopt(shop_bench.bench, restored)
    assert restored.read(lambda c: queries.product_of(c, bread.id)).on_hand == 7
    restored.deliver(shop_bench.placed(sold))
    assert restored.read(lambda c: queries.sale_of(c, sold.id)).reason == "forgotten"
    (told,) = restored.emitted(shop.SaleCancelled)
    assert told.payment_id == sold.payment_id
    assert restored.read(lambda c: queries.product_of(c, bread.id)).on_hand == 9


def test_a_sale_without_content_is_ended_also_when_cards_is_silent(
    shop_bench: Shop, restored: Bench
) -> None:
    bread = shop_bench.product(100, on_hand=9)
    sold = shop_bench.sell((bread.id, 2), points=20, card_id=shop_bench.card(points=20))
    before_it_told(shop_bench.bench)
    adopt(shop_bench.bench, restored)
    assert restored.tick() == 1
    assert restored.read(lambda c: queries.sale_of(c, sold.id)).reason == "timed_out"
    assert restored.read(lambda c: queries.product_of(c, bread.id)).on_hand == 9


def told_since(source: Bench, first_row: int = 0) -> list[Item]:
    """What lies on the bus, with every kind of key in a partition of its own."""
    rows = source.read(
        lambda c: c.execute(
            sa.select(tables.outbox).where(tables.outbox.c.row > first_row).order_by("row")
        ).all()
    )
    items = []
    for row in rows:
        kind = event_type(row.type)
        assert kind is not None
        headers = wire_headers(row.headers, previous=row.previous, cause=row.cause, era=0)
        record = source._record(row.topic, row.key.encode(), row.body, headers)
        place = {"till_id": 0, "sale_id": 1}.get(kind.KEY, 2)
        items.append(decode(record._replace(partition=place, offset=row.row)))
    return items


def absorb(
    target: Bench,
    items: Sequence[Item],
    partitions: Sequence[Any],
    of: Callable[[Item], Any] = lambda item: item.record.partition,
) -> None:
    """A reconcile: one partition after another. ``of`` says in which an item lies."""
    adoption = Adoption(SERVICE, now=target.clock.now(), ids=target.ids)
    for place in partitions:
        mine = [item for item in items if of(item) == place]
        target.store.write_now(partial(adoption.absorb, items=mine))
    target.store.write_now(adoption.finish)
    assert adoption.complete


def taken_by_closings(bench: Bench) -> dict[str, Any]:
    """Which closing each sale and refund belongs to, and what each line leaves to the shop."""
    wanted: list[sa.Select[Any]] = [
        sa.select(table.c.id, table.c.closing_id) for table in (store.sale, store.refund)
    ]
    line = store.sale_line.c
    wanted.append(sa.select(line.sale_id, line.fee_percent))
    return {
        str(query.selected_columns[0]): dict(bench.read(lambda c, q=query: c.execute(q).all()))
        for query in wanted
    }


def day(shop_bench: Shop, product_id: str) -> Callable[[], None]:
    """Three sales, of which a piece comes back; gives what closes the day."""
    for _ in range(3):
        shop_bench.clock.advance(timedelta(minutes=1))
        sold = shop_bench.sell((product_id, 2), cash=200)
    shop_bench.refund(sold.id, (product_id, 1))
    shop_bench.clock.advance(timedelta(minutes=1))
    return lambda: shop_bench.run(
        lambda tx: commands.close_day(tx, "till-1", centre="centre-1", counted_cents=500)
    )


@pytest.mark.parametrize("partitions", list(permutations(range(3))))
def test_a_day_that_was_closed_stays_closed_in_whatever_order_partitions_are_read(
    shop_bench: Shop, restored: Bench, partitions: Sequence[int]
) -> None:
    shop_bench.run(
        lambda tx: commands.register_producer(
            tx, centre_id="centre-1", name="Orto", fee_percent=10, producer_id="orto"
        )
    )
    bread = shop_bench.product(100, on_hand=30, producer_id="orto")
    for _ in range(2):
        day(shop_bench, bread.id)()
        shop_bench.clock.advance(timedelta(days=1))
    day(shop_bench, bread.id)
    absorb(restored, told_since(shop_bench.bench), partitions)
    assert taken_by_closings(restored) == taken_by_closings(shop_bench.bench)
    assert [found for check in CHECKS for found in restored.read(check.run)] == []
    now = restored.read(lambda c: queries.open_takings(c, "till-1"))
    assert (now.sales, now.refunds, now.money_cents) == (3, 1, 500)


@pytest.mark.parametrize("partitions", list(permutations(range(3))))
def test_which_goods_are_on_the_shelf_again_comes_back_in_whatever_order_partitions_are_read(
    shop_bench: Shop, restored: Bench, partitions: Sequence[int]
) -> None:
    shop_bench.run(
        lambda tx: commands.register_producer(
            tx, centre_id="centre-1", name="Orto", fee_percent=10, producer_id="orto"
        )
    )
    bread = shop_bench.product(100, on_hand=9, producer_id="orto")
    since = shop_bench.clock.now()
    sold = shop_bench.sell((bread.id, 6), cash=600)
    good = shop_bench.refund(sold.id, (bread.id, 2))
    spoiled = shop_bench.refund(sold.id, (bread.id, 1), goods_returned=False)
    absorb(restored, told_since(shop_bench.bench), partitions)
    for bench in (shop_bench.bench, restored):
        told = {
            refund.id: bench.read(lambda c, r=refund: queries.refund_of(c, r.id)).goods_returned
            for refund in (good, spoiled)
        }
        assert told == {good.id: True, spoiled.id: False}
        seen = bench.read(
            lambda c: queries.producer_sales(c, "orto", since, since + timedelta(hours=1))
        )
        assert (seen.quantity, seen.due_cents) == (4, 360)


def test_a_closing_of_the_backup_takes_nothing_more(shop_bench: Shop, restored: Bench) -> None:
    """A sale whose clock was behind was committed after it, and belongs to the next one."""
    bread = shop_bench.product(100, on_hand=30)
    day(shop_bench, bread.id)()
    absorb(restored, told_since(shop_bench.bench), range(3))
    last = told_until_now(shop_bench.bench)
    shop_bench.clock.set(shop_bench.clock.now() - timedelta(seconds=1))
    late = shop_bench.sell((bread.id, 1), cash=100)
    absorb(restored, told_since(shop_bench.bench, last), range(3))
    found = taken_by_closings(restored)
    assert found == taken_by_closings(shop_bench.bench)
    assert found["sale.id"][late.id] is None


def told_until_now(source: Bench) -> int:
    """The last row of the outbox: what a backup of this moment knows."""
    return int(source.read(lambda c: c.scalar(sa.select(sa.func.max(tables.outbox.c.row)))) or 0)


def put_back(source: Bench, target: Bench) -> None:
    """The backup of this moment, with the baskets that no event tells."""
    absorb(target, told_since(source), range(3))
    for table in (store.basket, store.basket_line):
        rows = source.read(lambda c, t=table: c.execute(sa.select(t)).mappings().all())
        target.store.write_now(lambda c, t=table, r=rows: c.execute(sa.insert(t), list(r)))


@pytest.mark.parametrize(
    ("points", "reached"),
    [(0, shop.SaleCompleted), (10, shop.PointsPaymentRequested), (0, shop.StockMoved)],
)
def test_a_basket_that_was_sold_since_the_backup_swallows_nothing_that_is_scanned_next(
    shop_bench: Shop, restored: Bench, points: int, reached: type[Event]
) -> None:
    """Each event tells by itself that it was."""
    bread, milk = shop_bench.product(100, on_hand=9), shop_bench.product(50, on_hand=9)
    shop_bench.card(points=10, number="100000000007")
    scan = partial(commands.scan, till_id="till-1", centre="centre-1")
    pay = partial(
        commands.sell_basket,
        till_id="till-1",
        centre="centre-1",
        tendered_cents=None,
        override_reason="",
    )
    shop_bench.run(partial(scan, code="100000000007"))
    shop_bench.run(partial(scan, code=bread.barcode))
    put_back(shop_bench.bench, restored)
    since = told_until_now(shop_bench.bench)
    first = shop_bench.run(partial(pay, points=points, shown_cents=100))
    told = told_since(shop_bench.bench, since)
    absorb(restored, [item for item in told if item.type == reached.ce_type()], range(3))

    assert restored.run(partial(scan, code=milk.barcode), actor="volunteer").total_cents == 50
    second = restored.run(partial(pay, points=0, shown_cents=50), actor="volunteer")
    assert second.id != first.id
    assert [(line.product_id, line.quantity) for line in second.lines] == [(milk.id, 1)]
    assert restored.read(lambda c: queries.product_of(c, milk.id)).on_hand == 8


@pytest.mark.parametrize("partitions", list(permutations(["bread", "milk", "salt"])))
def test_a_barcode_is_at_the_product_that_had_it_last_in_whatever_order_partitions_are_read(
    shop_bench: Shop, restored: Bench, partitions: Sequence[str]
) -> None:
    """One product has it at a time, and each is a key of its own, in a partition of its own."""

    def give(product_id: str, barcode: str) -> None:
        shop_bench.clock.advance(timedelta(minutes=1))
        change = commands.ProductChange(barcode=barcode)
        shop_bench.run(lambda tx: commands.change_product(tx, product_id, change, centre=""))

    shop_bench.product(id="bread", barcode="111")
    shop_bench.product(id="milk", barcode="222")
    absorb(restored, told_since(shop_bench.bench), range(3))
    since = told_until_now(shop_bench.bench)
    give("bread", "")
    give("milk", "111")
    give("bread", "222")
    give("milk", "")
    shop_bench.clock.advance(timedelta(minutes=1))
    shop_bench.product(id="salt", barcode="111", on_hand=5)
    give("salt", "")
    give("milk", "111")
    absorb(restored, told_since(shop_bench.bench, since), partitions, of=lambda item: item.key)
    one = store.product.c
    found = sa.select(one.id, one.barcode, one.on_hand, one.changed_at).order_by(one.id)
    after = restored.read(lambda c: c.execute(found).all())
    assert after == shop_bench.bench.read(lambda c: c.execute(found).all())
    assert [row.barcode for row in after] == ["222", "111", None]


def test_a_sale_of_which_the_bus_knew_some_stock_alone_moves_that_no_more(
    shop_bench: Shop, restored: Bench
) -> None:
    """All was told by one transaction, and the relay ended between two of its events. Of the bread
    it was the last piece."""
    bread, milk = shop_bench.product(100, on_hand=1), shop_bench.product(50, on_hand=9)
    new = shop_bench.new((bread.id, 1), (milk.id, 2), cash=200)
    shop_bench.run(lambda tx: commands.sell(tx, new, centre="centre-1"))
    sold = (("sale_id", new.id), ("origin", new.id))

    def reached_the_bus(item: Item) -> bool:
        assert isinstance(item.content, Received)
        event = item.content.event
        of_the_sale = any(getattr(event, name, "") == value for name, value in sold)
        return not of_the_sale or getattr(event, "product_id", "") == bread.id

    absorb(restored, [i for i in told_since(shop_bench.bench) if reached_the_bus(i)], range(3))
    (alone,) = [found for check in CHECKS for found in restored.read(check.run)]
    assert (alone.check, alone.subject) == ("stock.origin", new.id)
    again = restored.run(lambda tx: commands.sell(tx, new, centre="centre-1"))
    assert (again.state, again.total_cents) == ("completed", 200)
    on_hand = {
        p.id: restored.read(lambda c, p=p: queries.product_of(c, p.id)).on_hand
        for p in (bread, milk)
    }
    assert on_hand == {bread.id: 0, milk.id: 7}
    assert [found for check in CHECKS for found in restored.read(check.run)] == []
    other = shop_bench.new((bread.id, 1), cash=100)
    with pytest.raises(Refusal) as none_left:
        restored.run(lambda tx: commands.sell(tx, other, centre="centre-1"))
    assert none_left.value.reason == "stock.none"


def test_what_is_asked_again_after_a_restore_is_not_done_twice(
    shop_bench: Shop, restored: Bench
) -> None:
    """A client that did not hear its answer asks again; reasons and notes are told to nobody."""
    bread = shop_bench.product(100, on_hand=0)
    move = partial(
        commands.move_stock,
        product_id=bread.id,
        centre="centre-1",
        reason=shop.StockReason.DELIVERY,
        quantity=9,
        note="delivery note 7",
        movement_id="m1",
    )
    shop_bench.run(move)
    sold = shop_bench.sell((bread.id, 2), cash=200)
    back = commands.NewRefund(id="r1", lines=((bread.id, 1),), reason="damaged")
    give_back = partial(commands.refund_sale, sale_id=sold.id, new=back, centre="centre-1")
    first = shop_bench.run(give_back)
    absorb(restored, told_since(shop_bench.bench), range(3))
    again = restored.run(give_back)
    assert (again.id, again.total_cents) == (first.id, first.total_cents)
    assert restored.run(move).quantity == 9
    with pytest.raises(Refusal) as caught:
        restored.run(partial(move, quantity=8))
    assert caught.value.reason == "movement.repeated_with_other_content"
    assert restored.read(lambda c: queries.product_of(c, bread.id)).on_hand == 8
    assert len(restored.emitted()) == len(shop_bench.bench.emitted()), "nothing is told again"


async def test_a_form_that_is_sent_again_after_a_restore_is_not_booked_twice(
    shop_bench: Shop, shop_client: Client, restored: Bench
) -> None:
    bread = shop_bench.product(100, on_hand=0)
    moving = (f"/shop/products/{bread.id}", "movement")
    delivered = {"reason": "delivery", "quantity": 9, "note": "bolla 7"}
    sent = [(*moving, delivered, await send(shop_client, *moving, delivered))]
    sold = shop_bench.sell((bread.id, 2), cash=200)
    returning = (f"/shop/sales/{sold.id}/refund", "refund")
    broken = {"lines.0.quantity": 1, "reason": "broken"}
    sent += [(*returning, broken, await send(shop_client, *returning, broken))]
    absorb(restored, told_since(shop_bench.bench), range(3))
    async with Client(SERVICE, restored.store.url, clock=shop_bench.clock) as client:
        client.sign_in(token(Role.TILL, centre="centre-1", account="volunteer"))
        for path, form, typed, nonce in sent:
            await send(client, path, form, typed | {NONCE: nonce})
    assert restored.read(lambda c: queries.product_of(c, bread.id)).on_hand == 8
    assert len(restored.emitted()) == len(shop_bench.bench.emitted()), "nothing is told again"


async def send(client: Client, path: str, name: str, typed: dict[str, Any]) -> Any:
    """Fill in a form and send it; gives its nonce."""
    form = (await client.page(path)).form(name)
    assert (await form.send(**typed)).status_code == 303
    return form.values[NONCE]
