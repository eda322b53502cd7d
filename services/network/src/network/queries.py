"""The read side: SQL to what is shown. Everything is limited to what the reader may see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from messaging import Transaction
from network import store
from network.commands.referrals import unknown_referral
from network.commands.rules import COUNTS, DEADLINES, count_rule, deadline_rule
from network.commands.shared import organisation_for
from network.domain import counts
from network.domain import referral as rules
from network.domain.deadlines import DEFAULT_ZONE, time_zone
from network.domain.referral import Side, State
from network.models import (
    AuditLine,
    NeedCounts,
    OrganisationLine,
    OrganisationView,
    PersonLine,
    ReferralLine,
    ReferralView,
    RuleView,
    ServiceView,
    StepView,
)
from network.store import Row, Who
from web import Page, Paging

OPEN, LATE, CLOSED, ALL = "open", "late", "closed", "all"
"""Which referrals a list shows. Late: an answer was due and has not come."""


# -- directory -----------------------------------------------------------------------------------


def directory(
    connection: sa.Connection,
    paging: Paging,
    centre_id: str,
    *,
    area: str = "",
    zone: str = "",
    capacity: str = "",
) -> Page[OrganisationLine]:
    """Organisations by name. An organisation without zones works everywhere."""
    organisation, reach, service = store.organisation, store.organisation_reach, store.service
    mine = service.c.organisation_id == organisation.c.id

    def reaches(kind: str, *more: sa.ColumnElement[bool]) -> sa.Exists:
        return sa.exists().where(
            reach.c.organisation_id == organisation.c.id, reach.c.kind == kind, *more
        )

    statement = sa.select(organisation).where(_visible(centre_id))
    if area:
        offers = sa.exists().where(mine, service.c.area == area)
        statement = statement.where(sa.or_(reaches("area", reach.c.value == area), offers))
    if zone:
        statement = statement.where(
            sa.or_(reaches("zone", reach.c.value == zone), ~reaches("zone"))
        )
    if capacity:
        free = sa.exists().where(mine, service.c.capacity == capacity)
        if area:
            free = sa.exists().where(mine, service.c.capacity == capacity, service.c.area == area)
        statement = statement.where(free)
    page = paging.read(
        connection,
        statement,
        by=(organisation.c.name, organisation.c.id),
        show=lambda row: OrganisationLine.model_validate(row._mapping, from_attributes=True),
    )
    capacities = _capacities(connection, [line.id for line in page.items])
    for line in page.items:
        line.capacity = capacities.get(line.id, {})
    return page


def organisation_view(
    connection: sa.Connection, organisation_id: str, centre_id: str
) -> OrganisationView:
    """One organisation with its services. NotFound for another centre's."""
    row = organisation_for(connection, organisation_id, centre_id)
    services = services_of(connection, [organisation_id])
    return OrganisationView(
        **_columns(OrganisationView, row),
        capacity=_capacities(connection, [organisation_id]).get(organisation_id, {}),
        services=services,
    )


def services_of(
    connection: sa.Connection, organisation_ids: Sequence[str], area: str = ""
) -> list[ServiceView]:
    """The services of some organisations, by name."""
    service = store.service
    statement = (
        sa.select(service)
        .where(service.c.organisation_id.in_(organisation_ids))
        .order_by(service.c.organisation_id, service.c.name, service.c.id)
    )
    if area:
        statement = statement.where(service.c.area == area)
    rows = connection.execute(statement).mappings()
    return [ServiceView(**_columns(ServiceView, row)) for row in rows]


def zones(connection: sa.Connection, centre_id: str) -> list[str]:
    """Parts of the quarter to choose from."""
    zone = store.zone_seen
    return list(
        connection.scalars(
            sa.select(zone.c.zone).where(zone.c.centre_id == centre_id).order_by(zone.c.zone)
        )
    )


def _visible(centre_id: str) -> sa.ColumnElement[bool]:
    if not centre_id:
        return sa.true()
    return store.organisation.c.centre_id.in_(("", centre_id))


def _capacities(connection: sa.Connection, ids: Sequence[str]) -> dict[str, dict[str, int]]:
    service = store.service
    found: dict[str, dict[str, int]] = {}
    for organisation_id, capacity, number in connection.execute(
        sa.select(service.c.organisation_id, service.c.capacity, sa.func.count())
        .where(service.c.organisation_id.in_(ids))
        .group_by(service.c.organisation_id, service.c.capacity)
    ):
        found.setdefault(organisation_id, {})[capacity] = number
    return found


# -- referrals -----------------------------------------------------------------------------------


def referrals(
    connection: sa.Connection, paging: Paging, who: Who, now: datetime, *, show: str = OPEN
) -> Page[ReferralLine]:
    """Sent by the centre (staff) or received by the organisation (partner): no texts, no names.

    The newest first; what is late by the time when it was due.
    """
    referral = store.referral
    statement = _lines().where(_mine(who))
    if show == LATE:
        return paging.read(
            connection,
            statement.where(referral.c.state == State.REQUESTED, referral.c.answer_by < now),
            by=(referral.c.answer_by, referral.c.id),
            show=lambda row: _line(row._mapping, now),
        )
    if show in (OPEN, CLOSED):
        statement = statement.where(referral.c.closed == (show == CLOSED))
    return paging.read(
        connection,
        statement,
        by=(referral.c.recorded_at, referral.c.id),
        show=lambda row: _line(row._mapping, now),
        newest_first=True,
    )


def count_late(connection: sa.Connection, who: Who, now: datetime) -> int:
    """How many wait for an answer that was due."""
    referral = store.referral
    return connection.execute(
        sa.select(sa.func.count())
        .select_from(referral)
        .where(_mine(who), referral.c.state == State.REQUESTED, referral.c.answer_by < now)
    ).scalar_one()


def read_referral(tx: Transaction, who: Who, referral_id: str) -> ReferralView:
    """A referral with what was written, for a party. Writes the row of the audit log.

    The receiving side sees the steps since it was asked, what was written while it needs it, and
    who it is about from the request until it is closed. NotFound for who is no party.
    """
    row = (
        tx.connection.execute(_lines().where(store.referral.c.id == referral_id))
        .mappings()
        .one_or_none()
    )
    if row is None or not (sides := who.sides(row)):
        raise unknown_referral()
    state = State(row["state"])
    texts = store.read_texts(tx, row, who)
    if not any(rules.reads_text(state, side) for side in sides):
        texts = {}
    sender = Side.SENDER in sides
    knows = Side.RECEIVER in sides and rules.knows_who(state)
    return ReferralView(
        **_line(row, tx.now).model_dump(),
        need_id=row["need_id"],
        household_id=row["household_id"] if sender or knows else "",
        overridden=row["overridden"],
        steps=_steps(tx.connection, row, texts, since=0 if sender else row["round"]),
        people=_people(tx.connection, row["household_id"]) if knows else [],
        allowed=[
            action
            for action in rules.Action
            if any(action in rules.allowed(state, side) for side in sides)
        ],
    )


def _lines() -> sa.Select[Any]:
    referral, organisation, service = store.referral, store.organisation, store.service
    return (
        sa.select(
            referral,
            organisation.c.name.label("to_organisation_name"),
            sa.func.coalesce(service.c.name, "").label("service_name"),
        )
        .join(organisation, organisation.c.id == referral.c.to_organisation_id, isouter=True)
        .join(service, service.c.id == referral.c.service_id, isouter=True)
    )


def _line(row: Row, now: datetime) -> ReferralLine:
    late = row["state"] == State.REQUESTED and row["answer_by"] < now
    values = _columns(ReferralLine, row) | {
        "late": late,
        "to_organisation_name": row["to_organisation_name"] or "",
    }
    return ReferralLine(**values)


def _mine(who: Who) -> sa.ColumnElement[bool]:
    referral = store.referral
    centre = referral.c.centre_id == who.centre_id if who.centre_id else sa.true()
    if who.household_id:
        about_them = referral.c.overridden & (referral.c.household_id == who.household_id)
        centre = sa.and_(centre, ~about_them)
    if who.staff:
        return centre
    return sa.and_(
        centre,
        referral.c.to_organisation_id == who.organisation_id,
        referral.c.to_organisation_id != "",
        referral.c.state != State.DRAFT,
    )


def _steps(
    connection: sa.Connection,
    row: Row,
    texts: Mapping[tuple[int, str], str],
    *,
    since: int,
) -> list[StepView]:
    step, organisation = store.referral_step, store.organisation
    rows = connection.execute(
        sa.select(step, sa.func.coalesce(organisation.c.name, "").label("organisation_name"))
        .join(organisation, organisation.c.id == step.c.organisation_id, isouter=True)
        .where(step.c.referral_id == row["id"])
        .order_by(step.c.number)
    ).mappings()
    return [
        StepView(
            **_columns(StepView, found),
            note=texts.get((found["number"], store.NOTE), ""),
            override_reason=texts.get((found["number"], store.OVERRIDE), ""),
        )
        for found in rows
        if found["round"] >= since
    ]


def _people(connection: sa.Connection, household_id: str) -> list[PersonLine]:
    person = store.person_known
    if not household_id:
        return []
    rows = connection.execute(
        sa.select(person)
        .where(person.c.household_id == household_id)
        .order_by(person.c.holder.desc(), person.c.person_id)
    ).mappings()
    return [PersonLine(**_columns(PersonLine, row)) for row in rows]


def audit_log(
    connection: sa.Connection, paging: Paging, centre_id: str, *, referral_id: str = ""
) -> Page[AuditLine]:
    """Who read what when, the newest first."""
    audit = store.audit
    statement = sa.select(audit)
    if centre_id:
        statement = statement.where(audit.c.centre_id == centre_id)
    if referral_id:
        statement = statement.where(audit.c.referral_id == referral_id)
    return paging.read(
        connection,
        statement,
        by=(audit.c.at, audit.c.id),
        show=lambda row: AuditLine(**_columns(AuditLine, row._mapping)),
        newest_first=True,
    )


# -- needs ---------------------------------------------------------------------------------------


def need_counts(
    connection: sa.Connection, centre_id: str, now: datetime, year: int | None = None
) -> NeedCounts:
    """Needs of a calendar year by zone and area, with what must be hidden hidden.

    Only whole years: tables that overlap would give away by their differences what each hides.
    """
    need = store.need
    where = time_zone(_zone_of(connection, centre_id))
    year = year or now.astimezone(where).year
    counted = {
        (zone, area): number
        for zone, area, number in connection.execute(
            sa.select(need.c.zone, need.c.area, sa.func.count())
            .where(
                need.c.centre_id == centre_id,
                need.c.recorded_at >= datetime(year, 1, 1, tzinfo=where),
                need.c.recorded_at < datetime(year + 1, 1, 1, tzinfo=where),
            )
            .group_by(need.c.zone, need.c.area)
        )
    }
    table = counts.published(counted, count_rule(connection, centre_id, now).threshold)
    return NeedCounts(
        centre_id=centre_id,
        year=year,
        threshold=table.threshold,
        zones=list(table.zones),
        areas=list(table.areas),
        cells=[[table.at(zone, area) for area in table.areas] for zone in table.zones],
        zone_totals=[table.at(zone, counts.ALL) for zone in table.zones],
        area_totals=[table.at(counts.ALL, area) for area in table.areas],
        total=table.at(counts.ALL, counts.ALL),
        hidden=sum(value is None for value in table.cells.values()),
    )


def rules_of(connection: sa.Connection, centre_id: str, now: datetime) -> list[RuleView]:
    """What holds now, then all that was ever set, the latest first."""
    rule = store.rule
    holding = [
        RuleView(
            kind=DEADLINES,
            from_time=None,
            values=deadline_rule(connection, centre_id, now).model_dump(),
        ),
        RuleView(
            kind=COUNTS, from_time=None, values=count_rule(connection, centre_id, now).model_dump()
        ),
    ]
    rows = connection.execute(
        sa.select(rule)
        .where(rule.c.centre_id == centre_id)
        .order_by(rule.c.from_time.desc(), rule.c.kind)
        .limit(200)
    ).mappings()
    return holding + [RuleView(**_columns(RuleView, row)) for row in rows]


def _zone_of(connection: sa.Connection, centre_id: str) -> str:
    centre = store.load(connection, store.centre_seen, centre_id)
    return centre["time_zone"] if centre else DEFAULT_ZONE


def _columns(model: type[Any], row: Row) -> dict[str, Any]:
    """The columns of a row that a model has fields for."""
    return {name: row[name] for name in model.model_fields if name in row}
