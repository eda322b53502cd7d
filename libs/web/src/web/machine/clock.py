"""The date: doubted when the clock jumped or starts far from where it was; confirmed by staff.

While it is doubted no job runs (`runtime.clock.ClockGuard`): a wrong date would expire what is
good, or grant a month twice.
"""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, Field

from messaging.tables import read_meta
from runtime.clock import ClockGuard
from runtime.logging import get_logger
from web.call import Call
from web.machine.callers import Lead, Reader

log = get_logger()


class ClockSeen(BaseModel):
    """What this service takes the time to be, and whether it trusts it."""

    now: datetime = Field(description="what the machine says, and `confirm` takes for right")
    doubted: bool
    reason: str = Field(description="why it is doubted; empty when it is not")
    trusted: datetime | None = Field(description="the latest time that was trusted")


def router(api: str) -> APIRouter:
    made = APIRouter()

    @made.get(f"{api}/clock")
    async def show_clock(call: Reader) -> ClockSeen:
        """The date, and whether it is doubted."""
        return await seen(call)

    @made.post(f"{api}/clock/confirm")
    async def confirm_clock(call: Lead) -> ClockSeen:
        """The date is right: jobs go on."""
        await confirm(call)
        return await seen(call)

    return made


async def seen(call: Call) -> ClockSeen:
    """The date as this service sees it."""
    guard = call.parts.engine.guard
    doubted = guard.suspicious
    kept = await call.query(lambda connection: read_meta(connection, ClockGuard.KEY))
    return ClockSeen(
        now=guard.shown(),
        doubted=doubted,
        reason=guard.reason,
        trusted=None if kept is None else datetime.fromisoformat(kept),
    )


async def confirm(call: Call) -> None:
    """The caller says that the date is right; what waited for that goes on."""
    engine = call.parts.engine
    await call.command(lambda tx: engine.guard.confirm(tx.connection))
    engine.jobs.wake()
    log.warning("clock.confirmed", actor=call.caller.account_id)
