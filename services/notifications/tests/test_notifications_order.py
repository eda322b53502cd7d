"""What a person is told comes in the order in which it happened, and only what still holds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from contracts import Event
from contracts.notifications import MessageFailed
from notifications import commands, queries, store
from notifications.commands.hand_over import HandOver, Taken
from notifications.domain.delivery import Answer, Why
from notifications.queries import CallView, Filter, Sight
from runtime.clock import FixedClock
from runtime.refusals import Refusal
from web import Page, Paging

from .conftest import CENTRE, MailServer, World, at, emitted

LEASE = timedelta(minutes=4)
NIGHT = "2026-11-16 21:30"
MORNING = "2026-11-17 08:00"

SAME: dict[str, Any] = {"signup_id": "signup-same"}

LATER: dict[str, tuple[Callable[[World], Event], list[str]]] = {
    "confirmed": (lambda world: world.confirmed(**SAME), []),
    "ran out": (lambda world: world.expired(**SAME), []),
    "declined": (lambda world: world.cancelled(reason="offer_declined", **SAME), []),
    "cancelled by the family": (lambda world: world.cancelled(reason="by_family", **SAME), []),
    "cancelled by staff": (lambda world: world.cancelled(**SAME), ["signup_cancelled"]),
    "cancelled with the session": (
        lambda world: world.cancelled(reason="session_cancelled", **SAME),
        ["session_cancelled"],
    ),
}
"""What comes after an offer, and which calls there are then."""


def take(world: World) -> Any:
    return world.bench.run(lambda tx: commands.take(tx, lease_for=LEASE))


def finish(world: World, leased: HandOver, answer: Answer) -> None:
    world.bench.run(lambda tx: commands.finish(tx, leased, answer))


def leave(world: World) -> str:
    """The title of the next e-mail, which the mail server takes."""
    leased = take(world)
    finish(world, leased, Answer.TAKEN)
    return str(leased.data["title"])


def inbox(world: World) -> list[str]:
    """Titles of messages, newest first."""
    page = world.bench.read(lambda c: queries.messages(c, Sight(), Filter(), Paging()))
    return [one.data["title"] for one in page.items]


def of_kind(world: World, kind: str, channel: str = "email") -> Any:
    """The only delivery by a channel of the only message of a kind."""
    (message,) = world.rows(store.message, kind=kind)
    (found,) = world.rows(store.delivery, message_id=message.id, channel=channel)
    return found


def calls(world: World, paging: Paging = Paging()) -> Page[CallView]:  # noqa: B008
    return world.bench.read(lambda c: queries.calls(c, CENTRE, paging, now=world.now))


def to_call(world: World) -> list[str]:
    return [one.message.data["title"] for one in calls(world).items]


def kinds_to_call(world: World) -> list[str]:
    return [one.message.kind for one in calls(world).items]


# order


async def test_what_waited_for_the_morning_leaves_in_the_order_in_which_it_was_made(
    world: World, mail_server: MailServer, clock: FixedClock
) -> None:
    world.household(language="en")
    clock.set(at(NIGHT))
    titles = [f"Number {number}" for number in range(8)]
    for title in titles:
        world.bench.deliver(world.confirmed(title=title), twice=False)
        clock.advance(timedelta(minutes=1))
    clock.set(at(MORNING))
    assert await world.courier(mail_server.port).round() == len(titles)
    assert [mail["Subject"] for mail in mail_server.mails] == [
        f"The place is confirmed: {title}" for title in titles
    ]
    assert world.faults() == []


def test_what_was_heard_together_leaves_in_the_order_of_its_facts(
    world: World, clock: FixedClock
) -> None:
    world.household()
    clock.set(at(NIGHT))
    titles = [f"Number {number}" for number in range(8)]
    first, *others = (world.bench.record(world.confirmed(title=title)) for title in titles)
    world.bench.settle(others)  # they wait for the one before them
    world.bench.settle([first, *others])
    assert inbox(world) == titles[::-1]
    clock.set(at(MORNING))
    assert [leave(world) for _ in titles] == titles
    assert world.faults() == []


def test_who_was_told_first_gets_the_email_first(world: World, clock: FixedClock) -> None:
    people = [f"person{number}" for number in range(8)]
    for person in people:
        world.household(f"house-of-{person}", person)
    clock.set(at(NIGHT))
    for person in people:
        world.bench.deliver(world.confirmed(person, household_id=f"house-of-{person}"), twice=False)
        clock.advance(timedelta(seconds=1))
    clock.set(at(MORNING))
    assert [take(world).owner_id for _ in people] == people


def test_an_email_waits_while_an_older_one_to_the_same_person_is_under_way(
    world: World, clock: FixedClock
) -> None:
    world.household()
    world.household("house-2", "omar")
    world.bench.deliver(world.offered(), twice=False)
    clock.advance(timedelta(seconds=1))
    world.bench.deliver(
        world.confirmed(), world.confirmed("omar", household_id="house-2"), twice=False
    )
    first, other = take(world), take(world)
    assert (first.kind, other.owner_id) == ("signup_offered", "omar")
    assert take(world) is Taken.NOTHING_DUE
    finish(world, first, Answer.TAKEN)
    assert take(world).kind == "signup_confirmed"


def test_one_that_waits_for_its_next_try_holds_nobody_up(world: World, clock: FixedClock) -> None:
    world.household()
    world.bench.deliver(world.offered(), twice=False)
    clock.advance(timedelta(seconds=1))
    world.bench.deliver(world.confirmed(), twice=False)
    finish(world, take(world), Answer.LATER)
    second = take(world)
    assert second.kind == "signup_confirmed"
    finish(world, second, Answer.TAKEN)
    clock.advance(timedelta(minutes=5))
    assert take(world).kind == "signup_offered"


def test_what_is_critical_passes_those_that_wait_for_the_morning(
    world: World, clock: FixedClock
) -> None:
    world.household()
    clock.set(at(NIGHT))
    world.bench.deliver(world.confirmed(), twice=False)
    clock.advance(timedelta(minutes=1))
    world.bench.deliver(
        world.cancelled(starts_at=clock.now() + timedelta(hours=2), reason="session_cancelled"),
        twice=False,
    )
    assert take(world).kind == "session_cancelled"


# too late


async def test_an_email_that_is_of_no_use_any_more_does_not_leave(
    world: World, mail_server: MailServer, clock: FixedClock
) -> None:
    world.household()
    world.bench.deliver(world.offered(answer_by=clock.now() + timedelta(hours=2)))
    clock.advance(timedelta(hours=2))
    assert await world.courier(mail_server.port).round() == 0
    assert world.states() == {"in_app": "delivered", "email": "not_sent"}
    assert world.delivery().why == Why.LATE
    assert world.faults() == []


async def test_a_call_that_is_of_no_use_any_more_ends(
    world: World, mail_server: MailServer, clock: FixedClock
) -> None:
    world.household(email="")
    world.bench.deliver(world.offered())
    assert to_call(world) == ["Spazio compiti"]
    assert world.delivery("call").next_attempt is None  # couriers of before would take it
    assert world.faults() == []
    clock.advance(timedelta(hours=48))
    assert to_call(world) == []
    await world.courier(mail_server.port).round()
    call = world.delivery("call")
    assert (call.state, call.why, call.ended_at) == ("not_sent", Why.LATE, clock.now())
    assert emitted(world, MessageFailed) == []
    assert world.faults() == []


def test_calls_stand_by_how_soon_they_are_of_no_use(world: World, clock: FixedClock) -> None:
    world.household(email="")
    for title, hours in (("last", 40), ("first", 3), ("second", 20), ("third", 20)):
        until = clock.now() + timedelta(hours=hours)
        if title == "third":
            until -= timedelta(minutes=1)  # made a minute later, of use until the same moment
        world.bench.deliver(world.offered(title=title, answer_by=until))
        clock.advance(timedelta(minutes=1))
    assert to_call(world) == ["first", "second", "third", "last"]
    first = calls(world, Paging(limit=3))
    rest = calls(world, Paging(first.next or "", 3))
    assert [one.message.data["title"] for one in rest.items] == ["last"]


@pytest.mark.parametrize("late", [True, False])
def test_a_failed_email_that_is_of_no_use_any_more_is_not_sent_again(
    world: World, late: bool, clock: FixedClock
) -> None:
    """It would stand as delivered without having left."""
    world.household()
    world.bench.deliver(world.offered(**SAME))
    finish(world, take(world), Answer.NEVER)
    clock.advance(timedelta(hours=48 if late else 1))
    if not late:
        world.bench.deliver(world.cancelled(reason="offer_declined", **SAME))
    (message,) = world.messages()
    with pytest.raises(Refusal, match=r"message\.of_no_use"):
        world.bench.run(lambda tx: commands.send_again(tx, message.id))
    assert world.messages()[0].state == "permanent_failure"
    assert world.faults() == []


# overtaken


async def test_who_is_told_that_it_does_not_take_place_is_not_told_of_the_place_afterwards(
    world: World, mail_server: MailServer, clock: FixedClock
) -> None:
    world.household(language="en")
    clock.set(at(NIGHT))
    world.bench.deliver(world.confirmed(**SAME))
    clock.advance(timedelta(minutes=5))
    world.bench.deliver(world.cancelled(reason="session_cancelled", **SAME))
    clock.set(at(MORNING))
    assert await world.courier(mail_server.port).round() == 1
    assert [mail["Subject"] for mail in mail_server.mails] == [
        "It does not take place: Spazio compiti"
    ]
    email = of_kind(world, "signup_confirmed")
    assert (email.state, email.why) == ("not_sent", Why.OVERTAKEN)
    assert len(world.rows(store.delivery, channel="in_app")) == 2
    assert world.faults() == []


@pytest.mark.parametrize("later", LATER)
def test_a_later_fact_of_the_sign_up_ends_the_call(
    world: World, later: str, clock: FixedClock
) -> None:
    world.household(email="")
    world.bench.deliver(world.offered(**SAME))
    call = world.delivery("call")
    world.bench.deliver(world.waitlisted(title="Of another sign-up"), world.offered())
    clock.advance(timedelta(hours=1))
    fact, to_be_made = LATER[later]
    world.bench.deliver(fact(world))
    (ended,) = world.rows(store.delivery, id=call.id)
    assert (ended.state, ended.why, ended.ended_at) == ("not_sent", Why.OVERTAKEN, clock.now())
    assert sorted(kinds_to_call(world)) == sorted(["signup_offered", *to_be_made])
    with pytest.raises(Refusal, match=r"call\.not_needed"):
        world.bench.run(lambda tx: commands.call_done(tx, call.id, reached=True))
    assert world.faults() == []


@pytest.mark.parametrize("answer", [Answer.LATER, Answer.LOST])
def test_an_email_under_way_that_is_overtaken_is_neither_tried_again_nor_called_about(
    world: World, clock: FixedClock, answer: Answer
) -> None:
    world.household()
    world.bench.deliver(world.offered(**SAME))
    leased = take(world)
    clock.advance(timedelta(seconds=5))
    world.bench.deliver(world.cancelled(reason="by_family", **SAME))
    assert world.delivery().state == "sending"
    finish(world, leased, answer)
    clock.advance(timedelta(minutes=5))
    while take(world) is not Taken.NOTHING_DUE:
        pass
    ended = ("not_sent", Why.LATE) if answer is Answer.LATER else ("unknown", Why.NOTHING)
    assert (world.delivery().state, world.delivery().why) == ended
    assert world.rows(store.delivery, channel="call") == []
    assert world.faults() == []


def test_a_fact_that_comes_late_does_not_undo_what_is_newer(
    world: World, clock: FixedClock
) -> None:
    """An event that was set aside and is sent again."""
    world.household(email="")
    late = world.bench.record(world.offered(session_id="session-of-before", **SAME))
    clock.advance(timedelta(minutes=5))
    world.bench.deliver(world.cancelled(**SAME))
    world.bench.settle([late])
    assert of_kind(world, "signup_offered").why == Why.OVERTAKEN
    assert world.rows(store.message, kind="signup_cancelled")[0].useful_until > clock.now()
    (call,) = world.rows(store.delivery, channel="call")
    assert (call.state, call.why) == ("created", "")
    assert world.faults() == []


@pytest.mark.parametrize("back", [timedelta(seconds=3), timedelta(days=1)])
def test_a_cancellation_is_told_also_when_the_clock_has_stepped_back(
    world: World, back: timedelta, clock: FixedClock
) -> None:
    """Facts of a session carry a stamp that never goes back; the time of an event may."""
    world.household()
    confirmed = world.confirmed(**SAME)
    world.bench.deliver(confirmed)
    clock.advance(-back)
    world.bench.deliver(world.cancelled(reason="session_cancelled", at=confirmed.at, **SAME))
    assert of_kind(world, "signup_confirmed").why == Why.OVERTAKEN
    assert of_kind(world, "session_cancelled").state == "created"
    assert world.faults() == []
