"""`faststream-outbox`, set up as its documentation says for speed; the rival of (c).

asyncpg (so that it is woken by NOTIFY), large fetches, rows deleted in batches, relayed to Kafka by
the decorators that it documents, which were as fast as publishing by hand or faster. A worker takes
its next row when the one before is acknowledged: rows count when they are taken.
"""

from __future__ import annotations

import asyncio
import time
import warnings
from typing import Any

import sqlalchemy as sa
from faststream.kafka import KafkaBroker, KafkaResponse
from faststream.security import SASLScram512
from faststream_outbox import OutboxBroker, make_outbox_table
from faststream_outbox.annotations import OutboxMessage
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks import facts
from messaging.bus import Bus
from messaging.envelope import body_of

TOPIC = "bench.relayed"
WITHIN = 120.0


async def rival(url: str, bus: Bus, count: int, *, workers: int) -> float:
    """Events per second that faststream-outbox takes from its table to Kafka."""
    metadata = sa.MetaData()
    table = make_outbox_table(metadata, table_name="rival")
    engine = create_async_engine(
        sa.make_url(url).set(drivername="postgresql+asyncpg"), pool_size=workers + 4
    )
    async with engine.begin() as connection:
        await connection.run_sync(metadata.drop_all)
        await connection.run_sync(metadata.create_all)
    kafka = KafkaBroker(logger=None, **_producer_options(bus))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        broker = OutboxBroker(engine, outbox_table=table, logger=None)
        times: list[float] = []
        done = asyncio.Event()

        @kafka.publisher(TOPIC)
        @broker.subscriber(
            "sales",
            max_workers=workers,
            fetch_batch_size=500,
            min_fetch_interval=0.01,
            max_fetch_interval=0.1,
            terminal_flush_batch_size=100,
        )
        async def relay(message: OutboxMessage) -> KafkaResponse:
            times.append(time.perf_counter())
            if len(times) >= count:
                done.set()
            return KafkaResponse(
                message.body,  # as it lies there: decoded it would be a dictionary
                key=message.headers["ce_subject"].encode(),
                headers=dict(message.headers),
            )

        await kafka.start()
        async with engine.begin() as connection:
            for event in facts.sales(count, 1_000):
                await broker.publish(
                    body_of(event),
                    queue="sales",
                    session=connection,
                    headers={"ce_subject": event.key, "ce_type": event.ce_type()},
                )
        await broker.start()
        try:
            async with asyncio.timeout(WITHIN):
                await done.wait()
        finally:
            await broker.stop()
            await kafka.stop()
            await engine.dispose()
    return (len(times) - 1) / (times[-1] - times[0])


def _producer_options(bus: Bus) -> dict[str, Any]:
    return {
        "bootstrap_servers": bus.address,
        "security": SASLScram512(username=bus.user, password=bus.password),
        "acks": "all",
        "enable_idempotence": True,
        "linger_ms": 0,
    }
