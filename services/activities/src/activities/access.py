"""Who may do what here, and on whose behalf."""

from __future__ import annotations

from activities.commands import By
from runtime.refusals import N_, NotAllowed
from web import Call, Role

WRITE = (Role.ADMINISTRATOR, Role.COORDINATOR, Role.RECEPTION, Role.EDUCATOR)
"""Staff who plan, sign people up and take registers."""
SIGN_UP = (*WRITE, Role.FAMILY)
"""A family only its own people."""
SET = (Role.ADMINISTRATOR, Role.COORDINATOR)
"""Who changes how the house works."""

READ_SCOPE = "activities:read"
WRITE_SCOPE = "activities:write"


def by(call: Call) -> By:
    """On whose behalf the caller acts.

    Raises NotAllowed for somebody of no centre: pages for everybody name no role, so the edge lets
    them in, and without a centre they would see all.
    """
    caller = call.caller
    if not caller.centre_id and not caller.has(Role.ADMINISTRATOR):
        raise NotAllowed(
            "auth.centre",
            N_("Your account belongs to no centre."),
            N_("Ask the coordinator of your centre."),
        )
    return By(caller.centre_id, None if caller.has(*WRITE) else caller.household_id)
