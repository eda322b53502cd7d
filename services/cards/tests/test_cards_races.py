"""Two at once on PostgreSQL: never below zero, never twice, never a deadlock."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cards import commands
from cards.app import SERVICE
from cards.models import Adjustment
from cards.policies import policies
from messaging.envelope import Item, Received, decode
from messaging.testing import Bench
from messaging.transaction import Transaction
from runtime.clock import FixedClock
from runtime.ids import SequenceIds
from runtime.refusals import Refusal


@pytest.fixture
def replica(bench: Any, clock: FixedClock) -> Iterator[Bench]:
    """A second process on the same store."""
    with Bench(SERVICE, bench.store.url, clock=clock, ids=SequenceIds(10_000_000)) as made:
        yield made


def react(bench: Bench, items: list[Item]) -> None:
    """The policies of a batch in one transaction, as the consumer runs them."""

    def batch(tx: Transaction) -> None:
        received = [item.content for item in items if isinstance(item.content, Received)]
        policies.prefetch(tx, received)
        for one in received:
            tx.handle(one)
            for policy in policies.of(type(one.event)):
                policy(tx, one)

    bench.run(batch)


def test_points_are_taken_once_by_however_many(bench: Any, replica: Bench) -> None:
    house = bench.household()
    house.give(10)
    asked = Adjustment(points=-1, reason="at the same time")

    def take(number: int) -> bool:
        where = bench if number % 2 else replica
        try:
            where.run(lambda tx: commands.adjust_points(tx, house.id, asked))
        except Refusal:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(take, range(24)))
    assert taken.count(True) == 10
    assert house.points == (0, 0)


def test_two_replicas_neither_deadlock_nor_overspend(bench: Any, replica: Bench) -> None:
    """Batches that name the same households in opposite orders, by different kinds of events."""
    bench.rule(per_euro=1, per_attendance=1)
    houses = [bench.household(f"H{number}") for number in range(6)]
    for house in houses:
        house.give(30)

    def items(who: str, number: int, order: list[Any]) -> list[Item]:
        found = []
        for place, house in enumerate(order):
            sale = f"{who}-{number}-{house.id}"
            events = (
                [house.asks(2, sale=sale), house.buys(money=100, points=2, sale=sale)]
                if place % 2
                else [house.attends(session=sale)]
            )
            found += [decode(bench.record(event)) for event in events]
        return found

    rounds = 8
    plans = {
        "one": (bench, [items("one", number, houses) for number in range(rounds)]),
        "two": (replica, [items("two", number, houses[::-1]) for number in range(rounds)]),
    }

    def work(who: str) -> None:
        where, batches = plans[who]
        for batch in batches:
            react(where, batch)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, plans))
    # each household once per round and replica: half attend (+1), half pay 2 and earn 1 (-1)
    assert sum(house.points[0] for house in houses) == 6 * 30
    assert all(house.points[1] == 0 for house in houses)
