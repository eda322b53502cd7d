"""A coordinator's morning: what waits is counted until it is done, and figures count once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from cards import overview, store
from cards.app import SERVICE
from cards.overview import Quarter, Waiting
from contracts import Event, activities, network, notifications, shop
from contracts.shop import StockReason
from messaging.testing import orders
from messaging.transaction import Transaction
from runtime.clock import FixedClock
from web.roles import Role
from web.testing import Client, PageSeen, token

ROME = ZoneInfo("Europe/Rome")
CENTRE = "centre-1"


def waiting(bench: Any, now: datetime, centre: str = CENTRE) -> Waiting:
    return bench.read(lambda c: overview.waiting(c, centre, now, ROME))


def quarter(bench: Any, now: datetime, centre: str = CENTRE) -> Quarter:
    return bench.read(lambda c: overview.quarter(c, centre, now.date()))


def session(now: datetime, kind: type[Event], **more: Any) -> Event:
    common = {"session_id": "s1", "centre_id": CENTRE}
    if kind is not activities.RegisterTaken:
        common |= {"title": "Compiti", "starts_at": now}  # type: ignore[dict-item]
    return kind(**common, **more)


def referral(now: datetime, kind: type[Event], **more: Any) -> Event:
    return kind(
        referral_id="r1",
        centre_id=CENTRE,
        household_id="h1",
        to_organisation_id="o1",
        at=now,
        **more,
    )


def test_a_session_waits_for_its_register_once_it_is_over(bench: Any, clock: FixedClock) -> None:
    now = clock.now()
    scheduled = session(
        now,
        activities.SessionScheduled,
        activity_id="a1",
        ends_at=now + timedelta(hours=2),
        capacity=3,
        scheduled_at=now,
    )
    bench.deliver(scheduled)
    assert waiting(bench, now).nothing
    later = now + timedelta(hours=3)
    assert waiting(bench, later).registers == 1
    assert waiting(bench, later, "another").nothing
    assert waiting(bench, later, "").registers == 1
    bench.deliver(
        session(now, activities.RegisterTaken, present=4, absent=1, revision=1, taken_at=later)
    )
    assert waiting(bench, later).nothing
    bench.deliver(
        session(now, activities.RegisterTaken, present=5, absent=0, revision=2, taken_at=later)
    )
    assert quarter(bench, later).figures["present"][-1] == 5
    bench.rebuild_equals()


def test_a_referral_is_late_when_its_time_is_over_in_every_order(
    bench: Any, clock: FixedClock
) -> None:
    now = clock.now()
    plan = [
        (
            "r",
            lambda: referral(
                now, network.ReferralRequested, area="work", answer_by=now + timedelta(days=1)
            ),
        ),
        ("r", lambda: referral(now + timedelta(minutes=1), network.ReferralAccepted)),
    ]
    bench.deliver(plan[0][1]())
    assert (waiting(bench, now).asked_referrals, waiting(bench, now).late_referrals) == (1, 0)
    later = now + timedelta(days=2)
    assert (waiting(bench, later).asked_referrals, waiting(bench, later).late_referrals) == (0, 1)
    for order in orders(plan, key=lambda step: step[0]):
        bench.settle([bench.record(make()) for _, make in order])
        assert waiting(bench, later).nothing
    bench.rebuild_equals()


def test_a_till_is_to_be_counted_on_the_day_after(bench: Any, clock: FixedClock) -> None:
    house = bench.household()
    now = clock.now()
    bench.deliver(house.buys(money=500))
    assert waiting(bench, now).tills == 0
    tomorrow = now + timedelta(days=1)
    assert waiting(bench, tomorrow).tills == 1
    (till,) = {house.buys(money=1).till_id}
    bench.deliver(
        shop.DayClosed(
            till_id=till,
            centre_id=house.centre,
            closing_id="c1",
            day=now.date(),
            sales=1,
            refunds=0,
            money_cents=500,
            counted_cents=500,
            points=0,
            closed_at=now + timedelta(hours=1),
        )
    )
    assert waiting(bench, tomorrow).tills == 0
    bench.rebuild_equals()


def test_a_till_that_nobody_counted_is_named_whatever_it_sells_since(
    bench: Any, clock: FixedClock
) -> None:
    house = bench.household()
    day = timedelta(days=1)
    first = clock.now()

    def sale(name: str, at: datetime) -> Event:
        return house.buys(money=500, sale=name, sold_at=at)

    def closing(at: datetime) -> Event:
        return shop.DayClosed(
            till_id="till-1",
            centre_id=CENTRE,
            closing_id=f"c{at:%d%H}",
            day=at.date(),
            sales=1,
            refunds=0,
            money_cents=500,
            counted_cents=500,
            points=0,
            closed_at=at,
        )

    hour = timedelta(hours=1)
    bench.deliver(sale("s1", first), sale("s2", first + day))
    assert waiting(bench, first + day + hour).tills == 1, (
        "it sells today, uncounted since yesterday"
    )
    assert waiting(bench, first + 2 * day).tills == 1, "once, however many days there are"
    assert waiting(bench, first + 2 * day, "").tills == 1
    assert waiting(bench, first + 2 * day, "another").nothing
    bench.deliver(closing(first + day + hour))
    assert waiting(bench, first + 2 * day).nothing
    bench.deliver(sale("s3", first + day + 2 * hour), sale("s4", first + 2 * day))
    assert waiting(bench, first + 2 * day).tills == 1, "sold after it was counted"
    bench.deliver(closing(first + 2 * day + hour))
    plan = [("a", 0 * day), ("b", day), ("till", hour)]
    for number, order in enumerate(orders(plan, key=lambda step: step[0])):
        at = first + (3 + 2 * number) * day
        told = [
            closing(at + after) if what == "till" else sale(f"{what}{number}", at + after)
            for what, after in order
        ]
        bench.settle([bench.record(event) for event in told])
        assert waiting(bench, at + 2 * day).tills == 1, f"only its first day was counted: {order}"
        bench.deliver(closing(at + day + hour))
        assert waiting(bench, at + 2 * day).nothing
    bench.rebuild_equals()


def test_a_register_that_was_taken_is_not_missing_when_places_change(
    bench: Any, clock: FixedClock
) -> None:
    now = clock.now()

    def scheduled(minutes: int, capacity: int) -> Event:
        return session(
            now,
            activities.SessionScheduled,
            activity_id="a1",
            ends_at=now + timedelta(hours=2),
            capacity=capacity,
            scheduled_at=now + timedelta(minutes=minutes),
        )

    taken = session(
        now,
        activities.RegisterTaken,
        present=4,
        absent=1,
        revision=1,
        taken_at=now + timedelta(minutes=150),
    )
    bench.deliver(scheduled(0, 3), taken, scheduled(160, 5))
    assert waiting(bench, now + timedelta(hours=3)).nothing
    bench.deliver(scheduled(0, 3))
    assert waiting(bench, now + timedelta(hours=3)).nothing
    bench.rebuild_equals()


def test_a_product_for_sale_runs_out_until_there_is_more_than_its_minimum(
    bench: Any, clock: FixedClock
) -> None:
    now = clock.now()

    def low() -> int:
        return waiting(bench, clock.now()).stock

    def moved(quantity: int, on_hand: int) -> int:
        clock.advance(timedelta(minutes=1))
        moved = shop.StockMoved(
            product_id="p1",
            movement_id=f"m{clock.now():%H%M}",
            reason=StockReason.SALE if quantity < 0 else StockReason.DELIVERY,
            quantity=quantity,
            on_hand=on_hand,
            moved_at=clock.now(),
        )
        bench.deliver(moved)
        return low()

    def minimum(pieces: int, sellable: bool = True) -> int:
        clock.advance(timedelta(minutes=1))
        changed = shop.ProductChanged(
            product_id="p1",
            centre_id=CENTRE,
            name="Pane",
            price_cents=100,
            minimum=pieces,
            sellable=sellable,
            changed_at=clock.now(),
        )
        bench.deliver(changed)
        return low()

    assert minimum(5) == 0, "nobody has brought any yet"
    assert moved(10, 10) == 0
    assert moved(-4, 6) == 0
    assert moved(-1, 5) == moved(-5, 0) == 1
    assert moved(3, 3) == 1, "some came, and they are too few"
    assert moved(-1, 2) == moved(1, 3) == 1, "sold, and put back"
    assert moved(9, 12) == 0
    assert minimum(12) == 1
    assert waiting(bench, now, "").stock == 1
    assert waiting(bench, now, "another").nothing
    assert minimum(2) == 0
    assert moved(-12, 0) == 1
    assert minimum(2, sellable=False) == 0, "nobody brings any more of it"
    assert waiting(bench, now, "").nothing
    assert minimum(0) == 1, "it is for sale again"
    bench.rebuild_equals()


def test_an_offer_is_named_on_the_day_on_which_it_runs_out(bench: Any, clock: FixedClock) -> None:
    now = clock.now()

    def signup(kind: type[Event], minutes: int, **more: Any) -> Event:
        return kind(
            session_id="s1",
            centre_id=CENTRE,
            signup_id="u1",
            person_id="p1",
            household_id="h1",
            title="Compiti",
            starts_at=now,
            at=now + timedelta(minutes=minutes),
            **more,
        )

    ends = now + timedelta(days=1)
    bench.deliver(signup(activities.SignUpOffered, 0, answer_by=ends))
    assert waiting(bench, now).offers == 0
    assert waiting(bench, ends - timedelta(hours=1)).offers == 1
    bench.deliver(signup(activities.SignUpConfirmed, 1))
    assert waiting(bench, ends - timedelta(hours=1)).offers == 0
    bench.rebuild_equals()


def test_figures_count_each_fact_once_by_week(bench: Any, clock: FixedClock) -> None:
    house = bench.household()
    bench.rule(per_euro=2)
    now = clock.now()
    for number in range(3):
        bench.deliver(house.buys(money=1000, sale=f"s{number}"))
    bench.deliver(
        notifications.MessageFailed(
            message_id="m1",
            person_id="p1",
            household_id=house.id,
            centre_id=house.centre,
            kind="offer",
            channel=notifications.Channel.EMAIL,
            state="permanent_failure",
            failed_at=now,
        )
    )
    bench.deliver_own()
    seen = quarter(bench, now)
    assert len(seen.weeks) == overview.WEEKS
    assert seen.weeks[-1] <= now.date() < seen.weeks[-1] + timedelta(days=7)
    last = {kind: figures[-1] for kind, figures in seen.figures.items()}
    assert last == {
        "households": 1,
        "sales": 3,
        "sales_cents": 3000,
        "points_in": 60,
        "messages_failed": 1,
    }
    assert waiting(bench, now).failed_messages == 1
    assert waiting(bench, now + timedelta(days=8)).failed_messages == 0
    week_later = quarter(bench, now + timedelta(days=7))
    assert week_later.figures["sales"][-2:] == [3, 0]
    assert not quarter(bench, now, "another").figures
    bench.rebuild_equals()


@pytest.mark.parametrize("language", ["it", "ar"])
async def test_the_page_says_what_waits_and_leads_there(
    store_url: str, clock: FixedClock, language: str
) -> None:
    now = clock.now()

    def fill(tx: Transaction) -> None:
        late = {"kind": "referral", "item_id": "r1", "centre_id": CENTRE, "is_open": True}
        late |= {"due": now - timedelta(hours=1), "seen_at": now - timedelta(days=9)}
        tx.connection.execute(sa.insert(store.matter).values(late))
        sold = {"centre_id": CENTRE, "day": now.date(), "kind": "sales_cents", "figure": 123456}
        tx.connection.execute(sa.insert(store.day_figure).values(sold))

    async with Client(SERVICE, store_url, clock=clock) as client:
        client.sign_in(token(Role.COORDINATOR, centre=CENTRE, language=language))
        quiet = main_of(await client.page("/cards/overview"))
        assert "/network/referrals" not in quiet
        assert "<figure" not in quiet
        await client.run(fill)
        busy = main_of(await client.page("/cards/overview"))
        assert 'href="/network/referrals"' in busy
        assert busy.count("<figure") == busy.count("<table") == 5
        assert {"it": "1.234,56", "ar": "1,234.56"}[language] in busy
        client.sign_in(token(Role.COORDINATOR, centre="another", language=language))
        assert main_of(await client.page("/cards/overview")) == quiet


def main_of(page: PageSeen) -> str:
    """What lies between header and footer."""
    return page.html.split("<main", 1)[1].split("</main>", 1)[0]
