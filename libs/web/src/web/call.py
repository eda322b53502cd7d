"""One request of one caller: what an endpoint needs and nothing else.

An endpoint asks for a ``Call`` by ``allow(...)`` or ``public()`` (``web.auth``), hands a plain
function to ``command`` or ``query``, and answers with a model, ``render`` or ``redirect``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar, cast
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from messaging import Transaction
from runtime.refusals import N_, Invalid, NotAllowed
from web import answers, csrf, forms
from web.formats import zone_of
from web.forms import NONCE, Form
from web.parts import Parts, parts_of
from web.roles import Caller, Role
from web.translations import Translator, choose
from web.urls import local_path

LANGUAGE = "language"
"""The cookie's name."""

CENTRE_MISSING = "auth.centre_missing"
"""Somebody of the whole foundation asks for what is of one centre and does not say of which."""

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


class Call:
    """Who asks (``caller``), in which ``language``, by which ``request``."""

    def __init__(self, request: Request, caller: Caller) -> None:
        self.request = request
        self.caller = caller
        self._commands = 0

    @cached_property
    def language(self) -> str:
        """``?lang=``, then the cookie, then the caller's own, then what the browser prefers. Found
        out when it is asked for: a program that gets what it wants reads no sentence."""
        request = self.request
        return choose(
            request.query_params.get("lang", ""),
            request.cookies.get(self.parts.cookie(LANGUAGE), ""),
            self.caller.language,
            accept=request.headers.get("accept-language", ""),
        )

    @property
    def parts(self) -> Parts:
        return parts_of(self.request)

    @property
    def to(self) -> Translator:
        return self.parts.translations.of(self.language)

    @property
    def correlation(self) -> str:
        """The id that follows this request through logs, events and services."""
        return cast(str, self.request.state.correlation)

    @property
    def centre(self) -> str:
        """The caller's centre; "" for nobody and for the whole foundation."""
        return self.caller.centre_id

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of the caller's centre."""
        return zone_of(self.caller.zone)

    @cached_property
    def form_token(self) -> str:
        """What the forms of this answer carry (`web.csrf`)."""
        return csrf.token_of(self.caller.session_id)

    def say(self, msgid: str, **values: object) -> str:
        """A sentence in the reader's language, ``{placeholders}`` filled."""
        return self.to.say(msgid, **values)

    # -- the work ------------------------------------------------------------------------------

    async def command(self, fn: Callable[[Transaction], T], *, centre: str | None = None) -> T:
        """Run ``fn`` in ONE transaction and give its value once that is committed.

        The actor is the caller, the centre the caller's unless ``centre`` names another (the
        foundation's administrators, public pages). With an Idempotency-Key header or a form's
        nonce, a repetition gives the first value without running ``fn``; with other content it
        raises Invalid("idempotency.other_content"). The value must be JSON-like, a pydantic model
        or a dataclass (``web.answers``). A second command of one request has a key of its own.
        """
        once = await self._once()
        work = once.wrap(fn) if once is not None else fn
        return await self.parts.engine.transact(
            work,
            actor=self.caller.account_id or "anonymous",
            centre=self.centre if centre is None else centre,
            correlation=self.correlation,
        )

    async def once(self, work: Callable[[], Awaitable[T]]) -> T:
        """Await what no single transaction holds, and keep its value as ``command`` does.

        A repetition gives the first value. Two at the same moment, or one after a crash between the
        work and its keeping, do the work again: only for work that may happen twice.
        """
        once = await self._once()
        if once is None:
            return await work()
        known = await self.query(once.known)
        if known is not None:
            return cast(T, known[0])
        value = await work()
        return await self.parts.engine.transact(once.wrap(lambda _tx: value))

    async def query(self, fn: Callable[[sa.Connection], T]) -> T:
        """Run ``fn`` on a reading connection."""
        return await self.parts.store.read(fn)

    async def _once(self) -> answers.Once | None:
        request = self.request
        if request.method in csrf.SAFE:
            return None
        nonce = None
        if csrf.is_form(request):
            sent = await request.form()
            nonce = sent.get(NONCE)
            content = [
                part
                for name, value in sent.multi_items()
                if name not in forms.OWN
                for part in (name.encode(), str(getattr(value, "filename", value)).encode())
            ]
        else:
            content = [await request.body()]
        header = request.headers.get("idempotency-key")
        if header is None and not isinstance(nonce, str):
            return None
        key = answers.key_of(header if header is not None else cast(str, nonce))
        self._commands += 1
        return answers.Once(
            self.caller.account_id,
            key if self._commands == 1 else f"{key} {self._commands}",
            answers.digest(request.method.encode(), _asked(request).encode(), *content),
        )

    # -- whose it is ---------------------------------------------------------------------------

    def require_centre(self, centre_id: str) -> None:
        """Raises NotAllowed unless the caller works for this centre (or for the foundation)."""
        of_the_foundation = not self.centre and self.caller.has(Role.ADMINISTRATOR)
        if self.centre != centre_id and not of_the_foundation:
            raise NotAllowed("auth.centre", N_("This belongs to another centre."), _ASK)

    def centre_or(self, named: str | None) -> str:
        """The centre to work in: the caller's own, or the one that the foundation names.

        Raises NotAllowed when another centre than the own is named, Invalid when none is known.
        """
        if named:
            self.require_centre(named)
            return named
        if not self.centre:
            raise Invalid(
                CENTRE_MISSING,
                N_("Say for which centre this is."),
                N_("Choose a centre."),
                field="centre_id",
            )
        return self.centre

    # -- pages ---------------------------------------------------------------------------------

    def render(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """A page from a template of the service (or of web), in the reader's language."""
        return self.parts.pages.render(self, template, status, values)

    async def form(self, model: type[M]) -> Form[M]:
        """The form that was sent, checked against ``model``; see ``web.forms.Form``."""
        return forms.read(self, await self.request.form(), model, self.to)

    def blank(self, model: type[M], values: BaseModel | Mapping[str, Any] | None = None) -> Form[M]:
        """A form to be filled in, with first values."""
        return Form[M](self, forms.initial(values or {}))

    def redirect(self, path: str) -> Response:
        """303 to a path of this house: what a page answers after a POST."""
        return RedirectResponse(local_path(path), status_code=303)


def _asked(request: Request) -> str:
    """The path, with what is asked behind it: there stands for which centre."""
    url = request.url
    return f"{url.path}?{url.query}" if url.query else url.path


_ASK = N_("Ask the coordinator of your centre if you need it.")
