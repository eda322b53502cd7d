"""A form that was on its way when the sign-in had ended: kept through the next, sent by its owner.

Identity gets it by 307 from the service (decision 0001). It rides in a hidden field of the sign-in
page, so that nothing of it is stored anywhere and no script is needed. Whoever has signed in sees
that something was typed before and sends it with one press, or leaves it. A form that asks for a
password is not kept. The browser has vouched
for the form's origin (``csrf.refuse_foreign``); its form token belonged to the ended session and
is replaced by the new one's, its nonce stays, so that it counts once.
"""

from __future__ import annotations

import json

from starlette.datastructures import FormData
from starlette.requests import Request

from web.csrf import is_form
from web.forms import CSRF

LARGEST = 64 * 1024
MOST = 400
"""What is carried at most: bytes of the form, and fields."""

NOT_CARRIED = "_not_carried"
"""The hidden field of a form that asks for a password, written by ``password.html``."""

Fields = list[tuple[str, str]]


async def of(request: Request) -> str:
    """The form of a request, to be put into a hidden field; "" when there is none, it is too large
    or asks for a password: of such a form nothing is carried, for whoever signs in next at a shared
    desk would find it in the page. Files are not carried.
    """
    if not is_form(request):
        return ""
    sent = await request.form()
    fields = [] if _secret(sent) else _kept(sent)
    packed = json.dumps(fields, ensure_ascii=False)
    if not fields or len(fields) > MOST or len(packed.encode()) > LARGEST:
        return ""
    return packed


def fields_of(packed: str) -> Fields:
    """The fields of what ``of`` packed; none when it is damaged."""
    if not packed or len(packed.encode()) > LARGEST:
        return []
    try:
        found = json.loads(packed)
    except (ValueError, RecursionError):
        return []
    if not isinstance(found, list) or len(found) > MOST:
        return []
    return [
        (pair[0], pair[1])
        for pair in found
        if isinstance(pair, list) and len(pair) == 2 and all(isinstance(p, str) for p in pair)
    ]


def _secret(sent: FormData) -> bool:
    """The marker, or a name: a page that was opened before the marker came has none."""
    return any(name == NOT_CARRIED or "password" in name for name in sent)


def _kept(sent: FormData) -> Fields:
    return [
        (name, value)
        for name, value in sent.multi_items()
        if isinstance(value, str) and name != CSRF
    ]
