"""The attendance register: who was there, taken whole, corrected by revisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from activities import store
from activities.commands.sessions import By, Opened, opened
from activities.commands.sign_ups import unknown_person
from activities.domain import register
from activities.domain.register import Mark, Taking
from activities.domain.sessions import local_day
from activities.domain.waiting_list import TAKEN, State
from activities.store import Person
from contracts.activities import AttendanceRecorded, RegisterTaken
from messaging import Transaction
from runtime.refusals import N_, Invalid, Refusal
from runtime.store import upsert

MOST = 2000


@dataclass(frozen=True)
class RegisterMade:
    """``revision`` counts how often the register changed, from 1."""

    session_id: str
    revision: int
    present: int
    absent: int
    changed: int


def take_register(
    tx: Transaction,
    by: By,
    session_id: str,
    named: Mapping[str, bool],
    *,
    seen_revision: int | None = None,
) -> RegisterMade:
    """Take the whole register; who has a place and is not named was absent. Again: the same.

    ``seen_revision`` is the register that the caller looked at; when it has changed since, nothing
    is written. People without a place are walk-ins: known people of the centre, as long as there
    are seats. Before the beginning, the seat of a walk-in taken off again goes to the next in the
    list. From the session's day on. Raises NotFound, Invalid (person.unknown), Refusal
    (register.too_early, register.changed, register.full, session.cancelled).
    """
    work = opened(tx, by, session_id)
    session = work.session
    _may_be_taken(work, seen_revision)
    if len(named) > MOST:
        raise Invalid(
            "register.too_long",
            N_("A register holds at most {most} people."),
            field="entries",
            most=MOST,
        )
    places = {one.person_id: one for one in session.live if one.state is State.CONFIRMED}
    rows = {
        row.person_id: row
        for row in tx.connection.execute(
            sa.select(store.attendance).where(store.attendance.c.session_id == session_id)
        )
    }
    known = store.people(tx.connection, {*named, *rows, *places})
    for person_id in named:
        _known(work, person_id, known, expected=person_id in places or person_id in rows)
    # Nobody can say any more of who was erased since: their mark stays as it was.
    erased = {p: row.present for p, row in rows.items() if p not in known and p not in named}
    taking = register.take(
        expected=places.keys(),
        before={p: Mark(row.present, row.revision, row.expected) for p, row in rows.items()},
        named=erased | dict(named),
    )
    _seats(work, taking)
    same_sums = (taking.present, taking.absent) == (
        session.register_present,
        session.register_absent,
    )
    if session.register_revision and not taking.changed and same_sums:
        return _made(session_id, session.register_revision, taking)
    _write(work, taking, places, rows, known)
    revision = session.register_revision + 1
    tx.connection.execute(
        sa.update(store.session)
        .where(store.session.c.id == session_id)
        .values(
            register_revision=revision,
            register_present=taking.present,
            register_absent=taking.absent,
            register_taken_at=work.stamp,
        )
    )
    tx.emit(
        RegisterTaken(
            session_id=session_id,
            centre_id=session.centre_id,
            present=taking.present,
            absent=taking.absent,
            revision=revision,
            taken_at=work.stamp,
        ),
        centre=session.centre_id,
    )
    session.present = taking.there
    work.settle()
    work.save()
    return _made(session_id, revision, taking)


def _made(session_id: str, revision: int, taking: Taking) -> RegisterMade:
    return RegisterMade(session_id, revision, taking.present, taking.absent, len(taking.changed))


def may_be_taken(starts_at: datetime, now: datetime, zone: ZoneInfo) -> bool:
    """From the session's day on, in the centre's wall-clock time."""
    return local_day(now, zone) >= local_day(starts_at, zone)


def _may_be_taken(work: Opened, seen_revision: int | None) -> None:
    session = work.session
    if session.state != "scheduled":
        raise Refusal(
            "session.cancelled",
            N_("This session was cancelled."),
            N_("A session that did not take place has no register."),
        )
    zone = store.time_zone(work.tx.connection, session.centre_id)
    if not may_be_taken(session.starts_at, work.tx.now, zone):
        raise Refusal(
            "register.too_early",
            N_("The register can be taken from the day of the session on."),
            N_("Come back on that day."),
        )
    if seen_revision is not None and seen_revision != session.register_revision:
        raise Refusal(
            "register.changed",
            N_("Somebody else has changed this register meanwhile."),
            N_("Look at it again, then send yours."),
        )


def _known(work: Opened, person_id: str, known: Mapping[str, Person], *, expected: bool) -> None:
    if expected:
        return
    person = known.get(person_id)
    if person is None or person.centre_id != work.session.centre_id:
        raise unknown_person(person_id, field="entries")


def _seats(work: Opened, taking: Taking) -> None:
    session = work.session
    holding = {one.person_id for one in session.live if one.state in TAKEN}
    begun = session.begun(work.tx.now)
    needed = register.seats_needed(begun=begun, holding=holding, present=taking.there)
    if needed > session.capacity:
        raise Refusal(
            "register.full",
            N_("That would be {needed} people, and the session has {capacity} places."),
            N_("Take off who was not there, or raise the number of places first."),
            field="entries",
            needed=needed,
            capacity=session.capacity,
        )


def _write(
    work: Opened,
    taking: Taking,
    places: Mapping[str, store.SignUp],
    rows: Mapping[str, sa.Row[tuple[object, ...]]],
    known: Mapping[str, Person],
) -> None:
    tx, session = work.tx, work.session
    written = []
    for person_id, mark in sorted(taking.marks.items()):
        old = rows.get(person_id)
        place = places.get(person_id)
        changed = person_id in taking.changed
        if not changed and old is not None and old.expected == mark.expected:
            continue
        household_id = (
            known[person_id].household_id
            if person_id in known
            else (place.household_id if place else old.household_id if old else "")
        )
        row = {
            "session_id": session.id,
            "person_id": person_id,
            "household_id": household_id,
            "signup_id": place.id if place else (old.signup_id if old else ""),
            "present": mark.present,
            "expected": mark.expected,
            "revision": mark.revision,
            "recorded_at": work.stamp,
        }
        written.append(row)
        if changed:
            tx.emit(
                AttendanceRecorded(
                    session_id=session.id,
                    activity_id=session.activity_id,
                    centre_id=session.centre_id,
                    signup_id=str(row["signup_id"]),
                    person_id=person_id,
                    household_id=household_id,
                    present=mark.present,
                    revision=mark.revision,
                    title=session.title,
                    starts_at=session.starts_at,
                    recorded_at=work.stamp,
                ),
                centre=session.centre_id,
            )
    upsert(tx.connection, store.attendance, written, key=("session_id", "person_id"))
