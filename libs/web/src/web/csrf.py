"""Nobody else's page may act with a visitor's cookie.

Two locks on every unsafe request that a cookie authenticates: the browser's own word on where the
request comes from (Sec-Fetch-Site, Origin), and a form token bound to the session. The token is a
keyed hash of the session's id, so that it is the same in every service, outlives a renewal of the
signed token, and a form opened before keeps working; on each page it is hidden behind other random
bytes, so that nobody learns it from how well a page can be compressed (BREACH, CVE-2013-3587).
Bearer tokens are not sent by browsers on their own and need neither.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import secrets

from starlette.requests import Request

from runtime.refusals import N_, NotAllowed
from web.forms import CSRF
from web.urls import same_origin

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
HEADER = "X-CSRF-Token"
_PURPOSE = b"vicinato form token"
_LENGTH = 32


def token_of(session_id: str) -> str:
    """The form token of a session, another one at each call; "" for nobody."""
    if not session_id:
        return ""
    mask = secrets.token_bytes(_LENGTH)
    return (mask + _xor(mask, _secret(session_id))).hex()


def is_token_of(given: str, session_id: str) -> bool:
    """Whether it is one of the form tokens of the session. Nobody has none: "" is right then."""
    if not session_id:
        return given == ""
    try:
        both = binascii.unhexlify(given)
    except (binascii.Error, ValueError):
        return False
    unmasked = _xor(both[:_LENGTH], both[_LENGTH:])
    return len(both) == 2 * _LENGTH and hmac.compare_digest(unmasked, _secret(session_id))


def _secret(session_id: str) -> bytes:
    return hmac.new(session_id.encode(), _PURPOSE, hashlib.sha256).digest()


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=False))


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
    if not is_token_of(given, session_id):
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
