"""Order per key on the bus, and what PostgreSQL has seen: no deadlock."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import psycopg

from chaos.checks.log import CopiedBus
from contracts import COMPACTED
from messaging.bus import Bus
from messaging.envelope import Received, decode

DEADLOCKS = (
    "SELECT datname, deadlocks FROM pg_stat_database"
    " WHERE datname LIKE 'vicinato_%' AND deadlocks > 0"
)


async def out_of_order(bus: Bus) -> list[str]:
    """Events whose predecessor comes behind them for the first time, in the same partition."""
    async with CopiedBus(bus).reader() as log:
        found = []
        for (topic, partition), records in log.records.items():
            if topic in COMPACTED:
                continue
            seen: set[str] = set()
            waits: dict[str, list[str]] = defaultdict(list)
            for record in records:
                content = decode(record).content
                if not isinstance(content, Received) or content.id in seen:
                    continue
                seen.add(content.id)
                if content.previous and content.previous not in seen:
                    waits[content.previous].append(content.id)
            found += [
                f"{event} comes before {previous} on {topic}/{partition}"
                for previous, events in waits.items()
                if previous in seen
                for event in events
            ]
        return found


def deadlocks(connection: psycopg.Connection) -> Iterator[str]:
    """Databases of the house in which transactions waited for each other."""
    for name, count in connection.execute(DEADLOCKS).fetchall():
        yield f"{count} deadlocks in {name}"
