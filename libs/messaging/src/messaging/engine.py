"""What runs beside the requests of a service: relay, subscribers, retries, jobs, rebuilds.

The application starts it once the store is open and stops it before the store closes, in this
order: subscribers (after the batch at hand), jobs, relay with its producer. With Kafka away it
goes on trying; commands work meanwhile and the outbox fills.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa

from messaging import aside, marks, restoring
from messaging.attempt import Outcome, Overtaken
from messaging.bus import Bus, asked_to_stop
from messaging.consumer import Subscription
from messaging.follow import begin_all_again
from messaging.rebuild import declare
from messaging.rebuilds import Rebuilds
from messaging.relay import Relay
from messaging.retries import DUE_AT_ONCE, Retrier
from messaging.service import Service
from messaging.settle import Settler, call_all
from messaging.tables import read_meta, set_aside, write_meta
from messaging.transaction import Transaction
from messaging.turn import Turn
from runtime.clock import Clock, ClockGuard
from runtime.ids import Ids
from runtime.logging import get_logger
from runtime.refusals import N_, NotFound, Refusal
from runtime.scheduler import JobRunner, count_by_state
from runtime.settings import Settings
from runtime.store import Store

log = get_logger()

T = TypeVar("T")

IDENTITY = "identity.events"
"""Read by a subscriber of its own, so that a sign-out is not behind a million events."""

RETRY_EVERY = 5.0
STALLED = 120.0


class Engine:
    """The way of a fact in one running service."""

    def __init__(
        self, service: Service, store: Store, settings: Settings, clock: Clock, ids: Ids
    ) -> None:
        self.service = service
        self.store = store
        self.clock = clock
        self.ids = ids
        self.guard = ClockGuard(clock, read=read_meta, write=write_meta)
        self.jobs = JobRunner(store, service.jobs, self._job, clock, guard=self.guard)
        self.bus: Bus | None = Bus.of(settings)
        self.relay: Relay | None = None
        self.subscriptions: list[Subscription] = []
        self._retrier = Retrier(service, clock=clock, ids=ids)
        self._turn = Turn()
        self._identity_turn = Turn()
        self._tasks: list[asyncio.Task[None]] = []
        self._listeners: list[Callable[[Outcome], None]] = []
        self.rebuilds = Rebuilds(service, store, ids, self._spawn)
        self._settings = settings
        self.restoring = False
        self.opened = asyncio.Event()

    # commands

    async def transact(
        self,
        work: Callable[[Transaction], T],
        *,
        actor: str = "system",
        centre: str = "",
        correlation: str = "",
    ) -> T:
        """Run a command in one transaction; when it returns, the change and its events are on the
        disk. Raises what `work` raises; then nothing is kept."""
        return self._after(
            *await self.store.write(
                lambda c: self._perform(c, work, actor, centre, correlation), shares=True
            )
        )

    def transact_now(
        self, work: Callable[[Transaction], T], *, actor: str = "system", centre: str = ""
    ) -> T:
        """`transact` for synchronous callers."""
        return self._after(
            *self.store.write_now(lambda c: self._perform(c, work, actor, centre, ""))
        )

    def _job(self, work: Callable[[Transaction], None]) -> None:
        self.transact_now(work)

    def _perform(
        self,
        connection: sa.Connection,
        work: Callable[[Transaction], T],
        actor: str,
        centre: str,
        correlation: str,
    ) -> tuple[T, Transaction]:
        tx = Transaction(
            self.service,
            connection,
            now=self.clock.now(),
            ids=self.ids,
            actor=actor,
            centre=centre,
            correlation=correlation,
            doubted=self.guard.suspicious,
        )
        result = work(tx)
        tx.close(ends=True)
        return result, tx

    def _after(self, result: T, tx: Transaction) -> T:
        for event_id, event_type in tx.told[:20]:
            log.info(
                "event.written",
                correlation=tx.correlation,
                event_id=event_id,
                event_type=event_type,
            )
        if tx.told and self.relay is not None:
            self.relay.wake()
        if tx.scheduled:
            self.jobs.wake()
        call_all(tx.take_callbacks())
        return result

    # running

    def listen(self, listener: Callable[[Outcome], None]) -> None:
        """Be told after each batch that was settled, in the thread that settled it."""
        self._listeners.append(listener)

    def _told(self, outcome: Outcome) -> None:
        if outcome.emitted and self.relay is not None:
            self.relay.wake()
        if outcome.scheduled:
            self.jobs.wake()
        call_all([partial(listener, outcome) for listener in self._listeners])

    async def start(self, *, bus: bool = True) -> None:
        """Start everything. Needs the store; does not wait for Kafka.

        In a store that was put back from a backup nothing is done but to recover; `opened` is set
        when the rest goes on (`messaging.restoring`).
        """
        await self.store.write(self.guard.open)
        await self.store.write(lambda c: declare(c, self.service))
        self.restoring = await self.store.read(restoring.read) is not None
        if self.restoring:
            log.warning("restore.begun")
            if bus and self.bus is not None:
                self._spawn(partial(self._restore, self.bus), "restore")
            return
        if bus and self.bus is not None:
            self.start_relay(self.bus)
            self.start_subscriptions(self.bus)
            self._spawn(partial(self.rebuilds.what_must, self.bus), "rebuilds")
        self._open()

    def _open(self) -> None:
        self._spawn(self.jobs.work, "jobs")
        self._spawn(self._retries, "retries")
        self.restoring = False
        self.opened.set()

    async def _restore(self, bus: Bus) -> None:
        await restoring.recover(self, bus)
        log.warning("restore.opened")
        self._open()

    async def on_restore(self) -> None:
        """What the service itself does in a store that came from a backup."""
        hook, settings = self.service.on_restore, self._settings
        if hook is not None:
            await self.transact(lambda tx: hook(tx, settings))

    def start_relay(self, bus: Bus) -> Relay:
        """The relay, started unless it is at work already."""
        if self.relay is None:
            self.relay = Relay(self.service, self.store, bus, clock=self.clock, ids=self.ids)
            self._spawn(self.relay.run, "relay")
        return self.relay

    def start_subscriptions(self, bus: Bus) -> None:
        """The subscribers, started unless they are at work already."""
        if self.subscriptions:
            return
        others = [t for t in self.service.reads if t != IDENTITY]
        for topics, group in (([IDENTITY], f"{self.service.name}.identity"), (others, "")):
            wanted = [t for t in topics if t in self.service.reads]
            if not wanted:
                continue
            subscription = Subscription(
                Settler(self.service, clock=self.clock, ids=self.ids),
                self.store,
                bus,
                topics=wanted,
                group=group or self.service.name,
                turn=self._identity_turn if group else self._turn,
                told=self._told,
            )
            self.subscriptions.append(subscription)
            self._spawn(subscription.run, f"consumer {wanted[0]}")

    def _spawn(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        self._tasks.append(asyncio.create_task(self._kept(work, name), name=name))

    async def _kept(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """A part that should run for ever begins again, whatever ended it but we."""
        while True:
            try:
                await work()
                return
            except (Exception, asyncio.CancelledError) as error:
                if asked_to_stop():
                    raise
                log.error("engine.part_ended", job=name, reason=type(error).__name__, error=error)
            await asyncio.sleep(1)

    async def stop(self) -> None:
        """Stop in order; what was committed stays, what was not is asked for again."""
        self.jobs.stop()
        order = ("restore", "consumer", "rebuild", "retries", "jobs", "relay")
        for task in sorted(
            self._tasks, key=lambda t: [t.get_name().startswith(n) for n in order].index(True)
        ):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
        self._tasks.clear()
        self.subscriptions.clear()
        self.relay = None

    async def _retries(self) -> None:
        """What is due among the set-aside events; at the start also what this build may read."""
        due: Callable[[sa.Connection], list[str]] = _perhaps_readable
        while True:
            passed = 0
            try:
                for event_id in await self.store.read(due):
                    try:
                        passed += not await self._retry(event_id)
                    except Overtaken:
                        continue  # another process is at it; the next look says how it stands
                due = self._retrier.due
            except Exception as error:
                log.warning("retries.wait", reason=type(error).__name__, error=error)
            if passed < DUE_AT_ONCE:
                await asyncio.sleep(RETRY_EVERY)

    async def _retry(self, event_id: str) -> str:
        work = partial(self._retrier.retry, self.store.write_now, event_id, told=self._told)
        return await self._turn.take(work)

    # what staff may do

    async def send_again(self, event_id: str) -> None:
        """Try a set-aside event now.

        Raises:
            NotFound: there is none of that id.
            Refusal: it failed again; it stays where it is.
        """
        if await self.store.read(lambda c: aside.show(c, event_id)) is None:
            raise NotFound("set_aside.unknown", N_("There is no such event."))
        why = await self._retry(event_id)
        if why:
            raise Refusal(
                "set_aside.failed_again",
                N_("The event could not be taken this time either: {why}."),
                N_("Mend the cause and try again, or discard it with a reason."),
                why=why,
            )

    async def discard(self, event_id: str, reason: str) -> None:
        """Give a set-aside event up; what waited for it passes. Raises NotFound."""
        if await self.store.read(lambda c: aside.show(c, event_id)) is None:
            raise NotFound("set_aside.unknown", N_("There is no such event."))
        write, told = self.store.write_now, self._told
        await self._turn.take(partial(self._retrier.discard, write, event_id, reason, told=told))

    async def replay(self, topic: str, *, key: str = "", since: datetime | None = None) -> int:
        """Send own events of a topic once more; everybody drops what is known. How many.

        Raises:
            NotFound: the topic is not of this service, or it never told anything of the key there.
        """
        if topic not in self.service.topics:
            raise NotFound("topic.unknown", N_("This service does not write such a topic."))
        if key and not await self.store.read(partial(marks.has_told, topic=topic, key=key)):
            raise NotFound(
                "key.unknown",
                N_("This service has told nothing of such a key in this topic."),
                N_("Look whether it is the whole id, and whether this service tells of it."),
            )
        chosen = marks.of_topic(topic, key=key, since=since)
        until = await self.store.read(marks.last_row)
        after, count = 0, 0
        while True:
            after, more = await self.store.write(
                partial(marks.unsend, chosen=chosen, after=after, until=until)
            )
            if not after:
                break
            count += more
        if self.relay is not None:
            self.relay.wake()
        log.warning("outbox.replayed", topic=topic, count=count)
        return count

    async def reread(self) -> None:
        """Read all topics from their beginning; ids drop what was done. Other replicas notice
        within half a minute."""
        await self.store.write(begin_all_again)
        for subscription in self.subscriptions:
            subscription.rewind()
        log.warning("log.reread")

    async def compare(self) -> None:
        """Compare the whole log with the outbox at the relay's next turn."""
        if self.relay is not None:
            self.relay.compare()

    # what it looks like

    def figures(self, connection: sa.Connection) -> Figures:
        """What metrics and `vicinato status` show, as far as the store knows it."""
        oldest = marks.oldest_unsent(connection)
        age = 0.0 if oldest is None else (self.clock.now() - oldest).total_seconds()
        return Figures(
            outbox_age=max(0.0, age),
            outbox_unsent=marks.count_unsent(connection),
            set_aside=aside.counts(connection),
            jobs=count_by_state(connection),
            gauges={name: ask(connection) for name, ask in self.service.gauges.items()},
        )

    def lags(self) -> dict[tuple[str, int], int]:
        """Records not settled yet, by partition."""
        found: dict[tuple[str, int], int] = {}
        for subscription in self.subscriptions:
            found.update(subscription.lags())
        return found

    @property
    def connected(self) -> bool:
        """Whether the relay and all subscribers are on the bus."""
        return (
            self.relay is not None
            and (self.relay.listened_to or self.relay.standing_by)
            and all(s.connected for s in self.subscriptions)
        )

    @property
    def held_up(self) -> bool:
        """Whether a topic does not hold what it should: it refuses an event, which holds up those
        of its key, or has lost some."""
        relay = self.relay
        return relay is not None and (bool(relay.blocked) or relay.log_lacks_some)

    @property
    def cluster(self) -> str:
        """The id of the Kafka cluster, once the relay was on it; the same in every service."""
        return self.relay.cluster if self.relay is not None else ""

    @property
    def stalled(self) -> bool:
        """Whether a subscriber has been at one batch for too long, or a task has ended."""
        now = time.monotonic()
        return any(s.working and now - s.progressed > STALLED for s in self.subscriptions) or any(
            t.done() and t.get_name().startswith(("consumer", "relay", "jobs", "retries"))
            for t in self._tasks
        )


@dataclass(frozen=True, slots=True)
class Figures:
    """How a service stands. Ages in seconds."""

    outbox_age: float
    outbox_unsent: int
    set_aside: dict[str, int]
    jobs: dict[str, int]
    gauges: dict[str, float]


def _perhaps_readable(connection: sa.Connection) -> list[str]:
    """Dead only because an older build did not know their type or version."""
    return list(
        connection.scalars(
            sa.select(set_aside.c.event_id)
            .where(
                set_aside.c.state == "dead",
                sa.or_(
                    set_aside.c.reason.startswith("version.newer"),
                    set_aside.c.reason.startswith("type.unknown"),
                ),
            )
            .order_by(set_aside.c.at, set_aside.c.record_offset)
        )
    )
