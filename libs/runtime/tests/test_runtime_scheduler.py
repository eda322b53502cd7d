"""Jobs: once per period, in one transaction with their effects, tried again, never twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from runtime.clock import ClockGuard, FixedClock
from runtime.refusals import Refusal
from runtime.scheduler import (
    BACKOFF,
    JOB,
    Job,
    JobRunner,
    Jobs,
    count_by_state,
    dead_jobs,
    job_table,
    schedule,
    unschedule,
)
from runtime.store import Store
from runtime.testing import eventually_async

metadata = sa.MetaData()
job_table(metadata)
effect = sa.Table("effect", metadata, sa.Column("what", sa.Text))


@dataclass
class Tx:
    connection: sa.Connection


@pytest.fixture
def jobs_store(store: Store) -> Store:
    store.write_now(metadata.create_all)
    return store


def in_transaction(store: Store) -> Callable[[Callable[[Tx], None]], None]:
    return lambda function: store.write_now(lambda connection: function(Tx(connection)))


def runner(store: Store, jobs: Jobs, clock: FixedClock, **more: ClockGuard) -> JobRunner[Tx]:
    return JobRunner(store, jobs, in_transaction(store), clock, **more)


def schedule_all(store: Store, name: str, subjects: Iterable[str], at: datetime) -> None:
    def work(connection: sa.Connection) -> None:
        for subject in subjects:
            schedule(connection, name, subject, at)

    store.write_now(work)


def record(tx: Tx, what: str) -> None:
    tx.connection.execute(sa.insert(effect), {"what": what})


def effects(store: Store) -> list[str]:
    return sorted(store.read_now(lambda c: c.scalars(sa.select(effect.c.what)).all()))


@pytest.fixture
def recording() -> Jobs:
    jobs = Jobs()

    @jobs.handler("record")
    def _record(tx: Tx, job: Job) -> None:
        record(tx, f"{job.subject} {job.period}".strip())

    return jobs


def test_what_is_due_runs_once(jobs_store: Store, clock: FixedClock, recording: Jobs) -> None:
    at = clock.now() + timedelta(hours=1)
    for _ in range(2):
        jobs_store.write_now(lambda c: schedule(c, "record", "a", at))
    run = runner(jobs_store, recording, clock)
    assert run.run_due() == 0
    clock.advance(timedelta(hours=1))
    assert run.run_due() == 1
    assert run.run_due() == 0
    assert effects(jobs_store) == ["a"]


def test_a_period_is_done_once_for_ever(
    jobs_store: Store, clock: FixedClock, recording: Jobs
) -> None:
    run = runner(jobs_store, recording, clock)
    for period in ("2026-11", "2026-11", "2026-12"):
        jobs_store.write_now(
            lambda c: schedule(c, "record", "a", clock.now(), period=period)  # noqa: B023
        )
        run.run_due()
    assert effects(jobs_store) == ["a 2026-11", "a 2026-12"]


def test_more_than_a_slice_is_done_in_one_go(
    jobs_store: Store, clock: FixedClock, recording: Jobs
) -> None:
    schedule_all(jobs_store, "record", (f"{n:03}" for n in range(120)), clock.now())
    assert runner(jobs_store, recording, clock).run_due() == 120
    assert len(effects(jobs_store)) == 120


def test_what_is_unscheduled_does_not_run(
    jobs_store: Store, clock: FixedClock, recording: Jobs
) -> None:
    jobs_store.write_now(lambda c: schedule(c, "record", "a", clock.now()))
    jobs_store.write_now(lambda c: unschedule(c, "record", "a"))
    assert runner(jobs_store, recording, clock).run_due() == 0


def test_a_handler_may_schedule_its_own_next_time(jobs_store: Store, clock: FixedClock) -> None:
    jobs = Jobs()

    @jobs.handler("again")
    def _again(tx: Tx, job: Job) -> None:
        record(tx, str(job.data["n"]))
        schedule(tx, "again", job.subject, job.due, data={"n": job.data["n"] + 1})

    jobs_store.write_now(lambda c: schedule(c, "again", "a", clock.now(), data={"n": 1}))
    run = runner(jobs_store, jobs, clock)
    assert run.run_due() == 1
    assert run.run_due() == 1
    assert effects(jobs_store) == ["1", "2"]


def test_a_failure_keeps_nothing_and_is_tried_again_later_and_later(
    jobs_store: Store, clock: FixedClock
) -> None:
    jobs = Jobs()

    @jobs.handler("fails")
    def _fails(tx: Tx, job: Job) -> None:
        record(tx, "half")
        raise Refusal("card.blocked", "This card is blocked")

    jobs_store.write_now(lambda c: schedule(c, "fails", "a", clock.now()))
    run = runner(jobs_store, jobs, clock)
    for wait in BACKOFF:
        assert run.run_due() == 0
        due = jobs_store.read_now(lambda c: c.scalar(sa.select(JOB.c.due)))
        assert due == clock.now() + wait
        clock.advance(wait)
    assert jobs_store.read_now(count_by_state) == {"waiting": 1, "dead": 0}
    run.run_due()
    assert jobs_store.read_now(count_by_state) == {"waiting": 0, "dead": 1}
    (dead,) = jobs_store.read_now(dead_jobs)
    assert (dead["error"], dead["tries"]) == ("card.blocked", len(BACKOFF) + 1)
    assert effects(jobs_store) == []


def test_one_that_fails_does_not_stop_the_others(jobs_store: Store, clock: FixedClock) -> None:
    jobs = Jobs()

    @jobs.handler("picky")
    def _picky(tx: Tx, job: Job) -> None:
        record(tx, job.subject)
        if job.subject == "b":
            raise LookupError(job.subject)

    schedule_all(jobs_store, "picky", "abc", clock.now())
    assert runner(jobs_store, jobs, clock).run_due() == 2
    assert effects(jobs_store) == ["a", "c"]


def test_a_store_that_is_away_costs_no_try(jobs_store: Store, clock: FixedClock) -> None:
    jobs = Jobs()

    @jobs.handler("away")
    def _away(tx: Tx, job: Job) -> None:
        raise sa.exc.TimeoutError("no connection")

    jobs_store.write_now(lambda c: schedule(c, "away", "a", clock.now()))
    with pytest.raises(sa.exc.TimeoutError):
        runner(jobs_store, jobs, clock).run_due()
    assert jobs_store.read_now(lambda c: c.scalar(sa.select(JOB.c.tries))) == 0


def test_a_name_without_a_handler_waits(
    jobs_store: Store, clock: FixedClock, recording: Jobs
) -> None:
    jobs_store.write_now(lambda c: schedule(c, "of a newer version", "a", clock.now()))
    assert runner(jobs_store, recording, clock).run_due() == 0
    assert jobs_store.read_now(count_by_state)["waiting"] == 1


@pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)
def test_two_runners_share_the_work_and_pass_over_locked_rows(
    jobs_store: Store, store_url: str, clock: FixedClock
) -> None:
    """The first runner holds `a` in its handler; the second does the others meanwhile."""
    held, go_on = threading.Event(), threading.Event()
    jobs = Jobs()

    @jobs.handler("shared")
    def _shared(tx: Tx, job: Job) -> None:
        record(tx, job.subject)
        if job.subject == "a":
            held.set()
            assert go_on.wait(20)

    schedule_all(jobs_store, "shared", "abc", clock.now())
    first = threading.Thread(target=runner(jobs_store, jobs, clock).run_due)
    first.start()
    assert held.wait(20)
    other = Store(store_url)
    assert runner(other, jobs, clock).run_due() == 2
    go_on.set()
    first.join(20)
    other.close_now()
    assert effects(jobs_store) == ["a", "b", "c"]


def test_two_runners_at_once_do_every_row_once(
    jobs_store: Store, store_url: str, clock: FixedClock, recording: Jobs
) -> None:
    schedule_all(jobs_store, "record", (f"{n:02}" for n in range(60)), clock.now())
    other = Store(store_url)
    done: list[int] = []
    threads = [
        threading.Thread(target=lambda s=one: done.append(runner(s, recording, clock).run_due()))
        for one in (jobs_store, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    other.close_now()
    assert sum(done) == 60
    assert effects(jobs_store) == [f"{n:02}" for n in range(60)]


async def test_the_runner_wakes_when_something_is_scheduled(
    jobs_store: Store, clock: FixedClock, recording: Jobs
) -> None:
    run = runner(jobs_store, recording, clock)
    task = asyncio.create_task(run.work())
    await jobs_store.write(lambda c: schedule(c, "record", "a", clock.now()))
    run.wake()
    await eventually_async(
        lambda: jobs_store.read(lambda c: c.scalar(sa.select(effect.c.what))),
        within=4,
        why="a job that was scheduled just now",
    )
    run.stop()
    await asyncio.wait_for(task, 5)


class Wall:
    """A wall clock that may be wrong."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 16, 9, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time


def test_nothing_runs_while_the_date_is_doubted(
    jobs_store: Store, clock: FixedClock, recording: Jobs
) -> None:
    wall, meta = Wall(), dict[str, str]()
    guard = ClockGuard(
        wall,
        read=lambda c, key: meta.get(key),
        write=lambda c, key, value: meta.__setitem__(key, value),
        monotonic=lambda: 0.0,
    )
    jobs_store.write_now(lambda c: schedule(c, "record", "a", clock.now()))
    run = runner(jobs_store, recording, clock, guard=guard)
    wall.time += timedelta(days=400)
    assert run.run_due() == 0
    jobs_store.write_now(guard.confirm)
    assert run.run_due() == 1
