"""``python -m benchmarks.observed SERVICE``: the service as it is, with notes of what was when.

Nothing of the way is changed; times are kept in memory and written at the end to BENCH_TIMES: when
the transaction of a sale was committed (told to the caller), when the relay gave its record to the
producer, when the record reached the consumer, when its batch was settled, and what every write
spent in the queue, at work and in the commit.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.producer.message_accumulator import BatchBuilder

from messaging.attempt import Outcome
from messaging.engine import Engine
from runtime.store import WriteTimes
from web import app, serve
from web.figures import Figures

NOTED: dict[str, Any] = {"committed": {}, "sent": {}, "arrived": {}, "settled": {}, "writes": []}


class Noting(Figures):
    """The service's own figures, kept one by one as well."""

    def write(self, times: WriteTimes) -> None:
        super().write(times)
        NOTED["writes"].append((time.time(), times.waited, times.worked, times.committed))


class Listened(Engine):
    """The service's own engine, with a listener."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.listen(_settled)

    async def transact(self, *arguments: Any, **more: Any) -> Any:
        result = await super().transact(*arguments, **more)
        NOTED["committed"][getattr(result, "id", "")] = time.time()
        return result


def _settled(outcome: Outcome) -> None:
    now = time.time()
    for item in outcome.settled:
        NOTED["settled"].setdefault(item.key, now)


def _note_sent() -> None:
    plain = BatchBuilder.append

    def append(self: BatchBuilder, *, key: bytes, **more: Any) -> Any:
        NOTED["sent"].setdefault(key.decode(), time.time())
        return plain(self, key=key, **more)

    BatchBuilder.append = append


def _note_arrived() -> None:
    plain = AIOKafkaConsumer.getmany

    async def getmany(self: AIOKafkaConsumer, *arguments: Any, **more: Any) -> Any:
        got = await plain(self, *arguments, **more)
        now = time.time()
        for records in got.values():
            for record in records:
                NOTED["arrived"].setdefault((record.key or b"").decode(), now)
        return got

    AIOKafkaConsumer.getmany = getmany


def main() -> int:
    """Serve until stopped, then write the notes."""
    app.Figures = Noting  # type: ignore[attr-defined]
    app.Engine = Listened  # type: ignore[attr-defined]
    _note_sent()
    _note_arrived()
    code = serve.main(sys.argv[1:])
    Path(os.environ["BENCH_TIMES"]).write_text(json.dumps(NOTED), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
