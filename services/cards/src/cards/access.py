"""Who works with what in cards."""

from __future__ import annotations

from web.roles import Role

LEADS = (Role.ADMINISTRATOR, Role.COORDINATOR)
DESK = (*LEADS, Role.RECEPTION)
