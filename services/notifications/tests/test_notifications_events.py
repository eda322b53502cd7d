"""What the others tell becomes messages: once each, to whom they are for, by the ways they want."""

from __future__ import annotations

from datetime import time, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from contracts import Event, events
from contracts.cards import (
    CreditReason,
    HouseholdChanged,
    HouseholdErased,
    PointsExpired,
)
from contracts.identity import CentreOpened
from contracts.network import ReferralAccepted, ReferralCompleted, ReferralRejected
from contracts.notifications import (
    Channel,
    ContactUnreachable,
    HoursSet,
    MessageDelivered,
    MessageFailed,
    PreferencesChanged,
)
from contracts.people import PersonErased
from messaging import tables
from messaging.envelope import Record, decode, wire_headers
from messaging.testing import Bench, orders
from notifications import commands, store
from notifications.app import SERVICE
from notifications.commands import wishes
from notifications.domain.delivery import State, Why
from notifications.domain.kinds import Kind
from notifications.domain.preferences import Preferences
from notifications.domain.quiet_hours import Hours, Window
from runtime.clock import FixedClock
from runtime.ids import SequenceIds

from .conftest import CENTRE, World, at


def referral(world: World, kind: type[Event], **more: Any) -> Event:
    return kind.model_validate(
        {
            "referral_id": "referral-1",
            "centre_id": CENTRE,
            "household_id": "house-1",
            "to_organisation_id": "sert-milano",
            "at": world.now,
            **more,
        }
    )


def test_every_fact_makes_its_message_once(world: World) -> None:
    world.household()
    made: dict[str, str] = {}
    for event, kind in [
        (world.confirmed(), "signup_confirmed"),
        (world.waitlisted(), "signup_waitlisted"),
        (world.offered(), "signup_offered"),
        (world.expired(), "offer_expired"),
        (world.cancelled(), "signup_cancelled"),
        (world.cancelled(reason="session_cancelled"), "session_cancelled"),
        (world.credited(), "points_for_attendance"),
        (world.credited(CreditReason.ALLOWANCE), "points_allowance"),
        (
            PointsExpired(
                household_id="house-1",
                transfer_id="t-2",
                points=5,
                buckets=(),
                available=20,
                held=0,
                expired_at=world.now,
            ),
            "points_expired",
        ),
        (referral(world, ReferralAccepted), "referral_accepted"),
        (referral(world, ReferralRejected, reason="no_capacity"), "referral_rejected"),
        (referral(world, ReferralCompleted, outcome="met"), "referral_completed"),
        (world.registered("house-2", "omar"), "welcome"),
    ]:
        world.bench.deliver(event)
        (new,) = [row for row in world.messages() if row.id not in made]
        made[new.id] = new.kind
        assert new.kind == kind
        assert new.person_id == ("omar" if kind == "welcome" else "maria")
    assert len(made) == 13
    inbox = world.rows(store.delivery, channel="in_app")
    assert {row.state for row in inbox} == {"delivered"}
    told = [event for event in world.bench.emitted(MessageDelivered) if event.message_id in made]
    assert sorted((event.message_id, event.channel) for event in told) == sorted(
        (message_id, Channel.IN_APP) for message_id in made
    )
    assert world.faults() == []
    world.bench.rebuild_equals()
    assert world.bench.set_aside() == []


def test_nothing_is_told_of_a_referral_without_the_familys_consent(world: World) -> None:
    """Who reads the household's messages may be the one from whom somebody is protected."""
    world.household()
    for fact in (
        referral(world, ReferralAccepted, overridden=True),
        referral(world, ReferralRejected, reason="no_capacity", overridden=True),
        referral(world, ReferralCompleted, outcome="met", overridden=True),
        referral(world, ReferralAccepted, household_id="not-known-yet", overridden=True),
    ):
        world.bench.deliver(fact)
    assert world.messages() == []
    assert world.rows(store.delivery) == []
    assert world.bench.set_aside() == []


@pytest.mark.parametrize("reason", [CreditReason.SALE, CreditReason.REFUND])
def test_points_of_a_sale_stand_on_its_receipt(world: World, reason: CreditReason) -> None:
    world.household()
    world.bench.deliver(world.credited(reason))
    world.bench.deliver(world.credited(points=0))
    assert world.messages() == []


@pytest.mark.parametrize("reason", ["by_family", "offer_declined", "something_new"])
def test_who_cancels_oneself_is_not_told(world: World, reason: str) -> None:
    world.household()
    world.bench.deliver(world.cancelled(reason=reason))
    assert world.messages() == []


def test_everybody_signed_up_hears_of_a_session_that_is_cancelled(world: World) -> None:
    world.household()
    for person in ("maria", "ali", "noor"):
        world.bench.deliver(world.cancelled(person, reason="session_cancelled"))
    assert sorted(row.person_id for row in world.messages()) == ["ali", "maria", "noor"]


def test_the_email_of_a_child_goes_to_the_holder(world: World) -> None:
    world.household(language="ar")
    world.bench.deliver(world.person("amina", email="", phone="", messages_allowed=False))
    world.bench.deliver(world.confirmed("amina"))
    (message,) = world.messages()
    contact = world.bench.read(lambda c: store.contact(c, "amina", "house-1"))
    assert (message.person_id, contact.name) == ("amina", "Amina")
    assert (contact.address, contact.language) == ("maria@example.org", "ar")
    assert contact.consent
    assert world.states() == {"in_app": "delivered", "email": "created"}


def test_without_consent_only_what_is_always_sent_leaves(world: World) -> None:
    world.household(messages_allowed=False)
    world.bench.deliver(world.confirmed(), world.offered())
    states = {
        row.kind: world.rows(store.delivery, message_id=row.id, channel="email")[0]
        for row in world.messages()
    }
    assert (states["signup_confirmed"].state, states["signup_confirmed"].why) == (
        "not_sent",
        Why.NO_CONSENT,
    )
    assert states["signup_offered"].state == State.CREATED


def test_a_household_gets_what_it_wants(world: World) -> None:
    world.household()
    wanted = Preferences.model_validate({"kinds": {"signup_confirmed": False}})
    world.bench.run(lambda tx: commands.set_preferences(tx, "house-1", wanted))
    world.bench.deliver(world.confirmed())
    assert world.delivery().why == Why.SWITCHED_OFF
    assert world.rows(store.delivery, channel="call") == []


def test_who_has_no_address_is_somebody_to_call_when_it_matters(world: World) -> None:
    world.household(email="")
    world.bench.deliver(world.waitlisted())
    assert world.states() == {"in_app": "delivered", "email": "not_sent"}
    world.bench.run(lambda tx: commands.forget_person(tx, "maria"))
    world.bench.deliver(world.offered())
    assert world.states() == {"in_app": "delivered", "email": "not_sent", "call": "created"}
    assert world.delivery().why == Why.NO_ADDRESS
    assert world.faults() == []


def test_a_message_at_night_waits_for_the_morning(world: World, clock: FixedClock) -> None:
    world.household()
    clock.set(at("2026-11-16 21:30"))
    world.bench.deliver(world.confirmed())
    email = world.delivery()
    assert (email.state, email.why) == ("created", Why.QUIET_HOURS)
    assert email.next_attempt == email.due_at == at("2026-11-17 08:00")


def test_an_offer_that_would_run_out_at_night_passes(world: World, clock: FixedClock) -> None:
    world.household()
    clock.set(at("2026-11-16 21:30"))
    world.bench.deliver(world.offered(answer_by=at("2026-11-17 07:00")))
    assert world.delivery().next_attempt == clock.now()


def test_a_session_of_monday_morning_that_is_cancelled_on_sunday_is_told_on_sunday(
    world: World, clock: FixedClock
) -> None:
    world.household()
    clock.set(at("2026-11-15 10:00"))
    begins = at("2026-11-16 08:30")  # half an hour after the messages of Monday leave
    world.bench.deliver(world.cancelled(reason="session_cancelled", starts_at=begins))
    assert world.delivery().next_attempt == clock.now()


def test_the_hours_are_those_of_the_centre(world: World, clock: FixedClock) -> None:
    world.bench.deliver(
        CentreOpened(
            centre_id="centre-ny",
            name="House",
            time_zone="America/New_York",
            region="US-NY",
            opened_at=world.now,
        )
    )
    world.household("house-ny", "john", centre_id="centre-ny")
    clock.set(at("2026-11-25 23:00"))  # 18:00 there; the next day is Thanksgiving
    world.bench.deliver(world.confirmed("john", household_id="house-ny", centre_id="centre-ny"))
    assert world.delivery().next_attempt == clock.now()
    clock.set(at("2026-11-26 15:00"))
    world.bench.deliver(world.waitlisted("john", household_id="house-ny", centre_id="centre-ny"))
    (waiting,) = world.rows(store.delivery, why=Why.QUIET_HOURS.value)
    assert waiting.next_attempt == at("2026-11-27 14:00")


def test_a_person_who_is_not_known_yet_is_waited_for(world: World, clock: FixedClock) -> None:
    world.bench.deliver(world.confirmed("stranger", household_id="house-9"))
    email = world.delivery()
    assert (email.state, email.why) == ("created", Why.CONTACT)
    assert email.next_attempt == clock.now() + timedelta(seconds=5)


def test_points_of_a_household_that_is_not_known_yet_wait(world: World, clock: FixedClock) -> None:
    world.bench.deliver(referral(world, ReferralAccepted), twice=False)
    (waiting,) = world.bench.set_aside()
    assert waiting.state == "retrying"
    world.household()
    clock.advance(timedelta(minutes=2))
    world.bench.retry()
    assert [row.kind for row in world.messages()] == ["referral_accepted"]


def test_a_referral_of_nobody_known_is_told_to_nobody(world: World) -> None:
    world.bench.deliver(referral(world, ReferralAccepted, household_id=""))
    assert world.messages() == []
    assert world.bench.set_aside() == []


def test_the_holder_of_now_is_told(world: World, clock: FixedClock) -> None:
    world.household()
    clock.advance(timedelta(minutes=1))
    world.bench.deliver(
        HouseholdChanged(
            household_id="house-1",
            centre_id=CENTRE,
            holder_id="omar",
            person_ids=("omar",),
            changed_at=clock.now(),
        ),
        world.credited(),
    )
    assert [row.person_id for row in world.messages()] == ["omar"]


def test_an_old_fact_makes_no_email(world: World, clock: FixedClock) -> None:
    """A new service, or a log that is read again, must not send a year of messages."""
    world.household(email="")
    record = world.bench.record(world.offered())
    clock.advance(timedelta(days=31))
    world.bench.settle([record])
    assert world.states() == {"in_app": "delivered", "email": "not_sent"}
    assert world.delivery().why == Why.OLD


# erasure


def test_nothing_stays_of_a_person_who_is_erased(world: World) -> None:
    world.household(email="")
    world.bench.deliver(world.offered(), world.confirmed(), world.confirmed("ali"))
    world.bench.deliver(PersonErased(person_id="maria"))
    assert [row.person_id for row in world.messages()] == ["ali"]
    assert {row.person_id for row in world.rows(store.delivery)} == {"ali"}
    (stub,) = world.rows(store.person_contact, person_id="maria")
    assert stub.erased
    assert (stub.given_name, stub.family_name, stub.email, stub.phone, stub.household_id) == (
        "",
        "",
        "",
        "",
        "",
    )
    world.bench.deliver(world.person("maria", revision=9), world.waitlisted())
    assert world.rows(store.person_contact, person_id="maria") == [stub]
    assert [row.person_id for row in world.messages()] == ["ali"]
    assert world.faults() == []
    world.bench.rebuild_equals()


def test_an_erased_household_wants_nothing_and_hears_nothing(
    world: World, clock: FixedClock
) -> None:
    world.household()
    wanted = Preferences(everything=False)
    world.bench.run(lambda tx: commands.set_preferences(tx, "house-1", wanted))
    clock.advance(timedelta(seconds=1))
    world.bench.deliver(
        HouseholdErased(household_id="house-1", centre_id=CENTRE, erased_at=clock.now()),
        world.credited(),
        referral(world, ReferralCompleted, outcome="met"),
    )
    assert world.rows(store.preference) == []
    assert world.messages() == []
    assert world.bench.set_aside() == []


def test_the_newer_description_wins(world: World) -> None:
    world.bench.deliver(
        world.person("maria", revision=3, email="new@example.org"),
        world.person("maria", revision=2, email="old@example.org"),
    )
    (known,) = world.rows(store.person_contact)
    assert known.email == "new@example.org"
    world.bench.rebuild_equals()


def test_an_address_that_is_too_long_is_none(world: World) -> None:
    world.bench.deliver(world.person("maria", email="a" * 330 + "@example.org", phone="1" * 50))
    (known,) = world.rows(store.person_contact)
    assert (known.email, known.phone) == ("", "")


# order


def test_in_every_order_the_same_messages_come_of_it(tmp_path: Path, clock: FixedClock) -> None:
    """Facts of different keys come in any order; each message is made once, whatever that is."""
    keys = ("maria", "house-1", "session-1", "session-1")
    for number, order in enumerate(orders(range(4), key=lambda fact: keys[fact])):
        url = f"sqlite:///{tmp_path / f'{number}.db'}"
        with Bench(SERVICE, url, clock=clock, ids=SequenceIds()) as bench:
            world = World(bench, clock)
            facts = (
                world.person("maria", holder=True),
                world.registered(),
                world.waitlisted(),
                world.offered(),
            )
            records = [bench.record(fact) for fact in facts]
            for fact in order:
                bench.settle([records[fact], records[fact]])
            assert sorted((row.kind, row.person_id) for row in world.messages()) == [
                ("signup_offered", "maria"),
                ("signup_waitlisted", "maria"),
                ("welcome", "maria"),
            ], order
            assert len(world.rows(store.delivery)) == 6
            assert bench.set_aside() == []
            assert world.faults() == []
    assert number == 11


# restore


def test_own_facts_give_a_restored_store_its_deliveries_back(
    world: World, tmp_path: Any, clock: FixedClock, ids: SequenceIds
) -> None:
    world.household(email="")
    world.bench.deliver(world.offered())
    call = world.delivery("call")
    world.bench.run(lambda tx: commands.call_done(tx, call.id, reached=True))
    (message,) = world.messages()
    facts = [
        fact for fact in world.bench.emitted() if getattr(fact, "message_id", "") == message.id
    ]
    assert len(facts) == 2
    failed = MessageFailed(
        message_id=message.id,
        person_id="maria",
        household_id="house-1",
        centre_id=CENTRE,
        kind="signup_offered",
        channel=Channel.EMAIL,
        state="unknown",
        failed_at=clock.now(),
    )
    gone = ContactUnreachable(
        person_id="maria",
        household_id="house-1",
        centre_id=CENTRE,
        channel=Channel.EMAIL,
        seen_at=clock.now(),
    )
    with Bench(SERVICE, f"sqlite:///{tmp_path / 'restored.db'}", clock=clock, ids=ids) as bench:
        restored = World(bench, clock)
        for fact in (*facts, failed, gone, *facts, failed, gone):
            received: Any = _received(restored, fact)
            bench.run(lambda tx, f=fact, r=received: SERVICE.recover[type(f)](tx, r))
        assert restored.states() == {
            "in_app": "delivered",
            "call": "delivered",
            "email": "unknown",
        }
        (back,) = restored.messages()
        assert (back.id, back.state, back.household_id) == (message.id, "unknown", "house-1")
        assert len(restored.rows(store.unreachable)) == 1
        assert restored.faults() == []


def test_wishes_and_hours_come_back_as_they_were(
    world: World, tmp_path: Path, clock: FixedClock, ids: SequenceIds
) -> None:
    world.household("house-1", "maria")
    bench = world.bench
    wanted = (
        Preferences(everything=False),
        Preferences(kinds={Kind.POINTS_ALLOWANCE: False}, channels={Channel.EMAIL: True}),
    )
    for one in wanted:
        bench.run(lambda tx, w=one: wishes.set_preferences(tx, "house-1", w))
        clock.advance(timedelta(minutes=1))
    hours = Hours(sundays=Window(opens=time(10), closes=time(12)))
    bench.run(lambda tx: wishes.set_hours(tx, CENTRE, hours, from_time=clock.now()))
    told = [
        _as_sent(row) for row in bench.read(lambda c: c.execute(sa.select(tables.outbox)).all())
    ]
    told = [one for one in told if isinstance(one.event, PreferencesChanged | HoursSet)]
    assert len(told) == 3

    def rows(of: Bench, table: sa.Table, *who: str) -> list[Any]:
        columns = [c for c in table.c if c.name not in who]
        return list(of.read(lambda c: c.execute(sa.select(*columns)).all()))

    with Bench(SERVICE, f"sqlite:///{tmp_path / 'restored.db'}", clock=clock, ids=ids) as fresh:
        for one in (*told, *reversed(told)):
            fresh.run(lambda tx, r=one: SERVICE.recover[type(r.event)](tx, r))
        for table, who in ((store.preference, "changed_by"), (store.hours, "set_by")):
            assert rows(fresh, table, who) == rows(bench, table, who)
        assert fresh.emitted() == []


def test_wishes_count_also_after_the_clock_was_ahead(world: World, clock: FixedClock) -> None:
    world.household("house-1", "maria")
    right = clock.now()
    for moment, everything in ((right + timedelta(days=50), True), (right, False)):
        clock.set(moment)
        wanted = Preferences(everything=everything)
        world.bench.run(lambda tx, w=wanted: wishes.set_preferences(tx, "house-1", w))
    assert [row.wanted["everything"] for row in world.rows(store.preference)] == [False]


def _as_sent(row: Any) -> Any:
    headers = wire_headers(row.headers, previous=row.previous, cause=row.cause, era=0)
    record = Record(row.topic, 0, row.row, 0, row.key.encode(), row.body, headers)
    return decode(record).content


def _received(world: World, fact: Event) -> Any:
    return decode(world.bench.append(world.bench.record(fact, cause="cause-1"))).content


def test_every_own_fact_can_be_recovered() -> None:
    assert set(SERVICE.recover) == set(events("notifications.events"))
