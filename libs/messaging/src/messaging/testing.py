"""A bench for the rules of a service: its real store, outbox and inbox, without a bus.

Events are delivered as the consumer would, through `messaging.settle`, each twice unless told
otherwise. What the service emits lies in its outbox and is read from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from functools import partial
from itertools import permutations
from typing import Any, TypeVar

import sqlalchemy as sa

from contracts import COMPACTED, Event, event_type
from messaging import aside, marks
from messaging.attempt import Outcome
from messaging.envelope import Record, body_of, decode, headers_for, ordered, wire_headers
from messaging.outbox import TICK
from messaging.rebuild import declare
from messaging.retries import Retrier
from messaging.service import Service
from messaging.shadow import differences
from messaging.tables import outbox
from messaging.transaction import Transaction
from runtime.clock import Clock
from runtime.ids import Ids
from runtime.scheduler import JobRunner
from runtime.store import Store
from runtime.testing import eventually, furnish

T = TypeVar("T")
E = TypeVar("E", bound=Event)

PARTITIONS = 3


class Bench:
    """One service on a real store of either engine. Close it, or use it as a context."""

    def __init__(self, service: Service, store_url: str, *, clock: Clock, ids: Ids) -> None:
        self.service = service
        self.clock = clock
        self.ids = ids
        self.store = Store(store_url)
        self.store.write_now(self._open)
        self.settler = Retrier(service, clock=clock, ids=ids)
        self.log: list[Record] = []
        self._ends: dict[tuple[str, int], int] = {}
        self._last: dict[tuple[str, str], tuple[str, datetime]] = {}
        self._jobs = JobRunner(self.store, service.jobs, self._in_transaction, clock)

    def _open(self, connection: sa.Connection) -> None:
        furnish(connection, self.service.metadata)
        declare(connection, self.service)

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the store."""
        self.store.close_now()

    # what the service is asked

    def run(
        self,
        work: Callable[[Transaction], T],
        *,
        actor: str = "somebody",
        centre: str = "centre-1",
        correlation: str = "",
    ) -> T:
        """A command in one transaction, with its outbox."""

        def in_transaction(connection: sa.Connection) -> tuple[T, list[Callable[[], None]]]:
            tx = Transaction(
                self.service,
                connection,
                now=self.clock.now(),
                ids=self.ids,
                actor=actor,
                centre=centre,
                correlation=correlation,
            )
            result = work(tx)
            tx.close(ends=True)
            return result, tx.take_callbacks()

        result, callbacks = self.store.write_now(in_transaction)
        for call in callbacks:
            call()
        return result

    def _in_transaction(self, work: Callable[[Transaction], None]) -> None:
        self.run(work, actor="system", centre="")

    def read(self, work: Callable[[sa.Connection], T]) -> T:
        """A query."""
        return self.store.read_now(work)

    def tick(self) -> int:
        """Run what is due at the clock's time; returns how many jobs ran."""
        return self._jobs.run_due()

    # what the service hears

    def record(
        self,
        event: Event,
        *,
        cause: str | None = None,
        centre: str = "centre-1",
        event_id: str | None = None,
        correlation: str = "",
        era: int = 0,
    ) -> Record:
        """The record as another service would have sent it, chained to the one before of its key.
        It lies in no log yet: give it to `settle`, once or more often."""
        event_id = event_id or self.ids.new()
        name = (event.TOPIC, event.key)
        order = at = self.clock.now()
        previous = None
        if event.TOPIC not in COMPACTED:
            if name in self._last:
                previous, before = self._last[name]
                order = max(at, before + TICK)
            self._last[name] = event_id, order
        headers = headers_for(
            event,
            event_id=event_id,
            source="/test",
            time=at,
            correlation=correlation or event_id,
            centre=centre,
        )
        if order != at:
            headers |= ordered(order)
        return self._record(
            event.TOPIC,
            event.key.encode(),
            body_of(event),
            wire_headers(headers, previous=previous, cause=cause, era=era),
        )

    def _record(self, topic: str, key: bytes | None, value: bytes | None, headers: Any) -> Record:
        stamp = int(self.clock.now().timestamp() * 1000)
        return Record(topic, sum(key or b"") % PARTITIONS, -1, stamp, key, value, headers)

    def append(self, record: Record) -> Record:
        """Put a record (again) at the end of the log."""
        name = (record.topic, record.partition)
        offset = self._ends.get(name, 0)
        self._ends[name] = offset + 1
        placed = record._replace(offset=offset)
        self.log.append(placed)
        return placed

    def deliver(
        self, *events: Event, cause: str | None = None, centre: str = "centre-1", twice: bool = True
    ) -> None:
        """Deliver events in this order, each twice."""
        for event in events:
            record = self.record(event, cause=cause, centre=centre)
            self.settle([record])
            if twice:
                self.settle([record])

    def deliver_own(self) -> None:
        """Deliver to the service what it emitted itself and has not heard yet (for services that
        read their own topics)."""
        heard = {decode(r).id for r in self.log}
        rows = self.read(lambda c: c.execute(sa.select(outbox).order_by(outbox.c.row)).all())
        for row in rows:
            if row.id in heard or row.topic not in self.service.reads:
                continue
            headers = wire_headers(row.headers, previous=row.previous, cause=row.cause, era=0)
            record = self._record(row.topic, row.key.encode(), row.body, headers)
            self.settle([record])
            self.settle([record])

    def settle(self, records: Sequence[Record]) -> None:
        """Append records to the log and give them to the service as one batch."""
        items = [decode(self.append(record)) for record in records]
        for item in items:
            if (item.record.topic, item.record.partition) not in self.settler.expected:
                self.settler.settle_all(self._write, [item])  # the seek after an assignment
        self.settler.settle_all(self._write, items)

    def _write(self, work: Callable[[sa.Connection], Outcome]) -> Outcome:
        return self.store.write_now(work)

    def retry(self) -> None:
        """Try what is due among the set-aside events, as happens every minute."""
        for event_id in self.store.read_now(self.settler.due):
            self.settler.retry(self._write, event_id)

    # what came of it

    def emitted(self, kind: type[E] | None = None) -> list[E]:
        """What the outbox holds (of one type), in order."""
        query = sa.select(outbox.c.type, outbox.c.key, outbox.c.body).order_by(outbox.c.row)
        if kind is not None:
            query = query.where(outbox.c.type == kind.ce_type())
        found: list[Any] = []
        for ce_type, key, body in self.read(lambda c: c.execute(query).all()):
            model = event_type(ce_type)
            assert model is not None, ce_type
            found.append(
                model.model_validate({model.KEY: key})
                if body is None
                else model.model_validate_json(body)
            )
        return found

    def set_aside(self, state: str = "") -> list[aside.SetAside]:
        """What was set aside."""
        return self.read(lambda c: aside.page(c, state=state))

    def rebuild_equals(self) -> None:
        """Every projection equals its rebuild from the log so far."""
        of_each = self.store.write_now(
            partial(
                differences,
                service=self.service,
                read_models=self.service.all_projections,
                records=self.log,
            )
        )
        found = [one for differs in of_each.values() for one in differs]
        assert not found, "\n".join(map(str, found[:10]))


class Beside:
    """Something that begins while another transaction is not committed yet, which goes on when this
    is done or waits for a lock. On PostgreSQL: SQLite has one writer."""

    def __init__(self, bench: Bench, work: Callable[[], Any]) -> None:
        self._bench = bench
        self._work = work
        self._pool = ThreadPoolExecutor(1)
        self._begun: Future[Any] | None = None

    def begin(self) -> None:
        """Begin, and come back when it is done or waits."""
        begun = self._begun = self._pool.submit(self._work)
        eventually(lambda: begun.done() or self._waits(), why="neither done nor waiting")

    def result(self) -> Any:
        """What came of it, once the other is committed."""
        assert self._begun is not None
        try:
            return self._begun.result(30)
        finally:
            self._pool.shutdown()

    def _waits(self) -> bool:
        waiting = sa.text(
            "SELECT EXISTS (SELECT FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock')"
        )
        return bool(self._bench.read(lambda connection: connection.scalar(waiting)))


def count_as_sent(connection: sa.Connection) -> int:
    """Every row of the outbox counts as sent; how many did not before."""
    rows = marks.unsent(connection, (), 2**31 - 1)
    marks.sent(connection, [marks.Sent(r.row, r.id, r.topic, 0, r.row, 1) for r in rows], {})
    return len(rows)


def orders(records: Sequence[T], key: Callable[[T], object]) -> Iterator[list[T]]:
    """Every order of `records` that keeps the order of those with the same key."""
    indexed = list(enumerate(records))
    for candidate in permutations(indexed):
        seen: dict[object, int] = {}
        for index, record in candidate:
            name = key(record)
            if seen.get(name, -1) > index:
                break
            seen[name] = index
        else:
            yield [record for _, record in candidate]
