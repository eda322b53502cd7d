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
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import TypeVar

import sqlalchemy as sa

from messaging import aside
from messaging.attempt import (
    RETRIES,
    Attempt,
    HandlerFailed,
    Live,
    Outcome,
    Overtaken,
    Partition,
    Place,
    Unattributed,
    reason_of,
)
from messaging.envelope import Item, Received, Unreadable
from messaging.reactions import NotYet
from messaging.service import Service
from messaging.tables import inbox, set_aside
from runtime.clock import Clock
from runtime.failures import is_transient
from runtime.ids import Ids
from runtime.logging import get_logger

log = get_logger()

T = TypeVar("T")
Write = Callable[[Callable[[sa.Connection], T]], T]

SLICE = timedelta(milliseconds=20)
"""How long a batch may hold the store while somebody else waits for it (DESIGN §3.4)."""

_QUIET = 20
"""Batches of more events than this are logged in one line."""


class Settler:
    """Settles batches for one subscriber of a service. Used by one thread at a time."""

    def __init__(self, service: Service, *, clock: Clock, ids: Ids, live: Live) -> None:
        self.service = service
        self.clock = clock
        self.ids = ids
        self.live = live
        self.expected: dict[Partition, Place] = {}
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
        waiting: Callable[[], int] = lambda: 0,
        told: Callable[[Outcome], None] = lambda _outcome: None,
    ) -> dict[Partition, int]:
        """Settle items in order, in as few transactions as their failures allow.

        `write` runs work in one transaction; `waiting` says whether others want the store; `told`
        is called after each commit. Returns where to seek.

        Raises what is transient; then nothing of the open batch is kept, and the same items may be
        given again.
        """
        while self._forgotten:
            self.expected.pop(self._forgotten.pop(), None)
        seeks: dict[Partition, int] = {}
        queue: list[Sequence[Item]] = [items]
        careful = False
        while queue:
            chunk = [i for i in queue.pop(0) if (i.record.topic, i.record.partition) not in seeks]
            if not chunk:
                continue
            if self._passed(chunk[0]):
                chunk = [i for i in chunk if not self._passed(i)]
            begun = time.monotonic()

            def hurry(begun: float = begun) -> bool:
                return waiting() > 0 and time.monotonic() - begun > SLICE.total_seconds()

            try:
                outcome = write(
                    lambda c, chunk=chunk, careful=careful: self.settle(  # type: ignore[misc]
                        c, chunk, careful=careful, hurry=hurry
                    )
                )
            except Exception as error:
                failed = _failed(error, chunk)
                if failed is None:
                    queue[:0] = _halves(chunk)
                    continue
                if failed.by is not None and not careful:
                    careful = True
                    queue.insert(0, chunk)
                    continue
                if len(chunk) > 1:
                    at = failed.index
                    queue[:0] = [
                        part for part in (chunk[:at], [chunk[at]], chunk[at + 1 :]) if part
                    ]
                    continue
                outcome = self._put_aside(write, chunk[0], failed.error)
            self._commit(outcome, told)
            seeks.update(outcome.seeks)
            if outcome.done < len(chunk):
                queue.insert(0, chunk[outcome.done :])
        return seeks

    def _passed(self, item: Item) -> bool:
        """A batch that is given again after a transient failure may have been settled in part."""
        known = self.expected.get((item.record.topic, item.record.partition))
        return (
            known is not None
            and known.offset == item.record.offset
            and known.event_id == item.id[:64]
            and known.stamp == item.record.stamp
        )

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
        for broken in outcome.broken:
            self.live.projections = self.live.projections - {broken}
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
        told(outcome)
        for call in outcome.callbacks:
            call()

    # one transaction

    def _attempt(self, connection: sa.Connection, *, careful: bool = True) -> Attempt:
        return Attempt(
            self.live,
            connection,
            clock=self.clock,
            ids=self.ids,
            expected=self.expected,
            careful=careful,
        )

    def settle(
        self,
        connection: sa.Connection,
        items: Sequence[Item],
        *,
        careful: bool = False,
        hurry: Callable[[], bool] = lambda: False,
        refused: str = "",
    ) -> Outcome:
        """Settle items in the caller's transaction. `careful` gives each projection a savepoint.
        `refused` sets the one item aside, to be tried again, with this reason."""
        attempt = self._attempt(connection, careful=careful)
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

    # what was set aside

    def due(self, connection: sa.Connection, *, limit: int = 100) -> list[str]:
        """Ids that should be tried now: retries that are due, waiting ones whose previous came or
        that have waited for an hour. In the order in which they came."""
        now = self.clock.now()
        came = sa.exists().where(inbox.c.event_id == set_aside.c.previous)
        return list(
            connection.scalars(
                sa.select(set_aside.c.event_id)
                .where(
                    set_aside.c.topic.in_(self.service.reads),
                    sa.or_(
                        sa.and_(
                            set_aside.c.state.in_(("retrying", "waiting")),
                            set_aside.c.next_try <= now,
                        ),
                        sa.and_(set_aside.c.state == "waiting", came),
                    ),
                )
                .order_by(set_aside.c.at, set_aside.c.topic, set_aside.c.record_offset)
                .limit(limit)
            )
        )

    def retry(
        self,
        write: Write[Outcome],
        event_id: str,
        *,
        told: Callable[[Outcome], None] = lambda _outcome: None,
    ) -> str:
        """Try one set-aside event again, alone. Returns "" or the reason why it failed again.

        Raises what is transient.
        """
        try:
            outcome = write(lambda c: self._again(c, event_id))
        except Exception as error:
            failed = _failed(error, [None])
            reason = reason_of(failed.error if failed else error)
            outcome = write(lambda c: self._still(c, event_id, reason))
            self._commit(outcome, told)
            return reason
        self._commit(outcome, told)
        return ""

    def _again(self, connection: sa.Connection, event_id: str) -> Outcome:
        attempt = self._attempt(connection)
        row = aside.locked(connection, event_id)
        if row is None or row.state == "discarded":
            return attempt.outcome
        item = aside.item_of(row)
        if isinstance(item.content, Unreadable):
            raise HandlerFailed(0, NotYet(item.content.spoken()))
        if row.state == "waiting" and row.next_try <= self.clock.now():
            log.error("event.waited_too_long", event_id=event_id, event_type=item.type)
        attempt.look_up([item])
        attempt.settle_alone(item)
        attempt.close()
        return attempt.outcome

    def _still(self, connection: sa.Connection, event_id: str, reason: str) -> Outcome:
        attempt = self._attempt(connection)
        row = aside.locked(connection, event_id)
        if row is None:
            return attempt.outcome
        tries = row.tries + 1
        alive = row.state in ("waiting", "retrying") and tries <= len(RETRIES)
        values = {
            "tries": tries,
            "reason": reason,
            "state": "retrying" if alive else "dead",
            "next_try": self.clock.now() + RETRIES[tries - 1] if alive else None,
        }
        connection.execute(
            sa.update(set_aside).where(set_aside.c.event_id == event_id).values(values)
        )
        if not alive:
            log.error(
                "event.dead", event_id=event_id, event_type=row.type, reason=reason, tries=tries
            )
            attempt.knows(event_id)
            attempt.count_as_settled(event_id, row.topic)
            attempt.close()
        return attempt.outcome

    def discard(
        self,
        write: Write[Outcome],
        event_id: str,
        reason: str,
        *,
        told: Callable[[Outcome], None] = lambda _outcome: None,
    ) -> None:
        """Staff decide that an event shall have no effect: its id counts as settled and what waited
        for it passes."""
        self._commit(write(lambda c: self._discard(c, event_id, reason)), told)

    def _discard(self, connection: sa.Connection, event_id: str, reason: str) -> Outcome:
        attempt = self._attempt(connection)
        row = aside.locked(connection, event_id)
        if row is not None:
            connection.execute(
                sa.update(set_aside)
                .where(set_aside.c.event_id == event_id)
                .values(state="discarded", reason=reason, next_try=None)
            )
            attempt.knows(event_id)
            attempt.count_as_settled(event_id, row.topic)
            attempt.close()
        return attempt.outcome


def _failed(error: Exception, chunk: Sequence[Item | None]) -> HandlerFailed | None:
    """What failed; None when the batch must be divided to find out. Raises what is transient."""
    if isinstance(error, Overtaken) or is_transient(error):
        raise error
    if isinstance(error, HandlerFailed):
        return error
    if len(chunk) > 1:
        return None
    cause = error.__cause__ if isinstance(error, Unattributed) else error
    return HandlerFailed(0, cause if isinstance(cause, Exception) else error)


def _halves(chunk: Sequence[Item]) -> list[Sequence[Item]]:
    middle = len(chunk) // 2
    return [chunk[:middle], chunk[middle:]]
