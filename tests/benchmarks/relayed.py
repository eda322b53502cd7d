"""(c) Events sent per second by one relay.

The outbox holds sales, written before. The same rows are taken to a topic like it by

* **ours**: `messaging.relay.Relay`, turn by turn, with its lock, its places and its marks;
* **a bare producer**: `aiokafka` with the same settings, from rows in memory, sent one by one in
  order as its documentation shows it, nothing read and nothing marked; and, for comparison, one
  that fills its batches itself, as the relay does;
* **faststream-outbox** on the same PostgreSQL, body and headers as they are, relayed to the same
  Kafka by the decorators that it documents: once with one worker, which keeps the order as we do,
  and once with many, as fast as it goes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import DefaultPartitioner

from benchmarks import facts
from benchmarks.figures import Figure, left_out, ratio
from benchmarks.place import Place, as_if_begun
from messaging import marks
from messaging.bus import Bus
from messaging.envelope import body_of, headers_for, wire_headers
from messaging.relay import Relay
from messaging.tables import outbox, outbox_sent, outbox_unsent
from runtime.clock import SystemClock
from runtime.ids import SystemIds
from runtime.store import Store
from solidarity_shop.app import SERVICE

TOPIC = "shop.events"
OTHER = "bench.relayed"
"""A topic like it, for the others."""

EVENTS = 20_000
RIVALS_SHARE = 10
"""The rival is slow: it gets a tenth of the events."""
WORKERS = 32


async def run(place: Place) -> list[Figure]:
    """The ratios, engine by engine."""
    figures = place.figures
    count = place.size(EVENTS, least=2_000)
    for engine in place.engines:
        # Of its own: a relay takes in what it finds in its topics and does not know.
        kafka = place.new_kafka(f"kafka-{engine}")
        kafka.create_topics([OTHER], writer="shop")
        url = place.new_store(SERVICE, engine)
        store = Store(url)
        rows = _fill(store, count)
        bus = Bus(kafka.bootstrap, "shop", kafka.secret("shop"))
        await ours(store, bus, count)
        pairs, filled = [], []
        for _ in range(place.rounds):
            bare = await bare_producer(bus, rows)
            pairs.append((bare, await ours(store, bus, count)))
            full = await bare_producer(bus, rows, in_batches=True)
            filled.append((full, await ours(store, bus, count)))
        figures.append(ratio(f"{engine}: of a bare producer", pairs, 0.5))
        figures.append(ratio(f"{engine}: of one that fills its batches itself", filled, None))
        if engine == "postgresql":
            figures += await _rivals(place, store, bus, count)
        await store.close()
        place.drop(url)
        kafka.kill()
    return figures


async def _rivals(place: Place, store: Store, bus: Bus, count: int) -> list[Figure]:
    try:
        from benchmarks.rival import rival
    except ImportError:
        return [left_out("postgresql: of faststream-outbox", "it is not installed here")]
    ordered, fast = [], []
    few = max(500, count // RIVALS_SHARE)
    url = place.new_store(SERVICE, "postgresql")
    for _ in range(place.rounds):
        one = await rival(url, bus, few, workers=1)
        mine = await ours(store, bus, count)
        many = await rival(url, bus, few, workers=WORKERS)
        ordered.append((one, mine))
        fast.append((many, await ours(store, bus, count)))
    return [
        ratio("postgresql: of faststream-outbox in order (1 worker)", ordered, 5),
        ratio(f"postgresql: of faststream-outbox at its fastest ({WORKERS} workers)", fast, 5),
    ]


def _fill(store: Store, count: int) -> list[Any]:
    """An outbox with this many unsent sales, and its rows."""
    ids, now = SystemIds(), SystemClock().now()
    rows = []
    for event in facts.sales(count, 1_000):
        event_id = ids.new()
        headers = headers_for(
            event,
            event_id=event_id,
            source="/shop",
            time=now,
            correlation=event_id,
            centre=facts.CENTRE,
        )
        rows.append(
            {
                "id": event_id,
                "topic": TOPIC,
                "key": event.key,
                "type": event.ce_type(),
                "headers": headers,
                "body": body_of(event),
                "at": now,
            }
        )
    store.write_now(lambda c: c.execute(sa.insert(outbox), rows))
    return list(store.read_now(lambda c: marks.unsent(c, (), count)))


async def ours(store: Store, bus: Bus, count: int) -> float:
    """Events per second of a connected relay that finds the whole outbox unsent."""

    def all_unsent(connection: sa.Connection) -> None:
        for marks_of in (outbox_sent, outbox_unsent):
            connection.execute(sa.delete(marks_of))
        every = sa.select(outbox.c.row)
        connection.execute(sa.insert(outbox_unsent).from_select(["row"], every))

    clock = SystemClock()
    relay = Relay(SERVICE, store, bus, clock=clock, ids=SystemIds(clock))
    await relay._lock.acquire()
    await relay.connect()
    await store.write(all_unsent)
    try:
        with as_if_begun():
            sent, begun = 0, time.perf_counter()
            while more := await relay.turn():
                sent += more
            seconds = time.perf_counter() - begun
    finally:
        await relay.disconnect()
        await relay._lock.release()
    if sent != count:
        raise RuntimeError(f"{sent} of {count} rows were sent")
    return count / seconds


async def bare_producer(bus: Bus, rows: Sequence[Any], *, in_batches: bool = False) -> float:
    """Records per second of the same producer from rows in memory, acknowledged."""
    ready = [
        (
            row.key.encode(),
            row.body,
            wire_headers(row.headers, previous=row.previous, cause=row.cause, era=0),
        )
        for row in rows
    ]
    producer = bus.producer()
    await producer.start()
    try:
        await (await producer.send(OTHER, value=b"{}", key=b"warm"))
        with as_if_begun():
            begun = time.perf_counter()
            if in_batches:
                futures = await _in_batches(producer, ready)
            else:
                futures = [
                    await producer.send(OTHER, value=value, key=key, headers=headers)
                    for key, value, headers in ready
                ]
            for future in futures:
                await future
            return len(ready) / (time.perf_counter() - begun)
    finally:
        await producer.stop()


async def _in_batches(producer: AIOKafkaProducer, ready: Sequence[Any]) -> list[Any]:
    partitions = sorted(await producer.partitions_for(OTHER))
    chosen = DefaultPartitioner()
    filling = {partition: producer.create_batch() for partition in partitions}
    futures = []
    for key, value, headers in ready:
        to = chosen(key, partitions, partitions)
        if filling[to].append(timestamp=None, key=key, value=value, headers=headers) is None:
            futures.append(await producer.send_batch(filling[to], OTHER, partition=to))
            filling[to] = producer.create_batch()
            filling[to].append(timestamp=None, key=key, value=value, headers=headers)
    for to, batch in filling.items():
        if batch.record_count():
            futures.append(await producer.send_batch(batch, OTHER, partition=to))
    return futures
