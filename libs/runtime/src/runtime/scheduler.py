"""Work that is due at a time: rows in the store, taken by whoever is there.

What holds:

* A row is unique by (name, period, subject). Work with a `period` ("2026-11", "2026-11-16") is done
  once per period for ever: its row stays as done. Work without one goes when it is done, and may be
  scheduled again.
* A row is marked in the same transaction in which its handler runs: done with all effects, or not.
* A handler that fails is tried again after 1, 5, 30, 120 and 720 minutes; then the row is dead and
  stays in sight. A store that is away costs no try.
* Two runners never do the same row: it is locked first, and a locked one is passed over.
* While the clock is doubted nothing runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, Protocol, TypeVar

import sqlalchemy as sa

from runtime.clock import Clock, ClockGuard
from runtime.failures import is_transient
from runtime.logging import get_logger
from runtime.refusals import Refusal
from runtime.store import Store, upsert_statement
from runtime.types import Json, UtcDateTime

log = get_logger()

BACKOFF = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 30, 120, 720))
SLICE = 50
LONGEST_WAIT = timedelta(seconds=5)
SAVE_CLOCK_EVERY = timedelta(minutes=1)

WAITING, DONE, DEAD = "waiting", "done", "dead"


def job_table(metadata: sa.MetaData) -> sa.Table:
    """The table `job`; every service has it."""
    return sa.Table(
        "job",
        metadata,
        sa.Column("name", sa.String(100), primary_key=True),
        sa.Column("period", sa.String(40), primary_key=True),
        sa.Column("subject", sa.String(200), primary_key=True),
        sa.Column("due", UtcDateTime, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("data", Json),
        sa.Column("error", sa.String(200)),
        sa.Index("ix_job_due", "state", "due"),
    )


JOB = job_table(sa.MetaData())


@dataclass(frozen=True)
class Job:
    """One row that is due."""

    name: str
    subject: str
    period: str
    due: datetime
    tries: int
    data: dict[str, Any]


class HasConnection(Protocol):
    """A transaction object: what it holds is asked for its connection."""

    @property
    def connection(self) -> sa.Connection: ...


Tx = TypeVar("Tx", bound=sa.Connection | HasConnection)
Handler = Callable[[Any, Job], None]
H = TypeVar("H", bound=Handler)


class Jobs:
    """The handlers of a service by the name of their work."""

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}

    def handler(self, name: str) -> Callable[[H], H]:
        """Declare the handler of `name`: it gets the transaction in which its row is marked."""

        def declare(function: H) -> H:
            if name in self.handlers:
                raise ValueError(f"{name} has a handler already")
            self.handlers[name] = function
            return function

        return declare


def schedule(
    where: sa.Connection | HasConnection,
    name: str,
    subject: str,
    at: datetime,
    *,
    period: str = "",
    data: Mapping[str, Any] | None = None,
) -> None:
    """Let `name` be done for `subject` at `at`, once (per period).

    Asked again, the later call moves it and begins its tries anew. What was done for this period
    stays done.
    """
    row = {
        "name": name,
        "period": period,
        "subject": subject,
        "due": at,
        "state": WAITING,
        "tries": 0,
        "data": dict(data or {}),
        "error": None,
    }
    connection = _connection(where)
    connection.execute(
        upsert_statement(
            connection, JOB, row, key=("name", "period", "subject"), where=JOB.c.state != DONE
        ),
        row,
    )


def unschedule(
    where: sa.Connection | HasConnection, name: str, subject: str, *, period: str = ""
) -> None:
    """Forget it, unless it was done; nothing happens when there is none."""
    _connection(where).execute(
        sa.delete(JOB).where(
            JOB.c.name == name,
            JOB.c.period == period,
            JOB.c.subject == subject,
            JOB.c.state != DONE,
        )
    )


def count_by_state(connection: sa.Connection) -> dict[str, int]:
    """How many rows wait and how many are dead, for gauges and pages."""
    found = connection.execute(
        sa.select(JOB.c.state, sa.func.count()).where(JOB.c.state != DONE).group_by(JOB.c.state)
    )
    return {WAITING: 0, DEAD: 0} | {str(state): int(count) for state, count in found}


def dead_jobs(connection: sa.Connection, limit: int = 200) -> list[dict[str, Any]]:
    """The rows that were given up, latest first. `schedule` with the same names revives one."""
    found = connection.execute(
        sa.select(JOB).where(JOB.c.state == DEAD).order_by(JOB.c.due.desc()).limit(limit)
    )
    return [dict(row) for row in found.mappings()]


def _connection(where: sa.Connection | HasConnection) -> sa.Connection:
    return where if isinstance(where, sa.Connection) else where.connection


class JobRunner(Generic[Tx]):
    """Runs what is due. `transaction` runs a function in one write transaction of `store`.

    Both it and `run_due` are synchronous; `work` runs them in a thread beside the event loop.
    """

    def __init__(
        self,
        store: Store,
        jobs: Jobs,
        transaction: Callable[[Callable[[Tx], None]], None],
        clock: Clock,
        *,
        guard: ClockGuard | None = None,
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._transaction = transaction
        self._clock = clock
        self._guard = guard
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._held = False
        self._clock_saved: datetime | None = None

    def run_due(self) -> int:
        """Do everything that is due now, slice by slice; gives the number of rows done.

        A row that is due again at once is left for the next call.
        """
        if not self._jobs.handlers or self._is_held():
            return 0
        done = 0
        seen: set[tuple[str, str, str]] = set()
        while not self._stopping.is_set():
            now = self._clock.now()
            slice_ = self._store.read_now(lambda c: self._due(c, now))  # noqa: B023 - run at once
            new = [key for key in slice_ if key not in seen]
            if not new:
                break
            for key in new:
                seen.add(key)
                if self._stopping.is_set():
                    break
                done += self._run(key)
        return done

    async def work(self) -> None:
        """Run what is due, for ever, until `stop` or cancelled."""
        self._loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            self._woken.clear()
            wait = LONGEST_WAIT
            try:
                await asyncio.to_thread(self.run_due)
                await asyncio.to_thread(self._save_clock)
                wait = await self._store.read(self._until_next)
            except Exception as error:
                if self._stopping.is_set():
                    break
                log.warning("job.runner_waits", error=error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait.total_seconds()):
                    await self._woken.wait()

    def wake(self) -> None:
        """Look now: something was scheduled. From any thread, after the commit."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._woken.set)

    def stop(self) -> None:
        """End after the row at hand."""
        self._stopping.set()
        self.wake()

    def _due(self, connection: sa.Connection, now: datetime) -> list[tuple[str, str, str]]:
        found = connection.execute(
            sa.select(JOB.c.name, JOB.c.period, JOB.c.subject)
            .where(JOB.c.state == WAITING, JOB.c.due <= now, JOB.c.name.in_(self._jobs.handlers))
            .order_by(JOB.c.due, JOB.c.name, JOB.c.period, JOB.c.subject)
            .limit(SLICE)
        )
        return [(name, period, subject) for name, period, subject in found]

    def _until_next(self, connection: sa.Connection) -> timedelta:
        """How long to sleep; never longer than 5 s, since a played clock may jump meanwhile."""
        if not self._jobs.handlers or self._held:
            return LONGEST_WAIT
        due: datetime | None = connection.scalar(
            sa.select(sa.func.min(JOB.c.due)).where(
                JOB.c.state == WAITING, JOB.c.name.in_(self._jobs.handlers)
            )
        )
        if due is None:
            return LONGEST_WAIT
        return min(max(due - self._clock.now(), timedelta(milliseconds=50)), LONGEST_WAIT)

    def _run(self, key: tuple[str, str, str]) -> int:
        name, period, subject = key
        row = sa.and_(JOB.c.name == name, JOB.c.period == period, JOB.c.subject == subject)
        now = self._clock.now()
        ran = 0

        def perform(tx: Tx) -> None:
            nonlocal ran
            connection = _connection(tx)
            found = connection.execute(
                sa.select(JOB)
                .where(row, JOB.c.state == WAITING, JOB.c.due <= now)
                .with_for_update(skip_locked=True)
            ).one_or_none()
            if found is None:
                return
            # Marked before the handler runs, so that a handler may schedule its own next time.
            if period:
                connection.execute(sa.update(JOB).where(row).values(state=DONE))
            else:
                connection.execute(sa.delete(JOB).where(row))
            ran = 1
            job = Job(name, subject, period, found.due, found.tries, found.data or {})
            self._jobs.handlers[name](tx, job)

        try:
            self._transaction(perform)
        except Exception as error:
            if is_transient(error):
                raise
            self._failed(row, name, error)
            return 0
        return ran

    def _failed(self, row: sa.ColumnElement[bool], name: str, error: Exception) -> None:
        now = self._clock.now()

        def count(connection: sa.Connection) -> str:
            tries = connection.scalar(
                sa.select(JOB.c.tries).where(row, JOB.c.state == WAITING).with_for_update()
            )
            if tries is None:
                return "gone"
            state = WAITING if tries < len(BACKOFF) else DEAD
            due = now + BACKOFF[tries] if tries < len(BACKOFF) else now
            connection.execute(
                sa.update(JOB)
                .where(row)
                .values(tries=tries + 1, state=state, due=due, error=_short(error))
            )
            return state

        state = self._store.write_now(count)
        log.error("job.failed", job=name, state=state, exc_info=error)

    def _is_held(self) -> bool:
        held = self._guard is not None and self._guard.suspicious
        if held != self._held:
            self._held = held
            if held and self._guard is not None:
                log.error("job.held_by_clock", reason=self._guard.reason)
            else:
                log.info("job.clock_trusted")
        return held

    def _save_clock(self) -> None:
        if self._guard is None:
            return
        if self._guard.suspicious:
            self._store.read_now(self._guard.heed)
        now = self._clock.now()
        if self._clock_saved is None or abs(now - self._clock_saved) >= SAVE_CLOCK_EVERY:
            self._store.write_now(self._guard.save)
            self._clock_saved = now


def _short(error: Exception) -> str:
    """What may be kept of an error: its kind and its code, never its values."""
    return (error.reason if isinstance(error, Refusal) else type(error).__name__)[:200]
