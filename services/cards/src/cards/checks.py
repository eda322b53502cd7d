"""What must always hold of the ledger (DESIGN §6, I1), recomputed from the store alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from cards import store
from cards.domain.points import LedgerAccount, TransferKind
from cards.store.rows import HoldState
from messaging import Check, Difference
from runtime.types import UtcDateTime

MOST_NAMED = 100
"""Differences that are named of each kind; more say nothing new."""


def ledger_imbalance(connection: sa.Connection) -> float:
    """The sum of all accounts: 0, or somebody has to look."""
    return float(connection.scalar(sa.select(sa.func.sum(store.entry.c.points))) or 0)


def check_ledger(connection: sa.Connection) -> list[Difference]:
    """Transfers sum to zero, buckets equal their entries and holds, none below zero."""
    return [
        *_transfers(connection),
        *_entries(connection),
        *_balances(connection),
        *_held(connection),
        *_below_zero(connection),
        *_causes(connection),
    ]


def check_holds(connection: sa.Connection) -> list[Difference]:
    """A hold ends exactly once: a captured one has exactly one transfer, no other has any."""
    hold, transfer = store.hold, store.transfer
    booked = (
        sa.select(
            transfer.c.cause.label("cause"),
            sa.func.sum(
                sa.case(
                    (store.entry.c.account == LedgerAccount.REDEMPTION, store.entry.c.points),
                    else_=0,
                )
            ).label("points"),
        )
        .join(store.entry, store.entry.c.transfer_id == transfer.c.id)
        .where(transfer.c.cause.startswith("capture:"))
        .group_by(transfer.c.cause)
        .subquery()
    )
    wanted = sa.case(
        (hold.c.state == HoldState.CAPTURED, hold.c.captured + hold.c.uncovered), else_=0
    )
    rows = connection.execute(
        sa.select(hold.c.id, wanted, sa.func.coalesce(booked.c.points, 0))
        .select_from(
            hold.outerjoin(booked, booked.c.cause == sa.literal("capture:").concat(hold.c.id))
        )
        .where(wanted != sa.func.coalesce(booked.c.points, 0))
        .limit(MOST_NAMED)
    )
    found = [Difference("hold.booked", one, str(a), str(b)) for one, a, b in rows]
    ended = connection.execute(
        sa.select(hold.c.id, hold.c.state)
        .where((hold.c.state == HoldState.PLACED) != hold.c.ended_at.is_(None))
        .limit(MOST_NAMED)
    )
    found += [Difference("hold.ended", one, "an end unless placed", state) for one, state in ended]
    several = connection.execute(
        sa.select(hold.c.sale_id, sa.func.count())
        .where(hold.c.state == HoldState.PLACED)
        .group_by(hold.c.sale_id)
        .having(sa.func.count() > 1)
        .limit(MOST_NAMED)
    )
    return found + [Difference("hold.open_of_sale", one, "1", str(count)) for one, count in several]


def check_attendances(connection: sa.Connection) -> list[Difference]:
    """What stands credited for attendances is what was booked for them, and so is what of it could
    not be taken back."""
    entry, transfer, attendance = store.entry, store.transfer, store.attendance
    found: list[Difference] = []
    for kept, account in (
        (attendance.c.credited, LedgerAccount.ACTIVITIES),
        (attendance.c.uncovered, LedgerAccount.UNCOVERED),
    ):
        both = sa.union_all(
            sa.select(transfer.c.household_id, entry.c.points)
            .join(transfer, transfer.c.id == entry.c.transfer_id)
            .where(
                transfer.c.kind.in_([TransferKind.ATTENDANCE, TransferKind.ATTENDANCE_CORRECTED]),
                entry.c.account == account,
            ),
            sa.select(attendance.c.household_id, kept),
        ).subquery()
        household_id, points = both.c
        rows = connection.execute(
            sa.select(household_id, sa.func.sum(points))
            .group_by(household_id)
            .having(sa.func.sum(points) != 0)
            .limit(MOST_NAMED)
        )
        found += [
            Difference(f"attendance.{kept.name}", one, "0 apart", f"{off} apart")
            for one, off in rows
        ]
    return found


def check_households(connection: sa.Connection) -> list[Difference]:
    """A household has exactly one holder, who is a member; who is erased has no name."""
    household, person = store.household, store.person
    holders = connection.execute(
        sa.select(household.c.id, household.c.holder_id)
        .select_from(
            household.outerjoin(
                person,
                sa.and_(
                    person.c.id == household.c.holder_id,
                    person.c.household_id == household.c.id,
                    person.c.erased_at.is_(None),
                ),
            )
        )
        .where(household.c.erased_at.is_(None), person.c.id.is_(None))
        .limit(MOST_NAMED)
    )
    found = [Difference("household.holder", one, "a member", holder) for one, holder in holders]
    named = connection.execute(
        sa.select(person.c.id)
        .where(
            person.c.erased_at.is_not(None),
            sa.or_(
                *(
                    person.c[name] != ""
                    for name in ("given_name", "family_name", "email", "phone", "language")
                ),
                person.c.birth_date.is_not(None),
            ),
        )
        .limit(MOST_NAMED)
    )
    return found + [Difference("person.erased", one, "nothing", "data") for (one,) in named]


CHECKS = (
    Check("ledger", check_ledger),
    Check("holds", check_holds),
    Check("attendances", check_attendances),
    Check("households", check_households),
)


def _transfers(connection: sa.Connection) -> Iterator[Difference]:
    entry = store.entry
    rows = connection.execute(
        sa.select(entry.c.transfer_id, sa.func.sum(entry.c.points))
        .group_by(entry.c.transfer_id)
        .having(sa.func.sum(entry.c.points) != 0)
        .limit(MOST_NAMED)
    )
    for transfer_id, found in rows:
        yield Difference("transfer.sums_to_zero", transfer_id, "0", str(found))
    total = ledger_imbalance(connection)
    if total:
        yield Difference("ledger.sums_to_zero", "all accounts", "0", str(int(total)))


def _entries(connection: sa.Connection) -> Iterator[Difference]:
    entry, transfer = store.entry, store.transfer
    rows = connection.execute(
        sa.select(entry.c.transfer_id)
        .select_from(entry.outerjoin(transfer, transfer.c.id == entry.c.transfer_id))
        .where(transfer.c.id.is_(None))
        .limit(MOST_NAMED)
    )
    for (transfer_id,) in rows:
        yield Difference("entry.of_a_transfer", transfer_id, "a transfer", "none")
    rows = connection.execute(
        sa.select(transfer.c.id)
        .select_from(transfer.outerjoin(entry, entry.c.transfer_id == transfer.c.id))
        .where(entry.c.transfer_id.is_(None))
        .limit(MOST_NAMED)
    )
    for (transfer_id,) in rows:
        yield Difference("transfer.has_entries", transfer_id, "entries", "none")


def _balances(connection: sa.Connection) -> Iterator[Difference]:
    entry, transfer, bucket = store.entry, store.transfer, store.bucket
    booked = (
        sa.select(transfer.c.household_id, entry.c.expires_at, entry.c.points)
        .join(transfer, transfer.c.id == entry.c.transfer_id)
        .where(entry.c.account == LedgerAccount.HOUSEHOLD)
    )
    kept = sa.select(bucket.c.household_id, bucket.c.expires_at, -bucket.c.balance)
    yield from _differing(connection, "bucket.equals_entries", booked, kept)


def _held(connection: sa.Connection) -> Iterator[Difference]:
    hold, part, bucket = store.hold, store.hold_part, store.bucket
    set_aside = (
        sa.select(hold.c.household_id, part.c.expires_at, part.c.points)
        .join(hold, hold.c.id == part.c.hold_id)
        .where(hold.c.state == HoldState.PLACED)
    )
    kept = sa.select(bucket.c.household_id, bucket.c.expires_at, -bucket.c.held)
    yield from _differing(connection, "bucket.held_equals_holds", set_aside, kept)


def _differing(
    connection: sa.Connection, name: str, wanted: sa.Select[Any], kept: sa.Select[Any]
) -> Iterator[Difference]:
    """Where the sum of what is wanted is not what is kept (given as negative)."""
    both = sa.union_all(wanted, kept).subquery()
    household_id, expires_at, points = both.c
    rows = connection.execute(
        sa.select(
            household_id,
            sa.type_coerce(expires_at, UtcDateTime),
            sa.func.sum(points),
        )
        .group_by(household_id, expires_at)
        .having(sa.func.sum(points) != 0)
        .limit(MOST_NAMED)
    )
    for household, when, off in rows:
        yield Difference(name, f"{household} {when:%Y-%m-%d}", "0 apart", f"{off} apart")


def _below_zero(connection: sa.Connection) -> Iterator[Difference]:
    bucket = store.bucket
    rows = connection.execute(
        sa.select(bucket.c.household_id, bucket.c.balance, bucket.c.held)
        .where(sa.or_(bucket.c.balance < 0, bucket.c.held < 0, bucket.c.balance < bucket.c.held))
        .limit(MOST_NAMED)
    )
    for household, balance, held in rows:
        yield Difference("bucket.never_below_zero", household, "0 or more", f"{balance}/{held}")


def _causes(connection: sa.Connection) -> Iterator[Difference]:
    transfer = store.transfer
    rows = connection.execute(
        sa.select(transfer.c.cause, sa.func.count())
        .group_by(transfer.c.cause)
        .having(sa.func.count() > 1)
        .limit(MOST_NAMED)
    )
    for cause, count in rows:
        yield Difference("transfer.cause_is_unique", cause, "1", str(count))
