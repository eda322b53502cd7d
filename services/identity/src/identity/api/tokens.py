"""API tokens, one's own password and sessions, and the keys that check tokens."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from identity import edge, queries
from identity.api.callers import SCOPE, Anybody, Foundation, Own
from identity.api.models import KeyTurned, PasswordChoice, TokenMade, TokenRequest
from identity.commands import accounts, keys, sessions, sign_in
from identity.domain.passwords import acceptable, of_their_own
from identity.domain.sessions import Use
from identity.queries import SessionShown
from messaging import Transaction
from runtime.refusals import N_, NotAllowed, NotFound, Refusal
from web import Call, Page, Paged

router = APIRouter()


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


@router.post("/identity/api/password", status_code=204)
async def choose_password(body: PasswordChoice, call: Anybody) -> None:
    """Choose one's own password for who knows the present one: the only thing that a first one,
    given by somebody else, is good for. Every sign-in and token of the account ends."""
    attempt = await edge.attempt(call, body.email, body.password)
    account = attempt.account
    assert account is not None
    ready = acceptable(
        body.new_password,
        email=account.email,
        roles=account.standing.roles,
        names=[account.name],
    )
    of_their_own(body.new_password, body.password)
    password_hash = await edge.HASHING.hash(ready)

    def choose(tx: Transaction) -> None:
        sign_in.right(tx, attempt)
        accounts.choose_password(
            tx, account.id, was=account.password_hash, password_hash=password_hash, keep_session=""
        )

    await edge.transact(call, choose)


@router.get("/identity/api/tokens")
async def list_tokens(call: Own, paging: Paged) -> Page[SessionShown]:
    """My API tokens that are valid, without the tokens themselves."""
    return await _own_sessions(call, paging, Use.API)


@router.delete("/identity/api/tokens/{token_id}", status_code=204)
async def delete_token(token_id: str, call: Own) -> None:
    """End one of my API tokens: it is refused from now on."""
    await _end_own(call, token_id)


@router.get("/identity/api/sessions")
async def list_sessions(call: Own, paging: Paged) -> Page[SessionShown]:
    """Everything by which I am signed in: browsers and API tokens."""
    return await _own_sessions(call, paging, None)


@router.delete("/identity/api/sessions/{session_id}", status_code=204)
async def delete_session(session_id: str, call: Own) -> None:
    """End one of my sessions."""
    await _end_own(call, session_id)


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
    if session_id != caller.session_id:
        await edge.proved(call)
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
