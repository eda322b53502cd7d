"""Who may see and do what here. That staff belong to a centre is seen to by `web.allow`."""

from __future__ import annotations

from notifications.domain.kinds import CONFIDENTIAL
from notifications.queries import Sight
from web import Call, Role
from web.roles import STAFF

READ = (*sorted(STAFF), Role.FAMILY)
"""The staff of a centre, and a family its own messages."""
SEND = (Role.ADMINISTRATOR, Role.COORDINATOR)
"""Who sends a failed message again, and sets the hours of a centre."""
CALL = (Role.ADMINISTRATOR, Role.COORDINATOR, Role.RECEPTION)
"""Who calls people, and changes what a household wants to get on its behalf."""
NEED_TO_KNOW = (*CALL, Role.CASE_WORKER)
"""Who may know that a household was referred to somebody."""

READ_SCOPE = "notifications:read"
WRITE_SCOPE = "notifications:write"


def sight_of(call: Call) -> Sight:
    """Which messages the caller may see: staff those of their centre, others their household's."""
    if not call.caller.staff:
        return own_sight(call)
    hidden = frozenset() if call.caller.has(*NEED_TO_KNOW) else CONFIDENTIAL
    return Sight(call.centre, hidden=frozenset(kind.value for kind in hidden))


def own_sight(call: Call) -> Sight:
    """The messages of the caller's own household, whatever else the caller is in the house.

    The centre counts for families too: identity cannot know whose household it links.
    """
    return Sight(call.centre, household_id=call.caller.household_id)
