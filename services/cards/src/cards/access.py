"""Who works with what in cards."""

from __future__ import annotations

from web.roles import Role

LEADS = (Role.ADMINISTRATOR, Role.COORDINATOR)
DESK = (*LEADS, Role.RECEPTION)
COUNTER = (*DESK, Role.TILL)
"""Who looks up cards, and reads the points of every household of the centre."""
