"""Events that could not be taken: seen, sent again or discarded, by page and by API.

A body may hold personal data, so it is shown to administrators and coordinators only, who are also
the only ones to act. The list, which tells nothing of people, is the machine's and the same for
all of them; what an event says, and what becomes of it, is for those of its centre, and for the
foundation.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, StringConstraints
from starlette.responses import Response

from messaging import aside, tables
from runtime.refusals import N_, NotFound, Refusal
from web.auth import allow
from web.call import Call
from web.forms import Form
from web.operations import OF_EVERY_SERVICE
from web.paging import Page, Paged, Paging
from web.roles import LEADS

READ = "events:read"
WRITE = "events:write"

STATES = {
    "waiting": N_("waits for an earlier event"),
    "retrying": N_("is tried again"),
    "dead": N_("needs a decision"),
    "discarded": N_("discarded"),
}

Why = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=500)]


class SetAsideItem(BaseModel):
    """An event that was set aside, without its content."""

    event_id: str
    topic: str
    partition: int
    offset: int
    key: str
    type: str
    previous: str | None
    state: str
    reason: str
    tries: int
    next_try: datetime | None
    at: datetime


class SetAsideWhole(SetAsideItem):
    """An event that was set aside, with the record as it came."""

    headers: list[tuple[str, str]]
    body: str


class Discarding(BaseModel):
    """Why an event is given up."""

    reason: Why


State = Annotated[str, Query(pattern="^(|waiting|retrying|dead|discarded)$")]
Reader = Annotated[Call, Depends(allow(*LEADS, scope=READ))]
Decider = Annotated[Call, Depends(allow(*LEADS, scope=WRITE))]
OnPage = Annotated[Call, Depends(allow(*LEADS))]

_PLAIN = tuple(name for name in SetAsideItem.model_fields if name != "offset")
_COLUMNS = (*_PLAIN, "record_offset")


def router(prefix: str) -> APIRouter:
    """Page and API of one service."""
    made = APIRouter(tags=[OF_EVERY_SERVICE])
    api = f"{prefix}/api/set-aside"
    pages = f"{prefix}/set-aside"

    @made.get(api)
    async def list_set_aside(call: Reader, paging: Paged, state: State = "") -> Page[SetAsideItem]:
        """Events set aside, the latest first."""
        return await _listed(call, paging, state)

    @made.get(f"{api}/{{event_id:path}}")
    async def show_set_aside(event_id: str, call: Reader) -> SetAsideWhole:
        """One event with headers and body."""
        return await _shown(call, event_id)

    @made.post(f"{api}/{{event_id:path}}/send-again", status_code=202)
    async def send_again(event_id: str, call: Decider) -> SetAsideItem:
        """Try it again now. What is taken is settled and stands here no more."""
        return await _send_again(call, event_id)

    @made.post(f"{api}/{{event_id:path}}/discard")
    async def discard(event_id: str, body: Discarding, call: Decider) -> SetAsideItem:
        """Give it up; those that waited for it pass."""
        await _discard(call, event_id, body.reason)
        return await _shown(call, event_id)

    @made.get(pages, include_in_schema=False)
    async def list_page(call: OnPage, paging: Paged, state: State = "") -> Response:
        page = await _listed(call, paging, state)
        return call.render("set_aside.html", page=page, state=state, states=STATES)

    @made.get(f"{pages}/{{event_id:path}}", include_in_schema=False)
    async def show_page(event_id: str, call: OnPage) -> Response:
        return await _whole_page(call, event_id, call.blank(Discarding))

    @made.post(f"{pages}/{{event_id:path}}/send-again", include_in_schema=False)
    async def send_again_on_page(event_id: str, call: OnPage) -> Response:
        await _send_again(call, event_id)
        return call.redirect(pages)

    @made.post(f"{pages}/{{event_id:path}}/discard", include_in_schema=False)
    async def discard_on_page(event_id: str, call: OnPage) -> Response:
        form = await call.form(Discarding)
        if form.ok:
            await form.attempt(_discard(call, event_id, form.data.reason))
        if form.ok:
            return call.redirect(f"{pages}/{quote(event_id, safe='')}")
        return await _whole_page(call, event_id, form)

    return made


async def _listed(call: Call, paging: Paging, state: str) -> Page[SetAsideItem]:
    rows = sa.select(*(tables.set_aside.c[name] for name in _COLUMNS))
    if state:
        rows = rows.where(tables.set_aside.c.state == state)
    by = (tables.set_aside.c.at, tables.set_aside.c.event_id)
    return await call.query(
        lambda connection: paging.read(connection, rows, by=by, show=_item, newest_first=True)
    )


def _item(row: sa.Row[Any]) -> SetAsideItem:
    return SetAsideItem(offset=row.record_offset, **{n: getattr(row, n) for n in _PLAIN})


async def _shown(call: Call, event_id: str) -> SetAsideWhole:
    found = await call.query(lambda connection: aside.show(connection, event_id))
    if found is None or call.centre not in ("", dict(found.headers).get("centre", "")):
        raise NotFound("set_aside.unknown", N_("There is no such event."))
    return SetAsideWhole.model_validate(asdict(found))


async def _whole_page(call: Call, event_id: str, form: Form[Discarding]) -> Response:
    event = await _shown(call, event_id)
    return call.render("set_aside_one.html", form.status, event=event, states=STATES, form=form)


async def _send_again(call: Call, event_id: str) -> SetAsideItem:
    """The event as it was, settled now: its row is gone. A discarded one stays as it is."""
    event = await _shown(call, event_id)
    if event.state == "discarded":
        raise Refusal(
            "set_aside.discarded",
            N_("This event was discarded, so it is not taken any more."),
            N_("Do by hand what it would have done."),
        )
    await call.parts.engine.send_again(event_id)
    return SetAsideItem.model_validate(event.model_dump() | {"state": "settled"})


async def _discard(call: Call, event_id: str, reason: str) -> None:
    await _shown(call, event_id)
    await call.parts.engine.discard(event_id, reason)
