"""Signing in and out, and the new token that a browser is sent here for. Whoever signs in with a
first password, given by somebody else, chooses their own before anything else."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from starlette.responses import RedirectResponse, Response

from identity import carried, edge
from identity.commands import sessions, sign_in
from identity.commands.sign_in import Issued
from identity.domain.passwords import LONGEST, acceptable, as_given, shortest_for, the_same
from identity.store import Account
from runtime.refusals import N_, Invalid, Refusal
from web import Call, Form, local_path, public
from web.csrf import SAFE, refuse_forged, token_of
from web.rates import TooMany
from web.urls import with_query

router = APIRouter(include_in_schema=False)

HOME = "/identity/"
SIGN_IN = "/identity/sign-in"
FIRST = "/identity/first-password"
RENEW = "/identity/renew"

Anybody = Annotated[Call, Depends(public())]
Next = Annotated[str, Query(max_length=2000)]


class SignIn(BaseModel):
    """The sign-in form."""

    email: Annotated[str, Field(max_length=254)]
    password: Annotated[str, Field(max_length=4 * LONGEST)]
    next: str = ""
    carried: str = ""


class OwnPassword(BaseModel):
    """The form that replaces a first password. The old one was typed a moment ago."""

    password: Annotated[str, Field(max_length=4 * LONGEST)]
    again: Annotated[str, Field(max_length=4 * LONGEST)]
    next: str = ""
    carried: str = ""


@router.get("/identity")
async def bare(call: Anybody) -> Response:
    """The address as people type it."""
    return call.redirect(HOME)


@router.get(SIGN_IN)
async def sign_in_page(call: Anybody, next: Next = "") -> Response:
    """The form; whoever is signed in goes on."""
    if call.caller.signed_in:
        return call.redirect(local_path(next, HOME))
    return _page(call, call.blank(SignIn, {"next": local_path(next, "")}))


@router.post(SIGN_IN)
async def signed_in(call: Anybody) -> Response:
    """Begin a session and go where the browser was going."""
    form = await call.form(SignIn)
    if not form.ok:
        return _page(call, form, 422)
    typed = form.data
    replaced, agent = edge.session_cookie(call), call.request.headers.get("user-agent", "")
    try:
        attempt = await edge.attempt(call, typed.email, typed.password)
        issued = await edge.transact(
            call,
            lambda tx: sign_in.open_browser(tx, attempt, user_agent=agent, replaces=replaced),
        )
    except Refusal as refusal:
        if refusal.status >= 500:
            raise
        form.refuse(refusal)
        refused = _page(call, form, refusal.status)
        if isinstance(refusal, TooMany):
            refused.headers["Retry-After"] = str(refusal.after)
        return refused
    return await _on(call, issued, typed.next, typed.carried)


@router.get(FIRST)
async def first_page(call: Anybody, next: Next = "") -> Response:
    """The form for a password of one's own, for whoever has signed in with a first one."""
    found = await _chooser(call)
    if found is None:
        return call.redirect(with_query(RENEW, next=local_path(next, HOME)))
    return _first_page(call, call.blank(OwnPassword, {"next": local_path(next, "")}), *found)


@router.post(FIRST)
async def choose_first(call: Anybody) -> Response:
    """Replace the first password and go where the browser was going."""
    found = await _chooser(call)
    going = str((await call.request.form()).get("next") or "")
    if found is None:
        return call.redirect(with_query(RENEW, next=local_path(going, HOME)))
    session_id, account = found
    await refuse_forged(call.request, session_id)
    form = await call.form(OwnPassword)
    issued = await form.attempt(_choose_first(call, form.data, *found)) if form.ok else None
    if issued is not None:
        return await _on(call, issued, form.data.next, form.data.carried)
    if await _chooser(call) is None:  # pressed twice: the other one has chosen
        return call.redirect(with_query(RENEW, next=local_path(going, HOME)))
    return _first_page(call, form, session_id, account)


@router.get(RENEW)
@router.post(RENEW)
async def renew(call: Anybody, next: Next = "") -> Response:
    """A new token and back; a form that was on its way is sent again by the browser (307).

    Without a live session the way leads to the sign-in page; a form goes with it (``carried``).
    """
    target = local_path(next, HOME)
    secret = edge.session_cookie(call)
    issued = await edge.transact(call, lambda tx: sign_in.renew(tx, secret)) if secret else None
    if issued is not None and not issued.token:
        return await _on(call, issued, target, await carried.of(call.request))
    if issued is None:
        gone: Response = RedirectResponse(with_query(SIGN_IN, next=target), status_code=303)
        if packed := await carried.of(call.request):
            gone = _page(call, call.blank(SignIn, {"next": target, "carried": packed}), 401)
        edge.forget(gone, call.parts)
        return gone
    safe = call.request.method in SAFE
    answer = RedirectResponse(target, status_code=303 if safe else 307)
    edge.keep(answer, call.parts, issued)
    return answer


@router.post("/identity/sign-out")
async def sign_out(call: Anybody) -> Response:
    """End the session of this browser."""
    secret = edge.session_cookie(call)
    if secret:
        await edge.transact(call, lambda tx: sessions.sign_out(tx, secret))
    answer = call.redirect(SIGN_IN)
    edge.forget(answer, call.parts)
    answer.headers["Clear-Site-Data"] = '"storage"'
    return answer


def same_twice(password: str, again: str) -> None:
    """Raises Invalid at the second field when the two are not the same."""
    if password != again:
        raise Invalid(
            "password.differs",
            N_("The two new passwords are not the same."),
            N_("Write the new password twice."),
            field="again",
        )


async def _on(call: Call, issued: Issued, going: str, packed: str) -> Response:
    """To where the browser was going, with what was typed before; by way of the form for a password
    of one's own, if that comes first."""
    target = local_path(going, HOME)
    fields = carried.fields_of(packed)
    answer: Response
    if not issued.token:
        answer = call.redirect(with_query(FIRST, next=target))
        found = await _chooser(call, issued.secret) if fields else None
        if found is not None:
            form = call.blank(OwnPassword, {"next": target, "carried": packed})
            answer = _first_page(call, form, *found)
    elif fields:
        answer = call.render(
            "carried.html", target=target, fields=fields, token=token_of(issued.session_id)
        )
    else:
        answer = call.redirect(target)
    edge.keep(answer, call.parts, issued)
    return answer


async def _chooser(call: Call, secret: str = "") -> tuple[str, Account] | None:
    """The session and the account of whoever has to choose; the page speaks their language."""
    secret = secret or edge.session_cookie(call)
    if not secret:
        return None
    found = await edge.transact(call, lambda tx: sign_in.chooser(tx, secret))
    if found is not None:
        call.caller = replace(call.caller, language=found[1].language)
    return found


async def _choose_first(
    call: Call, typed: OwnPassword, session_id: str, account: Account
) -> Issued:
    same_twice(typed.password, typed.again)
    ready = acceptable(
        typed.password, email=account.email, roles=account.standing.roles, names=[account.name]
    )
    if await edge.HASHING.matches(account.password_hash, as_given(ready)):
        raise the_same()
    password_hash = await edge.HASHING.hash(ready)
    return await edge.transact(
        call, lambda tx: sign_in.choose_first(tx, account, session_id, password_hash=password_hash)
    )


def _first_page(call: Call, form: Form[OwnPassword], session_id: str, account: Account) -> Response:
    going = local_path(str(form.values.get("next", "")), "")
    return call.render(
        "first_password.html",
        form.status,
        form=form,
        email=account.email,
        shortest=shortest_for(account.standing.roles),
        going=going,
        carried=str(form.values.get("carried") or ""),
        token=token_of(session_id),
        here=FIRST,
        path=with_query(FIRST, next=going) if going else FIRST,
    )


def _page(call: Call, form: Form[SignIn], status: int = 200) -> Response:
    going = local_path(str(form.values.get("next", "")), "")
    here = with_query(SIGN_IN, next=going) if going else SIGN_IN
    return call.render(
        "sign_in.html",
        status,
        form=form,
        going=going,
        path=here,
        carried=str(form.values.get("carried") or ""),
    )
