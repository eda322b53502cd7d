"""The saga of a payment, earning, refunds and corrections, each event twice, on both engines."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from cards import commands, store
from cards.domain.card import BlockReason
from contracts import cards as facts
from messaging.testing import orders
from runtime.clock import FixedClock

DAY = timedelta(days=1)


def uncovered(bench: Any) -> int:
    """What the coordinator sees: the sum of the account ``uncovered``."""
    return bench.read(
        lambda c: c.scalar(
            sa.select(sa.func.coalesce(sa.func.sum(store.entry.c.points), 0)).where(
                store.entry.c.account == "uncovered"
            )
        )
    )


def test_a_payment_is_held_then_captured(bench: Any, clock: FixedClock) -> None:
    house = bench.household()
    house.give(30, clock.now() + 5 * DAY)
    house.give(30)
    bench.deliver(house.asks(40))
    assert house.points == (20, 40)
    placed = bench.emitted(facts.HoldPlaced)
    assert [(h.hold_id, h.points, h.available, h.held) for h in placed] == [
        ("payment-of-sale-1", 40, 20, 40)
    ]
    assert [(b.points, b.expires_at) for b in placed[0].buckets] == [
        (30, clock.now() + 5 * DAY),
        (10, None),
    ]
    bench.deliver(house.buys(points=40))
    assert house.points == (20, 0)
    (captured,) = bench.emitted(facts.HoldCaptured)
    assert (captured.captured, captured.released, captured.uncovered) == (40, 0, 0)
    assert (captured.available, captured.held) == (20, 0)
    assert bench.emitted(facts.HoldReleased) == []


def test_a_sale_that_costs_less_frees_the_rest(bench: Any) -> None:
    house = bench.household()
    house.give(50)
    bench.deliver(house.asks(40), house.buys(points=25))
    assert house.points == (25, 0)
    (captured,) = bench.emitted(facts.HoldCaptured)
    assert (captured.captured, captured.released) == (25, 15)


def test_a_sale_that_costs_no_points_after_all_frees_the_hold(bench: Any) -> None:
    house = bench.household()
    house.give(50)
    bench.deliver(house.asks(40), house.buys(money=500))
    assert house.points == (50, 0)
    assert [r.points for r in bench.emitted(facts.HoldReleased)] == [40]


def test_a_sale_that_costs_more_than_its_hold_takes_the_rest_from_what_is_there(bench: Any) -> None:
    house = bench.household()
    house.give(50)
    bench.deliver(house.asks(30), house.buys(points=45))
    assert house.points == (5, 0)
    assert uncovered(bench) == 0


def test_a_completion_without_a_hold_is_never_refused(bench: Any) -> None:
    house = bench.household()
    house.give(30)
    bench.deliver(house.buys(points=50))
    assert house.points == (0, 0)
    (captured,) = bench.emitted(facts.HoldCaptured)
    assert (captured.captured, captured.uncovered) == (30, 20)
    assert uncovered(bench) == -20


def test_too_few_points_are_declined(bench: Any) -> None:
    house = bench.household()
    house.give(39)
    bench.deliver(house.asks(40))
    assert house.points == (39, 0)
    (declined,) = bench.emitted(facts.HoldDeclined)
    assert (declined.reason, declined.points, declined.available) == ("points.too_few", 40, 39)
    assert bench.emitted(facts.HoldPlaced) == []


@pytest.mark.parametrize("why", ["blocked", "of another household", "unknown", "erased"])
def test_a_card_that_opens_nothing_is_declined(bench: Any, why: str) -> None:
    house, other = bench.household(), bench.household("Zoe")
    house.give(100)
    reason, request = "card.unknown", house.asks(10)
    if why == "blocked":
        reason = "card.blocked"
        bench.run(lambda tx: commands.block_card(tx, house.card_id, BlockReason.LOST))
    elif why == "of another household":
        request = request.model_copy(update={"card_id": other.card_id})
    elif why == "unknown":
        request = request.model_copy(update={"card_id": "card-of-nobody"})
    else:
        reason = "household.unknown"
        bench.run(lambda tx: commands.erase_household(tx, house.id))
    bench.deliver(request)
    assert [d.reason for d in bench.emitted(facts.HoldDeclined)] == [reason]
    assert bench.emitted(facts.HoldPlaced) == []


def test_a_household_that_is_not_known_yet_is_waited_for(bench: Any, clock: FixedClock) -> None:
    house = bench.household()
    stranger = house.buys(money=1000).model_copy(update={"household_id": "household-to-come"})
    bench.deliver(stranger)
    assert [row.state for row in bench.set_aside()] == ["retrying"]
    bench.store.write_now(
        lambda c: c.execute(
            sa.insert(store.household).values(
                id="household-to-come",
                centre_id="centre-1",
                holder_id=house.person_id,
                zone="",
                registered_at=clock.now(),
                changed_at=clock.now(),
                erased_at=clock.now(),
            )
        )
    )
    clock.advance(timedelta(minutes=2))
    bench.retry()
    assert bench.set_aside() == []


def test_a_cancelled_sale_frees_its_hold(bench: Any) -> None:
    house = bench.household()
    house.give(50)
    bench.deliver(house.asks(40), house.cancels())
    assert house.points == (50, 0)
    assert [(r.points, r.timed_out) for r in bench.emitted(facts.HoldReleased)] == [(40, False)]


def test_a_cancellation_that_names_neither_household_nor_payment_frees_it_too(bench: Any) -> None:
    house = bench.household()
    house.give(50)
    bench.deliver(house.asks(40), house.cancels(household_id="", payment_id=""))
    assert house.points == (50, 0)


@pytest.mark.parametrize("end", ["cancelled", "completed"])
def test_a_request_that_comes_after_the_end_leaves_no_hold(bench: Any, end: str) -> None:
    house = bench.household()
    house.give(50)
    bench.deliver(house.cancels() if end == "cancelled" else house.buys(points=10))
    before = house.points
    bench.deliver(house.asks(40))
    assert house.points == before
    assert bench.emitted(facts.HoldPlaced) == []


def test_a_new_request_takes_the_place_of_the_one_before(bench: Any) -> None:
    house = bench.household()
    house.give(50)
    bench.deliver(house.asks(40, payment="p1"), house.asks(45, payment="p2"))
    assert house.points == (5, 45)
    bench.deliver(house.buys(points=45, payment_id="p2"))
    assert house.points == (5, 0)


def test_a_sale_earns_by_whole_euros_and_the_rule_of_its_day(bench: Any, clock: FixedClock) -> None:
    house = bench.household()
    bench.deliver(house.buys(money=5000, sale="before-any-rule"))
    assert house.points == (0, 0)
    bench.rule(per_euro=2, valid_days=10)
    bench.rule(per_euro=3, valid_days=10, from_time=clock.now() + DAY)
    bench.deliver(house.buys(money=1999, sale="s1"))
    assert house.points == (38, 0)
    late = house.buys(money=100, sale="s3")
    clock.advance(2 * DAY)
    bench.deliver(house.buys(money=1000, sale="s2"), late)
    assert house.points == (38 + 30 + 2, 0)
    first = bench.emitted(facts.PointsCredited)[0]
    assert (first.reason, first.origin, first.points) == ("sale", "s1", 38)
    assert first.buckets[0].expires_at is not None
    assert first.buckets[0].expires_at.isoformat() == "2026-11-26T22:59:59+00:00"


def test_rules_are_of_a_centre(bench: Any) -> None:
    here, there = bench.household(), bench.household("Zoe", centre="centre-2")
    bench.rule(per_euro=1)
    bench.deliver(here.buys(money=1000, sale="a"), there.buys(money=1000, sale="b"))
    assert (here.points, there.points) == ((10, 0), (0, 0))


def test_the_rule_is_that_of_the_centre_where_it_was_earned(bench: Any) -> None:
    house = bench.household()
    bench.rule(per_euro=1)
    bench.rule(centre="centre-2", per_euro=3)
    bench.deliver(house.buys(money=1000, centre_id="centre-2"))
    assert house.points == (30, 0)


def test_a_sale_without_a_card_moves_nothing(bench: Any) -> None:
    bench.household()
    bench.rule(per_euro=1)
    house = bench.household("Zoe")
    bench.deliver(house.buys(money=1000, household_id="", card_id=""))
    assert bench.emitted(facts.PointsCredited) == []


def test_a_refund_gives_back_what_was_spent_and_takes_back_what_was_earned(bench: Any) -> None:
    house = bench.household()
    house.give(50)
    bench.rule(per_euro=1)
    bench.deliver(house.asks(20), house.buys(money=1050, points=20))
    assert house.points == (40, 0)
    bench.deliver(house.returns(money=350, points=5, refund="r1"))
    assert house.points == (40 + 5 - 3, 0)  # 7 whole euros stay paid, 10 were
    bench.deliver(house.returns(money=700, points=15, refund="r2"))
    assert house.points == (50, 0)
    assert [c.points for c in bench.emitted(facts.PointsCredited) if c.reason == "refund"] == [
        5,
        15,
    ]
    assert [d.points for d in bench.emitted(facts.PointsDebited)] == [3, 7]


def test_what_cannot_be_taken_back_is_uncovered(bench: Any) -> None:
    house = bench.household()
    bench.rule(per_euro=1)
    bench.deliver(house.buys(money=3000))
    bench.deliver(house.asks(25, sale="s2"), house.buys(points=25, sale="s2"))
    bench.deliver(house.returns(money=3000))
    assert house.points == (0, 0)
    (debited,) = bench.emitted(facts.PointsDebited)
    assert (debited.points, debited.uncovered) == (5, 25)
    assert uncovered(bench) == -25


def test_a_refund_settles_first_what_nobody_had_paid(bench: Any) -> None:
    house = bench.household()
    house.give(30)
    bench.deliver(house.buys(points=50), house.returns(points=15, refund="r1"))
    assert house.points == (0, 0)
    assert uncovered(bench) == -5
    bench.deliver(house.returns(points=35, refund="r2"))
    assert house.points == (30, 0)
    assert uncovered(bench) == 0


def test_attendance_counts_once_and_the_last_revision_wins(bench: Any) -> None:
    house = bench.household()
    bench.rule(per_attendance=5)
    bench.deliver(house.attends(), house.attends(revision=2))
    assert house.points == (5, 0)
    bench.deliver(house.attends(present=False, revision=3))
    assert house.points == (0, 0)
    bench.deliver(house.attends(present=True, revision=4), house.attends(False, revision=2))
    assert house.points == (5, 0)
    reasons = [d.reason for d in bench.emitted(facts.PointsDebited)]
    assert reasons == ["attendance_corrected"]
    assert [c.points for c in bench.emitted(facts.PointsCredited)] == [5, 5]


def test_an_absence_corrected_after_the_points_were_spent_is_uncovered(bench: Any) -> None:
    house = bench.household()
    bench.rule(per_attendance=5)
    bench.deliver(house.attends(), house.buys(points=5))
    bench.deliver(house.attends(present=False, revision=2))
    assert house.points == (0, 0)
    assert uncovered(bench) == -5


def test_an_attendance_that_is_marked_again_settles_what_was_spent_of_it(bench: Any) -> None:
    """Absent by mistake, after three of its points were spent and after all were: it is paid
    once."""
    house = bench.household()
    bench.rule(per_attendance=5)
    bench.deliver(house.attends(), house.buys(points=3))
    bench.deliver(house.attends(False, revision=2), house.attends(revision=3))
    assert house.points == (2, 0)
    assert uncovered(bench) == 0
    bench.deliver(house.buys(points=2, sale="sale-2"))
    bench.deliver(house.attends(False, revision=4), house.attends(revision=5))
    assert house.points == (0, 0)
    assert uncovered(bench) == 0
    given = [(told.points, told.covered) for told in bench.emitted(facts.PointsCredited)]
    assert given == [(5, 0), (2, 3), (0, 5)]


def test_points_expire_when_their_day_is_over_but_not_in_a_hold(
    bench: Any, clock: FixedClock
) -> None:
    house = bench.household()
    half_a_day = timedelta(hours=12)
    house.give(30, clock.now() + half_a_day)
    house.give(10)
    bench.deliver(house.asks(20))
    clock.advance(half_a_day)
    assert house.points == (10, 20)  # not to be spent, though not booked yet
    bench.tick()
    assert house.points == (10, 20)
    assert [e.points for e in bench.emitted(facts.PointsExpired)] == [10]
    bench.deliver(house.cancels())
    assert house.points == (10, 0)
    bench.tick()
    assert [e.points for e in bench.emitted(facts.PointsExpired)] == [10, 20]
    bench.tick()
    assert house.points == (10, 0)


def test_points_that_are_heard_of_late_can_still_be_spent(bench: Any, clock: FixedClock) -> None:
    """A register that is taken, or a bus that comes back, when their time would be over."""
    house = bench.household()
    bench.rule(per_euro=1, per_attendance=5, valid_days=2)
    house.give(7)
    late = (house.attends(), house.buys(money=1000), house.buys(points=7, sale="sale-2"))
    refund = house.returns(points=7, sale="sale-2")
    clock.advance(9 * DAY)
    bench.deliver(*late, refund)
    bench.tick()
    assert house.points == (5 + 10 + 7, 0)
    assert bench.emitted(facts.PointsExpired) == []
    ends = {told.buckets[0].expires_at for told in bench.emitted(facts.PointsCredited)[1:]}
    assert [end.isoformat() for end in ends if end] == ["2026-11-27T22:59:59+00:00"]
    clock.advance(3 * DAY)
    bench.tick()
    assert house.points == (7, 0), "what was given without an end"


def test_points_in_hold_can_be_captured_after_their_day(bench: Any, clock: FixedClock) -> None:
    house = bench.household()
    house.give(30, clock.now() + timedelta(hours=1))
    bench.deliver(house.asks(30))
    clock.advance(timedelta(hours=2))
    bench.tick()
    bench.deliver(house.buys(points=30))
    assert house.points == (0, 0)
    assert uncovered(bench) == 0
    assert bench.emitted(facts.PointsExpired) == []


def test_a_forgotten_hold_is_freed_after_a_day(bench: Any, clock: FixedClock) -> None:
    house = bench.household()
    house.give(30)
    bench.deliver(house.asks(20))
    clock.advance(timedelta(hours=23, minutes=59))
    bench.tick()
    assert house.points == (10, 20)
    clock.advance(timedelta(minutes=1))
    bench.tick()
    assert house.points == (30, 0)
    assert [r.timed_out for r in bench.emitted(facts.HoldReleased)] == [True]
    bench.deliver(house.buys(points=20))
    assert house.points == (10, 0)


def test_a_hold_that_ended_is_not_timed_out(bench: Any, clock: FixedClock) -> None:
    house = bench.household()
    house.give(30)
    bench.deliver(house.asks(20), house.buys(points=20))
    clock.advance(2 * DAY)
    assert bench.tick() == 0
    assert bench.emitted(facts.HoldReleased) == []


def test_the_same_fact_in_another_guise_counts_once(bench: Any) -> None:
    """Other event ids, so the inbox knows nothing: the rows of the domain do."""
    house = bench.household()
    house.give(50)
    bench.rule(per_euro=1, per_attendance=5)
    facts_told = (
        house.asks(20),
        house.buys(money=1000, points=15),
        house.returns(money=500, points=5),
        house.attends(),
        house.asks(90, sale="s2"),
        house.cancels(sale="s2"),
    )
    for _ in range(3):
        for fact in facts_told:
            bench.deliver(fact, twice=False)
    assert house.points == (50 - 15 + 10 + 5 - 5 + 5, 0)
    assert uncovered(bench) == 0
    assert len(bench.emitted(facts.HoldDeclined)) == 1


def test_one_batch_or_many_gives_the_same(bench: Any, clock: FixedClock) -> None:
    houses = [bench.household(name) for name in ("Ada", "Bea", "Cai")]
    bench.rule(per_euro=1, per_attendance=5)
    for house in houses:
        house.give(100, clock.now() + DAY)
    batch = []
    for number, house in enumerate(houses):
        batch += [
            house.asks(30, sale=f"a{number}"),
            house.buys(money=500, points=30, sale=f"a{number}"),
            house.asks(500, sale=f"b{number}"),
            house.cancels(sale=f"b{number}"),
            house.buys(money=999, sale=f"c{number}"),
            house.returns(money=100, points=10, sale=f"a{number}", refund=f"r{number}"),
            house.attends(session=f"s{number}"),
        ]
    records = [bench.record(event) for event in batch]
    bench.settle(records)
    bench.settle(records)
    assert [house.points for house in houses] == [(100 - 30 + 5 + 9 + 10 - 1 + 5, 0)] * 3


def test_every_order_that_keeps_the_order_of_a_sale_ends_the_same(bench: Any) -> None:
    """Two sales of one household that both pay with points, and an attendance, interleaved."""
    bench.rule(per_euro=1, per_attendance=7)
    house = bench.household()
    house.give(1)
    plan = [
        ("s1", lambda h, n: h.asks(10, sale=f"s1-{n}")),
        ("s1", lambda h, n: h.cancels(sale=f"s1-{n}")),
        ("s2", lambda h, n: h.buys(money=300, sale=f"s2-{n}")),
        ("s2", lambda h, n: h.returns(money=100, sale=f"s2-{n}", refund=f"r-{n}")),
        ("a", lambda h, n: h.attends(session=f"t-{n}")),
    ]
    ends = set()
    before = house.points[0]
    for number, order in enumerate(orders(plan, key=lambda step: step[0])):
        records = [bench.record(step[1](house, number)) for step in order]
        bench.settle(records)
        after = house.points
        ends.add((after[0] - before, after[1]))
        before = after[0]
    assert ends == {(3 - 1 + 7, 0)}
