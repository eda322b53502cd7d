"""An e-mail is handed over once, or nobody knows; never twice, whoever dies or stops meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from contracts.notifications import MessageDelivered, MessageFailed
from messaging.testing import Bench
from notifications import commands, store, worker
from notifications.app import SERVICE
from notifications.commands.hand_over import HandOver
from notifications.domain.delivery import Answer
from runtime.clock import FixedClock
from runtime.refusals import Refusal
from runtime.testing import eventually_async

from .conftest import MailServer, World, emitted

LEASE = timedelta(minutes=4)


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
    world.household("house-2", "omar")
    world.bench.deliver(world.offered(), world.confirmed("omar", household_id="house-2"))
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
