"""Work that was due and failed six times: seen, and given another chance."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter
from pydantic import BaseModel, Field

from messaging import Transaction
from runtime.refusals import N_, NotFound
from runtime.scheduler import DEAD, JOB, dead_jobs
from web.call import Call
from web.machine.callers import Administrator, Reader
from web.paging import Page


class JobName(BaseModel):
    """What names a job: its work, whom it is about, and for which period (if it has one)."""

    name: str = Field(min_length=1, max_length=100)
    subject: str = Field("", max_length=200)
    period: str = Field("", max_length=40)


class DeadJob(JobName):
    """A job that was given up; ``error`` is the kind of its last failure."""

    due: datetime
    tries: int
    error: str


class Revived(JobName):
    """A job that is tried again."""

    due: datetime


def router(api: str) -> APIRouter:
    made = APIRouter()

    @made.get(f"{api}/jobs")
    async def list_dead_jobs(call: Reader) -> Page[DeadJob]:
        """Jobs that were given up, the latest first; 200 at most."""
        return Page(items=await given_up(call))

    @made.post(f"{api}/jobs/revive", status_code=202)
    async def revive_job(body: JobName, call: Administrator) -> Revived:
        """Try a job again now, with all its tries."""
        return await call.command(lambda tx: revive(tx, body))

    return made


async def given_up(call: Call) -> list[DeadJob]:
    """The jobs that were given up, without their data, which may be personal."""
    return [_shown(row) for row in await call.query(dead_jobs)]


def revive(tx: Transaction, named: JobName) -> Revived:
    """Let a job that was given up run now. Raises NotFound when there is no such one."""
    row = tx.connection.execute(
        sa.select(JOB.c.data).where(
            JOB.c.name == named.name,
            JOB.c.period == named.period,
            JOB.c.subject == named.subject,
            JOB.c.state == DEAD,
        )
    ).one_or_none()
    if row is None:
        raise unknown()
    tx.schedule(named.name, named.subject, tx.now, period=named.period, data=row.data)
    return Revived(**named.model_dump(), due=tx.now)


def unknown() -> NotFound:
    """There is no such job; or it was revived by somebody else, and waits or is done."""
    return NotFound("job.unknown", N_("There is no such job among those that were given up."))


def _shown(row: dict[str, Any]) -> DeadJob:
    return DeadJob(
        name=row["name"],
        subject=row["subject"],
        period=row["period"],
        due=row["due"],
        tries=row["tries"],
        error=row["error"] or "",
    )
