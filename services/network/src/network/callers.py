"""Who may come to the network, and how a caller stands in it."""

from __future__ import annotations

from network.store import Who
from web import Call, Role

READ, WRITE = "network:read", "network:write"

SENDERS = (Role.CASE_WORKER, Role.COORDINATOR, Role.RECEPTION, Role.ADMINISTRATOR)
"""The sending side: they ask, cancel and ask somebody else."""

EDITORS = (Role.CASE_WORKER, Role.COORDINATOR, Role.ADMINISTRATOR)
"""Who keeps the directory."""

LEADS = (Role.COORDINATOR, Role.ADMINISTRATOR)
"""Who sets rules and sees the audit log."""

READERS = (*SENDERS, Role.EDUCATOR, Role.PARTNER)
"""Who looks up organisations and counts."""

PARTIES = (*SENDERS, Role.PARTNER)
"""Who may be a side of a referral."""


def who(call: Call) -> Who:
    """The caller as the commands know it. Without a centre come only administrators (``web``)."""
    caller = call.caller
    return Who(
        account_id=caller.account_id,
        centre_id=caller.centre_id,
        staff=caller.has(*SENDERS),
        organisation_id=caller.organisation_id if caller.has(Role.PARTNER) else "",
        editor=caller.has(*EDITORS),
        household_id=caller.household_id,
    )
