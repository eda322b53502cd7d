"""A teller, a hearer with two replicas, and a log between them: the real outbox, relay, reconcile,
adoption, inbox, place and waiting, taken step by step, with a model beside them of what must hold.

The whole log was just compared, so that it is not again within the week but for a reason.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar, cast

import sqlalchemy as sa

from contracts.activities import ActivityCreated
from messaging import marks
from messaging.bus import Bus, BusAway
from messaging.follow import begin_all_again
from messaging.rebuild import Progress, Rebuild
from messaging.reconcile import LogCut
from messaging.relay import COMPARED, Relay
from messaging.retries import Retrier
from messaging.tables import outbox, outbox_unsent, set_aside, write_meta
from messaging.transaction import Transaction
from runtime.clock import FixedClock
from runtime.ids import SystemIds
from runtime.store import Store

from .memory_bus import READ_AT_ONCE, Crash, Fuse, FusedLock, MemoryBus, MemoryLog, gone
from .replica import Replica
from .teller_and_hearer import ANSWERS, COUNTED, FACTS, HEARER, TELLER, counted, heard, said

T = TypeVar("T")

KEYS = ("a", "b", "c", "d")
MOST_PARTITIONS = 3


class Wrong(AssertionError):  # noqa: N818 - it names what happened
    """An invariant does not hold."""


class World:
    """Everything, with one step per method. After each example call `close`."""

    def __init__(self, teller: Store, hearer: Store) -> None:
        self.teller, self.hearer = teller, hearer
        self.loop = asyncio.new_event_loop()
        self.clock = FixedClock(datetime(2026, 11, 16, 9, tzinfo=UTC))
        self.ids = SystemIds(self.clock)
        self.fuse = Fuse()
        self.log = MemoryLog(self.fuse, {FACTS: 2, ANSWERS: 1})
        self.bus = MemoryBus(self.log)
        for store, service in ((teller, TELLER), (hearer, HEARER)):
            store.write_now(lambda c, m=service.metadata: put_back(c, m, {}))  # type: ignore[misc]
            store.write_now(partial(write_meta, name=COMPARED, value=self.clock.now().isoformat()))
        self.relays: dict[str, Relay | None] = {TELLER.name: None, HEARER.name: None}
        self.replicas = [self._replica(), self._replica()]
        self.assign([0, 1, 0])
        self.said: dict[str, list[str]] = {key: [] for key in KEYS}
        self.forgiven: set[str] = set()
        self.forked: set[str] = set()
        self.backups: dict[str, dict[str, list[dict[str, Any]]]] = {}

    def close(self) -> None:
        self.fuse.set(None)
        for name in self.relays:
            self._drop_relay(name)
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    # the teller and its relay

    def say(self, keys: list[str]) -> None:
        """One command that says a fact of each key."""

        def command(connection: sa.Connection) -> list[tuple[str, str]]:
            tx = Transaction(TELLER, connection, now=self.clock.now(), ids=self.ids, centre="c")
            told = []
            for key in keys:
                event = ActivityCreated(
                    activity_id=key, centre_id="c", title="t", created_at=tx.now
                )
                event_id = tx.emit(event)
                tx.collect(said, {"event_id": event_id, "key": key})
                told.append((key, event_id))
            tx.close()
            return told

        for key, event_id in self.teller.write_now(command):
            self.said[key].append(event_id)

    def relay(self, name: str, crash: int | None = None) -> bool:
        """One turn of a relay, connected first if need be; whether it got through."""
        return self._of_relay(name, crash, lambda relay: relay.turn())

    def reconcile(self, name: str, crash: int | None = None) -> bool:
        return self._of_relay(name, crash, lambda relay: relay.reconcile())

    def compare(self, name: str, crash: int | None = None) -> bool:
        return self._of_relay(name, crash, lambda relay: relay.compare_log())

    def shortened_under(self, name: str, step: str, at: int, keep: int) -> bool:
        """A step of a relay, with every log cut at a point of it, to so many records (0: wiped);
        whether it got through."""
        steps: dict[str, Callable[[Relay], Coroutine[Any, Any, Any]]] = {
            "relay": lambda relay: relay.turn(),
            "reconcile": lambda relay: relay.reconcile(),
            "compare": lambda relay: relay.compare_log(),
        }
        return self._of_relay(name, at, steps[step], blow=partial(self.log.shorten, keep))

    def seen_beside(self, name: str, at: int, keep: int) -> bool:
        """The whole log is compared; in the middle of it every log is cut, the relay sees that, and
        sends again. Whether it got through."""

        async def beside() -> None:
            self.log.shorten(keep)
            relay = self.relays[name]
            assert relay is not None
            with contextlib.suppress(LogCut):
                await relay.reconcile()
                await relay.turn()

        return self._of_relay(
            name,
            at,
            lambda relay: relay.compare_log(),
            blow=lambda: self.fuse.let(beside),
        )

    def said_beside(self, at: int, keys: list[str], crash: int | None = None) -> bool:
        """A turn of the teller's relay. While it marks what it sent more is said, and perhaps it
        crashes so many points later. Whether it got through."""

        async def beside() -> None:
            self.say(keys)
            relay = self.relays[TELLER.name]
            assert relay is not None
            relay._woken.set()
            self.fuse.set(crash)

        return self._of_relay(
            TELLER.name, at, lambda relay: relay.turn(), blow=lambda: self.fuse.let(beside)
        )

    def replay(self, key: str) -> None:
        """All facts of a key go on the bus once more."""
        chosen = marks.of_topic(FACTS, key=key)
        self.teller.write_now(lambda c: marks.unsend(c, chosen, 0))

    def _of_relay(
        self,
        name: str,
        crash: int | None,
        step: Callable[[Relay], Coroutine[Any, Any, Any]],
        *,
        blow: Callable[[], None] = gone,
    ) -> bool:
        async def work() -> None:
            relay = self.relays[name]
            if relay is None:
                relay = self.relays[name] = self._new_relay(name)
                await relay._lock.acquire()
            if not relay.connected:
                await relay.connect()
            await step(relay)

        self.fuse.set(crash, blow)
        try:
            self._run(work())
        except Crash:
            self._drop_relay(name)
            return False
        except (LogCut, BusAway):
            relay = self.relays[name]
            assert relay is not None
            self._run(relay.disconnect())
            return False
        finally:
            self.fuse.set(None)
        return True

    def _new_relay(self, name: str) -> Relay:
        service, store = (TELLER, self.teller) if name == TELLER.name else (HEARER, self.hearer)
        bus = cast("Bus", self.bus)
        relay = Relay(service, store, bus, clock=self.clock, ids=self.ids, at_once=READ_AT_ONCE)
        relay._lock = FusedLock(relay._lock, self.fuse)
        return relay

    def _drop_relay(self, name: str) -> None:
        relay, self.relays[name] = self.relays[name], None
        if relay is not None:

            async def drop() -> None:
                await relay.disconnect()
                await relay._lock.release()

            self._run(drop())

    # the hearer's replicas

    def assign(self, owners: list[int]) -> None:
        """Partition n goes to the replica `owners[n]`."""
        for number, replica in enumerate(self.replicas):
            names = self.log.names(FACTS)
            replica.assign({name for name in names if owners[name[1] % len(owners)] == number})

    def fetch(self, number: int, count: int) -> None:
        self.replicas[number].fetch(count)

    def give(self, number: int, crash: int | None = None) -> None:
        """Settle what a replica has fetched, however long ago."""
        self.fuse.set(crash)
        try:
            self.replicas[number].give()
        except Crash:
            self._begin_replica(number)
        finally:
            self.fuse.set(None)

    def _replica(self) -> Replica:
        return Replica(self.hearer, self.log, self.clock, self.ids)

    def _begin_replica(self, number: int) -> None:
        """Another process with the same partitions."""
        names = set(self.replicas[number].positions)
        self.replicas[number] = self._replica()
        self.replicas[number].assign(names)

    def drop(self, number: int) -> None:
        """The client library loses what it had fetched, and goes on behind it."""
        self.replicas[number].fetched.clear()

    def redeliver(self, number: int, back: int) -> None:
        """The client library begins at an older offset, for reasons of its own."""
        replica = self.replicas[number]
        for name in replica.positions:
            replica.positions[name] = max(0, replica.positions[name] - back)

    def look(self, number: int, at: int | None = None, keep: int | None = None) -> None:
        """A replica looks whether the log is the one that it reads; at a point of that it crashes,
        or every log is cut."""
        self.fuse.set(at, gone if keep is None else partial(self.log.shorten, keep))
        try:
            self._run(self.replicas[number].look())
        except Crash:
            self._begin_replica(number)
        except BusAway:
            return
        finally:
            self.fuse.set(None)

    def reread(self) -> None:
        self.hearer.write_now(begin_all_again)

    def retry(self) -> None:
        retrier = Retrier(HEARER, clock=self.clock, ids=self.ids)
        for event_id in self.hearer.read_now(retrier.due):
            retrier.retry(self.hearer.write_now, event_id)

    def rebuild(self, at: int | None = None, keep: int | None = None) -> bool:
        """One round of a rebuild of the hearer's read model, begun or gone on with; at a point of
        it it crashes, or every log is cut."""

        async def work() -> bool:
            async with self.bus.reader() as reader:
                rebuilding = Rebuild(self.hearer, {COUNTED: Progress()}, reader, self.ids.new())
                await self.hearer.write(rebuilding.begin)
                return await rebuilding.round()

        self.fuse.set(at, gone if keep is None else partial(self.log.shorten, keep))
        try:
            return self._run(work())
        except (Crash, BusAway):
            return False
        finally:
            self.fuse.set(None)

    # what happens to the log

    def cut(self, topic: str, partition: int, keep: int) -> None:
        logs = self.log.topics[topic]
        self.log.cut(topic, partition % len(logs), keep)

    def behead(self, topic: str, partition: int, first: int) -> None:
        """The first records of a partition are deleted."""
        self.log.behead(topic, partition % len(self.log.topics[topic]), first)

    def wipe(self) -> None:
        self.log.shorten(0)

    def remake(self, topic: str, partitions: int) -> None:
        """Made anew with as many partitions as you like; the group sees them."""
        self.log.remake(topic, partitions)
        self._regroup()

    def add_partition(self, topic: str) -> None:
        if len(self.log.topics[topic]) < MOST_PARTITIONS:
            self.log.add_partition(topic)
            self._regroup()

    def _regroup(self) -> None:
        owned = {name for replica in self.replicas for name in replica.positions}
        if owned != set(self.log.names(FACTS)):
            self.assign([0, 1, 0])

    # backup and restore

    def backup(self, name: str) -> None:
        service, store = (TELLER, self.teller) if name == TELLER.name else (HEARER, self.hearer)
        self.backups[name] = store.read_now(lambda c: take(c, service.metadata))

    def restore(self, name: str, crash: int | None = None, kept: bool = False) -> None:
        """Put the last backup back: nothing else goes on until own topics were reconciled. The
        replicas may be `kept`: processes that remember what the store has forgotten."""
        backup = self.backups.get(name)
        if backup is None:
            return
        teller = name == TELLER.name
        service, store, topic = (
            (TELLER, self.teller, FACTS) if teller else (HEARER, self.hearer, ANSWERS)
        )
        self._drop_relay(name)
        rows = store.read_now(lambda c: c.execute(sa.select(outbox.c.id, outbox.c.key)).all())
        there = self.log.ids(topic) | {row["id"] for row in backup["outbox"]}
        lost = {event_id: key for event_id, key in rows if event_id not in there}
        self.forked |= set(lost.values())
        if teller:
            self.forgiven |= set(lost)
        store.write_now(lambda c: put_back(c, service.metadata, backup))
        if not teller and not kept:
            for number in range(len(self.replicas)):
                self._begin_replica(number)
        self.reconcile(name, crash)
        for _ in range(10):
            if self.reconcile(name):
                return
        raise Wrong("a restored store is never reconciled")

    # at rest

    def come_to_rest(self) -> None:
        """What goes on by itself when nobody says anything more."""
        for _ in range(40):
            before = self._all()
            for name in self.relays:
                self.reconcile(name)
                relay = self.relays[name]
                if relay is not None and relay.compares_soon:
                    self.compare(name)
                self._send_all(name)
            for number, replica in enumerate(self.replicas):
                self.look(number)
                for _ in range(200):
                    replica.fetch(5)
                    if not replica.fetched:
                        break
                    self.give(number)
                    replica = self.replicas[number]
                else:
                    raise Wrong("a replica reads for ever")
            self.retry()
            self.rebuild()
            if before == self._all():
                break
        else:
            raise Wrong("it never comes to rest")
        if self.forked:
            self.clock.advance(timedelta(minutes=61))
            for _ in range(10):
                self.retry()
            for name in self.relays:
                self._send_all(name)

    def _send_all(self, name: str) -> None:
        for _ in range(100):
            if not self._unsent(name):
                return
            self.relay(name)
        raise Wrong("something is never sent")

    def _unsent(self, name: str) -> int:
        store = self.teller if name == TELLER.name else self.hearer
        return store.read_now(marks.count_unsent)

    def _all(self) -> object:
        return (
            self.log.stamp,
            [dict(r.positions) for r in self.replicas],
            self.hearer.read_now(_but_for_notes),
            self.teller.read_now(lambda c: take(c, TELLER.metadata)),
        )

    def unheard(self) -> list[str]:
        """Facts that have had no effect yet, in the order in which they were said."""
        there = self.hearer.read_now(lambda c: set(c.scalars(sa.select(heard.c.event_id))))
        return [e for events in self.said.values() for e in events if e not in there]

    def check(self) -> None:
        """Nothing lost, nothing twice, order by key. Raises Wrong."""
        expected = {e for events in self.said.values() for e in events} - self.forgiven
        kept = self.teller.read_now(lambda c: list(c.scalars(sa.select(said.c.event_id))))
        _same("the teller keeps what it said", expected, set(kept) - self.forgiven)
        sent = self.teller.read_now(lambda c: list(c.scalars(sa.select(outbox.c.id))))
        _same("the outbox has every fact", expected, set(sent) - self.forgiven)
        _same("every fact is in the log", expected - self.log.ids(FACTS), set())
        for side in (self.teller, self.hearer):
            _same(
                "events that count as sent and unsent, or as neither",
                side.read_now(marks.astray),
                [],
            )
        waiting = self.hearer.read_now(lambda c: c.execute(sa.select(set_aside)).all())
        _same("nothing is set aside", [], [(r.event_id, r.state) for r in waiting])
        rows = self.hearer.read_now(
            lambda c: c.execute(sa.select(heard.c.event_id, heard.c.key).order_by(heard.c.turn))
        )
        turns = [(event_id, key) for event_id, key in rows]
        counts = Counter(event_id for event_id, _ in turns)
        _same("no fact is lost", expected - set(counts), set())
        _same("no fact has its effect twice", {e: n for e, n in counts.items() if n > 1}, {})
        for key, events in self.said.items():
            if key not in self.forked:
                order = [event_id for event_id, its in turns if its == key]
                _same(f"order of {key}", order, events)
        models = {
            row.key: (row.number, row.ids.split())
            for row in self.hearer.read_now(lambda c: c.execute(sa.select(counted)).all())
        }
        for key in set(KEYS) - self.forked:
            order = [event_id for event_id, its in turns if its == key]
            _same(f"read model of {key}", models.get(key, (0, [])), (len(order), order))
        answers = self.hearer.read_now(lambda c: list(c.scalars(sa.select(outbox.c.cause))))
        _same("every fact is answered once", Counter(answers), counts)


def _but_for_notes(connection: sa.Connection) -> object:
    everything = take(connection, HEARER.metadata)
    del everything["meta"]
    return everything


def _same(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise Wrong(f"{what}: {found} is not {wanted}")


def take(connection: sa.Connection, metadata: sa.MetaData) -> dict[str, list[dict[str, Any]]]:
    """All rows of all tables: a backup."""
    return {
        table.name: [
            dict(row)
            for row in connection.execute(
                sa.select(table).order_by(*table.primary_key.columns)
            ).mappings()
        ]
        for table in metadata.sorted_tables
    }


def put_back(
    connection: sa.Connection, metadata: sa.MetaData, backup: dict[str, list[dict[str, Any]]]
) -> None:
    """The rows of a backup instead of those that are there."""
    for table in reversed(metadata.sorted_tables):
        connection.execute(sa.delete(table))
    for table in metadata.sorted_tables:
        if backup.get(table.name):
            connection.execute(sa.insert(table), backup[table.name])
        if table.name == outbox.name:
            connection.execute(sa.delete(outbox_unsent))  # which the store takes them all for
