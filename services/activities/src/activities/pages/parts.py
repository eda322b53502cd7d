"""What the pages share: who may come in, days, and forms that speak of sign-ups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Annotated

import sqlalchemy as sa
from fastapi import Depends

from activities import store
from activities.access import READ_SCOPE, SET, SIGN_UP, WRITE, WRITE_SCOPE
from activities.domain.sessions import local_day
from activities.live import SESSION
from activities.queries import SessionView
from activities.zone import ZONE
from web import Call, Role, allow, live

Reader = Annotated[Call, Depends(allow(scope=READ_SCOPE))]
Staff = Annotated[Call, Depends(allow(*WRITE, scope=WRITE_SCOPE))]
SignsUp = Annotated[Call, Depends(allow(*SIGN_UP, scope=WRITE_SCOPE))]
Sets = Annotated[Call, Depends(allow(*SET, scope=WRITE_SCOPE))]


@dataclass(frozen=True)
class Day:
    day: date
    sessions: list[SessionView]


def by_day(sessions: Sequence[SessionView]) -> list[Day]:
    """Sessions in their order, by the day on which they begin."""
    days = groupby(sessions, key=lambda view: local_day(view.starts_at, ZONE))
    return [Day(day, list(views)) for day, views in days]


def is_staff(call: Call) -> bool:
    return call.caller.has(*WRITE)


@live.channel("activities", SESSION)
async def may_listen(call: Call, session_id: str) -> bool:
    """Whoever is of the session's centre, or of the whole foundation."""
    centre_id = await call.query(
        lambda connection: connection.execute(
            sa.select(store.session.c.centre_id).where(store.session.c.id == session_id)
        ).scalar()
    )
    if centre_id is None:
        return False
    return call.centre == centre_id or (not call.centre and call.caller.has(Role.ADMINISTRATOR))
