"""Who may come in. Nobody but an administrator works for the whole foundation: a member of staff
without a centre has nothing here."""

from __future__ import annotations

from fastapi import Depends

from runtime.refusals import N_, NotAllowed
from web.auth import Dependency, allow
from web.call import Call
from web.roles import Role

LEADS = (Role.ADMINISTRATOR, Role.COORDINATOR)
DESK = (*LEADS, Role.RECEPTION)


def at_centre(*roles: Role, scope: str = "") -> Dependency:
    """``allow`` for these roles, within the caller's centre."""
    allowed = allow(*roles, scope=scope)

    async def within(call: Call = Depends(allowed)) -> Call:  # noqa: B008 - FastAPI's own way
        if not call.centre and not call.caller.has(Role.ADMINISTRATOR, Role.FAMILY):
            raise NotAllowed(
                "auth.centre",
                N_("Your account belongs to no centre."),
                N_("Ask an administrator to add you to one."),
            )
        return call

    return within
