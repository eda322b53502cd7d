"""What households have to spend, what was booked, and by which rules."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from pydantic import BaseModel, Field

from cards import store
from cards.domain.points import NEVER, LedgerAccount
from web.paging import Page, Paging


class BucketSeen(BaseModel):
    """Points that expire together. ``points`` can be spent, ``held`` wait for a sale to end."""

    points: int
    held: int = 0
    expires_at: datetime | None = Field(description="null: never")


class PointsSeen(BaseModel):
    """What a household has, soonest-expiring first. ``available`` is the sum of the buckets'
    ``points``; points whose time has come are not among them."""

    available: int
    held: int
    buckets: list[BucketSeen]


class EntryPart(BaseModel):
    """Points of one bucket that came in (positive) or went out."""

    points: int
    expires_at: datetime | None


class EntrySeen(BaseModel):
    """A transfer of the ledger, from the household's side."""

    id: str
    at: datetime
    kind: str = Field(examples=["sale"])
    origin: str = Field(description="The sale, refund or attendance that it is for.")
    points: int = Field(description="What came in (positive) or went out.")
    uncovered: int = Field(description="What could not be taken; 0 nearly always.")
    reason: str = Field(description="What staff wrote, for an adjustment.")
    buckets: list[EntryPart]


class RuleSeen(BaseModel):
    """An earning rule."""

    id: str
    centre_id: str
    from_time: datetime
    per_euro: int
    per_attendance: int
    valid_days: int
    set_at: datetime


class UncoveredSeen(BaseModel):
    """Points that had to be booked and that no household had."""

    transfer_id: str
    household_id: str
    at: datetime
    kind: str
    points: int


def points(connection: sa.Connection, household_id: str, now: datetime) -> PointsSeen:
    """Available and held points with their buckets, from the kept balances."""
    table = store.bucket
    buckets = []
    for expires_at, balance, held in connection.execute(
        sa.select(table.c.expires_at, table.c.balance, table.c.held)
        .where(table.c.household_id == household_id, table.c.balance > 0)
        .order_by(table.c.expires_at)
    ):
        free = balance - held if expires_at > now else 0
        if free or held:
            buckets.append(BucketSeen(points=free, held=held, expires_at=_told(expires_at)))
    return PointsSeen(
        available=sum(bucket.points for bucket in buckets),
        held=sum(bucket.held for bucket in buckets),
        buckets=buckets,
    )


def entries(connection: sa.Connection, household_id: str, paging: Paging) -> Page[EntrySeen]:
    """The transfers of a household, the latest first."""
    table = store.transfer
    page = paging.read(
        connection,
        sa.select(table).where(table.c.household_id == household_id),
        by=(table.c.at, table.c.id),
        show=lambda row: EntrySeen(
            id=row.id,
            at=row.at,
            kind=row.kind,
            origin=row.origin,
            points=0,
            uncovered=0,
            reason=row.note,
            buckets=[],
        ),
        newest_first=True,
    )
    seen = {item.id: item for item in page.items}
    lines = connection.execute(
        sa.select(store.entry)
        .where(store.entry.c.transfer_id.in_(list(seen)))
        .order_by(store.entry.c.transfer_id, store.entry.c.line)
    )
    for line in lines:
        item = seen[line.transfer_id]
        if line.account == LedgerAccount.HOUSEHOLD:
            item.points += line.points
            item.buckets.append(EntryPart(points=line.points, expires_at=_told(line.expires_at)))
        elif line.account == LedgerAccount.UNCOVERED:
            item.uncovered -= line.points
    return page


def rule(connection: sa.Connection, rule_id: str) -> RuleSeen:
    """A rule that is known to exist."""
    table = store.earning_rule
    row = connection.execute(sa.select(table).where(table.c.id == rule_id))
    return RuleSeen.model_validate(dict(row.mappings().one()))


def rules(connection: sa.Connection, centre_id: str, paging: Paging) -> Page[RuleSeen]:
    """The earning rules of a centre ("" for all), the latest beginning first."""
    table = store.earning_rule
    statement = sa.select(table)
    if centre_id:
        statement = statement.where(table.c.centre_id == centre_id)
    return paging.read(
        connection,
        statement,
        by=(table.c.from_time, table.c.id),
        show=lambda row: RuleSeen(**{name: getattr(row, name) for name in RuleSeen.model_fields}),
        newest_first=True,
    )


def uncovered(connection: sa.Connection, centre_id: str, paging: Paging) -> Page[UncoveredSeen]:
    """What had to be booked without points to cover it, the latest first."""
    transfer, entry = store.transfer, store.entry
    statement = (
        sa.select(
            transfer.c.id, transfer.c.household_id, transfer.c.at, transfer.c.kind, entry.c.points
        )
        .join(transfer, transfer.c.id == entry.c.transfer_id)
        .where(entry.c.account == sa.literal_column(f"'{LedgerAccount.UNCOVERED}'"))
    )
    if centre_id:
        statement = statement.where(transfer.c.centre_id == centre_id)
    return paging.read(
        connection,
        statement,
        by=(transfer.c.at, transfer.c.id),
        show=lambda row: UncoveredSeen(
            transfer_id=row.id,
            household_id=row.household_id,
            at=row.at,
            kind=row.kind,
            points=-row.points,
        ),
        newest_first=True,
    )


def _told(expires_at: datetime | None) -> datetime | None:
    return None if expires_at is None or expires_at == NEVER else expires_at
