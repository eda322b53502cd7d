"""One's own: the home by role, password, language, where one is signed in, API tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field
from starlette.responses import Response

from contracts.identity import Role
from identity import edge, labels, queries
from identity.commands import accounts, sessions, sign_in
from identity.commands.sign_in import WrongSignIn
from identity.domain.accounts import LANGUAGES, Kind, kind_of, manageable_roles
from identity.domain.passwords import LONGEST, acceptable, of_their_own, shortest_for
from identity.domain.scopes import allowed_to
from identity.domain.sessions import API_LONGEST, Use
from identity.pages import again
from identity.pages.sign_in import same_twice
from identity.queries import SessionShown
from messaging import Transaction
from runtime.refusals import N_, NotFound
from web import Call, Form, Page, Paged, Paging, allow
from web.call import LANGUAGE
from web.translations import NAMES

router = APIRouter(include_in_schema=False)

OWN = "/identity/account"
SESSIONS = f"{OWN}/sessions"
TOKENS = f"{OWN}/tokens"

SHOWN_FOR = timedelta(minutes=5)
"""How long after it was made a token can be read on its page."""

SignedIn = Annotated[Call, Depends(allow())]


class NewPassword(BaseModel):
    """The form for another password."""

    current: Annotated[str, Field(max_length=4 * LONGEST)]
    password: Annotated[str, Field(max_length=4 * LONGEST)]
    again: Annotated[str, Field(max_length=4 * LONGEST)]


class NewLanguage(BaseModel):
    """The form for another language."""

    language: str = ""


class NewToken(BaseModel):
    """The form for an API token."""

    name: Annotated[str, Field(max_length=80)]
    days: int = Field(30, ge=1, le=API_LONGEST.days)
    scopes: list[str] = []


@router.get("/identity/")
async def home(call: SignedIn) -> Response:
    """What each role uses, as large links, and one's own account."""
    me = await edge.own_account(call)
    return call.render(
        "home.html",
        me=me,
        says=call.caller.has(Role.ADMINISTRATOR, Role.COORDINATOR),
        manages=bool(manageable_roles(edge.asker(call))),
        opens=call.caller.has(Role.ADMINISTRATOR) and not call.centre,
        to_choose=not me.password_chosen,
    )


@router.get(OWN)
async def account_page(call: SignedIn) -> Response:
    """One's own account."""
    return await _account(call)


@router.get(f"{OWN}/password")
async def password_page(call: SignedIn) -> Response:
    """The address of the form alone, where a sign-in that had ended meanwhile leads back to."""
    return call.redirect(f"{OWN}#password")


@router.post(f"{OWN}/password")
async def change_password(call: SignedIn) -> Response:
    """Choose another password; every other sign-in of the account ends."""
    form = await call.form(NewPassword)
    if form.ok:
        await form.attempt(_choose(call, form.data))
    if not form.ok:
        return await _account(call, password=form)
    return call.redirect(f"{OWN}?done=password")


@router.post(f"{OWN}/language")
async def change_language(call: SignedIn) -> Response:
    """Choose the language of one's pages."""
    form = await call.form(NewLanguage)
    language = str(form.values.get("language", ""))
    await form.command(lambda tx: accounts.choose_language(tx, call.caller.account_id, language))
    if not form.ok:
        return await _account(call, language=form)
    answer = call.redirect(f"{OWN}?done=language")
    # The cookie of the language buttons would win over the account's language.
    answer.delete_cookie(call.parts.cookie(LANGUAGE), path="/", secure=call.parts.secure)
    secret = edge.session_cookie(call)
    issued = await edge.transact(call, lambda tx: sign_in.renew(tx, secret)) if secret else None
    if issued is not None:
        edge.keep(answer, call.parts, issued)
    return answer


@router.get(SESSIONS)
async def sessions_page(call: SignedIn, paging: Paged) -> Response:
    """Where one is signed in."""
    page = await _sessions(call, paging, Use.BROWSER)
    return call.render("sessions.html", page=page, here=SESSIONS)


@router.post(f"{SESSIONS}/end-others")
async def end_others(call: SignedIn) -> Response:
    """Sign out everywhere but here."""
    if ask := await again.asked(call):
        return ask
    me = call.caller
    await call.command(
        lambda tx: sessions.end_others(tx, me.account_id, centre=me.centre_id, keep=me.session_id)
    )
    return call.redirect(SESSIONS)


@router.post(f"{SESSIONS}/{{session_id}}/end")
async def end_session(session_id: str, call: SignedIn) -> Response:
    """Sign out somewhere."""
    if session_id != call.caller.session_id and (ask := await again.asked(call)):
        return ask
    await _end(call, session_id)
    return call.redirect(SESSIONS)


@router.get(TOKENS)
async def tokens_page(call: SignedIn, paging: Paged) -> Response:
    """One's API tokens, and the form for a new one."""
    return await _tokens(call, paging, call.blank(NewToken, {"days": 30}))


@router.post(TOKENS)
async def make_token(call: SignedIn) -> Response:
    """Make an API token and show it."""
    if ask := await again.asked(call):
        return ask
    form = await call.form(NewToken)
    made = None
    if form.ok:
        typed, me = form.data, call.caller.account_id
        made = await form.command(
            lambda tx: sign_in.open_own_api(
                tx, me, wanted=tuple(typed.scopes), name=typed.name, days=typed.days
            )
        )
    if made is None:
        return await _tokens(call, Paging(), form)
    return call.redirect(f"{TOKENS}/{made.id}")


@router.get(f"{TOKENS}/{{token_id}}")
async def token_page(token_id: str, call: SignedIn) -> Response:
    """A token that was just made; later only what it may do."""
    found = await call.query(lambda c: queries.session(c, token_id))
    if found is None or found.account_id != call.caller.account_id or found.use is not Use.API:
        raise NotFound(
            "session.unknown",
            N_("There is no such sign-in or token."),
            N_("Look at the list again."),
        )
    now = call.parts.clock.now()
    token: str | None = None
    if found.times.live(now) and now < found.times.created_at + SHOWN_FOR:
        token = await call.query(lambda c: sign_in.api_token(c, token_id))
    return call.render("token.html", found=found, token=token, scopes=labels.SCOPES)


@router.post(f"{TOKENS}/{{token_id}}/delete")
async def delete_token(token_id: str, call: SignedIn) -> Response:
    """End an API token."""
    if ask := await again.asked(call):
        return ask
    await _end(call, token_id)
    return call.redirect(TOKENS)


async def _choose(call: Call, typed: NewPassword) -> None:
    """Check the old password, then write the new one. Raises Refusal with the field at fault."""
    me = await edge.own_account(call)
    same_twice(typed.password, typed.again)
    ready = acceptable(typed.password, email=me.email, roles=me.roles, names=[me.name])
    of_their_own(typed.password, typed.current)
    try:
        attempt = await edge.attempt(call, me.email, typed.current)
    except WrongSignIn:
        raise again.wrong("current") from None
    assert attempt.account is not None
    was = attempt.account.password_hash
    password_hash = await edge.HASHING.hash(ready)

    def change(tx: Transaction) -> None:
        sign_in.right(tx, attempt)
        accounts.choose_password(
            tx,
            call.caller.account_id,
            was=was,
            password_hash=password_hash,
            keep_session=call.caller.session_id,
        )

    await edge.once(call, change, content={"was": was}, password=typed.password)


async def _account(
    call: Call,
    *,
    password: Form[NewPassword] | None = None,
    language: Form[NewLanguage] | None = None,
) -> Response:
    me = await edge.own_account(call)
    centres = dict(await call.query(queries.centre_names))
    done = call.request.query_params.get("done", "")
    shown = [form for form in (password, language) if form is not None]
    return call.render(
        "account.html",
        shown[0].status if shown else 200,
        me=me,
        centre=centres.get(me.centre_id, ""),
        roles=labels.ROLES,
        shortest=shortest_for(me.roles),
        password=password or call.blank(NewPassword),
        language_form=language or call.blank(NewLanguage, {"language": me.language}),
        language_choices=[(code, NAMES[code]) for code in LANGUAGES],
        done=done if done in ("password", "language") else "",
        with_tokens=kind_of(me.roles) is not Kind.FAMILY,
        own=OWN,
        path=OWN,
    )


async def _sessions(call: Call, paging: Paging, use: Use) -> Page[SessionShown]:
    now, me = call.parts.clock.now(), call.caller
    return await call.query(
        lambda c: queries.sessions(c, me.account_id, now, paging, use=use, current=me.session_id)
    )


async def _tokens(call: Call, paging: Paging, form: Form[NewToken]) -> Response:
    may = allowed_to(call.caller.roles)
    return call.render(
        "tokens.html",
        form.status,
        page=await _sessions(call, paging, Use.API),
        form=form,
        labels=labels.SCOPES,
        choices=[(scope, call.say(labels.SCOPES[scope])) for scope in may],
        longest=API_LONGEST.days,
        here=TOKENS,
        path=TOKENS,
    )


async def _end(call: Call, session_id: str) -> None:
    me = call.caller
    await call.command(
        lambda tx: sessions.revoke_own(tx, me.account_id, session_id, centre=me.centre_id)
    )
