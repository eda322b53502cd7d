"""The sample's endpoints and pages."""

from __future__ import annotations

import sqlite3
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field
from starlette.responses import Response

from runtime.refusals import N_, NotFound
from web import Call, Day, Euros, Page, Paged, Role, allow, live, public
from web.rates import TooMany
from web_sample.app import Thing, make, thing

api = APIRouter()
pages = APIRouter(include_in_schema=False)

Seller = Annotated[Call, Depends(allow(Role.TILL, scope="things:write"))]
Anyone = Annotated[Call, Depends(allow(scope="things:read"))]
OnPage = Annotated[Call, Depends(allow(Role.TILL, Role.FAMILY))]
Public = Annotated[Call, Depends(public())]


class ThingIn(BaseModel):
    name: str = Field(min_length=2, max_length=50)
    cents: int = Field(ge=0)


class ThingForm(BaseModel):
    """A form with one of each kind."""

    name: str = Field(min_length=2, max_length=50)
    price: Euros = Field(ge=0)
    bought: Day | None = None
    kind: str = "plain"
    tags: list[str] = []
    lines: list[Line] = []
    sure: bool = False
    note: str = ""


class Line(BaseModel):
    what: str
    quantity: int = Field(gt=0)


ThingForm.model_rebuild()


@api.post("/sample/api/things", status_code=201)
async def make_thing(body: ThingIn, call: Seller) -> Thing:
    """Keep a thing."""
    return await call.command(lambda tx: make(tx, body.name, body.cents))


@api.get("/sample/api/things")
async def list_things(call: Anyone, paging: Paged) -> Page[Thing]:
    """All things, the cheapest first."""
    rows = sa.select(thing)
    return await call.query(
        lambda connection: paging.read(
            connection,
            rows,
            by=(thing.c.cents, thing.c.id),
            show=lambda row: Thing(id=row.id, name=row.name, cents=row.cents),
        )
    )


@api.get("/sample/api/things/latest")
async def latest_things(call: Anyone, paging: Paged) -> Page[str]:
    """The names, the latest first."""
    return await call.query(
        lambda connection: paging.read(
            connection,
            sa.select(thing.c.name),
            by=(thing.c.at, thing.c.id),
            show=lambda row: str(row.name),
            newest_first=True,
        )
    )


@api.post("/sample/api/two-things")
async def make_two(call: Seller) -> list[Thing]:
    """Two commands in one request."""
    first = await call.command(lambda tx: make(tx, "first", 1))
    second = await call.command(lambda tx: make(tx, "second", 2))
    return [first, second]


@api.get("/sample/api/centres/{centre_id}")
async def centre(centre_id: str, call: Anyone) -> str:
    """For those who work there."""
    call.require_centre(centre_id)
    return centre_id


@api.get("/sample/api/who")
async def who(call: Anyone) -> dict[str, str]:
    """The caller's account."""
    return {"account": call.caller.account_id, "centre": call.centre}


@api.post("/sample/api/broken")
async def broken(call: Anyone) -> None:
    """Fails as a mistake of ours would."""
    raise RuntimeError("Maria Rossi, via Satta 3")


@api.post("/sample/api/locked")
async def locked(call: Anyone) -> None:
    """Fails as a full disk would."""

    def full(connection: sa.Connection) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    await call.query(full)


@pages.get("/sample/things")
async def things_page(call: OnPage, q: str = "") -> Response:
    shown = await call.query(
        lambda c: c.execute(sa.select(thing).where(thing.c.name.contains(q))).all()
    )
    return call.render("things.html", things=shown, q=q)


@pages.get("/sample/new")
async def new_page(call: OnPage) -> Response:
    return call.render("new.html", form=call.blank(ThingForm, {"price": 150, "kind": "fine"}))


@pages.post("/sample/new")
async def make_on_page(call: OnPage) -> Response:
    form = await call.form(ThingForm)
    made = await form.command(lambda tx: make(tx, form.data.name, form.data.price))
    if form.ok and made is not None:
        live.publish("things", call.centre)
        return call.redirect(f"/sample/things?q={made.name}")
    return call.render("new.html", form.status, form=form)


@pages.get("/sample/broken")
async def broken_page(call: OnPage) -> Response:
    raise RuntimeError("Maria Rossi, via Satta 3")


@pages.get("/sample/missing")
async def missing_page(call: OnPage) -> Response:
    raise NotFound("thing.unknown", N_("There is no such thing."))


@pages.get("/sample/hello")
async def hello(call: Public) -> Response:
    return call.render("hello.html")


class Entering(BaseModel):
    name: str


@pages.post("/sample/enter")
async def enter(call: Public) -> Response:
    form = await call.form(Entering)
    if form.data.name == "again":
        raise TooMany(300)
    return call.redirect("/sample/hello")


@live.channel("sample", "things")
async def may_listen(call: Call, centre_id: str) -> bool:
    return call.centre == centre_id
