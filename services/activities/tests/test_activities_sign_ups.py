"""Signing up, waiting, offers: each rule of the field as a sentence."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from activities import commands, store
from activities.commands import By
from activities.domain.waiting_list import Policy
from contracts.activities import (
    OfferExpired,
    SessionCancelled,
    SessionScheduled,
    SignUpCancelled,
    SignUpConfirmed,
    SignUpOffered,
    SignUpWaitlisted,
)
from messaging import Transaction
from runtime.refusals import Refusal

KEEP = Policy.KEEP_FOR_GROUP
NEXT = Policy.NEXT_WHO_FITS


def refused(reason: str) -> Any:
    return pytest.raises(Refusal, match=f"^{reason}:")


def test_places_are_given_until_they_are_gone_and_then_people_wait(world: Any) -> None:
    session_id = world.session(2)
    world.people("anna", "bruno", "carla", "dario")
    made = world.sign_up(session_id, "anna", "bruno", "carla", "dario")
    assert [one.state for one in made] == ["confirmed", "confirmed", "waiting", "waiting"]
    assert [one.position for one in made] == [None, None, 1, 2]
    assert [e.person_id for e in world.bench.emitted(SignUpConfirmed)] == ["anna", "bruno"]
    waitlisted = world.bench.emitted(SignUpWaitlisted)
    assert [(e.person_id, e.position) for e in waitlisted] == [("carla", 1), ("dario", 2)]
    assert world.faults() == []


def test_a_free_place_is_offered_to_the_first_and_only_taken_by_accepting(world: Any) -> None:
    session_id = world.session(1)
    world.people("anna", "bruno")
    anna, bruno = world.sign_up(session_id, "anna", "bruno")
    world.cancel(anna.id)
    assert world.states(session_id) == {"anna": "cancelled", "bruno": "offered"}
    (offer,) = world.bench.emitted(SignUpOffered)
    assert offer.answer_by == world.clock.now() + timedelta(hours=48)
    assert world.accept(bruno.id).state == "confirmed"
    assert world.accept(bruno.id).state == "confirmed", "asked again, the same"
    assert [e.person_id for e in world.bench.emitted(SignUpConfirmed)] == ["anna", "bruno"]
    world.advance(hours=49)
    assert world.states(session_id)["bruno"] == "confirmed", "what was answered does not expire"


def test_an_offer_runs_out_and_the_next_gets_it_in_the_same_transaction(world: Any) -> None:
    session_id = world.session(1)
    world.people("anna", "bruno", "carla")
    anna, bruno, carla = world.sign_up(session_id, "anna", "bruno", "carla")
    world.cancel(anna.id)
    world.advance(hours=47)
    assert world.states(session_id)["bruno"] == "offered"
    world.advance(hours=1)
    assert world.states(session_id) == {
        "anna": "cancelled",
        "bruno": "expired",
        "carla": "offered",
    }
    kinds = [type(e) for e in world.bench.emitted()][-2:]
    assert kinds == [OfferExpired, SignUpOffered]
    with refused("offer.expired"):
        world.accept(bruno.id)
    assert world.accept(carla.id).state == "confirmed"
    assert world.faults() == []


def test_an_answer_after_the_deadline_is_refused_even_before_the_job_ran(world: Any) -> None:
    session_id = world.session(1)
    world.people("anna", "bruno", "carla")
    anna, bruno, _ = world.sign_up(session_id, "anna", "bruno", "carla")
    world.cancel(anna.id)
    world.clock.advance(timedelta(hours=48))
    with refused("offer.expired"):
        world.accept(bruno.id)
    with refused("offer.expired"):
        world.decline(bruno.id)
    assert world.states(session_id)["bruno"] == "offered", "a refusal writes nothing"
    world.bench.tick()
    assert world.states(session_id)["carla"] == "offered"


def test_who_comes_in_after_a_deadline_does_not_jump_the_queue(world: Any) -> None:
    """The job is late; the session is brought up to date by the next who asks."""
    session_id = world.session(1)
    world.people("anna", "bruno", "carla", "dario")
    anna, *_ = world.sign_up(session_id, "anna", "bruno", "carla")
    world.cancel(anna.id)
    world.clock.advance(timedelta(hours=50))
    (dario,) = world.sign_up(session_id, "dario")
    assert (dario.state, dario.position) == ("waiting", 1)
    assert world.states(session_id)["carla"] == "offered"
    world.bench.tick()
    assert len(world.bench.emitted(OfferExpired)) == 1
    assert world.faults() == []


def test_no_offer_runs_out_by_a_request_while_the_date_is_doubted(world: Any) -> None:
    """Whoever looks at a session ends the offers that ran out; not by a clock that jumped."""
    world.people("anna", "bruno", "carla", "dina")
    session_id = world.session(capacity=1)
    (anna,) = world.sign_up(session_id, "anna")
    (bruno,) = world.sign_up(session_id, "bruno")
    world.cancel(anna.id)
    right = world.clock.now()
    world.clock.advance(timedelta(hours=72))

    def sign_up_doubting(tx: Transaction) -> None:
        tx.doubted = True
        commands.sign_up(tx, By("centre-1"), session_id, ["carla"])

    world.bench.run(sign_up_doubting)
    assert world.states(session_id)["bruno"] == "offered"
    world.clock.set(right)
    world.accept(bruno.id)
    assert world.states(session_id) == {
        "anna": "cancelled",
        "bruno": "confirmed",
        "carla": "waiting",
    }


def test_an_offer_is_never_kept_beyond_the_beginning(world: Any) -> None:
    session_id = world.session(1, starts_in=timedelta(hours=10))
    world.people("anna", "bruno")
    anna, bruno = world.sign_up(session_id, "anna", "bruno")
    begins = world.clock.now() + timedelta(hours=10)
    world.cancel(anna.id)
    (offer,) = world.bench.emitted(SignUpOffered)
    assert offer.answer_by == begins
    world.go_to(begins)
    assert world.states(session_id)["bruno"] == "expired"
    with refused("offer.expired"):
        world.accept(bruno.id)


def test_at_the_beginning_offers_stop_and_who_waits_is_told_the_truth(world: Any) -> None:
    session_id = world.session(1, starts_in=timedelta(hours=10))
    world.people("anna", "bruno", "carla")
    anna, _bruno, _carla = world.sign_up(session_id, "anna", "bruno", "carla")
    world.cancel(anna.id)
    world.advance(hours=10)
    assert world.states(session_id) == {
        "anna": "cancelled",
        "bruno": "expired",
        "carla": "not_placed",
    }
    assert len(world.bench.emitted(SignUpOffered)) == 1, "no offer once it has begun"
    reasons = [(e.person_id, e.reason) for e in world.bench.emitted(SignUpCancelled)]
    assert reasons == [("anna", "by_staff"), ("carla", "not_placed")]
    with refused("session.begun"):
        world.sign_up(session_id, "anna")
    world.bench.tick()
    assert world.faults() == []


def test_confirmed_people_cannot_be_taken_off_after_the_beginning(world: Any) -> None:
    session_id = world.session(1, starts_in=timedelta(hours=1))
    world.people("anna")
    (anna,) = world.sign_up(session_id, "anna")
    world.advance(hours=1)
    with refused("session.begun"):
        world.cancel(anna.id)
    assert world.states(session_id) == {"anna": "confirmed"}


def test_a_canceller_is_not_offered_the_place_again_and_may_come_back_at_the_end(
    world: Any,
) -> None:
    session_id = world.session(1)
    world.people("anna", "bruno", "carla")
    anna, bruno, carla = world.sign_up(session_id, "anna", "bruno", "carla")
    world.cancel(anna.id)
    world.decline(bruno.id)
    assert world.states(session_id)["carla"] == "offered"
    (again,) = world.sign_up(session_id, "bruno")
    assert (again.state, again.position) == ("waiting", 1)
    assert again.id != bruno.id
    world.decline(carla.id)
    offered = [e.person_id for e in world.bench.emitted(SignUpOffered)]
    assert offered == ["bruno", "carla", "bruno"], "only the new entry, at the end"
    assert world.faults() == []


def test_declining_twice_is_declining_once(world: Any) -> None:
    session_id = world.session(1)
    world.people("anna", "bruno")
    anna, bruno = world.sign_up(session_id, "anna", "bruno")
    world.cancel(anna.id)
    assert world.decline(bruno.id).state == "cancelled"
    assert world.decline(bruno.id).state == "cancelled"
    assert world.cancel(bruno.id).state == "cancelled"
    reasons = [e.reason for e in world.bench.emitted(SignUpCancelled)]
    assert reasons == ["by_staff", "offer_declined"]
    with refused("offer.none"):
        world.accept(bruno.id)


def test_priority_goes_first_then_the_time_of_entry(world: Any) -> None:
    session_id = world.session(1)
    world.people("anna", "bruno", "carla", "dario")
    (anna,) = world.sign_up(session_id, "anna")
    (bruno,) = world.sign_up(session_id, "bruno")
    world.clock.advance(timedelta(minutes=1))
    (carla,) = world.sign_up(session_id, "carla", priority=2)
    (dario,) = world.sign_up(session_id, "dario", priority=2)
    assert [one.position for one in (bruno, carla, dario)] == [1, 1, 2]
    world.cancel(anna.id)
    world.decline(carla.id)
    world.decline(dario.id)
    assert [e.person_id for e in world.bench.emitted(SignUpOffered)] == ["carla", "dario", "bruno"]
    assert world.faults() == []


def test_only_staff_give_priority(world: Any) -> None:
    session_id = world.session(1)
    world.person("anna", "h1")
    with refused("signup.priority"):
        world.sign_up(session_id, "anna", by=By("centre-1", "h1"), priority=1)


def test_the_clock_of_a_replica_that_lags_does_not_change_the_order(world: Any) -> None:
    session_id = world.session(1)
    world.people("anna", "bruno", "carla")
    world.sign_up(session_id, "anna", "bruno")
    world.clock.advance(timedelta(seconds=-3))
    (carla,) = world.sign_up(session_id, "carla")
    assert carla.position == 2
    assert world.faults() == []


def test_siblings_together_are_all_or_none(world: Any) -> None:
    session_id = world.session(3)
    world.people("anna", "bruno")
    world.people("ada", "ida", household_id="h1")
    anna, _bruno = world.sign_up(session_id, "anna", "bruno")
    both = world.sign_up(session_id, "ada", "ida", together=True)
    assert [one.state for one in both] == ["waiting", "waiting"]
    assert [one.position for one in both] == [1, 2]
    world.cancel(anna.id)
    assert world.states(session_id)["ada"] == "offered"
    assert world.states(session_id)["ida"] == "offered"
    world.accept(both[0].id)
    assert world.states(session_id)["ida"] == "confirmed", "they accept as one"
    assert world.faults() == []


def test_siblings_with_room_for_both_are_confirmed_at_once(world: Any) -> None:
    session_id = world.session(2)
    world.people("ada", "ida", household_id="h1")
    both = world.sign_up(session_id, "ada", "ida", together=True)
    assert {one.state for one in both} == {"confirmed"}
    world.cancel(both[0].id)
    assert world.states(session_id) == {"ada": "cancelled", "ida": "confirmed"}


def test_one_sibling_declines_for_both(world: Any) -> None:
    session_id = world.session(2, policy=KEEP)
    world.people("anna", "bruno", "carla")
    anna, bruno = world.sign_up(session_id, "anna", "bruno")
    world.people("ada", "ida", household_id="h1")
    ada, _ida = world.sign_up(session_id, "ada", "ida", together=True)
    world.sign_up(session_id, "carla")
    world.cancel(anna.id)
    world.cancel(bruno.id)
    assert world.states(session_id)["ida"] == "offered"
    world.decline(ada.id)
    states = world.states(session_id)
    assert (states["ada"], states["ida"], states["carla"]) == ("cancelled", "cancelled", "offered")
    assert world.faults() == []


@pytest.mark.parametrize(
    ("policy", "carla", "left"), [(KEEP, "waiting", "waiting"), (NEXT, "offered", "waiting")]
)
def test_the_declared_policy_decides_when_a_group_waits_and_one_place_frees(
    world: Any, policy: Policy, carla: str, left: str
) -> None:
    session_id = world.session(2, policy=policy)
    world.people("anna", "bruno", "carla")
    world.people("ada", "ida", household_id="h1")
    anna, _bruno = world.sign_up(session_id, "anna", "bruno")
    world.sign_up(session_id, "ada", "ida", together=True)
    world.sign_up(session_id, "carla")
    world.cancel(anna.id)
    assert world.states(session_id)["carla"] == carla
    assert world.states(session_id)["ada"] == left
    assert world.faults() == []


@pytest.mark.parametrize(("policy", "state"), [(KEEP, "waiting"), (NEXT, "confirmed")])
def test_a_newcomer_meets_the_same_policy(world: Any, policy: Policy, state: str) -> None:
    session_id = world.session(2, policy=policy)
    world.people("anna", "carla")
    world.people("ada", "ida", household_id="h1")
    world.sign_up(session_id, "anna")
    world.sign_up(session_id, "ada", "ida", together=True)
    (carla,) = world.sign_up(session_id, "carla")
    assert carla.state == state
    assert world.faults() == []


def test_a_group_in_which_one_cannot_come_becomes_smaller_and_may_fit(world: Any) -> None:
    session_id = world.session(2, policy=KEEP)
    world.people("anna")
    world.people("ada", "ida", household_id="h1")
    world.sign_up(session_id, "anna")
    ada, ida = world.sign_up(session_id, "ada", "ida", together=True)
    world.cancel(ada.id)
    assert world.states(session_id)["ida"] == "offered"
    assert world.accept(ida.id).state == "confirmed"


def test_a_group_offer_runs_out_for_all_of_it_once(world: Any) -> None:
    session_id = world.session(2, policy=KEEP)
    world.people("anna", "bruno", "carla")
    world.people("ada", "ida", household_id="h1")
    anna, bruno = world.sign_up(session_id, "anna", "bruno")
    world.sign_up(session_id, "ada", "ida", together=True)
    world.sign_up(session_id, "carla")
    world.cancel(anna.id)
    world.cancel(bruno.id)
    world.advance(hours=48)
    states = world.states(session_id)
    assert (states["ada"], states["ida"], states["carla"]) == ("expired", "expired", "offered")
    assert len(world.bench.emitted(OfferExpired)) == 2
    assert world.faults() == []


def test_raising_the_capacity_offers_to_the_next_ones(world: Any) -> None:
    session_id = world.session(1)
    world.people("anna", "bruno", "carla", "dario")
    world.sign_up(session_id, "anna", "bruno", "carla", "dario")
    world.capacity(session_id, 3)
    assert world.states(session_id) == {
        "anna": "confirmed",
        "bruno": "offered",
        "carla": "offered",
        "dario": "waiting",
    }
    assert [e.capacity for e in world.bench.emitted(SessionScheduled)] == [1, 3]
    world.capacity(session_id, 3)
    assert len(world.bench.emitted(SessionScheduled)) == 2, "no change, nothing told"
    with refused("session.capacity_taken"):
        world.capacity(session_id, 2)


def test_the_capacity_cannot_go_below_a_group_that_waits(world: Any) -> None:
    session_id = world.session(2, policy=KEEP)
    world.people("anna")
    world.people("ada", "ida", household_id="h1")
    world.sign_up(session_id, "anna")
    world.sign_up(session_id, "ada", "ida", together=True)
    with refused("session.capacity_group"):
        world.capacity(session_id, 1)
    assert world.faults() == []


def test_cancelling_a_session_tells_everybody_once(world: Any) -> None:
    session_id = world.session(1)
    world.people("anna", "bruno", "carla")
    anna, _, _ = world.sign_up(session_id, "anna", "bruno", "carla")
    world.cancel(anna.id)
    for _ in range(2):
        world.bench.run(lambda tx: commands.cancel_session(tx, world.staff, session_id, "neve"))
    (told,) = world.bench.emitted(SessionCancelled)
    assert told.reason == "neve"
    ended = [(e.person_id, e.reason) for e in world.bench.emitted(SignUpCancelled)][1:]
    assert ended == [("bruno", "session_cancelled"), ("carla", "session_cancelled")]
    assert set(world.states(session_id).values()) == {"cancelled"}
    with refused("session.cancelled"):
        world.sign_up(session_id, "anna")
    with refused("session.cancelled"):
        world.capacity(session_id, 5)
    world.advance(days=8)
    assert world.faults() == []


def test_a_session_that_has_begun_is_not_cancelled(world: Any) -> None:
    session_id = world.session(1)
    world.advance(days=7)
    with refused("session.begun"):
        world.bench.run(lambda tx: commands.cancel_session(tx, world.staff, session_id))


def test_the_hold_is_dated_configuration_of_activity_or_centre(world: Any) -> None:
    def hold(hours: int, activity_id: str = "", in_days: int = 0) -> None:
        from_time = world.clock.now() + timedelta(days=in_days)
        world.bench.run(
            lambda tx: commands.set_offer_hold(
                tx,
                world.staff,
                hours=hours,
                activity_id=activity_id,
                centre_id="centre-1",
                from_time=from_time,
            )
        )

    def offered_hours(session_id: str) -> float:
        world.people("anna", "bruno")
        anna, _bruno = world.sign_up(session_id, "anna", "bruno")
        world.cancel(anna.id)
        offer = world.bench.emitted(SignUpOffered)[-1]
        return float((offer.answer_by - offer.at).total_seconds() / 3600)

    assert offered_hours(world.session(1)) == 48
    hold(24)
    hold(6, in_days=3)
    assert offered_hours(world.session(1)) == 24
    session_id = world.session(1)
    activity_id = world.bench.read(
        lambda c: c.execute(
            sa.select(store.session.c.activity_id).where(store.session.c.id == session_id)
        ).scalar()
    )
    hold(12, activity_id)
    assert offered_hours(session_id) == 12, "the activity's own goes before the centre's"
    world.clock.advance(timedelta(days=4))
    assert offered_hours(world.session(1)) == 6, "from its day on"


def test_unknown_people_are_refused_precisely(world: Any) -> None:
    session_id = world.session(2)
    world.person("anna")
    world.person("elsewhere", centre_id="centre-2")
    for nobody in ("nobody", "elsewhere"):
        with refused("person.unknown") as refusal:
            world.sign_up(session_id, "anna", nobody)
        assert refusal.value.field == "person_ids"
        assert refusal.value.values["person_id"] == nobody
    assert world.states(session_id) == {}, "nothing is half-written"


def test_nobody_holds_two_live_sign_ups_for_one_session(world: Any) -> None:
    session_id = world.session(1)
    world.people("anna", "bruno")
    world.sign_up(session_id, "anna", "bruno")
    for person_id in ("anna", "bruno"):
        with refused("signup.already"):
            world.sign_up(session_id, person_id)
    (carla,) = world.people("carla")
    assert len(world.sign_up(session_id, carla, carla)) == 1, "named twice is named once"


def test_the_store_itself_keeps_a_second_live_sign_up_out(world: Any) -> None:
    session_id = world.session(1)
    world.people("anna")
    world.sign_up(session_id, "anna")

    def again(tx: Any) -> None:
        row = tx.connection.execute(sa.select(store.sign_up)).mappings().one()
        tx.connection.execute(sa.insert(store.sign_up).values(dict(row) | {"id": "another"}))

    with pytest.raises(sa.exc.IntegrityError):
        world.bench.run(again)


def test_age_is_asked_on_the_day_of_the_session(world: Any) -> None:
    session_id = world.session(9, min_age=6, max_age=10)  # on 23 November 2026
    for person_id, born, reason in [
        ("five", date(2020, 11, 24), "person.too_young"),  # 6 the day after the session
        ("six", date(2020, 11, 23), ""),  # 6 on the day
        ("ten", date(2015, 11, 24), ""),  # 11 the day after
        ("eleven", date(2015, 11, 23), "person.too_old"),  # 11 on the day
        ("unknown", None, ""),
    ]:
        world.person(person_id, birth_date=born)
        if reason:
            with refused(reason):
                world.sign_up(session_id, person_id)
        else:
            assert world.sign_up(session_id, person_id)[0].state == "confirmed", person_id


def test_together_is_for_one_household_that_could_ever_fit(world: Any) -> None:
    session_id = world.session(2)
    world.people("ada", "ida", "mia", household_id="h1")
    world.people("anna")
    with refused("signup.not_one_household"):
        world.sign_up(session_id, "ada", "anna", together=True)
    with refused("signup.group_too_large"):
        world.sign_up(session_id, "ada", "ida", "mia", together=True)
    with refused("signup.nobody"):
        world.sign_up(session_id)
    with refused("signup.too_many"):
        world.sign_up(session_id, *[f"p{n}" for n in range(21)])
    assert world.states(session_id) == {}


def test_a_family_acts_for_its_own_household_only(world: Any) -> None:
    session_id = world.session(1)
    world.person("ada", "h1")
    world.person("anna", "h2")
    family = By("centre-1", "h1")
    with refused("person.unknown"):
        world.sign_up(session_id, "anna", by=family)
    (anna,) = world.sign_up(session_id, "anna")
    (ada,) = world.sign_up(session_id, "ada", by=family)
    for act in (world.accept, world.decline, world.cancel):
        with refused("signup.unknown"):
            act(anna.id, by=family)
    world.cancel(anna.id)
    assert world.accept(ada.id, by=family).state == "confirmed"
    assert world.cancel(ada.id, by=family).state == "cancelled"
    assert world.bench.emitted(SignUpCancelled)[-1].reason == "by_family"


def test_another_centre_sees_nothing(world: Any) -> None:
    session_id = world.session(1)
    world.people("anna")
    (anna,) = world.sign_up(session_id, "anna")
    other = By("centre-2")
    with refused("session.unknown"):
        world.sign_up(session_id, "anna", by=other)
    for act in (world.accept, world.decline, world.cancel):
        with refused("signup.unknown"):
            act(anna.id, by=other)
        with refused("signup.unknown"):
            act("no-such-id", by=other)
    for command in (
        lambda tx: commands.cancel_session(tx, other, session_id),
        lambda tx: commands.set_capacity(tx, other, session_id, 5),
        lambda tx: commands.take_register(tx, other, session_id, {}),
    ):
        with refused("session.unknown"):
            world.bench.run(command)


def test_a_series_keeps_the_time_of_the_clock_on_the_wall(world: Any) -> None:
    activity_id = world.activity()
    starts_at = world.clock.now().replace(month=3, day=22, year=2027, hour=15)  # 16:00 in Milan
    made = world.bench.run(
        lambda tx: commands.schedule_sessions(
            tx,
            world.staff,
            activity_id,
            starts_at=starts_at,
            ends_at=starts_at + timedelta(hours=2),
            weeks=2,
        )
    )
    assert len(made.ids) == 2
    told = world.bench.emitted(SessionScheduled)
    assert [e.starts_at.hour for e in told] == [15, 14], "summer time began between"
    assert {e.capacity for e in told} == {2}, "the activity's default"


def test_times_that_make_no_sense_are_refused(world: Any) -> None:
    activity_id = world.activity()

    def schedule(starts_in: int, lasts: int, by: By = world.staff) -> None:
        starts_at = world.clock.now() + timedelta(hours=starts_in)
        world.bench.run(
            lambda tx: commands.schedule_sessions(
                tx, by, activity_id, starts_at=starts_at, ends_at=starts_at + timedelta(hours=lasts)
            )
        )

    for starts_in, lasts in [(7, 0), (7, -1), (7, 25), (-40 * 24, 2), (800 * 24, 2)]:
        with refused("session.times"):
            schedule(starts_in, lasts)
    with refused("activity.unknown"):
        schedule(7, 2, By("centre-2"))


def test_the_ages_of_an_activity_make_sense(world: Any) -> None:
    with refused("activity.ages"):
        world.activity(min_age=10, max_age=6)
