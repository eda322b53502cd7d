"""Pages: templates of the service and of the house, rendered in the reader's language.

Templates see ``call``, ``caller``, ``language``, ``direction``, ``doubted`` (the date is, and the
caller leads), the functions ``_``, ``ngettext`` (Jinja's: ``{{ _("Hello %(name)s", name=n) }}``),
``csrf()``, ``nonce()``, ``static("file")`` (its address, that changes with its content), and the
filters ``money``, ``points``, ``number``, ``date``, ``time``, ``datetime``, ``initials``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextvars import ContextVar
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.responses import HTMLResponse

from web import csrf, formats, wishes
from web.navigation import links
from web.roles import LEADS
from web.translations import LANGUAGES, NAMES, current
from web.urls import CENTRE, drop, here, same_origin, with_query

if TYPE_CHECKING:
    from web.call import Call

STATIC = Path(__file__).parent / "static"

_call: ContextVar[Call] = ContextVar("call")


class Pages:
    """The templates of one service."""

    def __init__(self, package: str, prefix: str) -> None:
        self.prefix = prefix
        self.environment = _environment(package)

    def render(
        self, call: Call, template: str, status: int, values: dict[str, Any]
    ) -> HTMLResponse:
        """The page; its language, direction and headers are those of the call."""
        to = call.to
        translator, this = current.set(to), _call.set(call)
        try:
            text = self.environment.get_template(template).render(
                {
                    "call": call,
                    "caller": call.caller,
                    "language": to.language,
                    "direction": to.direction,
                    "navigation": links(call.caller, call.request.url.path, self.prefix),
                    "prefix": self.prefix,
                    "path": call.request.url.path,
                    "back": back_to(call),
                    "choosing": with_query(CENTRE, next=back_to(call)),
                    "theme": wishes.theme_of(call.request),
                    "sound": wishes.sounds(call.request),
                    "now": call.parts.engine.guard.shown(),
                    "doubted": call.caller.has(*LEADS) and call.parts.engine.guard.suspicious,
                    **values,
                }
            )
        finally:
            current.reset(translator)
            _call.reset(this)
        return HTMLResponse(text, status, headers={"Content-Language": to.language})


@cache
def static(name: str) -> str:
    """The address of a file of the house; another content has another one, asked for at once. How
    long an answer is kept is for the front door to say.
    """
    content = (STATIC / name).read_bytes()
    return f"/static/{name}?v={sha256(content).hexdigest()[:12]}"


def back_to(call: Call) -> str:
    """Where a choice in the header goes back to: this page, or, when it answers a form, the page
    with the form. A language in the address would undo the choice and is left out.
    """
    request = call.request
    if request.method in csrf.SAFE:
        return drop(here(request), "lang")
    came = request.headers.get("referer", "")
    public = call.parts.settings.public_url
    if came and same_origin(came, request.headers.get("host", ""), public):
        parts = urlsplit(came)
        return drop(urlunsplit(("", "", parts.path, parts.query, "")), "lang")
    return request.url.path


@cache
def _environment(package: str) -> Environment:
    """Made once for each process, with the templates that it has compiled: all that differs from
    page to page comes by the call."""
    loaders = [PackageLoader("web")]
    if package != "web":
        with contextlib.suppress(ValueError):  # a service without pages has no templates
            loaders.insert(0, PackageLoader(package))
    made = Environment(
        loader=ChoiceLoader(loaders),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        auto_reload=False,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.install_gettext_callables(  # type: ignore[attr-defined]
        lambda msgid: current.get().gettext(msgid),
        lambda one, many, n: current.get().ngettext(one, many, n),
        newstyle=True,
    )
    made.filters.update(
        money=_said(formats.money),
        points=_said(formats.points),
        number=_said(formats.number),
        date=_timed(formats.day),
        time=_timed(formats.clock_time),
        datetime=_timed(formats.moment),
        weekday=_timed(formats.weekday),
        longday=_timed(formats.longday),
        euros=euros,
        percent=_said(formats.percent),
        tongue=_said(formats.tongue),
        initials=formats.initials,
    )
    made.globals.update(
        csrf=lambda: _call.get().form_token,
        nonce=lambda: _call.get().parts.ids.new(),
        static=static,
        languages=[(code, NAMES[code]) for code in LANGUAGES],
    )
    return made


def euros(cents: Any) -> Any:
    """Cents as one types them, ``1,50``, for the value of a field; text stays as typed."""
    if not isinstance(cents, int):
        return "" if cents is None else cents
    whole, part = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else ''}{whole},{part:02}"


def _timed(shown: Callable[..., str]) -> Callable[..., str]:
    """A format of a time as a filter, in the time zone of the caller's centre."""

    def filtered(value: Any) -> str:
        return "" if value is None else shown(current.get(), value, _call.get().zone)

    return filtered


def _said(shown: Callable[..., str]) -> Callable[..., str]:
    """A format as a filter: nothing is shown for nothing."""

    def filtered(value: Any) -> str:
        return "" if value is None else shown(current.get(), value)

    return filtered
