"""Centres and accounts."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from identity import edge, queries
from identity.api.callers import Foundation, Keepers, Leads
from identity.api.models import (
    AccountFind,
    AccountNew,
    AccountPatch,
    CentreNew,
    CentreWords,
    Revoke,
    Revoked,
)
from identity.commands import accounts, centres
from identity.commands.accounts import Change, NewAccount
from identity.commands.centres import NewCentre, Words
from identity.domain import hours
from identity.domain.accounts import Kind, Standing, account_unknown
from identity.domain.addresses import email_of
from identity.domain.passwords import acceptable_first
from identity.queries import AccountShown, CentreShown, SessionShown
from web import Page, Paged

router = APIRouter()

CentreId = Annotated[str, Path(max_length=64)]


@router.post("/identity/api/centres", status_code=201)
async def open_centre(body: CentreNew, call: Foundation) -> CentreShown:
    """Open a centre. The same id with the same content answers the same."""
    asker = edge.asker(call)
    wanted = NewCentre(body.name, body.id or "", body.time_zone, body.region, tuple(body.languages))
    made = await call.command(lambda tx: centres.open_centre(tx, asker, wanted))
    found = await call.query(lambda connection: queries.centre(connection, made))
    assert found is not None
    return found


@router.get("/identity/api/centres")
async def list_centres(call: Keepers, paging: Paged) -> Page[CentreShown]:
    """The centres: all for the foundation, one's own for others."""
    only = call.centre
    return await call.query(lambda connection: queries.centres(connection, paging, only))


@router.put("/identity/api/centres/{centre_id}/words")
async def say(centre_id: CentreId, body: CentreWords, call: Leads) -> CentreWords:
    """What stands on the public home of a centre; what is left out is said no more."""
    call.require_centre(centre_id)
    words = Words(
        {str(code): text for code, text in body.about.items()},
        {day: hours.parsed(text, f"hours.{day}") for day, text in body.hours.items()},
        body.address,
        body.directions,
        body.phone,
    )
    await call.command(lambda tx: centres.say_of_itself(tx, centre_id, words))
    return body


@router.post("/identity/api/accounts", status_code=201)
async def make_account(body: AccountNew, call: Keepers) -> AccountShown:
    """Make an account: administrators any, coordinators any but administrators in their own
    centre, reception families of its centre. Its password is a first one: it holds for 14 days and
    is good for choosing another (`POST /identity/api/password`, or on the page)."""
    asker = edge.asker(call)
    email = email_of(body.email)
    password = acceptable_first(body.password, email=email, roles=body.roles, names=[body.name])
    wanted = NewAccount(
        email=email,
        password_hash=await edge.HASHING.hash(password),
        standing=Standing(
            frozenset(body.roles),
            call.centre if body.centre_id is None else body.centre_id,
            body.household_id,
            body.organisation_id,
            body.producer_id,
        ),
        name=body.name,
        language=body.language,
    )
    made = await edge.once(
        call,
        lambda tx: accounts.create_account(tx, asker, wanted),
        content=body.model_dump(exclude={"password"}),
        password=body.password or "",
    )
    return await edge.account(call, made)


@router.get("/identity/api/accounts")
async def list_accounts(
    call: Keepers,
    paging: Paged,
    kind: Kind | None = None,
    centre_id: Annotated[str, Query(max_length=64)] = "",
    household_id: Annotated[str, Query(max_length=64)] = "",
) -> Page[AccountShown]:
    """The accounts that the caller may see, the newest first."""
    asker, now = edge.asker(call), call.parts.clock.now()
    return await call.query(
        lambda connection: queries.accounts(
            connection,
            asker,
            paging,
            now,
            kind=kind,
            centre_id=centre_id,
            household_id=household_id,
        )
    )


@router.post("/identity/api/accounts/find")
async def find_account(body: AccountFind, call: Keepers) -> AccountShown:
    """The account of an e-mail address."""
    asker, email, now = edge.asker(call), email_of(body.email), call.parts.clock.now()
    found = await call.query(lambda c: queries.account_by_email(c, asker, email, now))
    if found is None:
        raise account_unknown()
    return found


@router.get("/identity/api/accounts/{account_id}")
async def show_account(account_id: str, call: Keepers) -> AccountShown:
    """One account."""
    return await edge.account(call, account_id)


@router.patch("/identity/api/accounts/{account_id}")
async def change_account(account_id: str, body: AccountPatch, call: Keepers) -> AccountShown:
    """Change an account. Nobody changes their own roles, or their own password here; a password is
    a first one, as in a new account."""
    await edge.proved(call)
    asker = edge.asker(call)
    before = await edge.account(call, account_id)
    email = None if body.email is None else email_of(body.email)
    password_hash = None
    if body.password is not None:
        password = acceptable_first(
            body.password,
            email=email or before.email,
            roles=body.roles or before.roles,
            names=[body.name or before.name],
        )
        password_hash = await edge.HASHING.hash(password)
    change = Change(
        roles=None if body.roles is None else frozenset(body.roles),
        centre_id=body.centre_id,
        household_id=body.household_id,
        organisation_id=body.organisation_id,
        producer_id=body.producer_id,
        disabled=body.disabled,
        email=email,
        name=body.name,
        language=body.language,
        password_hash=password_hash,
    )
    await edge.once(
        call,
        lambda tx: accounts.change_account(tx, asker, account_id, change),
        content=body.model_dump(exclude={"password"}),
        password=body.password or "",
    )
    return await edge.account(call, account_id)


@router.get("/identity/api/accounts/{account_id}/sessions")
async def list_sessions_of(account_id: str, call: Leads, paging: Paged) -> Page[SessionShown]:
    """Everything by which somebody is signed in."""
    now, current = call.parts.clock.now(), call.caller.session_id
    await edge.account(call, account_id)
    return await call.query(
        lambda connection: queries.sessions(connection, account_id, now, paging, current=current)
    )


@router.post("/identity/api/accounts/{account_id}/sessions/revoke")
async def revoke_sessions(account_id: str, call: Leads, body: Revoke | None = None) -> Revoked:
    """End somebody's sessions: all, or those named."""
    await edge.proved(call)
    named = tuple(body.session_ids) if body and body.session_ids is not None else None
    asker = edge.asker(call)
    ended = await call.command(lambda tx: accounts.revoke_sessions(tx, asker, account_id, named))
    return Revoked(revoked=ended)
