"""Nobody else's page may act with a visitor's cookie.

Two locks on every unsafe request that a cookie authenticates: the browser's own word on where the
request comes from (Sec-Fetch-Site, Origin), and a form token bound to the session. The token is a
keyed hash of the session's id, so that it is the same in every service, outlives a renewal of the
signed token, and a form opened before keeps working. Bearer tokens are not sent by browsers on
their own and need neither.
"""

from __future__ import annotations

import hashlib
import hmac

from starlette.requests import Request

from runtime.refusals import N_, NotAllowed
from web.forms import CSRF
from web.urls import same_origin

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
HEADER = "X-CSRF-Token"
_PURPOSE = b"vicinato form token"


def token_of(session_id: str) -> str:
    """The form token of a session; "" for nobody."""
    if not session_id:
        return ""
    return hmac.new(session_id.encode(), _PURPOSE, hashlib.sha256).hexdigest()


def refuse_foreign(request: Request, public_url: str) -> None:
    """Raises NotAllowed when the browser says that another site sent this request."""
    site = request.headers.get("sec-fetch-site", "")
    if site in ("cross-site", "same-site"):
        raise _foreign()
    origin = request.headers.get("origin", "")
    if origin and not same_origin(origin, request.headers.get("host", ""), public_url):
        raise _foreign()


async def refuse_forged(request: Request, session_id: str) -> None:
    """Raises NotAllowed unless the request carries the form token of its session."""
    given = request.headers.get(HEADER, "")
    if not given and is_form(request):
        value = (await request.form()).get(CSRF)
        given = value if isinstance(value, str) else ""
    if not hmac.compare_digest(given.encode(), token_of(session_id).encode()):
        raise NotAllowed(
            "csrf.token",
            N_("This form does not belong to your present sign-in."),
            N_("Open the page again and send it once more."),
        )


def is_form(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind in ("application/x-www-form-urlencoded", "multipart/form-data")


def _foreign() -> NotAllowed:
    return NotAllowed(
        "csrf.origin",
        N_("This request was sent by another site."),
        N_("Open the page here and try again."),
    )
