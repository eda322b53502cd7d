"""What other services told: the timeline, sign-ups, referrals, centres."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from pydantic import BaseModel

from cards import store
from cards.domain.earning import zone_of
from cards.projections import LIVE_SIGNUPS, OPEN_REFERRALS, REFERRAL_STATES
from contracts import network
from web.paging import Page, Paging


class Happened(BaseModel):
    """A row of the timeline."""

    event_id: str
    at: datetime
    kind: str
    facts: dict[str, Any]


class SignUpSeen(BaseModel):
    """A live sign-up of a household."""

    session_id: str
    title: str
    starts_at: datetime
    state: str


def timeline(connection: sa.Connection, household_id: str, paging: Paging) -> Page[Happened]:
    """Everything that happened around a household, the latest first: for the desk."""
    return _happened(connection, household_id, paging)


def told_to_family(connection: sa.Connection, household_id: str, paging: Paging) -> Page[Happened]:
    """What happened around a household as its people read it, the latest first.

    Without needs, which the staff write down, and without any row of a referral that goes on
    without the family's consent, or of which nobody knows whether it did (told by an earlier
    version): the reader may be the one from whom somebody is protected.
    """
    table, other = store.timeline, store.timeline.alias("other")
    referrals = sa.select(_fact(other, "referral_id").as_string()).where(
        other.c.household_id == household_id, other.c.kind.in_(_OF_REFERRALS)
    )
    overridden = _fact(other, "overridden").as_boolean()
    told = _fact(table, "referral_id").as_string()
    return _happened(
        connection,
        household_id,
        paging,
        table.c.kind != network.NeedRecorded.TYPE,
        sa.or_(
            table.c.kind.not_in(_OF_REFERRALS),
            sa.and_(
                told.in_(referrals.where(sa.not_(overridden))),
                told.not_in(referrals.where(overridden)),
            ),
        ),
    )


_OF_REFERRALS = tuple(event.TYPE for event in REFERRAL_STATES)


def _fact(of: sa.FromClause, name: str) -> Any:
    return sa.type_coerce(of.c.facts, sa.JSON)[name]


def _happened(
    connection: sa.Connection,
    household_id: str,
    paging: Paging,
    *conditions: sa.ColumnElement[bool],
) -> Page[Happened]:
    table = store.timeline
    return paging.read(
        connection,
        sa.select(table).where(table.c.household_id == household_id, *conditions),
        by=(table.c.at, table.c.event_id),
        show=lambda row: Happened(event_id=row.event_id, at=row.at, kind=row.kind, facts=row.facts),
        newest_first=True,
    )


def signups(
    connection: sa.Connection, household_id: str, since: datetime, most: int = 10
) -> list[SignUpSeen]:
    """Live sign-ups of sessions from a moment on, the soonest first."""
    table = store.signup_seen
    rows = connection.execute(
        sa.select(table.c.session_id, table.c.title, table.c.starts_at, table.c.state)
        .where(
            table.c.household_id == household_id,
            table.c.starts_at >= since,
            table.c.state.in_(LIVE_SIGNUPS),
        )
        .order_by(table.c.starts_at, table.c.signup_id)
        .limit(most)
    )
    return [SignUpSeen.model_validate(dict(row)) for row in rows.mappings()]


def open_referrals(connection: sa.Connection, household_id: str) -> int:
    """How many referrals of a household wait for an answer or an outcome."""
    table = store.referral_seen
    return (
        connection.scalar(
            sa.select(sa.func.count()).where(
                table.c.household_id == household_id, table.c.state.in_(OPEN_REFERRALS)
            )
        )
        or 0
    )


def centres(connection: sa.Connection) -> list[tuple[str, str]]:
    """Ids and names of all centres, for those who work for the whole foundation."""
    table = store.centre_seen
    rows = connection.execute(
        sa.select(table.c.centre_id, table.c.name).order_by(table.c.name, table.c.centre_id)
    )
    return [(centre_id, name) for centre_id, name in rows]


def zone(connection: sa.Connection, centre_id: str) -> ZoneInfo:
    """The time zone of a centre; the default one while it was not heard of."""
    table = store.centre_seen
    found = connection.scalar(sa.select(table.c.time_zone).where(table.c.centre_id == centre_id))
    return zone_of(found or "")


def centre_name(connection: sa.Connection, centre_id: str) -> str:
    """The name of a centre; "" while it was not heard of."""
    table = store.centre_seen
    found = connection.scalar(sa.select(table.c.name).where(table.c.centre_id == centre_id))
    return str(found or "")
