"""What the pages share: who may come in, days, and forms that speak of sign-ups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import groupby
from typing import Annotated
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from fastapi import Depends

from activities import store
from activities.access import READ_SCOPE, SET, SIGN_UP, WRITE, WRITE_SCOPE
from activities.domain.sessions import local_day
from activities.live import SESSION
from activities.queries import SessionView
from web import Call, Role, allow, live

Reader = Annotated[Call, Depends(allow(scope=READ_SCOPE))]
Staff = Annotated[Call, Depends(allow(*WRITE, scope=WRITE_SCOPE))]
SignsUp = Annotated[Call, Depends(allow(*SIGN_UP, scope=WRITE_SCOPE))]
Sets = Annotated[Call, Depends(allow(*SET, scope=WRITE_SCOPE))]


@dataclass(frozen=True)
class Day:
    day: date
    sessions: list[SessionView]


async def by_the_clocks_of(call: Call, centre_id: str) -> ZoneInfo:
    """The zone of a centre. From here on the page shows all times by it, whoever reads: somebody
    without a sign-in and the whole foundation have no centre of their own."""
    if call.centre == centre_id:
        return call.zone
    zone = await call.query(lambda c: store.time_zone(c, centre_id))
    call.caller = replace(call.caller, zone=zone.key)
    return zone


def by_day(sessions: Sequence[SessionView], zone: ZoneInfo) -> list[Day]:
    """Sessions in their order, by the day on which they begin."""
    days = groupby(sessions, key=lambda view: local_day(view.starts_at, zone))
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
