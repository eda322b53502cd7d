"""A teller, a hearer with two replicas, and a log between them: the real outbox, relay, reconcile,
adoption, inbox, place and waiting, taken step by step, with a model beside them of what must hold.

The teller says facts. The hearer's policy writes each down without any key of its own that would
hide a second effect, and answers with a fact, which the hearer's own topic carries.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

import sqlalchemy as sa

from contracts.activities import ActivityCreated
from contracts.network import NeedRecorded
from messaging import Policies, Projection, ProjectionTransaction, Received, Service, marks
from messaging.attempt import Outcome
from messaging.bus import Bus, BusAway
from messaging.envelope import decode
from messaging.follow import Follow, begin_all_again
from messaging.rebuild import Progress, Rebuild
from messaging.reconcile import LogCut
from messaging.relay import Relay
from messaging.retries import Retrier
from messaging.settle import Settler
from messaging.tables import metadata_with_messaging, outbox, set_aside
from messaging.transaction import Transaction
from messaging.turn import Turn
from runtime.clock import FixedClock
from runtime.ids import SystemIds
from runtime.store import Store, insert_ignore

from .memory_bus import READ_AT_ONCE, Crash, Fuse, FusedLock, MemoryBus, MemoryLog, gone

T = TypeVar("T")

FACTS = ActivityCreated.TOPIC
ANSWERS = NeedRecorded.TOPIC
KEYS = ("a", "b", "c", "d")
MOST_PARTITIONS = 3

SAYING = metadata_with_messaging()
said = sa.Table(
    "said",
    SAYING,
    sa.Column("event_id", sa.String, primary_key=True),
    sa.Column("key", sa.String, nullable=False),
)
HEARING = metadata_with_messaging()
heard = sa.Table(
    "heard",
    HEARING,
    sa.Column("turn", sa.Integer, primary_key=True),
    sa.Column("event_id", sa.String, nullable=False),
    sa.Column("key", sa.String, nullable=False),
)
counted = sa.Table(
    "counted",
    HEARING,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("number", sa.Integer, nullable=False, index=True),
    sa.Column("ids", sa.Text, nullable=False),
)
POLICIES = Policies()
COUNTED = Projection("counted", version=1, tables=(counted,))


@POLICIES.on(ActivityCreated)
def hear(tx: Transaction, received: Received[ActivityCreated]) -> None:
    tx.collect(heard, {"event_id": received.id, "key": received.key})
    tx.emit(
        NeedRecorded(
            need_id=received.key, centre_id="c", zone="z", area="a", recorded_at=received.time
        )
    )


@COUNTED.on(ActivityCreated)
def count(p: ProjectionTransaction, received: Received[ActivityCreated]) -> None:
    table = p.table(counted)
    key = received.key
    was = p.connection.execute(sa.select(table).where(table.c.key == key)).first()
    number, ids = (was.number, f"{was.ids} {received.id}") if was else (0, received.id)
    p.upsert(table, {"key": key, "number": number + 1, "ids": ids}, key=("key",))


def said_again(tx: Transaction, received: Received[ActivityCreated]) -> None:
    insert_ignore(tx.connection, said, [{"event_id": received.id, "key": received.key}])


def heard_again(tx: Transaction, received: Received[NeedRecorded]) -> None:
    tx.connection.execute(sa.insert(heard).values(event_id=received.cause, key=received.key))


TELLER = Service(
    name="activities",
    prefix="/activities",
    package="activities",
    metadata=SAYING,
    topics=(FACTS,),
    recover={ActivityCreated: said_again},
)
HEARER = Service(
    name="network",
    prefix="/network",
    package="network",
    metadata=HEARING,
    topics=(ANSWERS,),
    policies=POLICIES,
    projections=(COUNTED,),
    recover={NeedRecorded: heard_again},
)


class Wrong(AssertionError):  # noqa: N818 - it names what happened
    """An invariant does not hold."""


class Replica:
    """A consumer as `messaging.consumer` has it, with the client library played: where it reads,
    what it fetched and has not given yet."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.settler = Settler(HEARER, clock=world.clock, ids=world.ids)
        self.follow = Follow(self.settler, world.hearer, Turn())
        self.positions: dict[tuple[str, int], int] = {}
        self.fetched: list[Any] = []

    def assign(self, names: set[tuple[str, int]]) -> None:
        """What was fetched stays: the listener is no barrier."""
        self.settler.forget(set(self.positions) | names)
        self.positions = dict.fromkeys(sorted(names), 0)

    def fetch(self, count: int) -> None:
        """The next few records of every partition; behind the end means from the beginning."""
        for name, position in self.positions.items():
            logs = self.world.log.topics[name[0]]
            if name[1] >= len(logs):
                continue
            log = logs[name[1]]
            at = position if position <= len(log) else 0
            self.fetched += log[at : at + count]
            self.positions[name] = at + len(log[at : at + count])

    def give(self) -> None:
        records, self.fetched = self.fetched, []
        items = [decode(record) for record in records]
        self._seek(self.settler.settle_all(self._write, items))

    def _seek(self, seeks: dict[tuple[str, int], int]) -> None:
        for name, offset in seeks.items():
            if name in self.positions:
                self.positions[name] = max(0, offset)

    def _write(self, work: Callable[[sa.Connection], Outcome]) -> Outcome:
        fuse = self.world.fuse

        def passing(connection: sa.Connection) -> Outcome:
            outcome = work(connection)
            fuse.pass_by()
            return outcome

        outcome = self.world.hearer.write_now(passing)
        fuse.pass_by()
        return outcome

    async def look(self) -> None:
        async with self.world.bus.reader() as reader:
            there = [n for n in self.positions if n[1] < len(self.world.log.topics[n[0]])]
            looked = await self.follow.look(cast("Any", reader), there)
        self._seek(looked.seeks)


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
        self.relays: dict[str, Relay | None] = {TELLER.name: None, HEARER.name: None}
        self.replicas = [Replica(self), Replica(self)]
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

    def wiped_under(self, name: str, step: str, at: int) -> bool:
        """A step of a relay, with the log wiped at a point of it; whether it got through."""
        steps: dict[str, Callable[[Relay], Coroutine[Any, Any, Any]]] = {
            "relay": lambda relay: relay.turn(),
            "reconcile": lambda relay: relay.reconcile(),
            "compare": lambda relay: relay.compare_log(),
        }
        return self._of_relay(name, at, steps[step], blow=self.log.wipe)

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
            names = set(self.replicas[number].positions)
            self.replicas[number] = Replica(self)
            self.replicas[number].assign(names)
        finally:
            self.fuse.set(None)

    def redeliver(self, number: int, back: int) -> None:
        """The client library begins at an older offset, for reasons of its own."""
        replica = self.replicas[number]
        for name in replica.positions:
            replica.positions[name] = max(0, replica.positions[name] - back)

    def look(self, number: int) -> None:
        self._run(self.replicas[number].look())

    def reread(self) -> None:
        self.hearer.write_now(begin_all_again)

    def retry(self) -> None:
        retrier = Retrier(HEARER, clock=self.clock, ids=self.ids)
        for event_id in self.hearer.read_now(retrier.due):
            retrier.retry(self.hearer.write_now, event_id)

    def rebuild(self, crash: int | None = None) -> bool:
        """One round of a rebuild of the hearer's read model, begun or gone on with."""

        async def work() -> bool:
            async with self.bus.reader() as reader:
                rebuilding = Rebuild(self.hearer, {COUNTED: Progress()}, reader, self.ids.new())
                await self.hearer.write(rebuilding.begin)
                return await rebuilding.round()

        self.fuse.set(crash)
        try:
            return self._run(work())
        except Crash:
            return False
        finally:
            self.fuse.set(None)

    # what happens to the log

    def cut(self, topic: str, partition: int, keep: int) -> None:
        logs = self.log.topics[topic]
        self.log.cut(topic, partition % len(logs), keep)

    def wipe(self) -> None:
        self.log.wipe()

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
            owned = [set(replica.positions) for replica in self.replicas]
            self.replicas = [Replica(self), Replica(self)]
            for replica, names in zip(self.replicas, owned, strict=True):
                replica.assign(names)
        self.reconcile(name, crash)
        while not self.reconcile(name):
            pass

    # at rest

    def come_to_rest(self) -> None:
        """What goes on by itself when nobody says anything more."""
        for _ in range(40):
            before = self._all()
            for name in self.relays:
                self.reconcile(name)
                while self._unsent(name):
                    self.relay(name)
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
                while self._unsent(name):
                    self.relay(name)

    def _unsent(self, name: str) -> int:
        store = self.teller if name == TELLER.name else self.hearer
        return store.read_now(
            lambda c: (
                c.scalar(
                    sa.select(sa.func.count())
                    .select_from(outbox)
                    .where(outbox.c.record_offset.is_(None))
                )
                or 0
            )
        )

    def _all(self) -> object:
        return (
            self.log.stamp,
            [dict(r.positions) for r in self.replicas],
            self.hearer.read_now(_but_for_notes),
            self.teller.read_now(lambda c: take(c, TELLER.metadata)),
        )

    def check(self) -> None:
        """Nothing lost, nothing twice, order by key. Raises Wrong."""
        expected = {e for events in self.said.values() for e in events} - self.forgiven
        kept = self.teller.read_now(lambda c: list(c.scalars(sa.select(said.c.event_id))))
        _same("the teller keeps what it said", expected, set(kept) - self.forgiven)
        sent = self.teller.read_now(lambda c: list(c.scalars(sa.select(outbox.c.id))))
        _same("the outbox has every fact", expected, set(sent) - self.forgiven)
        _same("every fact is in the log", expected - self.log.ids(FACTS), set())
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
