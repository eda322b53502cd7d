"""What is looked at once more before an e-mail leaves, and what becomes of one that did not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from contracts.notifications import Channel, MessageDelivered, MessageFailed
from contracts.people import PersonErased
from notifications import commands, store
from notifications.checks import in_time, oldest_created
from notifications.commands.hand_over import Taken
from notifications.domain.delivery import Answer, Why
from notifications.domain.preferences import Preferences
from runtime.clock import FixedClock
from runtime.refusals import NotFound, Refusal

from .conftest import MailServer, World, at, attempts

LEASE = timedelta(minutes=4)


async def test_at_most_twenty_identical_messages_an_hour_to_one_address(
    world: World, mail_server: MailServer, clock: FixedClock
) -> None:
    world.household()
    for number in range(23):
        world.bench.deliver(world.offered(session_id=f"session-{number}"), twice=False)
    world.bench.deliver(world.offered(title="Another"), twice=False)
    courier = world.courier(mail_server.port)
    assert await courier.round() == 21
    waiting = world.rows(store.delivery, state="created")
    assert {row.why for row in waiting} == {Why.TOO_MANY}
    assert {row.next_attempt for row in waiting} == {clock.now() + timedelta(hours=1)}
    clock.advance(timedelta(hours=1))
    assert await courier.round() == 3
    assert len(mail_server.taken) == 24
    assert world.faults() == []


async def test_at_the_door_the_hours_are_looked_at_again(
    world: World, mail_server: MailServer, clock: FixedClock
) -> None:
    """The process was down in the daytime: what it finds at night waits."""
    world.household()
    world.bench.deliver(world.offered())
    clock.set(at("2026-11-16 22:00"))
    courier = world.courier(mail_server.port)
    assert await courier.round() == 0
    assert world.delivery().why == Why.QUIET_HOURS
    assert world.delivery().next_attempt == at("2026-11-17 08:00")
    clock.set(at("2026-11-17 08:00"))
    assert await courier.round() == 1


async def test_a_retry_waits_for_the_morning_too(
    sqlite_world: World, mail_server: MailServer, clock: FixedClock
) -> None:
    world = sqlite_world
    world.household()
    clock.set(at("2026-11-16 18:58"))
    world.bench.deliver(world.offered())
    mail_server.rcpt = "451 later"
    await world.courier(mail_server.port).round()
    assert world.delivery().next_attempt == at("2026-11-17 08:00")


async def test_what_changed_since_is_heeded_at_the_door(
    world: World, mail_server: MailServer
) -> None:
    world.household()
    world.bench.deliver(world.confirmed())
    wanted = Preferences(everything=False)
    world.bench.run(lambda tx: commands.set_preferences(tx, "house-1", wanted))
    assert await world.courier(mail_server.port).round() == 0
    assert (world.delivery().state, world.delivery().why) == ("not_sent", Why.SWITCHED_OFF)
    (message,) = world.messages()
    assert message.state == "delivered"
    assert world.faults() == []


async def test_somebody_described_in_the_meantime_gets_the_email(
    world: World, mail_server: MailServer, clock: FixedClock
) -> None:
    world.bench.deliver(world.offered("late", household_id="house-7"))
    courier = world.courier(mail_server.port)
    clock.advance(timedelta(seconds=5))
    assert await courier.round() == 0
    world.bench.deliver(world.person("late", "house-7"))
    clock.advance(timedelta(seconds=5))
    assert await courier.round() == 1
    assert mail_server.recipients == ["late@example.org"]


async def test_somebody_never_described_is_somebody_to_call(
    sqlite_world: World, mail_server: MailServer, clock: FixedClock
) -> None:
    world = sqlite_world
    world.bench.deliver(world.offered("late", household_id="house-7"))
    clock.advance(timedelta(hours=1))
    await world.courier(mail_server.port).round()
    assert world.states() == {"in_app": "delivered", "email": "not_sent", "call": "created"}


async def test_a_house_without_a_mail_server_calls(sqlite_world: World) -> None:
    world = sqlite_world
    world.household()
    world.bench.deliver(world.offered())
    assert await world.courier(0).round() == 0
    assert world.states() == {"in_app": "delivered", "email": "not_sent", "call": "created"}
    assert world.delivery().why == Why.NO_MAIL_SERVER
    assert world.faults() == []


@pytest.mark.parametrize(
    "address", ["nobody", "two words@example.org", "a@b@example.org", "ünì@example.org", "x@"]
)
async def test_what_is_no_address_fails_without_asking_anybody(
    sqlite_world: World, mail_server: MailServer, address: str
) -> None:
    world = sqlite_world
    world.household(email=address)
    world.bench.deliver(world.offered())
    await world.courier(mail_server.port).round()
    assert world.delivery().state == "permanent_failure"
    assert mail_server.asked == 0


async def test_an_address_in_a_domain_of_another_script_is_reached(
    sqlite_world: World, mail_server: MailServer
) -> None:
    world = sqlite_world
    world.household(email="maria@bücher.example")
    world.bench.deliver(world.offered())
    await world.courier(mail_server.port).round()
    assert mail_server.recipients == ["maria@xn--bcher-kva.example"]


async def test_an_erased_person_gets_nothing_any_more(
    world: World, mail_server: MailServer
) -> None:
    world.household()
    world.bench.deliver(world.offered())
    taken: Any = world.bench.run(lambda tx: commands.take(tx, lease_for=LEASE))
    world.bench.deliver(world.confirmed(), PersonErased(person_id="maria"))
    assert await world.courier(mail_server.port).round() == 0
    assert not world.bench.run(lambda tx: commands.finish(tx, taken, Answer.TAKEN, "250"))
    assert world.rows(store.attempt) == []


async def test_a_failed_email_is_sent_again_when_somebody_asks(
    world: World, mail_server: MailServer
) -> None:
    world.household()
    world.bench.deliver(world.offered())
    mail_server.rcpt = "550 no such user"
    courier = world.courier(mail_server.port)
    await courier.round()
    (message,) = world.messages()
    with pytest.raises(NotFound):
        world.bench.run(lambda tx: commands.send_again(tx, message.id, centre_id="centre-2"))
    world.bench.run(lambda tx: commands.send_again(tx, message.id))
    assert world.delivery().state == "created"
    assert world.messages()[0].state == "created"
    mail_server.rcpt = ""
    assert await courier.round() == 1
    assert attempts(world) == [("never", "550"), ("taken", "250")]
    assert world.rows(store.unreachable) == []
    with pytest.raises(Refusal, match=r"message\.not_failed"):
        world.bench.run(lambda tx: commands.send_again(tx, message.id))
    assert world.faults() == []


def test_a_call_is_made_once(world: World) -> None:
    world.household(email="")
    world.bench.deliver(world.offered(), world.cancelled())
    first, second = world.rows(store.delivery, channel="call")
    world.bench.run(lambda tx: commands.call_done(tx, first.id, reached=True), actor="anna")
    world.bench.run(lambda tx: commands.call_done(tx, second.id, reached=False))
    with pytest.raises(Refusal, match=r"call\.done"):
        world.bench.run(lambda tx: commands.call_done(tx, first.id, reached=True))
    with pytest.raises(NotFound):
        world.bench.run(lambda tx: commands.call_done(tx, "nothing", reached=True))
    states = {row.id: row.state for row in world.rows(store.delivery, channel="call")}
    assert states == {first.id: "delivered", second.id: "permanent_failure"}
    told = [e for e in world.bench.emitted(MessageDelivered) if e.channel is Channel.CALL]
    assert [event.message_id for event in told] == [first.message_id]
    (failed,) = world.bench.emitted(MessageFailed)
    assert (failed.message_id, failed.channel) == (second.message_id, Channel.CALL)


async def test_nothing_leaves_while_the_date_is_doubted(
    sqlite_world: World, mail_server: MailServer
) -> None:
    world = sqlite_world
    world.household()
    world.bench.deliver(world.offered())
    courier = world.courier(mail_server.port)
    courier._doubted = lambda: True
    assert await courier.round() == 0
    assert world.delivery().state == "created"


def test_nothing_due_is_nothing_taken(world: World) -> None:
    assert world.bench.run(lambda tx: commands.take(tx, lease_for=LEASE)) is Taken.NOTHING_DUE


async def test_the_gauges(world: World, mail_server: MailServer, clock: FixedClock) -> None:
    assert world.bench.read(in_time) == 1
    assert world.bench.read(oldest_created) == 0
    world.household()
    world.bench.deliver(world.offered(), twice=False)
    courier = world.courier(mail_server.port)
    await courier.round()
    world.bench.deliver(world.cancelled(), twice=False)
    clock.advance(timedelta(seconds=11))
    await courier.round()
    assert world.bench.read(in_time) == 0.5


def test_the_checks_name_what_does_not_hold(world: World) -> None:
    """Each check can fail."""
    world.household()
    world.bench.deliver(world.offered())

    def spoil(tx: Any) -> None:
        delivery, message = store.delivery, store.message
        tx.connection.execute(
            delivery.update().where(delivery.c.channel == "email").values(next_attempt=None)
        )
        tx.connection.execute(message.update().values(state="delivered"))
        email = tx.connection.execute(delivery.select().where(delivery.c.channel == "email")).one()
        for lease, answer in (("lease-1", "taken"), ("lease-2", "lost")):
            tx.connection.execute(
                store.attempt.insert().values(
                    delivery_id=email.id, lease_id=lease, at=tx.now, answer=answer, code=""
                )
            )
        tx.connection.execute(store.person_contact.update().values(erased=True))

    world.bench.run(spoil)
    assert {fault.partition(":")[0] for fault in world.faults()} == {
        "notifications.handed_over_once",
        "notifications.next_attempt",
        "notifications.message",
        "notifications.forgotten",
    }
