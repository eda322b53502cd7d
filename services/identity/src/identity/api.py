"""The HTTP API of identity. Passwords come in by POST and PATCH alone and never go out."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from contracts import Id
from contracts.identity import Role
from identity import edge, queries
from identity.commands import accounts, centres, keys, sessions, sign_in
from identity.commands.accounts import Change, NewAccount
from identity.commands.centres import NewCentre
from identity.domain.accounts import LANGUAGES, Kind, Standing, account_unknown
from identity.domain.addresses import email_of
from identity.domain.passwords import acceptable
from identity.domain.scopes import SCOPES, TOGETHER
from identity.domain.sessions import API_LONGEST, Use
from identity.queries import AccountShown, CentreShown, SessionShown
from runtime.refusals import N_, NotAllowed, NotFound, Refusal
from web import Call, Page, Paged, SignInNeeded, allow, public

router = APIRouter()

SCOPE = "identity:write"

Typed = Annotated[str, Field(min_length=1, max_length=512)]
"""A password as typed: its rules are the domain's (length counts after NFKC)."""
Line = Annotated[str, StringConstraints(strip_whitespace=True, max_length=120)]
Short = Annotated[str, StringConstraints(strip_whitespace=True, max_length=80)]
Link = Annotated[str, StringConstraints(strip_whitespace=True, max_length=64)]
Language = Literal["", "it", "en", "ar", "es", "fr"]


class TokenRequest(BaseModel):
    """Who asks for an API token, for what and for how long."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "email": "desk@centre.example",
                    "password": "three words together",
                    "scopes": ["cards:read", "cards:write"],
                    "name": "import of households",
                    "days": 7,
                }
            ]
        },
    )

    email: Annotated[str, Field(min_length=1, max_length=254)]
    password: Typed
    scopes: Annotated[list[str], Field(max_length=40)] | None = Field(
        None,
        description="What it may be used for; all that the roles may when left out. "
        f"One or more of: {', '.join((*SCOPES, *TOGETHER))}.",
    )
    name: Short = Field("", description="By which its owner knows it again")
    days: int | None = Field(
        None, description=f"1 to {API_LONGEST.days} days of life; 12 hours when left out"
    )


class TokenMade(BaseModel):
    """An API token. The token itself is shown here only."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "019a8c9e-5a20-7000-8000-000000000001",
                    "token": "eyJhbGciOiJFZERTQSIsImtpZCI6Ij…",
                    "token_type": "Bearer",
                    "expires_at": "2026-11-23T09:00:00Z",
                    "scopes": ["cards:read", "cards:write"],
                }
            ]
        }
    )

    id: str
    token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the kind of token
    expires_at: datetime
    scopes: list[str]


class CentreNew(BaseModel):
    """A centre to be opened."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "id": "quarto-oggiaro",
                    "name": "Centro di prossimità di Quarto Oggiaro",
                    "time_zone": "Europe/Rome",
                    "region": "IT-MI",
                    "languages": ["it", "en", "ar", "es", "fr"],
                }
            ]
        },
    )

    id: Id | None = Field(None, description="Made by the client, or by us when left out")
    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
    time_zone: Annotated[str, Field(max_length=64)] = "Europe/Rome"
    region: Annotated[str, Field(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$")] = "IT-MI"
    languages: Annotated[list[str], Field(min_length=1, max_length=5)] = list(LANGUAGES)


class AccountNew(BaseModel):
    """An account to be made."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "email": "till@centre.example",
                    "password": "three words together",
                    "name": "Bottega",
                    "roles": ["till"],
                    "centre_id": "quarto-oggiaro",
                    "language": "it",
                }
            ]
        },
    )

    email: Annotated[str, Field(min_length=1, max_length=254)]
    password: Typed
    name: Line = ""
    roles: Annotated[list[Role], Field(min_length=1, max_length=len(Role))]
    centre_id: Link | None = Field(
        None, description="The caller's own when left out; empty for administrators of all"
    )
    household_id: Link = Field("", description="Of a family account")
    organisation_id: Link = Field("", description="Of a partner's account")
    producer_id: Link = Field("", description="Of a producer's account")
    language: Language = ""


class AccountPatch(BaseModel):
    """What is to be different; what is left out stays. Ends the account's sessions when address,
    password, roles, links, centre or ``disabled`` change."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"disabled": True}]})

    email: Annotated[str, Field(min_length=1, max_length=254)] | None = None
    password: Typed | None = None
    name: Line | None = None
    roles: Annotated[list[Role], Field(min_length=1, max_length=len(Role))] | None = None
    centre_id: Link | None = None
    household_id: Link | None = None
    organisation_id: Link | None = None
    producer_id: Link | None = None
    language: Language | None = None
    disabled: bool | None = None


class AccountFind(BaseModel):
    """Whose account is looked for. Sent by POST, so that no address lies in a log."""

    model_config = ConfigDict(extra="forbid")

    email: Annotated[str, Field(min_length=1, max_length=254)]


class Revoke(BaseModel):
    """Which sessions to end; all of them when none is named."""

    model_config = ConfigDict(extra="forbid")

    session_ids: Annotated[list[Id], Field(max_length=500)] | None = None


class Revoked(BaseModel):
    """How many sessions ended."""

    revoked: int


class KeyTurned(BaseModel):
    """The key that signs from now on."""

    key_id: str


async def own(call: Annotated[Call, Depends(public())]) -> Call:
    """Whoever is signed in, for what is their own."""
    if not call.caller.signed_in:
        raise SignInNeeded("missing")
    return call


Own = Annotated[Call, Depends(own)]
Anybody = Annotated[Call, Depends(public())]
Keepers = Annotated[
    Call,
    Depends(allow(Role.ADMINISTRATOR, Role.COORDINATOR, Role.RECEPTION, scope=SCOPE)),
]
Leads = Annotated[Call, Depends(allow(Role.ADMINISTRATOR, Role.COORDINATOR, scope=SCOPE))]
Foundation = Annotated[Call, Depends(allow(Role.ADMINISTRATOR, scope=SCOPE))]


# -- tokens --------------------------------------------------------------------------------------


@router.post("/identity/api/tokens", status_code=201)
async def make_token(body: TokenRequest, call: Anybody) -> TokenMade:
    """Make an API token for who knows the password. It can do what roles and scopes allow, and is
    refused everywhere within 2 s of being deleted."""
    attempt = await edge.attempt(call, body.email, body.password)
    # Apart from what follows, which may refuse: wrong scopes are no guess at a password.
    account = await edge.transact(call, lambda tx: sign_in.right(tx, attempt))
    wanted = None if body.scopes is None else tuple(body.scopes)
    made = await edge.once(
        call,
        lambda tx: sign_in.open_api(tx, attempt, wanted=wanted, name=body.name, days=body.days),
        content=body.model_dump(exclude={"password"}),
        account_id=account.id,
    )
    token = await call.query(lambda connection: sign_in.api_token(connection, made.id))
    if token is None:
        raise Refusal(
            "token.gone",
            N_("The token that this request made is gone."),
            N_("Ask for a new one."),
        )
    return TokenMade(id=made.id, token=token, expires_at=made.expires_at, scopes=list(made.scopes))


@router.get("/identity/api/tokens")
async def list_tokens(call: Own, paging: Paged) -> Page[SessionShown]:
    """My API tokens that are valid, without the tokens themselves."""
    return await _own_sessions(call, paging, Use.API)


@router.delete("/identity/api/tokens/{token_id}", status_code=204)
async def delete_token(token_id: str, call: Own) -> None:
    """End one of my API tokens: it is refused from now on."""
    await _end_own(call, token_id)


# -- sessions ------------------------------------------------------------------------------------


@router.get("/identity/api/sessions")
async def list_sessions(call: Own, paging: Paged) -> Page[SessionShown]:
    """Everything by which I am signed in: browsers and API tokens."""
    return await _own_sessions(call, paging, None)


@router.delete("/identity/api/sessions/{session_id}", status_code=204)
async def delete_session(session_id: str, call: Own) -> None:
    """End one of my sessions."""
    await _end_own(call, session_id)


@router.get("/identity/api/accounts/{account_id}/sessions")
async def list_sessions_of(account_id: str, call: Leads, paging: Paged) -> Page[SessionShown]:
    """Everything by which somebody is signed in."""
    now = call.parts.clock.now()
    asker, current = edge.asker(call), call.caller.session_id
    await call.query(lambda connection: queries.account(connection, asker, account_id))
    return await call.query(
        lambda connection: queries.sessions(connection, account_id, now, paging, current=current)
    )


@router.post("/identity/api/accounts/{account_id}/sessions/revoke")
async def revoke_sessions(account_id: str, call: Leads, body: Revoke | None = None) -> Revoked:
    """End somebody's sessions: all, or those named."""
    named = tuple(body.session_ids) if body and body.session_ids is not None else None
    asker = edge.asker(call)
    ended = await call.command(lambda tx: accounts.revoke_sessions(tx, asker, account_id, named))
    return Revoked(revoked=ended)


# -- centres -------------------------------------------------------------------------------------


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


# -- accounts ------------------------------------------------------------------------------------


@router.post("/identity/api/accounts", status_code=201)
async def make_account(body: AccountNew, call: Keepers) -> AccountShown:
    """Make an account: administrators any, coordinators any but administrators in their own
    centre, reception families of its centre."""
    asker = edge.asker(call)
    email = email_of(body.email)
    password = acceptable(body.password, email=email, roles=body.roles)
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
    return await call.query(lambda connection: queries.account(connection, asker, made))


@router.get("/identity/api/accounts")
async def list_accounts(
    call: Keepers,
    paging: Paged,
    kind: Kind | None = None,
    centre_id: Annotated[str, Query(max_length=64)] = "",
    household_id: Annotated[str, Query(max_length=64)] = "",
) -> Page[AccountShown]:
    """The accounts that the caller may see, the newest first."""
    asker = edge.asker(call)
    return await call.query(
        lambda connection: queries.accounts(
            connection, asker, paging, kind=kind, centre_id=centre_id, household_id=household_id
        )
    )


@router.post("/identity/api/accounts/find")
async def find_account(body: AccountFind, call: Keepers) -> AccountShown:
    """The account of an e-mail address."""
    asker, email = edge.asker(call), email_of(body.email)
    found = await call.query(lambda connection: queries.account_by_email(connection, asker, email))
    if found is None:
        raise account_unknown()
    return found


@router.get("/identity/api/accounts/{account_id}")
async def show_account(account_id: str, call: Keepers) -> AccountShown:
    """One account."""
    asker = edge.asker(call)
    return await call.query(lambda connection: queries.account(connection, asker, account_id))


@router.patch("/identity/api/accounts/{account_id}")
async def change_account(account_id: str, body: AccountPatch, call: Keepers) -> AccountShown:
    """Change an account. Nobody changes their own roles, or their own password here."""
    asker = edge.asker(call)
    before = await call.query(lambda connection: queries.account(connection, asker, account_id))
    email = None if body.email is None else email_of(body.email)
    password_hash = None
    if body.password is not None:
        password = acceptable(
            body.password, email=email or before.email, roles=body.roles or before.roles
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
    return await call.query(lambda connection: queries.account(connection, asker, account_id))


# -- keys ----------------------------------------------------------------------------------------


@router.post("/identity/api/keys/turn")
async def turn_keys(call: Foundation) -> KeyTurned:
    """End every sign-in and token of everybody at once, this one too: for a key that may have been
    seen, and after a restore. For administrators of the whole foundation."""
    if call.centre:
        raise NotAllowed(
            "key.foundation_only",
            N_("Only an administrator of the whole foundation can do this."),
            N_("Ask the foundation."),
        )
    return KeyTurned(key_id=await call.command(keys.turn))


@router.get("/identity/.well-known/jwks.json", include_in_schema=False)
async def jwks(call: Anybody) -> JSONResponse:
    """The public keys that check tokens (RFC 7517, RFC 8037)."""
    now = call.parts.clock.now()
    known = await call.query(lambda connection: queries.public_keys(connection, now))
    return JSONResponse(
        {
            "keys": [
                {
                    "kty": "OKP",
                    "crv": "Ed25519",
                    "use": "sig",
                    "alg": "EdDSA",
                    "kid": key_id,
                    "x": public_key,
                }
                for key_id, public_key in known
            ]
        },
        headers={"Cache-Control": "public, max-age=300"},
    )


async def _own_sessions(call: Call, paging: Paged, use: Use | None) -> Page[SessionShown]:
    """What is mine; a program needs the scope for accounts."""
    _narrow(call, None)
    caller, now = call.caller, call.parts.clock.now()
    return await call.query(
        lambda connection: queries.sessions(
            connection, caller.account_id, now, paging, use=use, current=caller.session_id
        )
    )


async def _end_own(call: Call, session_id: str) -> None:
    _narrow(call, session_id)
    caller = call.caller
    await call.command(
        lambda tx: sessions.revoke_own(tx, caller.account_id, session_id, centre=caller.centre_id)
    )


def _narrow(call: Call, session_id: str | None) -> None:
    """An API token without the scope may end itself and nothing else."""
    scopes = call.caller.scopes
    if scopes is None or SCOPE in scopes or session_id == call.caller.session_id:
        return
    if session_id is not None:
        raise NotFound(
            "session.unknown",
            N_("There is no such sign-in or token."),
            N_("Look at the list again."),
        )
    raise NotAllowed(
        "auth.scope",
        N_("This token does not allow this."),
        N_("Ask for a token with the scope {scope}."),
        scope=SCOPE,
    )
