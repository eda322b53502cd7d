"""Who may call which part of the HTTP API."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from contracts.identity import Role
from web import Call, SignInNeeded, allow, public

SCOPE = "identity:write"


async def own(call: Annotated[Call, Depends(public())]) -> Call:
    """Whoever is signed in, for what is their own."""
    if not call.caller.signed_in:
        raise SignInNeeded("missing")
    return call


Own = Annotated[Call, Depends(own)]
Anybody = Annotated[Call, Depends(public())]
Keepers = Annotated[
    Call,
    Depends(allow(Role.ADMINISTRATOR, Role.COORDINATOR, Role.RECEPTION, scope=SCOPE)),
]
Leads = Annotated[Call, Depends(allow(Role.ADMINISTRATOR, Role.COORDINATOR, scope=SCOPE))]
Foundation = Annotated[Call, Depends(allow(Role.ADMINISTRATOR, scope=SCOPE))]
