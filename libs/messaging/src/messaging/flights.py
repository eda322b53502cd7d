"""Rows of the outbox on their way: put into batches, handed to the client, acknowledged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from aiokafka.errors import MessageSizeTooLargeError
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import RecordMetadata

from messaging import marks
from messaging.envelope import wire_headers
from messaging.outcome import Partition
from messaging.reconcile import stamp_of
from runtime.logging import get_logger

log = get_logger()


class Batch:
    """Rows of one partition that travel together: the log takes all of them or none."""

    def __init__(self, name: Partition, era: int, builder: BatchBuilder) -> None:
        self.name = name
        self.era = era
        self.builder = builder
        self.rows: list[marks.Unsent] = []
        self.stamps: list[int] = []

    def add(self, row: marks.Unsent, key: bytes) -> bool:
        """Whether there was room for this row; there is for the first, however large it is."""
        stamp = int(time.time() * 1000)
        headers = wire_headers(row.headers, previous=row.previous, cause=row.cause, era=self.era)
        if self.builder.append(timestamp=stamp, key=key, value=row.body, headers=headers) is None:
            return False
        self.rows.append(row)
        self.stamps.append(stamp)
        return True

    def acknowledged(self, answer: RecordMetadata) -> list[marks.Sent]:
        """Where the rows lie: one behind the other, from the offset of the answer."""
        topic, partition = self.name
        return [
            marks.Sent(row.row, row.id, topic, partition, offset, stamp_of(answer, stamp))
            for offset, (row, stamp) in enumerate(
                zip(self.rows, self.stamps, strict=True), answer.offset
            )
        ]


class Flight:
    """Rows that were sent together, until they are marked."""

    def __init__(self) -> None:
        self.rows: list[marks.Unsent] = []
        self.posted: list[tuple[Batch, asyncio.Future[RecordMetadata]]] = []
        self.refused: list[marks.Unsent] = []
        self.landed: asyncio.Future[None]

    async def answers(self) -> list[marks.Sent]:
        """What was acknowledged; `refused` are the rows of batches that hold one which is too large
        for its topic."""
        acknowledged: list[marks.Sent] = []
        try:
            for batch, answer in self.posted:
                try:
                    acknowledged += batch.acknowledged(await answer)
                except MessageSizeTooLargeError:
                    self.refused += batch.rows
        except BaseException:
            self.give_up()
            raise
        return acknowledged

    def give_up(self) -> None:
        """Nobody waits for these answers any more."""
        for _, answer in self.posted:
            if not answer.cancel() and not answer.cancelled():
                answer.exception()


def log_each(rows: Sequence[marks.Unsent], acknowledged: Sequence[marks.Sent]) -> None:
    """A line for each row of these that was acknowledged."""
    there = {one.row for one in acknowledged}
    for row in rows:
        if row.row in there:
            log.info(
                "event.sent",
                correlation=row.headers.get("correlation", ""),
                event_id=row.id,
                event_type=row.type,
            )
