"""Tables of activities, and how a session with its sign-ups is loaded and saved.

A session is the aggregate of its sign-ups: whoever changes one locks the session's row first
(`locked_session`), so that two requests for the last place are decided one after the other, on
SQLite and by two replicas on PostgreSQL. That nobody holds two live sign-ups for one session is a
unique key besides. ``person_seen`` and ``household_seen`` are read models of facts of cards,
``centre_seen`` of those of identity.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from activities.domain.waiting_list import HOLD, LIVE, Entry, Policy, State
from activities.zone import zone_of
from contracts.activities import OfferHoldSet
from messaging.tables import metadata_with_messaging
from runtime.store import insert_ignore, lock_rows
from runtime.types import Id, UtcDateTime

metadata = metadata_with_messaging()

_FOREIGN_ID = sa.String(64)
"""An id that another service made (contracts allow 64 characters)."""

_NAME_KEY = sa.String(200).with_variant(sa.String(200, collation="C"), "postgresql")
"""Compared by code point on both engines, so that a prefix is a range of the index."""

_LIVE = "state IN ('confirmed', 'waiting', 'offered')"

activity = sa.Table(
    "activity",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("centre_id", _FOREIGN_ID, nullable=False),
    sa.Column("title", sa.String(200), nullable=False),
    sa.Column("area", sa.String(100), nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("min_age", sa.Integer),
    sa.Column("max_age", sa.Integer),
    sa.Column("default_capacity", sa.Integer, nullable=False),
    sa.Column("waiting_list_policy", sa.String(20), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index("activity_by_centre", "centre_id", "title", "id"),
)

offer_hold = sa.Table(
    "offer_hold",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("centre_id", _FOREIGN_ID, nullable=False),
    sa.Column("activity_id", sa.String(36), nullable=False),
    sa.Column("from_time", UtcDateTime, nullable=False),
    sa.Column("hours", sa.Integer, nullable=False),
    sa.Column("set_by", _FOREIGN_ID, nullable=False),
    sa.Column("set_at", UtcDateTime, nullable=False),
    sa.Index("offer_hold_in_force", "centre_id", "activity_id", "from_time", "id"),
)
"""How long an offered place is kept, from a day on. ``activity_id`` "" is the whole centre."""

session = sa.Table(
    "session",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("activity_id", Id, sa.ForeignKey("activity.id"), nullable=False),
    sa.Column("centre_id", _FOREIGN_ID, nullable=False),
    sa.Column("title", sa.String(200), nullable=False),
    sa.Column("starts_at", UtcDateTime, nullable=False),
    sa.Column("ends_at", UtcDateTime, nullable=False),
    sa.Column("capacity", sa.Integer, nullable=False),
    sa.Column("place", sa.String(200), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("cancel_reason", sa.String(500), nullable=False),
    sa.Column("scheduled_at", UtcDateTime, nullable=False),
    sa.Column("changed_at", UtcDateTime, nullable=False),
    sa.Column("register_revision", sa.Integer, nullable=False),
    sa.Column("register_present", sa.Integer, nullable=False),
    sa.Column("register_absent", sa.Integer, nullable=False),
    sa.Column("register_taken_at", UtcDateTime),
    sa.Index("session_by_time", "centre_id", "starts_at", "id"),
    sa.Index("session_by_time_of_all", "starts_at", "id"),
    sa.Index("session_by_activity", "activity_id", "starts_at", "id"),
    sa.Index(
        "session_without_register",
        "centre_id",
        "starts_at",
        "id",
        sqlite_where=sa.text("register_revision = 0 AND state = 'scheduled'"),
        postgresql_where=sa.text("register_revision = 0 AND state = 'scheduled'"),
    ),
)
"""``state``: scheduled or cancelled. ``changed_at`` never goes back: it stamps the waiting list."""

sign_up = sa.Table(
    "sign_up",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("session_id", Id, sa.ForeignKey("session.id"), nullable=False),
    sa.Column("person_id", _FOREIGN_ID, nullable=False),
    sa.Column("household_id", _FOREIGN_ID, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("group_id", sa.String(36), nullable=False),
    sa.Column("entered_at", UtcDateTime, nullable=False),
    sa.Column("offered_at", UtcDateTime),
    sa.Column("answer_by", UtcDateTime),
    sa.Column("confirmed_at", UtcDateTime),
    sa.Column("ended_at", UtcDateTime),
    sa.Column("reason", sa.String(40), nullable=False),
    sa.Column("recovered", sa.Boolean, nullable=False),
    sa.Index("sign_up_by_session", "session_id", "state"),
    sa.Index("sign_up_by_person", "person_id", "session_id"),
    sa.Index(
        "sign_up_live",
        "session_id",
        "person_id",
        unique=True,
        sqlite_where=sa.text(_LIVE),
        postgresql_where=sa.text(_LIVE),
    ),
)

"""``recovered``: given back to a restored store by its facts, which do not say who came together
and with which priority, so that the order of the list cannot be audited."""

attendance = sa.Table(
    "attendance",
    metadata,
    sa.Column("session_id", Id, sa.ForeignKey("session.id"), primary_key=True),
    sa.Column("person_id", _FOREIGN_ID, primary_key=True),
    sa.Column("household_id", _FOREIGN_ID, nullable=False),
    sa.Column("signup_id", sa.String(36), nullable=False),
    sa.Column("present", sa.Boolean, nullable=False),
    sa.Column("expected", sa.Boolean, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("recorded_at", UtcDateTime, nullable=False),
    sa.Index("attendance_by_person", "person_id", "session_id"),
)

person_seen = sa.Table(
    "person_seen",
    metadata,
    sa.Column("person_id", _FOREIGN_ID, primary_key=True),
    sa.Column("household_id", _FOREIGN_ID, nullable=False),
    sa.Column("centre_id", _FOREIGN_ID, nullable=False),
    sa.Column("given_name", sa.String(200), nullable=False),
    sa.Column("family_name", sa.String(200), nullable=False),
    sa.Column("family_key", _NAME_KEY, nullable=False),
    sa.Column("given_key", _NAME_KEY, nullable=False),
    sa.Column("birth_date", sa.Date),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("erased", sa.Boolean, nullable=False),
    sa.Index("person_seen_by_household", "household_id", "person_id"),
    sa.Index("person_seen_by_family", "centre_id", "family_key"),
    sa.Index("person_seen_by_given", "centre_id", "given_key"),
)
"""A person erased is a stub: the id, ``erased``, and the greatest revision of all."""

household_seen = sa.Table(
    "household_seen",
    metadata,
    sa.Column("household_id", _FOREIGN_ID, primary_key=True),
    sa.Column("centre_id", _FOREIGN_ID, nullable=False),
    sa.Column("holder_id", _FOREIGN_ID, nullable=False),
    sa.Column("erased", sa.Boolean, nullable=False),
    sa.Column("changed_at", UtcDateTime, nullable=False),
)

centre_seen = sa.Table(
    "centre_seen",
    metadata,
    sa.Column("centre_id", _FOREIGN_ID, primary_key=True),
    sa.Column("time_zone", sa.String(60), nullable=False),
    sa.Column("opened_at", UtcDateTime, nullable=False),
)


def time_zone(connection: sa.Connection, centre_id: str) -> ZoneInfo:
    """The time zone of a centre; the default one while it was not heard of."""
    zone = sa.select(centre_seen.c.time_zone).where(centre_seen.c.centre_id == centre_id)
    return zone_of(connection.scalar(zone) or "")


@dataclass
class SignUp:
    """A sign-up as it lies in the store."""

    id: str
    session_id: str
    person_id: str
    household_id: str
    state: State
    priority: int
    group_id: str
    entered_at: datetime
    offered_at: datetime | None = None
    answer_by: datetime | None = None
    confirmed_at: datetime | None = None
    ended_at: datetime | None = None
    reason: str = ""
    recovered: bool = False

    @property
    def entry(self) -> Entry:
        return Entry(
            self.id, self.person_id, self.state, self.entered_at, self.priority, self.group_id
        )

    @property
    def live(self) -> bool:
        return self.state in LIVE

    def row(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _SIGN_UP_COLUMNS} | {"state": str(self.state)}


_SIGN_UP_COLUMNS = tuple(sign_up.c.keys())


def sign_up_of(row: sa.Row[Any]) -> SignUp:
    values = {name: getattr(row, name) for name in _SIGN_UP_COLUMNS}
    return SignUp(**values | {"state": State(row.state)})


@dataclass
class Session:
    """A session with its live sign-ups, loaded under its lock."""

    id: str
    activity_id: str
    centre_id: str
    title: str
    starts_at: datetime
    ends_at: datetime
    capacity: int
    place: str
    state: str
    policy: Policy
    changed_at: datetime
    register_revision: int
    register_present: int
    register_absent: int
    min_age: int | None
    max_age: int | None
    live: list[SignUp] = field(default_factory=list)
    present: frozenset[str] = frozenset()
    """Whom the register says to be there."""

    @property
    def entries(self) -> list[Entry]:
        return [one.entry for one in self.live if one.live]

    def begun(self, now: datetime) -> bool:
        return now >= self.starts_at


def session_of(row: sa.Row[Any]) -> Session:
    return Session(
        id=row.id,
        activity_id=row.activity_id,
        centre_id=row.centre_id,
        title=row.title,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        capacity=row.capacity,
        place=row.place,
        state=row.state,
        policy=Policy(row.waiting_list_policy),
        changed_at=row.changed_at,
        register_revision=row.register_revision,
        register_present=row.register_present,
        register_absent=row.register_absent,
        min_age=row.min_age,
        max_age=row.max_age,
    )


SESSIONS = sa.select(
    session,
    activity.c.waiting_list_policy,
    activity.c.min_age,
    activity.c.max_age,
    activity.c.area,
).join_from(session, activity, activity.c.id == session.c.activity_id)
"""Sessions with what their activity says."""


def locked_session(connection: sa.Connection, session_id: str) -> Session | None:
    """The session, its live sign-ups and who is there, locked for the rest of the transaction."""
    lock_rows(connection, session, [session_id])
    row = connection.execute(SESSIONS.where(session.c.id == session_id)).one_or_none()
    if row is None:
        return None
    loaded = session_of(row)
    loaded.live = live_sign_ups(connection, session_id)
    if loaded.register_present:
        there = sa.select(attendance.c.person_id).where(
            attendance.c.session_id == session_id, attendance.c.present.is_(True)
        )
        loaded.present = frozenset(connection.execute(there).scalars())
    return loaded


def live_sign_ups(connection: sa.Connection, session_id: str) -> list[SignUp]:
    rows = connection.execute(
        sa.select(sign_up)
        .where(sign_up.c.session_id == session_id, sign_up.c.state.in_(_states(LIVE)))
        .order_by(sign_up.c.id)
    )
    return [sign_up_of(row) for row in rows]


def _states(states: Iterable[State]) -> list[str]:
    return [str(state) for state in states]


def hold_in_force(
    connection: sa.Connection, centre_id: str, activity_id: str, now: datetime
) -> timedelta:
    """How long a place offered now is kept: the activity's own setting, the centre's, or 48 h."""
    of_activity = sa.case((offer_hold.c.activity_id == activity_id, 0), else_=1)
    hours = connection.execute(
        sa.select(offer_hold.c.hours)
        .where(
            offer_hold.c.centre_id == centre_id,
            offer_hold.c.activity_id.in_([activity_id, ""]),
            offer_hold.c.from_time <= now,
        )
        .order_by(of_activity, offer_hold.c.from_time.desc(), offer_hold.c.id.desc())
        .limit(1)
    ).scalar()
    return HOLD if hours is None else timedelta(hours=hours)


@dataclass(frozen=True)
class Person:
    """What is known of somebody. Names are "" for who was erased."""

    person_id: str
    household_id: str
    centre_id: str
    given_name: str
    family_name: str
    birth_date: date | None

    @property
    def name(self) -> str:
        return f"{self.given_name} {self.family_name}".strip()


def _person_of(row: sa.Row[Any]) -> Person:
    return Person(
        row.person_id,
        row.household_id,
        row.centre_id,
        row.given_name,
        row.family_name,
        row.birth_date,
    )


def people(connection: sa.Connection, person_ids: Iterable[str]) -> dict[str, Person]:
    """Those of these people who are known and not erased, by id."""
    wanted = sorted(set(person_ids))
    if not wanted:
        return {}
    rows = connection.execute(
        sa.select(person_seen).where(
            person_seen.c.person_id.in_(wanted), person_seen.c.erased.is_(False)
        )
    )
    return {row.person_id: _person_of(row) for row in rows}


def household_people(
    connection: sa.Connection, household_id: str, centre_id: str = ""
) -> list[Person]:
    """The members of a household, the youngest last (those without a birth date first).

    With ``centre_id`` only people of that centre: a sign-in may name a household of another.
    """
    rows = connection.execute(
        sa.select(person_seen)
        .where(person_seen.c.household_id == household_id, person_seen.c.erased.is_(False))
        .order_by(person_seen.c.birth_date.nulls_first(), person_seen.c.person_id)
    )
    # Not asked of the database: SQLite would look through everybody of the centre.
    return [_person_of(row) for row in rows if row.centre_id == centre_id or not centre_id]


def people_named(
    connection: sa.Connection, centre_id: str, typed: str, *, limit: int = 20
) -> Sequence[Person]:
    """People of a centre in whose name every typed word begins a word.

    Whose family or given name begins with all that was typed comes first, by an index. When these
    are few, everybody's names are gone through in their order, in the index alone: 0.1 s for the
    300,000 people of 100,000 households.
    """
    key = name_key(typed)
    if not key:
        return []
    table = person_seen.c
    of_centre = sa.select(person_seen).where(table.centre_id == centre_id, table.erased.is_(False))
    found: dict[str, Person] = {}
    for name in (table.family_key, table.given_key):
        begins = of_centre.where(name >= key, name < key + "\U0010ffff")
        rows = connection.execute(begins.order_by(name, table.person_id).limit(limit))
        found |= {row.person_id: _person_of(row) for row in rows}
    if len(found) < limit:
        every_word = [
            sa.or_(table.family_key.startswith(word), table.family_key.contains(f" {word}"))
            for word in key.split()
        ]
        rows = connection.execute(
            of_centre.where(*every_word).order_by(table.family_key, table.person_id).limit(limit)
        )
        found |= {row.person_id: _person_of(row) for row in rows}
    return list(found.values())[:limit]


def name_key(name: str) -> str:
    """What names are searched by, the same for a name and for what is typed.

    Case, accents and all other marks do not count, and whatever is no letter or digit (blanks,
    apostrophes of every shape, hyphens) only parts two words: the search of cards folds alike.
    """
    folded = unicodedata.normalize("NFKD", name.casefold())
    plain = "".join(c for c in folded if unicodedata.category(c) != "Mn")
    words = re.split(r"[^\w]+|_", unicodedata.normalize("NFKC", plain))
    return " ".join(word for word in words if word)[:200].rstrip()


def put_offer_hold(connection: sa.Connection, event: OfferHoldSet, *, set_by: str) -> None:
    """How long offers are kept from a time on, once for each id."""
    insert_ignore(
        connection,
        offer_hold,
        [
            {
                "id": event.hold_id,
                "centre_id": event.centre_id,
                "activity_id": event.activity_id,
                "from_time": event.from_time,
                "hours": event.hours,
                "set_by": set_by,
                "set_at": event.set_at,
            }
        ],
    )
