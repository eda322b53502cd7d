"""The last piece is sold once, by real threads on both engines; and the controls that show the race
when the lock is off, so that these tests are known to be able to fail."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from contracts import shop
from messaging import Transaction
from messaging.testing import Bench
from runtime.ids import SystemIds
from runtime.refusals import Refusal
from solidarity_shop import commands, store
from solidarity_shop.app import SERVICE
from solidarity_shop.domain import stock
from solidarity_shop.domain.sale import State

Work = Callable[[Transaction], Any]


class Together:
    """Two replicas of the shop on one database: each its own store with its own threads."""

    def __init__(self, shop_bench: Any, store_url: str) -> None:
        self.first = shop_bench
        self.second = Bench(SERVICE, store_url, clock=shop_bench.clock, ids=SystemIds())
        self.benches = (self.first.bench, self.second)

    def run(self, *works: Work) -> list[Any]:
        """Each work in a thread and a replica of its own; refusals are given back."""

        def one(place: int) -> Any:
            try:
                bench = self.benches[place % 2]
                return bench.run(works[place], actor="volunteer", centre="centre-1")
            except Refusal as refused:
                return refused.reason

        with ThreadPoolExecutor(len(works)) as pool:
            return list(pool.map(one, range(len(works))))


@pytest.fixture
def together(shop_bench: Any, store_url: str) -> Iterator[Together]:
    made = Together(shop_bench, store_url)
    yield made
    made.second.close()


def selling(together: Together, product: str, count: int = 2) -> list[Work]:
    news = [together.first.new((product, 1), cash=100) for _ in range(count)]
    return [lambda tx, new=new: commands.sell(tx, new, centre="centre-1") for new in news]


class Meeting:
    """Both sales stand between reading the stock and writing it at once, where no lock keeps them
    apart; where one does, the first goes on alone when its patience (seconds) is over."""

    def __init__(self) -> None:
        self.patience = 0.5
        self._barrier = threading.Barrier(2)
        self._move = stock.move

    def move(self, **more: Any) -> stock.Moved:
        try:
            self._barrier.wait(timeout=self.patience)
        except threading.BrokenBarrierError:
            self._barrier.reset()
        return self._move(**more)


@pytest.fixture
def meeting(together: Together, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Meeting]:
    """One piece of one product, whose sales meet; the product's id."""
    bread = together.first.product(100, on_hand=1)
    made = Meeting()
    monkeypatch.setattr("solidarity_shop.commands.stock.stock.move", made.move)
    return bread.id, made


def test_the_last_piece_is_sold_once(together: Together, meeting: tuple[str, Meeting]) -> None:
    bread, _ = meeting
    answers = together.run(*selling(together, bread))
    assert sorted(str(getattr(answer, "state", answer)) for answer in answers) == [
        "completed",
        "stock.none",
    ]
    assert together.first.on_hand(bread) == 0
    assert together.first.differences() == []


def test_without_the_lock_the_last_piece_is_sold_twice(
    together: Together, meeting: tuple[str, Meeting], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control. On SQLite the lock is `BEGIN IMMEDIATE`: without a transaction around it, each
    statement stands alone, as it would with a store that is shared carelessly."""
    bread, meet = meeting
    meet.patience = 30
    works = selling(together, bread)
    if together.second.store.dialect == "postgresql":
        monkeypatch.setattr("solidarity_shop.store.locked_products", unlocked)
        answers = together.run(*works)
    else:
        answers = careless(together, works)
    assert [answer.state for answer in answers] == [State.COMPLETED] * 2
    assert any(found.startswith("stock.sum") for found in together.first.differences())


def unlocked(connection: sa.Connection, product_ids: Iterable[str]) -> dict[str, store.Row]:
    """The products as they were when the transaction looked, for anybody else to sell as well."""
    found = sa.select(store.product).where(store.product.c.id.in_(product_ids))
    return {row["id"]: row for row in connection.execute(found).mappings()}


def careless(together: Together, works: list[Work]) -> list[Any]:
    """SQLite as it must not be used: two connections, every statement its own transaction."""
    url = together.second.store.url

    def one(work: Work) -> Any:
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", connect_args={"timeout": 5})
        with engine.connect() as connection:
            tx = Transaction(
                SERVICE,
                connection,
                now=together.first.clock.now(),
                ids=SystemIds(),
                actor="volunteer",
                centre="centre-1",
            )
            sold = work(tx)
            tx.close()
        engine.dispose()
        return sold

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, works))


def test_one_sale_sent_twice_at_once_is_one_sale(together: Together) -> None:
    bread = together.first.product(100, on_hand=5)
    new = together.first.new((bread.id, 1), cash=100)
    work: Work = lambda tx: commands.sell(tx, new, centre="centre-1")  # noqa: E731
    answers = together.run(work, work, work, work)
    assert all(answer == answers[0] for answer in answers)
    assert together.first.on_hand(bread.id) == 4


def test_a_sale_of_the_last_piece_sent_twice_at_once_is_one_sale(together: Together) -> None:
    bread = together.first.product(100, on_hand=1)
    new = together.first.new((bread.id, 1), cash=100)
    work: Work = lambda tx: commands.sell(tx, new, centre="centre-1")  # noqa: E731
    answers = together.run(work, work, work, work)
    assert all(answer == answers[0] for answer in answers), answers
    assert together.first.on_hand(bread.id) == 0


def test_one_id_with_two_contents_at_once_is_one_sale(together: Together) -> None:
    bread, milk = together.first.product(100), together.first.product(100)
    news = [together.first.new((p.id, 1), cash=100, id="same") for p in (bread, milk)]
    works: list[Work] = [
        lambda tx, new=new: commands.sell(tx, new, centre="centre-1") for new in news
    ]
    answers = together.run(*works)
    assert sorted(isinstance(answer, str) for answer in answers) == [False, True]
    assert "sale.repeated_with_other_content" in answers
    assert together.first.on_hand(bread.id) + together.first.on_hand(milk.id) == 19
    assert together.first.differences() == []


def test_sales_of_the_same_things_in_another_order_do_not_deadlock(together: Together) -> None:
    things = [together.first.product(100, on_hand=100).id for _ in range(4)]
    works: list[Work] = []
    for turn in range(8):
        order = things if turn % 2 else things[::-1]
        new = together.first.new(*[(thing, 1) for thing in order], cash=400)
        works.append(lambda tx, new=new: commands.sell(tx, new, centre="centre-1"))
    answers = together.run(*works)
    assert [answer.state for answer in answers] == [State.COMPLETED] * 8
    assert {together.first.on_hand(thing) for thing in things} == {92}


def test_two_refunds_at_once_never_give_back_more_than_was_bought(together: Together) -> None:
    bread = together.first.product(100)
    sold = together.first.sell((bread.id, 3), cash=300)
    works: list[Work] = [
        lambda tx, place=place: commands.refund_sale(
            tx,
            sold.id,
            commands.NewRefund(id=f"r{place}", lines=((bread.id, 2),), reason="x"),
            centre="centre-1",
        )
        for place in range(2)
    ]
    answers = together.run(*works)
    assert sorted(isinstance(answer, str) for answer in answers) == [False, True]
    assert "refund.more_than_bought" in answers
    assert together.first.differences() == []


def test_a_sale_that_is_given_up_and_paid_at_once_ends_once(together: Together) -> None:
    bread = together.first.product(100)
    for _ in range(3):
        sold = together.first.sell((bread.id, 1), points=10, card_id=together.first.card(points=10))
        answer = together.first.placed(sold)
        threads = [
            threading.Thread(target=together.first.bench.deliver, args=(answer,)),
            threading.Thread(
                target=together.run,
                args=(
                    lambda tx: None,
                    lambda tx, i=sold.id: commands.cancel_sale(tx, i, centre="centre-1"),
                ),
            ),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ends = [
            event
            for event in together.first.bench.emitted()
            if isinstance(event, shop.SaleCompleted | shop.SaleCancelled)
            and event.sale_id == sold.id
        ]
        assert len(ends) == 1
    assert together.first.differences() == []


def test_two_closings_at_once_are_one(together: Together) -> None:
    bread = together.first.product(100)
    together.first.sell((bread.id, 1), cash=100)
    works: list[Work] = [
        lambda tx: commands.close_day(tx, "till-1", centre="centre-1", counted_cents=100)
    ] * 2
    answers = together.run(*works)
    assert "day.closed_already" in answers
    assert len(together.first.bench.emitted(shop.DayClosed)) == 1


def test_two_scans_at_once_are_both_in_the_basket(together: Together) -> None:
    bread = together.first.product(100)
    work: Work = lambda tx: commands.scan(tx, "till-1", bread.barcode, centre="centre-1")  # noqa: E731
    together.run(work, work, work)
    lines = together.first.bench.read(
        lambda c: c.execute(sa.select(store.basket_line.c.quantity)).scalars().all()
    )
    assert lines == [3]


class Paying:
    """`baskets.sell`, that waits with the basket already read until another device was at it; where
    a lock keeps that one out, it goes on when its patience (seconds) is over."""

    def __init__(self) -> None:
        self.patience = 0.5
        self.read, self.touched = threading.Event(), threading.Event()
        self._sell = commands.sell

    def sell(self, tx: Transaction, new: commands.NewSale, *, centre: str) -> Any:
        self.read.set()
        self.touched.wait(self.patience)
        return self._sell(tx, new, centre=centre)

    def then(self, work: Work) -> Work:
        """The work of the other device, once the basket was read."""

        def touch(tx: Transaction) -> Any:
            done = work(tx)
            self.touched.set()
            return done

        return touch


@pytest.fixture
def paying(together: Together, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Paying]:
    """A piece in the basket, that is about to be paid; the product."""
    bread = together.first.product(100)
    together.first.run(lambda tx: commands.scan(tx, "till-1", bread.barcode, centre="centre-1"))
    made = Paying()
    monkeypatch.setattr("solidarity_shop.commands.baskets.sell", made.sell)
    return bread, made


def pay(tx: Transaction) -> Any:
    return commands.sell_basket(
        tx,
        "till-1",
        centre="centre-1",
        points=0,
        tendered_cents=None,
        override_reason="",
        shown_cents=100,
    )


def paid_while(together: Together, paying: Paying, work: Work) -> tuple[Any, Any]:
    """A device takes the money while another one does its work; what both answer."""
    with ThreadPoolExecutor(2) as pool:
        sold = pool.submit(together.run, pay)
        assert paying.read.wait(30)
        other = pool.submit(together.run, lambda tx: None, paying.then(work))
        return sold.result()[0], other.result()[1]


def test_a_piece_that_is_scanned_while_the_basket_is_paid_is_in_the_next_one(
    together: Together, paying: tuple[Any, Paying]
) -> None:
    bread, payment = paying
    scan: Work = lambda tx: commands.scan(tx, "till-1", bread.barcode, centre="centre-1")  # noqa: E731
    sold, basket = paid_while(together, payment, scan)
    assert [line.quantity for line in sold.lines] == [1]
    assert [line.quantity for line in basket.lines] == [1]
    assert basket.sale_id != sold.id
    assert together.first.run(pay).total_cents == 100
    assert together.first.on_hand(bread.id) == 8


def test_pieces_that_are_changed_while_the_basket_is_paid_are_sold_as_they_were_read(
    together: Together, paying: tuple[Any, Paying]
) -> None:
    """The other device sees at once that the basket is empty, not its pieces in a sold one."""
    bread, payment = paying
    three: Work = lambda tx: commands.change_line(  # noqa: E731
        tx, "till-1", bread.id, 3, centre="centre-1"
    )
    sold, basket = paid_while(together, payment, three)
    assert [line.quantity for line in sold.lines] == [1]
    assert basket.lines == []
