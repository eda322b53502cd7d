"""Who may come in: checked offline, in one place, before an endpoint runs.

``allow(Role.TILL, scope="shop:sell")`` and ``public()`` are dependencies that give a ``Call``.
The signed token is read from ``Authorization: Bearer`` or from the cookie ``token``. Endpoints
under ``/api/`` answer 401; pages send the browser to identity to renew the token and back, with
the form it was sending (307), so that nothing typed is lost.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import Request

from runtime.refusals import N_, NotAllowed, Refusal, Unavailable
from web import csrf
from web.call import Call
from web.parts import Parts, parts_of
from web.roles import ANONYMOUS, Caller, Role
from web.tokens import TokenRefused, expiry_unchecked

TOKEN = "token"  # noqa: S105 - the cookie's name
SESSION = "session"
RENEWING = "renewing"

Dependency = Callable[..., Coroutine[Any, Any, Call]]


class SignInNeeded(Refusal):
    """No token, or one that does not hold (``why`` as in TokenRefused, or ``missing``)."""

    status = 401

    def __init__(self, why: str) -> None:
        super().__init__(
            "auth.token" if why != "missing" else "auth.missing",
            N_("You are not signed in, or your sign-in has ended."),
            N_("Sign in and try again."),
        )
        self.why = why


class Door(HTTPBearer):
    """A dependency that reads the token, as the OpenAPI documents say it, and gives the call of
    whom ``check`` lets in; of everybody when there is none. (The token as a dependency of its own
    took FastAPI a tenth of what it does for a request.)"""

    def __init__(self, check: Callable[[Call], None] | None) -> None:
        super().__init__(
            auto_error=False,
            scheme_name="token",
            description="A token from `POST /identity/api/tokens`; its roles and scopes decide.",
        )
        self._check = check

    async def __call__(self, request: Request) -> Call:  # type: ignore[override]
        bearer = await super().__call__(request)
        call = await _call(request, bearer, needed=self._check is not None)
        if self._check is not None:
            self._check(call)
        return call


def allow(*roles: Role, scope: str = "") -> Dependency:
    """A dependency that lets these roles in; any signed-in caller when none is named.

    ``scope`` is what an API token must carry besides; without one, API tokens stay out. Nobody
    but an administrator works for the whole foundation: staff without a centre stay out as well.
    """
    wanted = frozenset(roles)

    def check(call: Call) -> None:
        caller = call.caller
        if wanted and not caller.roles & wanted:
            raise NotAllowed(
                "auth.role",
                N_("Your role does not allow this."),
                N_("Ask the coordinator of your centre if you need it."),
            )
        if wanted and caller.staff and not call.centre and Role.ADMINISTRATOR not in caller.roles:
            raise NotAllowed(
                "auth.centre",
                N_("Your account belongs to no centre."),
                N_("Ask an administrator to add you to one."),
            )
        if caller.scopes is not None and scope not in caller.scopes:
            raise NotAllowed(
                "auth.scope",
                N_("This token does not allow this."),
                N_("Ask for a token with the scope {scope}."),
                scope=scope or "-",
            )

    return Door(check)


def public() -> Dependency:
    """A dependency that lets everybody in; whoever is signed in is known."""
    return Door(None)


async def _call(
    request: Request, bearer: HTTPAuthorizationCredentials | None, *, needed: bool
) -> Call:
    parts = parts_of(request)
    cookie = request.cookies.get(parts.cookie(TOKEN), "")
    token = bearer.credentials if bearer is not None else cookie
    try:
        caller = await _caller(request, parts, token)
    except Refusal:
        if needed:
            raise
        caller = ANONYMOUS
    call = Call(request, caller)
    request.state.call = call
    if caller.signed_in:
        parts.pace.take(caller.session_id)
    if request.method not in csrf.SAFE and bearer is None:
        csrf.refuse_foreign(request, parts.settings.public_url)
        if caller.signed_in:
            await csrf.refuse_forged(request, caller.session_id)
    return call


async def seen(request: Request) -> Call:
    """The call of a request that was refused: whoever the cookie names, else nobody.

    Only good to word and dress an answer. It never raises.
    """
    known = getattr(request.state, "call", None)
    if isinstance(known, Call):
        return known
    caller = ANONYMOUS
    with contextlib.suppress(Exception):
        parts = parts_of(request)
        caller = await _caller(request, parts, request.cookies.get(parts.cookie(TOKEN), ""))
    return Call(request, caller)


async def _caller(request: Request, parts: Parts, token: str) -> Caller:
    if not token:
        raise SignInNeeded("missing")
    try:
        return (await parts.keys.check(token)).caller
    except TokenRefused as refused:
        renewed_just_now = request.cookies.get(RENEWING) == "1"
        ends = expiry_unchecked(token) if refused.why == "unknown_key" else None
        if renewed_just_now and ends is not None and ends > parts.clock.now():
            # Identity gave a new token a moment ago, but its key has not reached this service:
            # sending the browser back and forth would never end.
            raise Unavailable(
                "auth.key_unknown",
                N_("Your sign-in cannot be checked at this moment."),
                N_("Nothing was lost: wait a moment and try again."),
            ) from refused
        raise SignInNeeded(refused.why) from refused
