"""E-mails leave over a real mail server: what its answers mean."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from contracts.notifications import ContactUnreachable, MessageDelivered, MessageFailed
from runtime.clock import FixedClock

from .conftest import MailServer, World, at, attempts, emitted, free_port


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
