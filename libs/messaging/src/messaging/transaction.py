"""What a command or a policy gets: one transaction of the service's store. It never commits.

What is emitted and collected belongs to this object, so nothing of an attempt that was rolled back
stays in memory. The boundary (`messaging.engine`, `messaging.settle`) opens and closes it; `close`
writes the outbox as the last statement before the commit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from contracts import Event
from messaging import outbox
from messaging.envelope import MAX_BODY, Received, body_of, headers_for
from runtime import scheduler, telemetry
from runtime.ids import Ids, following
from runtime.refusals import N_, TooLarge
from runtime.store import insert, together

if TYPE_CHECKING:
    from messaging.reactions import ProjectionTransaction
    from messaging.service import Service


class EmittedTwice(Exception):  # noqa: N818 - it names what happened
    """One reaction emitted the same type for the same subject twice: a mistake in a policy."""


class Transaction:
    """One transaction: connection, time, ids, who asked, and what it will tell the others.

    `actor` is the account's id or ``system``. `centre` is that of the caller, or of the event that
    is handled. `cause` is that event, else None. `memo` is free for a policy's prefetch.
    `read_models` are those that the same events fill.
    """

    def __init__(
        self,
        service: Service,
        connection: sa.Connection,
        *,
        now: datetime,
        ids: Ids,
        actor: str = "system",
        centre: str = "",
        correlation: str = "",
        doubted: bool = False,
        read_models: ProjectionTransaction | None = None,
    ) -> None:
        self.service = service
        self.now = now
        self.doubted = doubted
        """Whether the date is doubted: what happens by itself when its time has come must wait."""
        self.ids = ids
        self.actor = actor
        self.centre = centre
        self.correlation = correlation or ids.new()
        self.cause: Received[Event] | None = None
        self.memo: dict[str, Any] = {}
        self._callbacks: list[Callable[[], None]] = []
        self.scheduled = False
        self._connection = connection
        self._read_models = read_models
        self._before_flush: list[Callable[[sa.Connection], None]] = []
        self._collected: dict[sa.Table, list[Mapping[str, Any]]] = {}
        self._drafts: dict[str, outbox.Draft] = {}

    @property
    def connection(self) -> sa.Connection:
        """The connection, with everything that was collected so far written to it."""
        self.flush()
        return self._connection

    def emit(self, event: Event, *, centre: str | None = None) -> str:
        """Tell the others a fact, if this transaction commits. Returns the event's id.

        In a command the id is new; in a reaction it follows from cause, type and subject, so that
        the same decision has the same id.

        Raises:
            TooLarge: the event does not fit on the bus.
            EmittedTwice: this reaction told the same of the same subject already.
        """
        if event.TOPIC not in self.service.topics:
            raise ValueError(f"{self.service.name} does not write {event.TOPIC}")
        cause = self.cause.id if self.cause else None
        ce_type, key = event.ce_type(), event.key
        event_id = following(cause, ce_type, key) if cause else self.ids.new()
        if event_id in self._drafts:
            raise EmittedTwice(f"{ce_type} of {key} because of {cause}")
        body = body_of(event)
        if body is not None and len(body) > MAX_BODY:
            raise TooLarge(
                "event.too_large",
                N_("This is too much to be kept in one go."),
                N_("Divide it into smaller parts."),
            )
        self._drafts[event_id] = outbox.Draft(
            id=event_id,
            topic=event.TOPIC,
            key=key,
            cause=cause,
            type=ce_type,
            headers=headers_for(
                event,
                event_id=event_id,
                source=f"/{self.service.name}",
                time=self.now,
                correlation=self.correlation,
                centre=self.centre if centre is None else centre,
                traceparent=telemetry.traceparent(),
            ),
            body=body,
            at=self.now,
        )
        return event_id

    def collect(self, table: sa.Table, row: Mapping[str, Any]) -> None:
        """Insert a row together with all others of its table, at the next flush.

        Every row of a table must name the same columns.
        """
        self._collected.setdefault(table, []).append(row)

    def before_flush(self, write: Callable[[sa.Connection], None]) -> None:
        """Call `write` once at the next flush, before the collected rows: for sets of updates."""
        self._before_flush.append(write)

    def flush(self) -> None:
        """Write what was collected, table by table, also what read models collected."""
        if self._read_models is not None:
            self._read_models.flush()
        while self._before_flush or self._collected:
            writers, self._before_flush = self._before_flush, []
            for write in writers:
                write(self._connection)
            collected, self._collected = self._collected, {}
            for table, rows in collected.items():
                insert(self._connection, table, rows)

    def schedule(
        self,
        name: str,
        subject: str,
        at: datetime,
        *,
        period: str = "",
        data: dict[str, Any] | None = None,
    ) -> None:
        """Have the job `name` run for `subject` at a time, once per (name, period, subject)."""
        self.scheduled = True
        scheduler.schedule(self.connection, name, subject, at, period=period, data=data)

    def unschedule(self, name: str, subject: str, *, period: str = "") -> None:
        """Take a due job back; nothing happens when there is none."""
        scheduler.unschedule(self.connection, name, subject, period=period)

    def after_commit(self, call: Callable[[], None]) -> None:
        """Call this once the transaction is committed; never when it is rolled back."""
        self._callbacks.append(call)

    def handle(self, received: Received[Event] | None) -> None:
        """From now on act because of this event (the boundary calls it, not a policy)."""
        self.cause = received
        if received is not None:
            self.centre = received.centre
            self.correlation = received.correlation or received.id

    def close(self, *, ends: bool = False) -> int:
        """Write what is left and the outbox; returns the number of events written. ``ends``: what
        follows is the commit. Whoever is in `memo` may know this transaction: it is let go of, or
        all that was loaded would stay in a ring until Python's collector comes."""
        with together(self._connection):
            self.flush()
        self.memo.clear()
        return outbox.write(self._connection, list(self._drafts.values()), ends=ends)

    def take_callbacks(self) -> list[Callable[[], None]]:
        """What is to be called once it is committed, for who sees to that; kept here no more, for
        it may know this transaction as well."""
        calls, self._callbacks = self._callbacks, []
        return calls

    @property
    def told(self) -> list[tuple[str, str]]:
        """Id and type of every event that this transaction tells so far."""
        return [(draft.id, draft.type) for draft in self._drafts.values()]
