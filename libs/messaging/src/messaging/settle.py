"""Settling events: exactly one effect for each, in one transaction with the inbox and the place.

What holds (each has a control in the tests that switches it off):

* **Inbox.** An event's id is inserted in the transaction of its effects; a known id means done.
* **Place.** The place of a partition is locked and compared first. One that this process did not
  write itself (a zombie, a second replica, a restored store) sends the reader there.
* **Era.** A higher era, or an offset that does not grow, means another log than the one known:
  that partition is read from its beginning, and ids drop what was done.
* **Previous.** An event whose ``previous`` is not settled waits in the store until it is.

Failures are sorted as DESIGN §3.5 says: transient ones are the caller's to wait out; a record that
cannot be read is dead at once; a policy that fails is tried once more alone, then after 1, 10 and
60 minutes, then dead; a projection that fails is marked broken and the event goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TypeVar

import sqlalchemy as sa

from messaging.attempt import (
    Attempt,
    HandlerFailed,
    NeedsCare,
    Outcome,
    Overtaken,
    Partition,
    Place,
    Unattributed,
    reason_of,
)
from messaging.envelope import Item, Received
from messaging.outcome import is_at
from messaging.service import Service
from runtime.clock import Clock
from runtime.failures import is_transient
from runtime.ids import Ids
from runtime.logging import get_logger

log = get_logger()

T = TypeVar("T")
Write = Callable[[Callable[[sa.Connection], T]], T]

SLICE = timedelta(milliseconds=20)
"""How long a batch may hold the store while somebody else waits for it (DESIGN §3.4)."""

MOST = {"sqlite": 200, "postgresql": 500}
"""Items of one transaction, by engine. On SQLite it holds the whole store, for some 50 ms, and
whoever comes in its middle waits for what is left of it. On PostgreSQL it holds rows, and more at
once is faster by a fifth (`docs/benchmarks.md`, b)."""

SMALLEST = 16
"""Items of a batch that is divided because others wait: what is looked up for more would be thrown
away with the rest of it."""

_QUIET = 20
"""Batches of more events than this are logged in one line."""


class Settler:
    """Settles batches for one subscriber of a service. Used by one thread at a time."""

    def __init__(self, service: Service, *, clock: Clock, ids: Ids) -> None:
        self.service = service
        self.clock = clock
        self.ids = ids
        self.expected: dict[Partition, Place] = {}
        self._gaps: dict[Partition, int] = {}
        """Behind missing offsets: where the log went on when it was asked for what comes next."""
        self._forgotten: set[Partition] = set()

    def forget(self, partitions: Iterable[Partition]) -> None:
        """These partitions were (re)assigned: the next batch begins with a seek to their place."""
        self._forgotten.update(partitions)

    # the whole way of a batch

    def settle_all(
        self,
        write: Write[Outcome],
        items: Sequence[Item],
        *,
        most: int = MOST["sqlite"],
        waiting: Callable[[], int] = lambda: 0,
        told: Callable[[Outcome], None] = lambda _outcome: None,
    ) -> dict[Partition, int]:
        """Settle items in order, in as few transactions as their failures allow.

        `write` runs work in one transaction, `most` items in each; `waiting` says whether others
        want the store; `told` is called after each commit. Returns where to seek.

        Raises what is transient; then nothing of the open batch is kept, and the same items may be
        given again: those that were settled before it are passed over.
        """
        while self._forgotten:
            self.expected.pop(self._forgotten.pop(), None)
        seeks: dict[Partition, int] = {}
        queue = [_Chunk(self._after_places(items))]
        size = most
        while queue:
            chunk = queue.pop(0).without(seeks)
            if len(chunk.items) > size:
                queue.insert(0, chunk.part(size, None))
                chunk = chunk.part(0, size)
            if not chunk.items:
                continue
            try:
                outcome = write(partial(self._settle_chunk, chunk=chunk, waiting=waiting))
            except Exception as error:
                if isinstance(error, Overtaken) or is_transient(error):
                    raise
                parts = chunk.after(error)
                if parts:
                    queue[:0] = parts
                    continue
                outcome = self._put_aside(write, chunk.items[0], cause_of(error))
            self._commit(outcome, told)
            seeks.update(outcome.seeks)
            if outcome.done < len(chunk.items):
                queue.insert(0, chunk.part(outcome.done, None))
                size = max(SMALLEST, 2 * outcome.done)
            else:
                size = min(most, max(size, 2 * len(chunk.items)))
        return seeks

    def _settle_chunk(
        self, connection: sa.Connection, *, chunk: _Chunk, waiting: Callable[[], int]
    ) -> Outcome:
        begun = time.monotonic()

        def hurry() -> bool:
            return waiting() > 0 and time.monotonic() - begun > SLICE.total_seconds()

        return self.settle(
            connection, chunk.items, careful=chunk.careful, release=chunk.release, hurry=hurry
        )

    def _after_places(self, items: Sequence[Item]) -> list[Item]:
        """Items behind the places that this process wrote last. A batch that is given again after
        a transient failure may have been settled in part."""
        reached: dict[Partition, int] = {}
        for index, item in enumerate(items):
            name = (item.record.topic, item.record.partition)
            known = self.expected.get(name)
            if known is not None and known.offset == item.record.offset and is_at(item, known):
                reached[name] = index
        if not reached:
            return list(items)
        return [
            item
            for index, item in enumerate(items)
            if index > reached.get((item.record.topic, item.record.partition), -1)
        ]

    def _put_aside(self, write: Write[Outcome], item: Item, error: Exception) -> Outcome:
        log.warning(
            "event.retrying",
            event_id=item.id,
            event_type=item.type,
            reason=reason_of(error),
            tries=1,
        )
        return write(lambda c: self.settle(c, [item], refused=reason_of(error)))

    def _commit(self, outcome: Outcome, told: Callable[[Outcome], None]) -> None:
        self.expected.update(outcome.places)
        self._gaps.update(outcome.gaps)
        for broken in outcome.broken:
            log.error("projection.broken", projection=broken.name, version=broken.version)
        if len(outcome.settled) <= _QUIET:
            for item in outcome.settled:
                if isinstance(item.content, Received):
                    log.info(
                        "event.settled",
                        correlation=item.content.correlation,
                        event_id=item.id,
                        event_type=item.type,
                    )
        else:
            log.info("events.settled", count=len(outcome.settled))
        call_all([partial(told, outcome), *outcome.callbacks])

    # one transaction

    def _attempt(
        self, connection: sa.Connection, *, careful: bool = True, release: bool = True
    ) -> Attempt:
        return Attempt(
            self.service,
            connection,
            clock=self.clock,
            ids=self.ids,
            expected=self.expected,
            gaps=self._gaps,
            careful=careful,
            release=release,
        )

    def settle(
        self,
        connection: sa.Connection,
        items: Sequence[Item],
        *,
        careful: bool = False,
        release: bool = True,
        hurry: Callable[[], bool] = lambda: False,
        refused: str = "",
    ) -> Outcome:
        """Settle items in the caller's transaction. `careful` gives each projection a savepoint;
        without `release` nobody passes who waited for them. `refused` sets the one item aside, to
        be tried again, with this reason."""
        attempt = self._attempt(connection, careful=careful, release=release)
        attempt.lock_places(items)
        attempt.look_up(items, prefetch=not refused)
        for index, item in enumerate(items):
            if attempt.begins(item):
                attempt.one(index, item, refused)
            attempt.outcome.done = index + 1
            if hurry():
                break
        attempt.close()
        return attempt.outcome


@dataclass(frozen=True)
class _Chunk:
    """Items that are tried in one transaction, and how: see `Settler.settle`."""

    items: Sequence[Item]
    careful: bool = False
    release: bool = True

    def part(self, start: int, end: int | None) -> _Chunk:
        return replace(self, items=self.items[start:end])

    def without(self, partitions: Collection[Partition]) -> _Chunk:
        if not partitions:
            return self
        left = [i for i in self.items if (i.record.topic, i.record.partition) not in partitions]
        return replace(self, items=left)

    def after(self, error: Exception) -> list[_Chunk]:
        """What to try instead, now that this failed; nothing when the one item is to blame."""
        if isinstance(error, NeedsCare):
            return [replace(self, careful=True)]
        failed = error if isinstance(error, HandlerFailed) else None
        if failed is not None and failed.by is not None and not self.careful:
            return [replace(self, careful=True)]
        if failed is not None and failed.follower and self.release:
            return [replace(self, release=False)]
        if len(self.items) > 1:
            at = len(self.items) // 2 if failed is None else failed.index
            cuts = [(0, at), (at, len(self.items))] if failed is None else [(0, at), (at, at + 1)]
            if failed is not None:
                cuts.append((at + 1, len(self.items)))
            return [self.part(start, end) for start, end in cuts if start < end]
        return [replace(self, release=False)] if self.release else []


def cause_of(error: Exception) -> Exception:
    """What went wrong underneath."""
    if isinstance(error, HandlerFailed):
        return error.error
    if isinstance(error, Unattributed) and isinstance(error.__cause__, Exception):
        return error.__cause__
    return error


def call_all(calls: Iterable[Callable[[], None]]) -> None:
    """Call what was to be called once the transaction was committed. What fails there is no reason
    to tell the caller that nothing was done: it is logged."""
    for call in calls:
        try:
            call()
        except Exception:
            log.exception("transaction.after_commit_failed")
