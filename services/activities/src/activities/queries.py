"""The read side: sessions with their counts, waiting positions, registers. No N+1.

Counts and positions are computed from the sign-ups of the sessions shown, in one query each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from activities import store
from activities.commands import By
from activities.commands.planning import unknown_activity
from activities.commands.sessions import unknown_session
from activities.domain import waiting_list
from activities.domain.waiting_list import LIVE, TAKEN, Policy, State
from activities.store import Person, SignUp
from runtime.refusals import N_, NotFound
from web.paging import Page, Paging


@dataclass(frozen=True)
class ActivityView:
    id: str
    centre_id: str
    title: str
    area: str
    description: str
    min_age: int | None
    max_age: int | None
    default_capacity: int
    waiting_list_policy: Policy
    hold_hours: int


@dataclass(frozen=True)
class SessionView:
    """A session as it is shown. ``places_left`` are free; ``open_places`` a newcomer can get.

    ``walk_ins`` are there by the register without a place that is theirs.
    """

    id: str
    activity_id: str
    centre_id: str
    title: str
    area: str
    starts_at: datetime
    ends_at: datetime
    place: str
    capacity: int
    state: str
    cancel_reason: str
    policy: Policy
    min_age: int | None
    max_age: int | None
    register_revision: int
    register_present: int
    register_absent: int
    register_taken_at: datetime | None
    confirmed: int = 0
    offered: int = 0
    waiting: int = 0
    walk_ins: int = 0

    @property
    def places_taken(self) -> int:
        return self.confirmed + self.offered + self.walk_ins

    @property
    def places_left(self) -> int:
        return max(0, self.capacity - self.places_taken)

    @property
    def open_places(self) -> int:
        return waiting_list.open_places(
            self.capacity,
            self.policy,
            places_taken=self.places_taken,
            waiting=self.waiting,
        )

    def begun(self, now: datetime) -> bool:
        return now >= self.starts_at

    def open(self, now: datetime) -> bool:
        """Whether sign-ups may change."""
        return self.state == "scheduled" and not self.begun(now)


@dataclass(frozen=True)
class SignUpView:
    """A sign-up with its waiting position (in people, from 1) and who it is, when known."""

    sign_up: SignUp
    position: int | None
    person: Person | None


@dataclass(frozen=True)
class OwnSignUp:
    """A sign-up of a household's person with its session."""

    view: SignUpView
    session: SessionView


@dataclass(frozen=True)
class RegisterRow:
    """A person of a register. ``present`` is None until the register was taken."""

    person_id: str
    expected: bool
    present: bool | None
    revision: int
    person: Person | None


def activities(connection: sa.Connection, centre_id: str, paging: Paging) -> Page[ActivityView]:
    """Activities by title; of all centres when ``centre_id`` is ""."""
    table = store.activity.c
    statement = sa.select(store.activity)
    by: list[sa.ColumnElement[Any]] = [table.title, table.id]
    if centre_id:
        statement = statement.where(table.centre_id == centre_id)
    else:
        by.insert(0, table.centre_id)
    return paging.read(connection, statement, by=by, show=lambda row: _activity_view(row, 0))


def activity(connection: sa.Connection, by: By, activity_id: str, now: datetime) -> ActivityView:
    """One activity with the hold in force. Raises NotFound."""
    row = connection.execute(
        sa.select(store.activity).where(store.activity.c.id == activity_id)
    ).one_or_none()
    if row is None or not by.may_see(row.centre_id):
        raise unknown_activity()
    hold = store.hold_in_force(connection, row.centre_id, row.id, now)
    return _activity_view(row, int(hold.total_seconds()) // 3600)


def _activity_view(row: sa.Row[Any], hold_hours: int) -> ActivityView:
    return ActivityView(
        id=row.id,
        centre_id=row.centre_id,
        title=row.title,
        area=row.area,
        description=row.description,
        min_age=row.min_age,
        max_age=row.max_age,
        default_capacity=row.default_capacity,
        waiting_list_policy=Policy(row.waiting_list_policy),
        hold_hours=hold_hours,
    )


def sessions(
    connection: sa.Connection,
    centre_id: str,
    paging: Paging,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    activity_id: str = "",
    cancelled: bool = True,
    without_register_at: datetime | None = None,
) -> Page[SessionView]:
    """Sessions by their beginning, from ``since`` on and before ``until``; the cancelled too,
    unless ``cancelled`` is False.

    ``without_register_at`` asks for those that ended before it and have no register, latest first.
    """
    table = store.session.c
    statement = store.SESSIONS
    if centre_id:
        statement = statement.where(table.centre_id == centre_id)
    if activity_id:
        statement = statement.where(table.activity_id == activity_id)
    if since is not None:
        statement = statement.where(table.starts_at >= since)
    if until is not None:
        statement = statement.where(table.starts_at < until)
    if not cancelled:
        statement = statement.where(table.state != "cancelled")
    if without_register_at is not None:
        statement = statement.where(
            # Literals, so that PostgreSQL finds the partial index for prepared statements too.
            table.register_revision == sa.literal_column("0"),
            table.state == sa.literal_column("'scheduled'"),
            table.ends_at < without_register_at,
            table.starts_at < without_register_at,
        )
    page = paging.read(
        connection,
        statement,
        by=[table.starts_at, table.id],
        show=_session_view,
        newest_first=without_register_at is not None,
    )
    return Page(items=_counted(connection, page.items), next=page.next)


def session(connection: sa.Connection, by: By, session_id: str) -> SessionView:
    """One session with its counts. Raises NotFound."""
    row = connection.execute(store.SESSIONS.where(store.session.c.id == session_id)).one_or_none()
    if row is None or not by.may_see(row.centre_id):
        raise unknown_session()
    return _counted(connection, [_session_view(row)])[0]


def _session_view(row: sa.Row[Any]) -> SessionView:
    return SessionView(
        id=row.id,
        activity_id=row.activity_id,
        centre_id=row.centre_id,
        title=row.title,
        area=row.area,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        place=row.place,
        capacity=row.capacity,
        state=row.state,
        cancel_reason=row.cancel_reason,
        policy=Policy(row.waiting_list_policy),
        min_age=row.min_age,
        max_age=row.max_age,
        register_revision=row.register_revision,
        register_present=row.register_present,
        register_absent=row.register_absent,
        register_taken_at=row.register_taken_at,
    )


def _counted(connection: sa.Connection, views: Sequence[SessionView]) -> list[SessionView]:
    if not views:
        return []
    table = store.sign_up.c
    counts: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for session_id, state, count in connection.execute(
        sa.select(table.session_id, table.state, sa.func.count())
        .where(table.session_id.in_([view.id for view in views]), table.state.in_(_LIVE))
        .group_by(table.session_id, table.state)
    ):
        counts[session_id][state] = count
    walk_ins = _walk_ins(connection, [view.id for view in views if view.register_present])
    return [
        replace(
            view,
            confirmed=counts[view.id].get(State.CONFIRMED, 0),
            offered=counts[view.id].get(State.OFFERED, 0),
            waiting=counts[view.id].get(State.WAITING, 0),
            walk_ins=walk_ins.get(view.id, 0),
        )
        for view in views
    ]


def _walk_ins(connection: sa.Connection, session_ids: Sequence[str]) -> dict[str, int]:
    """How many are there without a confirmed or offered place, for each of these sessions."""
    if not session_ids:
        return {}
    mark, place = store.attendance.c, store.sign_up.c
    has_a_place = sa.exists().where(
        place.person_id == mark.person_id,
        place.session_id == mark.session_id,
        place.state.in_([str(state) for state in TAKEN]),
    )
    rows = connection.execute(
        sa.select(mark.session_id, sa.func.count().label("people"))
        .where(mark.session_id.in_(session_ids), mark.present.is_(True), ~has_a_place)
        .group_by(mark.session_id)
    )
    return {row.session_id: row.people for row in rows}


_LIVE = [str(state) for state in LIVE]


def sign_ups(
    connection: sa.Connection, session_id: str, household_id: str | None = None
) -> list[SignUpView]:
    """The sign-ups of a session: who has a place, offers, the waiting list in order, the ended.

    With ``household_id`` only those of its people (positions count everybody all the same).
    """
    rows = connection.execute(
        sa.select(store.sign_up).where(store.sign_up.c.session_id == session_id)
    )
    every = [store.sign_up_of(row) for row in rows]
    places = waiting_list.positions(one.entry for one in every)
    if household_id is None:
        people = store.people(connection, (one.person_id for one in every))
    else:
        own = store.household_people(connection, household_id) if household_id else []
        people = {person.person_id: person for person in own}
        every = [one for one in every if one.person_id in people]
    every.sort(key=lambda one: (_SHOWN.index(one.state), places.get(one.id, 0), one.id))
    return [SignUpView(one, places.get(one.id), people.get(one.person_id)) for one in every]


_SHOWN = [
    State.CONFIRMED,
    State.OFFERED,
    State.WAITING,
    State.NOT_PLACED,
    State.EXPIRED,
    State.CANCELLED,
]


def household_centre(connection: sa.Connection, by: By, household_id: str) -> str:
    """The centre of a household. Raises NotFound when it is unknown or of another centre."""
    row = connection.execute(
        sa.select(store.household_seen).where(
            store.household_seen.c.household_id == household_id,
            store.household_seen.c.erased.is_(False),
        )
    ).one_or_none()
    if row is None or not by.may_see(row.centre_id):
        raise NotFound(
            "household.unknown",
            N_("This household is not known here."),
            N_("If it was registered a moment ago, try again in a few seconds."),
        )
    return str(row.centre_id)


def household_sign_ups(
    connection: sa.Connection, people: Iterable[Person], now: datetime, *, limit: int = 200
) -> list[OwnSignUp]:
    """What these people are signed up for from now on: all live, and what ended there lately."""
    by_id = {person.person_id: person for person in people}
    if not by_id:
        return []
    rows = connection.execute(
        sa.select(store.sign_up)
        .join(store.session, store.session.c.id == store.sign_up.c.session_id)
        .where(
            store.sign_up.c.person_id.in_(sorted(by_id)),
            store.sign_up.c.state.in_(_LIVE),
            store.session.c.ends_at >= now,
        )
        .order_by(store.session.c.starts_at, store.sign_up.c.id)
        .limit(limit)
    )
    own = [store.sign_up_of(row) for row in rows]
    views = _sessions_by_id(connection, {one.session_id for one in own})
    waited = {one.session_id for one in own if one.state is State.WAITING}
    places = _positions(connection, waited)
    return [
        OwnSignUp(SignUpView(one, places.get(one.id), by_id[one.person_id]), views[one.session_id])
        for one in own
    ]


def _sessions_by_id(
    connection: sa.Connection, session_ids: Iterable[str]
) -> dict[str, SessionView]:
    wanted = sorted(session_ids)
    if not wanted:
        return {}
    rows = connection.execute(store.SESSIONS.where(store.session.c.id.in_(wanted)))
    return {view.id: view for view in _counted(connection, [_session_view(row) for row in rows])}


def _positions(connection: sa.Connection, session_ids: Iterable[str]) -> dict[str, int]:
    wanted = sorted(session_ids)
    if not wanted:
        return {}
    rows = connection.execute(
        sa.select(store.sign_up).where(
            store.sign_up.c.session_id.in_(wanted),
            store.sign_up.c.state == str(State.WAITING),
        )
    )
    by_session = defaultdict(list)
    for row in rows:
        by_session[row.session_id].append(store.sign_up_of(row).entry)
    places: dict[str, int] = {}
    for entries in by_session.values():
        places |= waiting_list.positions(entries)
    return places


def register(connection: sa.Connection, session_id: str) -> list[RegisterRow]:
    """Everybody of a session's register by name: who has a place, and walk-ins."""
    marks = {
        row.person_id: row
        for row in connection.execute(
            sa.select(store.attendance).where(store.attendance.c.session_id == session_id)
        )
    }
    expected = set(
        connection.execute(
            sa.select(store.sign_up.c.person_id).where(
                store.sign_up.c.session_id == session_id,
                store.sign_up.c.state == str(State.CONFIRMED),
            )
        ).scalars()
    )
    people = store.people(connection, expected | marks.keys())
    rows = [
        RegisterRow(
            person_id,
            person_id in expected,
            marks[person_id].present if person_id in marks else None,
            marks[person_id].revision if person_id in marks else 0,
            people.get(person_id),
        )
        for person_id in expected | marks.keys()
    ]
    return sorted(rows, key=_by_name)


def _by_name(row: RegisterRow) -> tuple[bool, str, str]:
    person = row.person
    key = store.name_key(f"{person.family_name} {person.given_name}") if person else ""
    return (person is None, key, row.person_id)
