"""Signing in and out, and the new token that a browser is sent here for."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from starlette.responses import RedirectResponse, Response

from identity import carried, edge
from identity.commands import sessions, sign_in
from identity.domain.passwords import LONGEST
from runtime.refusals import Refusal
from web import Call, Form, local_path, public
from web.csrf import SAFE, token_of
from web.rates import TooMany
from web.urls import with_query

router = APIRouter(include_in_schema=False)

HOME = "/identity/"
SIGN_IN = "/identity/sign-in"

Anybody = Annotated[Call, Depends(public())]
Next = Annotated[str, Query(max_length=2000)]


class SignIn(BaseModel):
    """The sign-in form."""

    email: Annotated[str, Field(max_length=254)]
    password: Annotated[str, Field(max_length=4 * LONGEST)]
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
    target = local_path(typed.next, HOME)
    fields = carried.fields_of(typed.carried)
    answer: Response
    if fields:
        answer = call.render(
            "carried.html", target=target, fields=fields, token=token_of(issued.session_id)
        )
    else:
        answer = call.redirect(target)
    edge.keep(answer, call.parts, issued)
    return answer


@router.get("/identity/renew")
@router.post("/identity/renew")
async def renew(call: Anybody, next: Next = "") -> Response:
    """A new token and back; a form that was on its way is sent again by the browser (307).

    Without a live session the way leads to the sign-in page; a form goes with it (``carried``).
    """
    target = local_path(next, HOME)
    secret = edge.session_cookie(call)
    issued = await edge.transact(call, lambda tx: sign_in.renew(tx, secret)) if secret else None
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
