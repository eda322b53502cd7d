"""What API and pages of identity share: passwords before transactions, cookies, who asks.

Requests that hold a password do not use ``Call.command``: it would keep a quick digest of the
whole request beside the slow hash. ``once`` takes the password by itself and digests it slowly.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from starlette.responses import Response

from identity import queries
from identity.commands import sign_in
from identity.commands.sign_in import Attempt, Issued, WrongSignIn
from identity.domain.accounts import Asker
from identity.domain.addresses import spoken_email
from identity.domain.passwords import as_given
from identity.domain.sessions import PROVED_FOR
from identity.hashing import Hashing
from identity.queries import AccountShown
from messaging import Transaction
from runtime.clock import Clock
from runtime.logging import get_logger
from runtime.refusals import N_, NotAllowed
from web import Call, answers
from web.auth import SESSION, TOKEN
from web.csrf import is_form
from web.forms import NONCE
from web.parts import Parts
from web.rates import TooMany

T = TypeVar("T")

HASHING = Hashing()

log = get_logger()


def asker(call: Call) -> Asker:
    """The caller, as the rules of accounts know them."""
    return Asker(call.caller.account_id, call.caller.roles, call.caller.centre_id)


def account(call: Call, account_id: str) -> Awaitable[AccountShown]:
    """An account that the caller may see. Raises NotFound."""
    by, now = asker(call), call.parts.clock.now()
    return call.query(lambda c: queries.account(c, by, account_id, now))


def own_account(call: Call) -> Awaitable[AccountShown]:
    """The caller's own."""
    now = call.parts.clock.now()
    return call.query(lambda c: queries.own_account(c, call.caller.account_id, now))


async def is_stale(call: Call) -> bool:
    """Whether the password was last given too long ago in the session that asks."""
    found = await call.query(lambda c: queries.session(c, call.caller.session_id))
    return found is None or call.parts.clock.now() - found.proved_at > PROVED_FOR


async def proved(call: Call) -> None:
    """Raises NotAllowed("password.again") when a browser's session asks without the password having
    been given lately. A program with a token is not asked: whoever made that gave the password."""
    if "authorization" not in call.request.headers and await is_stale(call):
        raise NotAllowed(
            "password.again",
            N_("Your password has to be given again before this."),
            N_("Do it on the page, or with a token."),
        )


async def transact(call: Call, fn: Callable[[Transaction], T]) -> T:
    """Run a command that may run again, and whose value must not be kept."""
    return await call.parts.engine.transact(
        fn,
        actor=call.caller.account_id or "anonymous",
        centre=call.centre,
        correlation=call.correlation,
    )


async def once(
    call: Call,
    fn: Callable[[Transaction], T],
    *,
    content: Mapping[str, object],
    password: str = "",
    account_id: str = "",
) -> T:
    """Run a command once for the request's Idempotency-Key or form nonce, as ``Call.command`` does.

    ``content`` is what was asked, without the ``password``; ``account_id`` who asks when the
    request itself is anonymous.
    """
    key = call.request.headers.get("idempotency-key")
    if key is None and is_form(call.request):
        nonce = (await call.request.form()).get(NONCE)
        key = nonce if isinstance(nonce, str) else None
    if key is None:
        return await transact(call, fn)
    asked = answers.Once(
        account_id or call.caller.account_id,
        answers.key_of(key),
        answers.digest(
            call.request.method.encode(),
            call.request.url.path.encode(),
            json.dumps(content, sort_keys=True, default=str).encode(),
            await HASHING.digest(password, key.encode()) if password else b"",
        ),
    )
    return await transact(call, asked.wrap(fn))


async def attempt(call: Call, email: str, password: str) -> Attempt:
    """Count an attempt and check the password. Raises TooMany or WrongSignIn.

    The same steps are taken for an address that nobody has.
    """
    client = call.request.client.host if call.request.client else ""
    try:
        counted = await transact(call, lambda tx: sign_in.begin(tx, spoken_email(email), client))
    except TooMany:
        log.warning("identity.sign_in.too_many")
        raise
    known = counted.account
    if known and known.password_until is not None:
        password = as_given(password)
    if not await HASHING.matches(known.password_hash if known else "", password):
        log.warning("identity.sign_in.wrong", actor=known.id if known else "")
        raise WrongSignIn()
    log.info("identity.sign_in.right", actor=known.id if known else "")
    return counted


def session_cookie(call: Call) -> str:
    """The secret of the browser's session; "" when there is none."""
    return call.request.cookies.get(call.parts.cookie(SESSION), "")


def keep(answer: Response, parts: Parts, issued: Issued) -> None:
    """Put the token, and the secret of a new session, into the browser's cookies.

    On a shared desk the session's cookie ends with the browser's window. While a first password has
    to be replaced there is no token, and one of somebody else before goes.
    """
    if issued.secret:
        _set(
            answer,
            parts,
            SESSION,
            issued.secret,
            _seconds(parts.clock, issued) if issued.remember else None,
        )
    if not issued.token:
        _drop(answer, parts, TOKEN)
        return
    life = (issued.token_ends - parts.clock.now()).total_seconds()
    _set(answer, parts, TOKEN, issued.token, max(0, int(life)))


def forget(answer: Response, parts: Parts) -> None:
    """Take both cookies away."""
    for name in (SESSION, TOKEN):
        _drop(answer, parts, name)


def _drop(answer: Response, parts: Parts, name: str) -> None:
    answer.delete_cookie(
        parts.cookie(name), path="/", secure=parts.secure, httponly=True, samesite="lax"
    )


def _set(answer: Response, parts: Parts, name: str, value: str, life: int | None) -> None:
    answer.set_cookie(
        parts.cookie(name),
        value,
        max_age=life,
        path="/",
        secure=parts.secure,
        httponly=True,
        samesite="lax",
    )


def _seconds(clock: Clock, issued: Issued) -> int:
    return max(0, int((issued.session_ends - clock.now()).total_seconds()))
