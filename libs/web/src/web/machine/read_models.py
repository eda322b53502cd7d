"""Read models: which there are, how they stand, and how far a rebuild is."""

from __future__ import annotations

from typing import Literal, cast

import sqlalchemy as sa
from fastapi import APIRouter
from pydantic import BaseModel, Field

from messaging import tables
from messaging.engine import Engine
from runtime.refusals import N_, NotFound
from web.call import Call
from web.machine.callers import Administrator, Reader
from web.paging import Page

State = Literal["live", "building", "broken"]
STATES: dict[State, str] = {
    "live": N_("answers"),
    "building": N_("is built anew"),
    "broken": N_("broken: the old content answers, nothing new is added"),
}


class Building(BaseModel):
    """A rebuild of this process: at work, done, or given up (``failed`` says for what)."""

    records: int = Field(description="read so far")
    total: int = Field(description="to be read, about; 0 when not known yet")
    done: bool
    failed: str


class ReadModel(BaseModel):
    """A read model, filled from events alone. While it is built anew the old one answers."""

    name: str
    version: int
    state: State
    progress: Building | None


def router(api: str) -> APIRouter:
    made = APIRouter()

    @made.get(f"{api}/projections")
    async def list_projections(call: Reader) -> Page[ReadModel]:
        """All read models of the service."""
        return Page(items=await listed(call))

    @made.get(f"{api}/projections/{{name}}")
    async def show_projection(name: str, call: Reader) -> ReadModel:
        """One read model, with the progress of its rebuild."""
        return await shown(call, name)

    @made.post(f"{api}/projections/{{name}}/rebuild", status_code=202)
    async def rebuild_projection(name: str, call: Administrator) -> ReadModel:
        """Build it anew from the log; one that is being built goes on."""
        return await begun(call, name)

    @made.post(f"{api}/projections/rebuild", status_code=202)
    async def rebuild_all(call: Administrator) -> Page[ReadModel]:
        """Build all of them anew, from one reading of the log."""
        return Page(items=await all_begun(call))

    return made


async def listed(call: Call) -> list[ReadModel]:
    """How every read model of the service stands."""
    kept = await call.query(_states)
    engine = call.parts.engine
    return [
        _seen(engine, p.name, p.version, kept.get((p.name, p.version), "live"))
        for p in engine.service.all_projections
    ]


async def shown(call: Call, name: str) -> ReadModel:
    """How one stands. Raises NotFound."""
    for one in await listed(call):
        if one.name == name:
            return one
    raise NotFound("projection.unknown", N_("There is no such read model."))


async def begun(call: Call, name: str) -> ReadModel:
    """Begin a rebuild, or look at the one that runs. Raises NotFound, or Refusal without a bus."""

    async def begin() -> ReadModel:
        engine = call.parts.engine
        engine.rebuilds.begin(name, engine.bus)
        return await shown(call, name)

    return await call.once(begin)


async def all_begun(call: Call) -> list[ReadModel]:
    """Begin to rebuild all that are not being rebuilt. Raises Refusal without a bus."""

    async def begin() -> Page[ReadModel]:
        engine = call.parts.engine
        engine.rebuilds.begin_all(engine.bus)
        return Page(items=await listed(call))

    return (await call.once(begin)).items


def _states(connection: sa.Connection) -> dict[tuple[str, int], State]:
    rows = connection.execute(sa.select(tables.projection))
    return {(row.name, row.version): cast(State, row.state) for row in rows}


def _seen(engine: Engine, name: str, version: int, kept: State) -> ReadModel:
    progress = engine.rebuilds.progress.get(name)
    if progress is None:
        return ReadModel(name=name, version=version, state=kept, progress=None)
    building = Building(
        records=progress.records,
        total=max(progress.total, progress.records),
        done=progress.done,
        failed=progress.failed,
    )
    state = kept if progress.done else "building"
    return ReadModel(name=name, version=version, state=state, progress=building)
