"""Who may do what in the shop, and of which centre."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from runtime.refusals import N_, NotAllowed
from web.auth import allow
from web.call import Call
from web.roles import Role

SELLERS = (Role.TILL, Role.COORDINATOR, Role.ADMINISTRATOR)
"""Tills sell, keep the stock and close the day; coordinators and the foundation may too."""
LEADS = (Role.COORDINATOR, Role.ADMINISTRATOR)
"""Tills, producers and the value of a point are set up by these."""

READ, WRITE = "shop:read", "shop:write"

Reading = Annotated[Call, Depends(allow(*SELLERS, scope=READ))]
Writing = Annotated[Call, Depends(allow(*SELLERS, scope=WRITE))]
Leading = Annotated[Call, Depends(allow(*LEADS, scope=WRITE))]


def centre_of(call: Call) -> str:
    """The centre that the caller works for; "" only for the foundation's administrators."""
    if not call.centre and not call.caller.has(Role.ADMINISTRATOR):
        raise NotAllowed(
            "auth.centre",
            N_("Your account belongs to no centre."),
            N_("Ask the coordinator of your centre if you need it."),
        )
    return call.centre
