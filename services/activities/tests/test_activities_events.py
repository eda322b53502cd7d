"""What activities learns from others, what it gives back to a restored store, what verify names."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from activities import commands, store
from activities.app import SERVICE
from activities.checks import CHECKS
from activities.recover import RECOVER
from contracts import Event, events
from contracts.activities import SessionScheduled, SignUpCancelled, SignUpOffered
from contracts.cards import HouseholdChanged, HouseholdErased, HouseholdRegistered
from contracts.people import PersonDescribed, PersonErased
from messaging import Received
from messaging.tables import metadata_with_messaging
from messaging.testing import orders
from runtime import migrations

from .conftest import CENTRE, STAFF


class _UndoError(Exception):
    """Nothing of what was spoilt is kept."""


def described(person_id: str, revision: int, name: str, world: Any) -> PersonDescribed:
    return PersonDescribed(
        person_id=person_id,
        household_id="h1",
        centre_id="centre-1",
        revision=revision,
        given_name=name,
        family_name="Rossi",
        birth_date=date(2016, 5, 1),
        described_at=world.clock.now(),
    )


def person(world: Any, person_id: str) -> Any:
    return world.bench.read(
        lambda c: c.execute(
            sa.select(store.person_seen).where(store.person_seen.c.person_id == person_id)
        ).one_or_none()
    )


def test_people_and_households_are_learnt_in_any_order_each_event_twice(world: Any) -> None:
    now = world.clock.now()

    def facts(n: int) -> list[Event]:
        household: dict[str, Any] = {
            "household_id": f"h{n}",
            "holder_id": f"p{n}",
            "person_ids": (f"p{n}",),
        }
        return [
            described(f"p{n}", 1, "Prima", world),
            described(f"p{n}", 2, "Seconda", world),
            HouseholdRegistered(**household, centre_id="centre-1", registered_at=now),
            HouseholdChanged(
                **household, centre_id="centre-2", changed_at=now + timedelta(seconds=1)
            ),
        ]

    for n, arrangement in enumerate(orders(list(range(4)), key=lambda index: index // 2)):
        chosen = facts(n)
        world.bench.deliver(*(chosen[index] for index in arrangement))
        assert person(world, f"p{n}").given_name == "Seconda"
        centre = world.bench.read(
            lambda c, n=n: c.execute(
                sa.select(store.household_seen.c.centre_id).where(
                    store.household_seen.c.household_id == f"h{n}"
                )
            ).scalar()
        )
        assert centre == "centre-2"
    assert n == 5, "six orders keep the order of each key"
    assert world.bench.set_aside() == []
    world.bench.rebuild_equals()


def test_an_older_description_does_not_undo_a_newer_one(world: Any) -> None:
    world.bench.deliver(described("ada", 3, "Terza", world), described("ada", 2, "Vecchia", world))
    assert person(world, "ada").given_name == "Terza"


def test_somebody_erased_leaves_a_stub_and_nothing_older_comes_back(world: Any) -> None:
    world.bench.deliver(described("ada", 1, "Ada", world), PersonErased(person_id="ada"))
    world.bench.deliver(described("ada", 7, "Ada", world), PersonErased(person_id="never-seen"))
    for person_id in ("ada", "never-seen"):
        stub = person(world, person_id)
        assert stub.erased
        assert (stub.given_name, stub.family_name, stub.family_key, stub.given_key) == ("",) * 4
        assert (stub.birth_date, stub.household_id) == (None, "")
    world.bench.rebuild_equals()
    assert world.bench.set_aside() == []


def test_the_places_of_somebody_erased_go_to_the_next(world: Any) -> None:
    session_id = world.session(1)
    other = world.session(2)
    world.people("anna", "bruno")
    world.sign_up(session_id, "anna", "bruno")
    world.sign_up(other, "anna")
    world.bench.deliver(PersonErased(person_id="anna"))
    world.bench.tick()
    assert world.states(session_id) == {"anna": "cancelled", "bruno": "offered"}
    assert world.states(other) == {"anna": "cancelled"}
    ended = [(e.person_id, e.reason) for e in world.bench.emitted(SignUpCancelled)]
    assert ended == [("anna", "person_erased")] * 2
    assert world.faults() == []


def test_a_household_erased_is_not_known_any_more(world: Any) -> None:
    from activities import queries
    from activities.commands import By
    from runtime.refusals import NotFound

    world.household("h1")
    assert world.bench.read(lambda c: queries.household_centre(c, By(), "h1")) == "centre-1"
    world.bench.deliver(
        HouseholdErased(household_id="h1", centre_id="centre-1", erased_at=world.clock.now())
    )
    try:
        world.bench.read(lambda c: queries.household_centre(c, By(), "h1"))
    except NotFound:
        return
    raise AssertionError("the household is still there")


def test_names_are_found_by_their_beginning_whatever_the_case(world: Any) -> None:
    for person_id, name in [("p1", "Élise"), ("p2", "Elena Maria"), ("p3", "عائشة")]:
        world.bench.deliver(described(person_id, 1, name, world), twice=False)
    world.person("p4", centre_id="centre-2", given_name="Elena")

    def found(typed: str) -> list[str]:
        return [
            one.person_id
            for one in world.bench.read(lambda c: store.people_named(c, "centre-1", typed))
        ]

    assert found("élise") == ["p1"]
    assert found("  ELENA   mar") == ["p2"]
    assert found("عائ") == ["p3"]
    assert sorted(found("ross")) == ["p1", "p2", "p3"]
    assert found("rossi elena") == ["p2"]
    assert found("lena") == found(" ") == found("%") == []


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("Nicolò", "nicolo"),
        ("Nicolo", "NICOLÒ"),
        ("Jose\N{COMBINING ACUTE ACCENT}", "josé"),
        ("D'Angelo", "d\N{RIGHT SINGLE QUOTATION MARK}angelo"),
        ("D\N{RIGHT SINGLE QUOTATION MARK}Angelo", "d'ang"),
        ("Anna-Maria", "anna maria"),
        ("أحمد", "احمد"),
        ("احمد", "أحمد"),
    ],
)
def test_accents_apostrophes_and_hyphens_of_a_name_need_not_be_typed(
    world: Any, name: str, typed: str
) -> None:
    world.person("p1", given_name=name)
    found = world.bench.read(lambda c: store.people_named(c, "centre-1", typed))
    assert [one.given_name for one in found] == [name]


def test_every_typed_word_begins_a_word_of_the_name_and_names_that_begin_so_come_first(
    world: Any,
) -> None:
    names = {"p1": "Anna-Maria", "p2": "Maria", "p3": "Luca", "p4": "Gianluca"}
    for person_id, name in names.items():
        world.person(person_id, given_name=name)

    def found(typed: str, **more: Any) -> list[str]:
        people = world.bench.read(lambda c: store.people_named(c, "centre-1", typed, **more))
        return [one.person_id for one in people]

    assert found("maria") == ["p2", "p1"]
    assert found("mar ros") == ["p1", "p2"]
    assert found("maria rossi anna") == ["p1"]
    assert found("luca") == ["p3"], "the middle of a word is no beginning"
    assert found("maria bianchi") == []
    assert found("maria", limit=1) == ["p2"]


def scenario(world: Any) -> None:
    """Something of every fact."""
    world.people("anna", "bruno", "carla", "dario")
    session_id = world.session(1, starts_in=timedelta(days=4))
    anna, *_ = world.sign_up(session_id, "anna", "bruno", "carla", "dario")
    world.cancel(anna.id)
    world.advance(hours=48)
    world.capacity(session_id, 2)
    (carla,) = [s for s in world.sign_ups(session_id) if s.person_id == "carla"]
    world.accept(carla.id)
    world.advance(hours=48)
    world.register(session_id, ["carla", "anna"])
    world.register(session_id, ["carla"])
    swap_places(world)
    gone = world.session(1)
    world.sign_up(gone, "anna")
    world.bench.run(lambda tx: commands.cancel_session(tx, world.staff, gone, "neve"))
    open_ = world.session(1)
    (first, _) = world.sign_up(open_, "anna", "bruno")
    world.cancel(first.id)


def swap_places(world: Any) -> None:
    """Both were absent all the time, with a place or without: of each mark no fact tells that."""
    session_id = world.session(2, starts_in=timedelta(hours=1))
    (bruno,) = world.sign_up(session_id, "bruno")
    world.register(session_id, ["anna"])
    assert world.register(session_id).absent == 1, "a walk-in taken off again is not absent"
    world.cancel(bruno.id)
    assert world.register(session_id).absent == 0
    world.sign_up(session_id, "anna")
    assert world.register(session_id).absent == 1


def test_a_restored_store_gets_its_state_back_from_its_own_facts(
    store_url: str, make_world: Callable[[str], Any], tmp_path: Any
) -> None:
    before = make_world(store_url)
    scenario(before)
    before.bench.run(lambda tx: commands.set_offer_hold(tx, STAFF, hours=24, centre_id=CENTRE))
    after = make_world(f"sqlite:///{tmp_path / 'restored.db'}")
    after.people("anna", "bruno", "carla", "dario")

    def received(event: Event) -> Received[Event]:
        return Received(
            event=event,
            id="",
            type=event.ce_type(),
            source="/activities",
            time=before.clock.now(),
            order=before.clock.now(),
            subject=event.key,
            key=event.key,
            previous=None,
            cause=None,
            correlation="",
            centre="centre-1",
            traceparent="",
            era=0,
            topic=event.TOPIC,
            partition=0,
            offset=0,
        )

    told = before.bench.emitted()
    # Keys keep their order; between keys there is none: activities may come last.
    told.sort(key=lambda event: event.TYPE == "activities.activity.created")
    for event in told + told[-3:]:
        after.bench.run(lambda tx, e=event: RECOVER[type(e)](tx, received(e)))

    def rows(world: Any, table: sa.Table, *names: str) -> list[Any]:
        columns = [table.c[name] for name in names]
        return list(
            world.bench.read(lambda c: c.execute(sa.select(*columns).order_by(*columns)).all())
        )

    for table, names in (
        (
            store.activity,
            tuple(c.name for c in store.activity.c if c.name != "description"),
        ),
        (
            store.offer_hold,
            ("id", "centre_id", "activity_id", "from_time", "hours", "set_at"),
        ),
        (store.session, ("id", "place", "scheduled_at")),
        (store.sign_up, ("id", "entered_at", "priority", "group_id", "recovered")),
        (
            store.session,
            ("id", "activity_id", "starts_at", "ends_at", "capacity", "state", "cancel_reason"),
        ),
        (store.session, ("id", "register_revision", "register_present", "register_absent")),
        (
            store.sign_up,
            ("id", "session_id", "person_id", "household_id", "state", "offered_at", "answer_by"),
        ),
        (store.attendance, ("session_id", "person_id", "present", "expected", "revision")),
    ):
        assert rows(after, table, *names) == rows(before, table, *names), table.name
    assert after.faults() == []
    assert {type(event) for event in told} == set(RECOVER), "every fact is tried"
    offered = before.bench.emitted(SignUpOffered)[-1].session_id
    after.advance(hours=48)
    assert after.states(offered)["bruno"] == "expired", "a recovered offer runs out too"


def test_every_own_fact_can_be_recovered() -> None:
    assert set(RECOVER) == set(events("activities.events"))
    assert SERVICE.topics == ("activities.events",)


def test_verify_names_what_does_not_hold(world: Any) -> None:
    session_id = world.session(1)
    world.people("anna", "bruno", "carla")
    anna, bruno, carla = world.sign_up(session_id, "anna", "bruno", "carla")
    world.cancel(anna.id)
    assert world.faults() == []

    def broken(*statements: Any) -> str:
        names: list[str] = []

        def spoil(tx: Any) -> None:
            for statement in statements:
                tx.connection.execute(statement)
            names.extend(str(fault) for check in CHECKS for fault in check.run(tx.connection))
            raise _UndoError

        try:
            world.bench.run(spoil)
        except _UndoError:
            return "\n".join(names)
        raise AssertionError

    up = sa.update(store.sign_up)
    of_carla = up.where(store.sign_up.c.id == carla.id)
    of_bruno = up.where(store.sign_up.c.id == bruno.id)
    job = metadata_with_messaging().tables["job"]
    assert f"activities.capacity: {session_id}" in broken(of_carla.values(state="confirmed"))
    assert f"activities.offer_due: {bruno.id}" in broken(
        sa.delete(job).where(job.c.subject == bruno.id)
    )
    of_the_job = sa.update(job).where(job.c.subject == bruno.id)
    in_a_month = of_the_job.values(due=world.clock.now() + timedelta(days=30))
    assert f"activities.offer_due: {bruno.id}" in broken(in_a_month)
    assert broken(in_a_month.values(tries=1)) == "", "tried, and again later"
    assert f"activities.offer_due: {bruno.id}" in broken(of_the_job.values(state="dead", tries=6))
    assert f"activities.offer_deadline: {bruno.id}" in broken(
        of_bruno.values(answer_by=world.clock.now() + timedelta(days=30))
    )
    later = world.clock.now() + timedelta(minutes=1)
    assert f"activities.waiting_list_order: {bruno.id}" in broken(
        of_bruno.values(state="waiting", offered_at=None, answer_by=None),
        of_carla.values(state="offered", offered_at=later, answer_by=later),
    )
    assert f"activities.register_sums: {session_id}" in broken(
        sa.update(store.session).values(register_present=3)
    )
    assert "activities.session_cancelled" in broken(
        sa.update(store.session).values(state="cancelled")
    )
    assert "activities.one_live_sign_up" in broken(
        sa.text("DROP INDEX sign_up_live"),
        of_carla.values(person_id="bruno"),
    )
    assert world.faults() == []


def test_the_schema_is_what_the_tables_say_up_down_and_up(empty_url: str) -> None:
    for _ in range(2):
        migrations.upgrade(empty_url, "activities", store.metadata)
        migrations.check(empty_url, "activities")
        assert migrations.difference(empty_url, "activities", store.metadata) == []
        migrations.downgrade(empty_url, "activities", store.metadata)
    migrations.upgrade(empty_url, "activities", store.metadata)


def test_a_change_of_capacity_is_told_again_with_the_same_id(world: Any) -> None:
    session_id = world.session(1)
    world.capacity(session_id, 4)
    told = world.bench.emitted(SessionScheduled)
    assert [(e.session_id, e.capacity) for e in told] == [(session_id, 1), (session_id, 4)]
