"""What a sale begins with, and how often it goes to the server."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from contracts import cards, shop
from solidarity_shop import commands, queries, store
from solidarity_shop.queries import token_digest

Shop = Any

NUMBER = "100000000001"


@pytest.fixture
def known(shop_bench: Shop) -> Shop:
    """A shop that knows several cards, some of one number: of here, blocked, of another centre, of
    an erased household, and one of which nothing but its blocking was heard."""
    bench, now = shop_bench.bench, shop_bench.clock.now()

    def issued(card: str, household: str, number: str) -> None:
        bench.deliver(
            cards.CardIssued(
                household_id=household,
                card_id=card,
                number=number,
                token_digest=token_digest(f"TOKEN-{card}"),
                issued_at=now,
            )
        )

    for household, centre in (("here", "centre-1"), ("gone", "centre-1"), ("far", "centre-2")):
        bench.deliver(
            cards.HouseholdRegistered(
                household_id=household,
                centre_id=centre,
                holder_id="person-1",
                person_ids=("person-1",),
                registered_at=now,
            )
        )
    issued("a-far", "far", NUMBER)
    issued("b-blocked", "here", NUMBER)
    issued("c-good", "here", NUMBER)
    issued("d-gone", "gone", "100000000002")
    issued("e-stranger", "nobody-heard-of", "100000000003")
    blocked = [("b-blocked", "here"), ("f-stub", "here")]
    for card, household in blocked:
        bench.deliver(
            cards.CardBlocked(household_id=household, card_id=card, reason="lost", blocked_at=now)
        )
    bench.deliver(cards.HouseholdErased(household_id="gone", centre_id="centre-1", erased_at=now))
    return shop_bench


CARDS = ("a-far", "b-blocked", "c-good", "d-gone", "e-stranger", "f-stub", "unknown")


@pytest.mark.parametrize(
    "key",
    [{"number": number} for number in (NUMBER, "100000000002", "100000000003", "1")]
    + [{"card_id": card} for card in CARDS]
    + [{"token": f"token-{card}"} for card in CARDS],
    ids=lambda key: "-".join(key.values()),
)
def test_a_sale_finds_the_card_that_a_search_finds(known: Shop, key: dict[str, str]) -> None:
    whole = {"card_id": "", "number": "", "token": "", **key}

    def both(connection: sa.Connection) -> tuple[Any, Any]:
        card = queries.card_key(**whole)
        opened = queries.opening(connection, "till-1", "new", card, known.clock.now())
        return opened, queries.find_card(connection, "centre-1", **whole)

    opened, found = known.bench.read(both)
    assert (opened["id"], opened["centre_id"], opened["sale_id"]) == ("till-1", "centre-1", None)
    names = ("card_id", "household_id", "blocked")
    if found is None:
        assert opened["household_id"] is None
    else:
        assert [opened[name] for name in names] == [found[name] for name in names]


def test_a_sale_begins_with_the_value_of_a_point_that_holds(shop_bench: Shop) -> None:
    now = shop_bench.clock.now()

    def value(till: str = "till-1") -> Any:
        found = shop_bench.bench.read(
            lambda c: queries.opening(c, till, "new", None, shop_bench.clock.now())
        )
        return found and found["point_value"]

    assert value("till-9") is None
    before = value()
    for cents, hours in ((12, 0), (15, 2)):
        told = shop.PointValueSet(
            centre_id="centre-1", cents=cents, from_time=now + timedelta(hours=hours), set_at=now
        )
        shop_bench.bench.store.write_now(lambda c, told=told: store.put_point_value(c, told))
    after = value()
    shop_bench.clock.advance(timedelta(hours=3))
    assert (before, after, value()) == (10, 12, 15)


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("kinds", [1, 5])
def test_a_sale_goes_to_the_server_a_few_times(
    shop_bench: Shop, asked: list[tuple[str, Any]], kinds: int
) -> None:
    things = [shop_bench.product(100) for _ in range(kinds)]
    card = shop_bench.card()
    new = shop_bench.new(*[(t.id, 1) for t in things], cash=100 * kinds, card_id=card)
    asked.clear()
    shop_bench.run(lambda tx: commands.sell(tx, new, centre="centre-1"))
    # What is there, the products, and all rows, locks and last events on one way; what is told goes
    # with the commit.
    assert len(asked) == 3, asked
