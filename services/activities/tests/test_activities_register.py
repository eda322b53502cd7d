"""The register: complete, idempotent, corrected by revisions, never over the seats."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from contracts.activities import AttendanceRecorded, RegisterTaken
from contracts.people import PersonErased
from runtime.refusals import Refusal


def refused(reason: str) -> Any:
    return pytest.raises(Refusal, match=f"^{reason}:")


def told(world: Any) -> list[tuple[str, bool, int]]:
    return [(e.person_id, e.present, e.revision) for e in world.bench.emitted(AttendanceRecorded)]


def test_a_register_says_of_everybody_with_a_place_whether_they_were_there(world: Any) -> None:
    session_id = world.session(3, starts_in=timedelta(hours=1))
    world.people("anna", "bruno", "carla", "dario")
    anna, *_ = world.sign_up(session_id, "anna", "bruno", "carla", "dario")
    world.advance(hours=1)
    made = world.register(session_id, ["anna", "bruno"])
    assert (made.revision, made.present, made.absent, made.changed) == (1, 2, 1, 3)
    assert told(world) == [("anna", True, 1), ("bruno", True, 1), ("carla", False, 1)]
    first = world.bench.emitted(AttendanceRecorded)[0]
    assert (first.signup_id, first.household_id) == (anna.id, "household-of-anna")
    (taken,) = world.bench.emitted(RegisterTaken)
    assert (taken.present, taken.absent, taken.revision) == (2, 1, 1)
    assert world.faults() == []


def test_taken_again_the_same_it_tells_nothing(world: Any) -> None:
    session_id = world.session(2, starts_in=timedelta(hours=1))
    world.people("anna", "bruno")
    world.sign_up(session_id, "anna", "bruno")
    world.advance(hours=1)
    for _ in range(3):
        made = world.register(session_id, ["anna"])
    assert (made.revision, made.changed) == (1, 0)
    assert len(world.bench.emitted(AttendanceRecorded)) == 2
    assert len(world.bench.emitted(RegisterTaken)) == 1


def test_a_correction_is_a_new_fact_with_a_higher_revision_for_who_changed_only(
    world: Any,
) -> None:
    session_id = world.session(2, starts_in=timedelta(hours=1))
    world.people("anna", "bruno")
    world.sign_up(session_id, "anna", "bruno")
    world.advance(hours=1)
    world.register(session_id, ["anna"])
    world.register(session_id, ["anna", "bruno"])
    made = world.register(session_id, ["anna"], ["bruno"])
    assert told(world)[2:] == [("bruno", True, 2), ("bruno", False, 3)]
    assert made.revision == 3
    assert world.faults() == []


def test_an_empty_session_has_a_register_too(world: Any) -> None:
    session_id = world.session(2, starts_in=timedelta(hours=1))
    world.advance(hours=1)
    assert world.register(session_id).revision == 1
    assert world.register(session_id).revision == 1
    (taken,) = world.bench.emitted(RegisterTaken)
    assert (taken.present, taken.absent) == (0, 0)


def test_walk_ins_are_known_people_as_long_as_there_are_seats(world: Any) -> None:
    session_id = world.session(2, starts_in=timedelta(hours=1))
    world.people("anna", "bruno", "carla", "dario")
    world.person("elsewhere", centre_id="centre-2")
    world.sign_up(session_id, "anna", "bruno")
    world.advance(hours=1)
    for stranger in ("nobody", "elsewhere"):
        with refused("person.unknown"):
            world.register(session_id, ["anna", stranger])
    with refused("register.full"):
        world.register(session_id, ["anna", "carla", "dario"])
    assert world.bench.emitted(AttendanceRecorded) == [], "nothing is half-written"
    made = world.register(session_id, ["anna", "carla"])
    assert (made.present, made.absent) == (2, 1)
    walk_in = next(e for e in world.bench.emitted(AttendanceRecorded) if e.person_id == "carla")
    assert (walk_in.signup_id, walk_in.household_id) == ("", "household-of-carla")
    made = world.register(session_id, ["anna"])
    assert (made.present, made.absent) == (1, 1), "a walk-in taken off again is not absent"
    assert told(world)[-1] == ("carla", False, 2)
    assert world.faults() == []


def test_before_it_begins_a_walk_in_takes_nobodys_place(world: Any) -> None:
    session_id = world.session(2, starts_in=timedelta(hours=1))
    world.people("anna", "bruno", "carla")
    anna, *_ = world.sign_up(session_id, "anna", "bruno")
    with refused("register.full"):
        world.register(session_id, ["carla"])
    world.cancel(anna.id)
    assert world.register(session_id, ["carla"]).present == 1
    world.advance(hours=1)
    made = world.register(session_id, ["carla", "bruno"])
    assert (made.present, made.absent) == (2, 0)
    with refused("register.full"):
        world.register(session_id, ["anna", "carla", "bruno"])
    assert world.faults() == []


def test_somebody_signed_up_with_no_place_is_a_walk_in(world: Any) -> None:
    session_id = world.session(1, starts_in=timedelta(hours=1))
    world.people("anna", "bruno")
    world.sign_up(session_id, "anna", "bruno")
    world.advance(hours=1)
    assert world.states(session_id)["bruno"] == "not_placed"
    made = world.register(session_id, ["bruno"])
    assert (made.present, made.absent) == (1, 1)
    assert world.bench.emitted(AttendanceRecorded)[-1].signup_id == ""


def test_the_register_is_for_the_day_of_the_session_and_after(world: Any) -> None:
    tomorrow = world.session(2, starts_in=timedelta(days=1))
    with refused("register.too_early"):
        world.register(tomorrow)
    world.clock.advance(timedelta(hours=15))  # half past midnight in Milan
    assert world.register(tomorrow).revision == 1
    world.advance(days=20)
    world.people("anna")
    assert world.register(tomorrow, ["anna"]).revision == 2


def test_a_cancelled_session_has_no_register(world: Any) -> None:
    from activities import commands

    session_id = world.session(2, starts_in=timedelta(hours=1))
    world.bench.run(lambda tx: commands.cancel_session(tx, world.staff, session_id))
    world.advance(hours=2)
    with refused("session.cancelled"):
        world.register(session_id)


def test_a_session_is_not_cancelled_while_its_register_says_that_somebody_was_there(
    world: Any,
) -> None:
    from activities import commands

    def cancel() -> None:
        world.bench.run(lambda tx: commands.cancel_session(tx, world.staff, session_id))

    session_id = world.session(2, starts_in=timedelta(hours=1))
    world.people("anna")
    world.sign_up(session_id, "anna")
    world.register(session_id, ["anna"])
    with refused("session.people_present"):
        cancel()
    assert world.states(session_id) == {"anna": "confirmed"}
    world.register(session_id)
    cancel()
    assert told(world)[-1] == ("anna", False, 2), "what the mark had brought is taken back"
    assert world.states(session_id) == {"anna": "cancelled"}
    assert world.faults() == []


def test_two_who_take_it_at_once_do_not_undo_each_other(world: Any) -> None:
    session_id = world.session(2, starts_in=timedelta(hours=1))
    world.people("anna", "bruno")
    world.sign_up(session_id, "anna", "bruno")
    world.advance(hours=1)
    world.register(session_id, ["anna"], seen_revision=0)
    with refused("register.changed"):
        world.register(session_id, ["bruno"], seen_revision=0)
    assert world.register(session_id, ["anna", "bruno"], seen_revision=1).revision == 2


def test_what_was_marked_of_somebody_erased_stays(world: Any) -> None:
    session_id = world.session(2, starts_in=timedelta(hours=1))
    world.people("anna", "bruno")
    world.sign_up(session_id, "anna")
    world.advance(hours=1)
    world.register(session_id, ["anna", "bruno"])
    world.bench.deliver(PersonErased(person_id="anna"), PersonErased(person_id="bruno"))
    world.bench.tick()
    assert world.states(session_id) == {"anna": "confirmed"}, "the past is not undone"
    assert world.register(session_id, []).revision == 1, "nobody can say any more who it was"
    assert len(told(world)) == 2
    assert world.faults() == []


def test_a_register_holds_only_so_many(world: Any) -> None:
    session_id = world.session(2, starts_in=timedelta(hours=-1))
    with refused("register.too_long"):
        world.register(session_id, [f"p{n}" for n in range(2001)])


def test_places_cannot_be_taken_from_who_was_there(world: Any) -> None:
    session_id = world.session(2, starts_in=timedelta(hours=-1))
    world.people("anna", "bruno")
    world.register(session_id, ["anna", "bruno"])
    with refused("session.capacity_taken"):
        world.capacity(session_id, 1)


def test_before_it_begins_nobody_gets_the_seat_of_a_walk_in(world: Any) -> None:
    session_id = world.session(2, starts_in=timedelta(hours=1))
    world.people("anna", "bruno", "carla", "dario")
    world.sign_up(session_id, "bruno")
    world.register(session_id, ["carla"])
    (late,) = world.sign_up(session_id, "anna")
    assert late.state == "waiting", "carla sits on that seat"
    with refused("session.capacity_taken"):
        world.capacity(session_id, 1)
    world.capacity(session_id, 3)
    assert world.states(session_id)["anna"] == "offered"
    world.advance(hours=1)
    assert world.register(session_id, ["bruno", "carla"]).present == 2
    assert world.faults() == []


def test_the_seat_of_a_walk_in_is_free_for_the_next_when_they_are_taken_off(world: Any) -> None:
    session_id = world.session(1, starts_in=timedelta(hours=1))
    world.people("anna", "carla")
    world.register(session_id, ["carla"])
    (waits,) = world.sign_up(session_id, "anna")
    assert waits.state == "waiting"
    world.register(session_id)
    assert world.states(session_id) == {"anna": "offered"}
    assert world.faults() == []


def test_a_walk_in_who_signs_up_gets_the_place_on_which_they_sit(world: Any) -> None:
    session_id = world.session(1, starts_in=timedelta(hours=1))
    world.people("anna", "carla")
    world.register(session_id, ["carla"])
    carla, anna = world.sign_up(session_id, "carla", "anna")
    assert (carla.state, anna.state) == ("confirmed", "waiting")
    assert world.register(session_id, ["carla"]).present == 1
    assert world.faults() == []


def test_the_places_shown_as_open_are_without_those_of_walk_ins(world: Any) -> None:
    from activities import queries

    session_id = world.session(3, starts_in=timedelta(hours=1))
    world.people("anna", "bruno", "carla")
    world.sign_up(session_id, "anna", "bruno")
    world.register(session_id, ["anna", "carla"])
    seen = world.bench.read(lambda c: queries.session(c, world.staff, session_id))
    assert (seen.walk_ins, seen.places_left, seen.open_places) == (1, 0, 0)
