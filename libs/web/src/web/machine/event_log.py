"""The log between a service and the bus: sent again, read again, compared.

None of it can do harm: every event has an id, and what is known is dropped.
"""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, Field

from runtime.refusals import N_, Refusal
from web.call import Call
from web.machine.callers import Administrator


class Replaying(BaseModel):
    """Which own events are sent again: of a topic, of one key, from a time on."""

    topic: str = Field(min_length=1, max_length=100, examples=["cards.events"])
    key: str = Field("", max_length=64, description="the id of one aggregate; all when empty")
    since: AwareDatetime | None = None


class Replayed(BaseModel):
    """How many events are sent again."""

    sent_again: int


class Begun(BaseModel):
    """What goes on from now; its log tells how it ends."""

    begun: Literal["reread", "compare"]


def router(api: str) -> APIRouter:
    made = APIRouter()

    @made.post(f"{api}/log/replay")
    async def replay(body: Replaying, call: Administrator) -> Replayed:
        """Send own events to the bus once more; whoever knows them drops them."""
        return await call.once(lambda: _replayed(call, body))

    @made.post(f"{api}/log/reread", status_code=202)
    async def reread(call: Administrator) -> Begun:
        """Read all topics from their beginning; what is known is dropped."""
        return await call.once(lambda: _reread(call))

    @made.post(f"{api}/log/compare", status_code=202)
    async def compare(call: Administrator) -> Begun:
        """Compare the whole log on the bus with the own outbox, and send what is missing."""
        return await call.once(lambda: _compared(call))

    return made


async def _replayed(call: Call, wanted: Replaying) -> Replayed:
    count = await call.parts.engine.replay(wanted.topic, key=wanted.key, since=wanted.since)
    return Replayed(sent_again=count)


async def _reread(call: Call) -> Begun:
    await call.parts.engine.reread()
    return Begun(begun="reread")


async def _compared(call: Call) -> Begun:
    if call.parts.engine.relay is None:
        raise Refusal(
            "bus.away",
            N_("The message bus is not connected."),
            N_("Connect it and try again."),
        )
    await call.parts.engine.compare()
    return Begun(begun="compare")
