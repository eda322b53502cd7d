"""E-mails leave over a real mail server: handed over once, or nobody knows; never twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts.notifications import Channel, ContactUnreachable, MessageDelivered, MessageFailed
from contracts.people import PersonErased
from messaging.testing import Bench
from notifications import commands, store, worker
from notifications.app import SERVICE
from notifications.checks import in_time, oldest_created
from notifications.commands.hand_over import HandOver, Taken
from notifications.domain.delivery import Answer, Why
from notifications.domain.preferences import Preferences
from runtime.clock import FixedClock
from runtime.refusals import NotFound, Refusal
from runtime.testing import eventually_async

from .conftest import MailServer, World, at, free_port

LEASE = timedelta(minutes=4)


def emitted(world: World, kind: Any) -> list[Any]:
    """What was told of e-mails."""
    return [event for event in world.bench.emitted(kind) if event.channel is Channel.EMAIL]


def attempts(world: World) -> list[tuple[str, str]]:
    rows = sorted(world.rows(store.attempt), key=lambda row: (row.at, row.lease_id))
    return [(row.answer, row.code) for row in rows]


async def test_an_email_is_handed_over_and_told(world: World, mail_server: MailServer) -> None:
    world.household(language="it")
    world.bench.deliver(world.offered())
    assert await world.courier(mail_server.port).round() == 1
    assert world.states() == {"in_app": "delivered", "email": "delivered"}
    assert attempts(world) == [("taken", "250")]
    (told,) = emitted(world, MessageDelivered)
    (message,) = world.messages()
    assert (told.message_id, told.kind, told.household_id) == (
        message.id,
        "signup_offered",
        "house-1",
    )
    assert await world.courier(mail_server.port).round() == 0
    (mail,) = mail_server.mails
    assert mail_server.recipients == ["maria@example.org"]
    assert mail["From"] == "casa@casa.example"
    assert mail["Subject"] == "C'è un posto libero: Spazio compiti"
    assert mail["Message-ID"] == f"<{message.id}@casa.example>"
    assert mail["Auto-Submitted"] == "auto-generated"
    plain = mail.get_body(("plain",)).get_content()
    assert "Per Maria" in plain
    assert "lunedì 23 novembre 2026 alle 10:00" in plain
    assert "mercoledì 18 novembre 2026 alle 10:00" in plain
    assert "Casa Satta" in plain
    assert "http://casa.example/notifications/inbox" in plain
    assert "Rossi" not in plain
    assert world.faults() == []


async def test_arabic_reads_from_the_right_and_a_title_is_text(
    sqlite_world: World, mail_server: MailServer
) -> None:
    world = sqlite_world
    world.household(language="ar")
    world.bench.deliver(world.offered(title="<b>Compiti</b>\nBcc: x@example.org"))
    await world.courier(mail_server.port).round()
    (mail,) = mail_server.mails
    html = mail.get_body(("html",)).get_content()
    assert 'lang="ar" dir="rtl"' in html
    assert "&lt;b&gt;Compiti" in html
    assert "<b>" not in html
    assert mail["Bcc"] is None
    assert mail["Content-Language"] == "ar"
    assert mail_server.recipients == ["maria@example.org"]


async def test_who_speaks_an_unknown_language_gets_two(
    sqlite_world: World, mail_server: MailServer
) -> None:
    world = sqlite_world
    world.household(language="zh")
    world.bench.deliver(world.offered())
    await world.courier(mail_server.port).round()
    (mail,) = mail_server.mails
    assert (
        mail["Subject"] == "C'è un posto libero: Spazio compiti / A place is free: Spazio compiti"
    )
    plain = mail.get_body(("plain",)).get_content()
    assert plain.index("Per Maria") < plain.index("For Maria")


@pytest.mark.parametrize(("where", "code"), [("rcpt", "451"), ("data", "451"), ("mail", "451")])
async def test_a_temporary_failure_is_tried_again(
    sqlite_world: World, mail_server: MailServer, clock: FixedClock, where: str, code: str
) -> None:
    world = sqlite_world
    world.household()
    world.bench.deliver(world.offered())
    setattr(mail_server, where, f"{code} later")
    courier = world.courier(mail_server.port)
    await courier.round()
    email = world.delivery()
    assert (email.state, email.tries) == ("temporary_failure", 1)
    assert email.next_attempt == clock.now() + timedelta(seconds=300)
    assert await courier.round() == 0
    assert emitted(world, MessageFailed) == []
    setattr(mail_server, where, "")
    clock.advance(timedelta(seconds=300))
    assert await courier.round() == 1
    assert world.states() == {"in_app": "delivered", "email": "delivered"}
    assert attempts(world) == [("later", code), ("taken", "250")]
    assert len(mail_server.taken) == 1
    assert world.faults() == []


async def test_after_48_retries_it_is_given_up(
    sqlite_world: World, mail_server: MailServer, clock: FixedClock
) -> None:
    world = sqlite_world
    world.household()
    world.bench.deliver(world.offered(answer_by=at("2026-12-30 12:00")))
    mail_server.rcpt = "451 later"
    courier = world.courier(mail_server.port)
    asked = 0
    while world.delivery().next_attempt is not None:
        clock.set(world.delivery().next_attempt)
        asked += await courier.round()
    assert asked == 49
    assert world.states() == {
        "in_app": "delivered",
        "email": "technical_failure",
        "call": "created",
    }
    (told,) = emitted(world, MessageFailed)
    assert told.state == "technical_failure"
    assert emitted(world, ContactUnreachable) == []
    assert world.faults() == []


@pytest.mark.parametrize("where", ["rcpt", "data"])
async def test_a_permanent_failure_is_told_once_for_an_address_and_somebody_calls(
    world: World, mail_server: MailServer, where: str
) -> None:
    world.household()
    setattr(mail_server, where, "550 no such user")
    courier = world.courier(mail_server.port)
    world.bench.deliver(world.offered())
    await courier.round()
    assert world.states() == {
        "in_app": "delivered",
        "email": "permanent_failure",
        "call": "created",
    }
    assert attempts(world) == [("never", "550")]
    (told,) = emitted(world, MessageFailed)
    assert told.state == "permanent_failure"
    (gone,) = emitted(world, ContactUnreachable)
    assert (gone.person_id, gone.household_id) == ("maria", "house-1")
    world.bench.deliver(world.cancelled())
    await courier.round()
    assert len(emitted(world, MessageFailed)) == 2
    assert len(emitted(world, ContactUnreachable)) == 1
    world.bench.deliver(world.person("maria", revision=2, email="new@example.org"))
    world.bench.deliver(world.expired())
    await courier.round()
    assert len(emitted(world, ContactUnreachable)) == 2
    assert world.faults() == []


async def test_the_address_of_a_child_that_fails_is_the_holders(
    sqlite_world: World, mail_server: MailServer
) -> None:
    world = sqlite_world
    world.household()
    world.bench.deliver(world.person("amina", email=""), world.offered("amina"))
    mail_server.rcpt = "550 no such user"
    await world.courier(mail_server.port).round()
    (gone,) = emitted(world, ContactUnreachable)
    assert gone.person_id == "maria"


async def test_a_house_that_may_not_send_does_not_blame_the_person(
    sqlite_world: World, mail_server: MailServer
) -> None:
    world = sqlite_world
    world.household()
    world.bench.deliver(world.offered())
    mail_server.mail = "550 sender refused"
    await world.courier(mail_server.port).round()
    assert world.delivery().state == "temporary_failure"
    assert emitted(world, ContactUnreachable) == []


async def test_a_secret_that_cannot_be_read_loses_nothing(
    sqlite_world: World, mail_server: MailServer, tmp_path: Path
) -> None:
    world = sqlite_world
    world.household()
    world.bench.deliver(world.offered())
    file = tmp_path / "secret"
    file.write_text("secret")
    courier = world.courier(mail_server.port)
    courier._settings = courier._settings.model_copy(
        update={"smtp_user": "casa", "smtp_secret_file": file}
    )
    file.unlink()
    await courier.round()
    assert world.delivery().state == "temporary_failure"
    assert attempts(world) == [("later", "SettingsError")]


async def test_a_server_that_is_not_there_is_tried_again(sqlite_world: World) -> None:
    world = sqlite_world
    world.household()
    world.bench.deliver(world.offered())
    await world.courier(free_port()).round()
    assert world.delivery().state == "temporary_failure"
    ((answer, _),) = attempts(world)
    assert answer == "later"


async def test_a_server_that_hangs_before_the_text_is_tried_again(sqlite_world: World) -> None:
    """Nothing was handed over: the server took the connection and said nothing."""
    world = sqlite_world
    world.household()
    world.bench.deliver(world.offered())
    done = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await done.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    await world.courier(server.sockets[0].getsockname()[1], timeout=0.2).round()
    done.set()
    server.close()
    assert world.delivery().state == "temporary_failure"


@pytest.mark.parametrize("answer", ["hang", "drop"])
async def test_an_answer_that_is_lost_is_unknown_and_never_sent_again(
    world: World, mail_server: MailServer, clock: FixedClock, answer: str
) -> None:
    world.household()
    world.bench.deliver(world.offered())
    mail_server.data = answer
    courier = world.courier(mail_server.port, timeout=0.5)
    await courier.round()
    assert world.states() == {"in_app": "delivered", "email": "unknown", "call": "created"}
    (told,) = emitted(world, MessageFailed)
    assert told.state == "unknown"
    mail_server.data = ""
    for _ in range(5):
        clock.advance(timedelta(hours=20))
        await courier.round()
    assert len(mail_server.taken) == 1
    assert world.delivery().state == "unknown"
    (message,) = world.messages()
    with pytest.raises(Refusal, match=r"message\.outcome_unknown"):
        world.bench.run(lambda tx: commands.send_again(tx, message.id))
    assert world.faults() == []


async def test_a_process_that_dies_between_lease_and_answer_leaves_an_unknown(
    world: World, mail_server: MailServer, clock: FixedClock
) -> None:
    world.household()
    world.bench.deliver(world.offered())
    taken = world.bench.run(lambda tx: commands.take(tx, lease_for=LEASE))
    assert isinstance(taken, HandOver)
    # Here the process dies. Nobody knows whether it had sent the text.
    courier = world.courier(mail_server.port)
    clock.advance(LEASE - timedelta(seconds=1))
    await courier.round()
    assert world.delivery().state == "sending"
    clock.advance(timedelta(seconds=1))
    await courier.round()
    assert world.states() == {"in_app": "delivered", "email": "unknown", "call": "created"}
    for _ in range(5):
        clock.advance(timedelta(hours=20))
        await courier.round()
    assert mail_server.asked == 0
    (told,) = emitted(world, MessageFailed)
    assert told.state == "unknown"
    assert world.faults() == []


def test_an_answer_after_the_lease_still_counts(world: World, clock: FixedClock) -> None:
    world.household()
    world.bench.deliver(world.offered())
    taken: Any = world.bench.run(lambda tx: commands.take(tx, lease_for=LEASE))
    clock.advance(LEASE)
    assert world.bench.run(lambda tx: commands.lose_expired(tx)) == 1
    assert world.bench.run(lambda tx: commands.finish(tx, taken, Answer.TAKEN, "250"))
    assert world.delivery().state == "delivered"
    assert not world.bench.run(lambda tx: commands.finish(tx, taken, Answer.TAKEN, "250"))
    assert len(emitted(world, MessageDelivered)) == 1
    assert world.faults() == []


def test_the_lease_of_another_is_not_answered(world: World, clock: FixedClock) -> None:
    world.household()
    world.bench.deliver(world.offered())
    first: Any = world.bench.run(lambda tx: commands.take(tx, lease_for=LEASE))
    world.bench.run(lambda tx: commands.finish(tx, first, Answer.LATER, "451"))
    clock.advance(timedelta(minutes=5))
    world.bench.run(lambda tx: commands.take(tx, lease_for=LEASE))
    assert not world.bench.run(lambda tx: commands.finish(tx, first, Answer.TAKEN, "250"))
    assert world.delivery().state == "sending"


def test_own_leases_are_not_lost_while_the_process_lives(world: World, clock: FixedClock) -> None:
    world.household()
    world.bench.deliver(world.offered())
    taken: Any = world.bench.run(lambda tx: commands.take(tx, lease_for=LEASE))
    clock.advance(timedelta(days=1))
    assert world.bench.run(lambda tx: commands.lose_expired(tx, mine=[taken.lease_id])) == 0


async def test_no_connection_to_the_store_is_held_while_the_server_is_asked(
    world: World, mail_server: MailServer
) -> None:
    world.household()
    world.bench.deliver(world.offered())
    mail_server.data = "hang"
    round_ = asyncio.create_task(world.courier(mail_server.port).round())
    await eventually_async(lambda: bool(mail_server.taken), why="the text at the server")
    assert world.delivery().state == "sending"
    for number in range(4):  # more than there are writers
        work: Callable[..., Any] = lambda tx: tx.now  # noqa: E731
        async with asyncio.timeout(5):
            assert await asyncio.to_thread(world.bench.run, work), number
    mail_server.released.set()
    assert await round_ == 1
    assert world.delivery().state == "delivered"


async def test_a_stop_lets_an_email_under_way_end(world: World, mail_server: MailServer) -> None:
    world.household()
    world.bench.deliver(world.offered(), world.confirmed())
    mail_server.data = "hang"
    round_ = asyncio.create_task(world.courier(mail_server.port).round())
    await eventually_async(lambda: len(mail_server.taken) == 2, why="both at the server")
    round_.cancel()
    mail_server.released.set()
    with pytest.raises(asyncio.CancelledError):
        await round_
    assert {row.state for row in world.rows(store.delivery)} == {"delivered"}


async def test_a_stop_does_not_wait_for_a_server_that_hangs(
    sqlite_world: World, mail_server: MailServer, monkeypatch: pytest.MonkeyPatch, clock: FixedClock
) -> None:
    world = sqlite_world
    monkeypatch.setattr(worker, "GRACE", 0.05)
    world.household()
    world.bench.deliver(world.offered())
    mail_server.data = "hang"
    courier = world.courier(mail_server.port)
    round_ = asyncio.create_task(courier.round())
    await eventually_async(lambda: bool(mail_server.taken), why="the text at the server")
    round_.cancel()
    with pytest.raises(asyncio.CancelledError):
        await round_
    assert world.delivery().state == "sending"
    clock.advance(courier.lease)
    await world.courier(mail_server.port).round()
    assert world.delivery().state == "unknown"
    assert len(mail_server.taken) == 1


async def test_several_couriers_hand_each_email_over_once(
    world: World, mail_server: MailServer
) -> None:
    """Two replicas with four hands each; on PostgreSQL they really work at once."""
    for number in range(12):
        world.household(f"house-{number}", f"holder{number}")
    for number in range(12):
        world.bench.deliver(
            world.offered(f"holder{number}", household_id=f"house-{number}"), twice=False
        )
    with Bench(SERVICE, world.url, clock=world.clock, ids=world.bench.ids) as bench:
        other = object.__new__(World)
        other.bench, other.clock, other.url = bench, world.clock, world.url
        couriers = [world.courier(mail_server.port), other.courier(mail_server.port)]
        done = await asyncio.gather(*(courier.round() for courier in couriers))
    assert sum(done) == 12
    assert sorted(mail_server.recipients) == sorted(
        f"holder{number}@example.org" for number in range(12)
    )
    assert world.faults() == []


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
