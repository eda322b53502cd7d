"""The page of the machine: how the service stands, and the few buttons that help."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from web.auth import allow
from web.call import Call
from web.machine import clock, jobs, read_models
from web.roles import LEADS, Role
from web.set_aside import STATES

Lead = Annotated[Call, Depends(allow(*LEADS))]
Administrator = Annotated[Call, Depends(allow(Role.ADMINISTRATOR))]


def router(path: str) -> APIRouter:
    made = APIRouter(include_in_schema=False)

    @made.get(path)
    async def machine(call: Lead) -> Response:
        engine = call.parts.engine
        return call.render(
            "machine.html",
            figures=await call.query(engine.figures),
            bus=engine.bus is not None,
            connected=engine.connected,
            lag=sum(engine.lags().values()),
            clock=await clock.seen(call),
            read_models=await read_models.listed(call),
            states=read_models.STATES,
            aside=STATES,
            jobs=await jobs.given_up(call),
            acts=call.caller.has(Role.ADMINISTRATOR),
        )

    @made.post(f"{path}/clock")
    async def confirm(call: Lead) -> Response:
        await clock.confirm(call)
        return call.redirect(path)

    @made.post(f"{path}/projections/{{name}}/rebuild")
    async def rebuild(name: str, call: Administrator) -> Response:
        await read_models.begun(call, name)
        return call.redirect(path)

    @made.post(f"{path}/projections/rebuild")
    async def rebuild_all(call: Administrator) -> Response:
        await read_models.all_begun(call)
        return call.redirect(path)

    @made.post(f"{path}/jobs/revive")
    async def revive(call: Administrator) -> Response:
        form = await call.form(jobs.JobName)
        if not form.ok:
            raise jobs.unknown()
        await call.command(lambda tx: jobs.revive(tx, form.data))
        return call.redirect(path)

    return made
