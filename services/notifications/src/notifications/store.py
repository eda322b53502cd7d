"""Tables of notifications, and what is read of them by more than one command.

That one intent reaches one recipient by one channel at most once (I4) is a unique key. A delivery
has a ``next_attempt`` exactly while it is an e-mail that is to leave, and a lease while the mail
server is asked; a call ends with the use of its message. ``person_contact``,
``household_seen`` and ``centre_seen`` are read models.

Locks are taken in this order: delivery, then its message.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from messaging.tables import metadata_with_messaging
from notifications.domain.preferences import Preferences
from notifications.domain.quiet_hours import DEFAULT_ZONE, Hours, time_zone
from runtime.types import Id, Json, UtcDateTime

metadata = metadata_with_messaging()

_FOREIGN_ID = sa.String(64)
"""An id that another service made (contracts allow 64 characters)."""

_CODE = sa.String(40)

DEFAULT = ZoneInfo(DEFAULT_ZONE)
DEFAULT_REGION = "IT-MI"

message = sa.Table(
    "message",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("intent", _FOREIGN_ID, nullable=False),
    sa.Column("kind", _CODE, nullable=False),
    sa.Column("centre_id", _FOREIGN_ID, nullable=False),
    sa.Column("household_id", _FOREIGN_ID, nullable=False),
    sa.Column("person_id", _FOREIGN_ID, nullable=False),
    sa.Column("data", Json, nullable=False),
    sa.Column("useful_until", UtcDateTime),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("correlation", _FOREIGN_ID, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("read_at", UtcDateTime),
    sa.Column("about", _FOREIGN_ID),
    sa.Column("happened_at", UtcDateTime),
    sa.Index(
        "message_about",
        "about",
        sqlite_where=sa.text("about IS NOT NULL"),
        postgresql_where=sa.text("about IS NOT NULL"),
    ),
    sa.Index("message_by_time", "created_at", "id"),
    sa.Index("message_of_all_by_state", "state", "created_at", "id"),
    sa.Index("message_by_centre", "centre_id", "created_at", "id"),
    sa.Index("message_by_state", "centre_id", "state", "created_at", "id"),
    sa.Index("message_by_kind", "centre_id", "kind", "created_at", "id"),
    sa.Index("message_by_household", "household_id", "created_at", "id"),
    sa.Index("message_by_person", "person_id", "created_at", "id"),
)
"""What somebody is told. ``intent`` is the event that it tells of, ``data`` what its sentences
need (no names); ``state`` is that of its outermost channel without calls. ``about`` is the sign-up
that it is of, ``happened_at`` the stamp of its fact, which never goes back within a session (the
clock may): a later one of the sign-up overtakes it."""

delivery = sa.Table(
    "delivery",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("message_id", Id, sa.ForeignKey("message.id"), nullable=False),
    sa.Column("intent", _FOREIGN_ID, nullable=False),
    sa.Column("person_id", _FOREIGN_ID, nullable=False),
    sa.Column("channel", sa.String(10), nullable=False),
    sa.Column("centre_id", _FOREIGN_ID, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("why", _CODE, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("due_at", UtcDateTime, nullable=False),
    sa.Column("next_attempt", UtcDateTime),
    sa.Column("lease_id", sa.String(36)),
    sa.Column("lease_until", UtcDateTime),
    sa.Column("address_digest", sa.String(64)),
    sa.Column("content_digest", sa.String(64)),
    sa.Column("taken_at", UtcDateTime),
    sa.Column("ended_at", UtcDateTime),
    sa.Column("done_by", _FOREIGN_ID),
    sa.UniqueConstraint("intent", "person_id", "channel", name="uq_delivery_once"),
    sa.UniqueConstraint("message_id", "channel", name="uq_delivery_channel"),
    sa.Index("delivery_by_person", "person_id"),
    sa.Index("delivery_by_state", "centre_id", "channel", "state", "created_at", "id"),
    sa.Index("delivery_by_channel", "centre_id", "channel", "created_at", "id"),
    sa.Index("delivery_of_all", "channel", "created_at", "id"),
    sa.Index("delivery_of_all_by_state", "channel", "state", "created_at", "id"),
    sa.Index("delivery_ended", "channel", "state", "ended_at"),
    sa.Index("delivery_identical", "address_digest", "content_digest", "taken_at"),
    sa.Index(
        "delivery_due",
        "next_attempt",
        "created_at",
        "id",
        sqlite_where=sa.text("next_attempt IS NOT NULL"),
        postgresql_where=sa.text("next_attempt IS NOT NULL"),
    ),
    sa.Index(
        "delivery_leased",
        "lease_until",
        sqlite_where=sa.text("lease_until IS NOT NULL"),
        postgresql_where=sa.text("lease_until IS NOT NULL"),
    ),
)
"""Partial indexes are on what is null, never on a value: a bound value would not meet them.
``due_at``: the earliest moment at which it might have left, after quiet hours."""

attempt = sa.Table(
    "attempt",
    metadata,
    sa.Column("delivery_id", Id, sa.ForeignKey("delivery.id"), primary_key=True),
    sa.Column("lease_id", sa.String(36), primary_key=True),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("ended_at", UtcDateTime),
    sa.Column("answer", sa.String(10), nullable=False),
    sa.Column("code", _CODE, nullable=False),
)
"""One hand-over: ``answer`` is empty while the mail server is asked; ``code`` is its own."""

unreachable = sa.Table(
    "unreachable",
    metadata,
    sa.Column("person_id", _FOREIGN_ID, primary_key=True),
    sa.Column("channel", sa.String(10), primary_key=True),
    sa.Column("address_digest", sa.String(64), nullable=False),
    sa.Column("seen_at", UtcDateTime, nullable=False),
)
"""Addresses that failed for good: the others are told once for each."""

preference = sa.Table(
    "preference",
    metadata,
    sa.Column("household_id", _FOREIGN_ID, primary_key=True),
    sa.Column("wanted", Json, nullable=False),
    sa.Column("changed_by", _FOREIGN_ID, nullable=False),
    sa.Column("changed_at", UtcDateTime, nullable=False),
)

hours = sa.Table(
    "hours",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("centre_id", _FOREIGN_ID, nullable=False),
    sa.Column("from_time", UtcDateTime, nullable=False),
    sa.Column("hours", Json, nullable=False),
    sa.Column("set_by", _FOREIGN_ID, nullable=False),
    sa.Column("set_at", UtcDateTime, nullable=False),
    sa.Index("hours_in_force", "centre_id", "from_time", "set_at", "id"),
)
"""When messages may leave, from a moment on; the last that has begun holds."""

person_contact = sa.Table(
    "person_contact",
    metadata,
    sa.Column("person_id", _FOREIGN_ID, primary_key=True),
    sa.Column("household_id", _FOREIGN_ID, nullable=False),
    sa.Column("centre_id", _FOREIGN_ID, nullable=False),
    sa.Column("given_name", sa.String(200), nullable=False),
    sa.Column("family_name", sa.String(200), nullable=False),
    sa.Column("holder", sa.Boolean, nullable=False),
    sa.Column("language", sa.String(35), nullable=False),
    sa.Column("email", sa.String(320), nullable=False),
    sa.Column("phone", sa.String(40), nullable=False),
    sa.Column("messages_allowed", sa.Boolean, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("erased", sa.Boolean, nullable=False),
)

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
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("time_zone", sa.String(64), nullable=False),
    sa.Column("region", sa.String(16), nullable=False),
    sa.Column("opened_at", UtcDateTime, nullable=False),
)


@dataclass(frozen=True)
class Centre:
    """What is known of a centre; a centre that is not known yet is in Milan."""

    centre_id: str
    name: str = ""
    zone: ZoneInfo = DEFAULT
    region: str = DEFAULT_REGION


def centre(connection: sa.Connection, centre_id: str) -> Centre:
    """A centre by its id."""
    row = connection.execute(
        sa.select(centre_seen).where(centre_seen.c.centre_id == centre_id)
    ).one_or_none()
    if row is None:
        return Centre(centre_id)
    return Centre(centre_id, row.name, time_zone(row.time_zone), row.region)


def hours_of(connection: sa.Connection, centre_id: str, at: datetime) -> Hours:
    """The hours of a centre that hold at a moment."""
    found = connection.scalar(
        sa.select(hours.c.hours)
        .where(hours.c.centre_id == centre_id, hours.c.from_time <= at)
        .order_by(hours.c.from_time.desc(), hours.c.set_at.desc(), hours.c.id.desc())
        .limit(1)
    )
    return Hours() if found is None else Hours.model_validate(found)


def household(connection: sa.Connection, household_id: str) -> sa.Row[Any] | None:
    """What is known of a household."""
    return connection.execute(
        sa.select(household_seen).where(household_seen.c.household_id == household_id)
    ).one_or_none()


def preferences_of(connection: sa.Connection, household_id: str) -> Preferences:
    """What a household wants to get; everything until it says otherwise."""
    found = connection.scalar(
        sa.select(preference.c.wanted).where(preference.c.household_id == household_id)
    )
    return Preferences() if found is None else Preferences.model_validate(found)


@dataclass(frozen=True)
class Contact:
    """How a person is reached: by an address of their own, else by that of the holder."""

    known: bool = False
    """False: the person is not known yet, or has no address and the holder is not known yet."""
    name: str = ""
    """Whom it is about."""
    address: str = ""
    owner_id: str = ""
    """Whose address it is."""
    language: str = ""
    consent: bool = False


def contact(connection: sa.Connection, person_id: str, household_id: str) -> Contact:
    """How a person of a household is reached by e-mail now."""
    person = _person(connection, person_id)
    if person is None:
        return Contact()
    owner: sa.Row[Any] | None = person
    if not person.email:
        home = household(connection, household_id)
        if home is None:
            owner = None
        elif home.holder_id not in ("", person_id):
            owner = _person(connection, home.holder_id)
    if owner is None:
        return Contact(name=person.given_name)
    return Contact(
        known=True,
        name=person.given_name,
        address=owner.email,
        owner_id=owner.person_id,
        language=owner.language or person.language,
        consent=owner.messages_allowed,
    )


def _person(connection: sa.Connection, person_id: str) -> sa.Row[Any] | None:
    return connection.execute(
        sa.select(person_contact).where(person_contact.c.person_id == person_id)
    ).one_or_none()


def alone_with(connection: sa.Connection, digest: str) -> None:
    """Until the commit nobody else hands over to this address. On SQLite nobody writes anyway."""
    if connection.dialect.name == "postgresql":
        number = int.from_bytes(bytes.fromhex(digest)[:8], signed=True)
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))
