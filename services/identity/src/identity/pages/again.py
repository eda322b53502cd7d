"""The password once more, before what somebody else at an open desk must not do.

``asked`` stands first in such a route. The answer is a page that holds the form as it was sent, in
hidden fields, and asks for the password; it is sent to the same address, without any script. The
password counts for a quarter of an hour. A program with a token is not asked: whoever made the
token gave the password.
"""

from __future__ import annotations

from pydantic import BaseModel
from starlette.datastructures import UploadFile
from starlette.responses import Response

from identity import edge
from identity.commands import sign_in
from identity.commands.sign_in import WrongSignIn
from runtime.refusals import N_, Invalid
from web import Call, Form, forms


class Again(BaseModel):
    """The form that asks; what it holds besides belongs to another."""


async def asked(call: Call) -> Response | None:
    """The page that asks for the password again; None when it was given a short while ago, or with
    this very form."""
    if not await edge.is_stale(call):
        return None
    sent = await call.request.form()
    given = sent.get(forms.PASSWORD)
    form = Form[Again](call, {forms.PASSWORD: ""})
    if isinstance(given, str) and given:
        await form.attempt(_prove(call, given))
        if not form.errors:
            return None
    fields = [
        (name, value)
        for name, value in sent.multi_items()
        if name not in (forms.PASSWORD, forms.CSRF) and not isinstance(value, UploadFile)
    ]
    return call.render(
        "again.html",
        form.status,
        form=form,
        fields=fields,
        target=call.request.url.path,
        path="/identity/account",
    )


async def _prove(call: Call, given: str) -> None:
    me = await edge.own_account(call)
    try:
        attempt = await edge.attempt(call, me.email, given)
    except WrongSignIn:
        raise wrong(forms.PASSWORD) from None
    await edge.transact(call, lambda tx: sign_in.prove(tx, attempt, call.caller.session_id))


def wrong(field: str) -> Invalid:
    """Not the password of whoever is signed in."""
    return Invalid(
        "password.wrong",
        N_("This is not your present password."),
        N_("Write the password with which you signed in."),
        field=field,
    )
