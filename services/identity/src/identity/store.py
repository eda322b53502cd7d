"""The tables of identity, and how accounts, sessions, keys and attempts are loaded and saved.

What is personal: ``account.email`` and ``account.name``; nothing else. A session's secret is kept
as its SHA-256 alone; ``signing_key.sealed`` is opened by a secret that is not in the store
(``sealing``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from contracts.identity import Role
from identity.domain.accounts import Standing
from identity.domain.keys import Span
from identity.domain.sessions import Session, Use
from messaging.tables import metadata_with_messaging
from runtime.store import insert_ignore, lock_rows
from runtime.types import Id, Json, UtcDateTime

metadata = metadata_with_messaging()

OUTER_ID = sa.String(64)
"""An id that somebody else may have made."""

centre = sa.Table(
    "centre",
    metadata,
    sa.Column("id", OUTER_ID, primary_key=True),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("time_zone", sa.String(64), nullable=False),
    sa.Column("region", sa.String(16), nullable=False),
    sa.Column("languages", Json, nullable=False),
    sa.Column("opened_at", UtcDateTime, nullable=False),
)

centre_words = sa.Table(
    "centre_words",
    metadata,
    sa.Column("centre_id", OUTER_ID, primary_key=True),
    sa.Column("about", Json, nullable=False),
    sa.Column("hours", Json, nullable=False),
    sa.Column("address", sa.String(300), nullable=False),
    sa.Column("directions", sa.String(1000), nullable=False),
    sa.Column("phone", sa.String(40), nullable=False),
    sa.Column("changed_at", UtcDateTime, nullable=False),
)
"""What a centre says of itself on the public home: who we are by language, hours, the way."""

account = sa.Table(
    "account",
    metadata,
    sa.Column("id", OUTER_ID, primary_key=True),
    # Null, and no password: learnt again from the bus by a restored store; staff write it anew.
    sa.Column("email", sa.String(254), unique=True),
    sa.Column("name", sa.String(120), nullable=False),
    sa.Column("password_hash", sa.String(255), nullable=False),
    sa.Column("password_chosen", sa.Boolean, nullable=False),
    # Set: staff gave the password; it only leads to choosing another, and holds until then.
    sa.Column("password_until", UtcDateTime),
    sa.Column("roles", Json, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("centre_id", OUTER_ID, nullable=False),
    sa.Column("household_id", OUTER_ID, nullable=False),
    sa.Column("organisation_id", OUTER_ID, nullable=False),
    sa.Column("producer_id", OUTER_ID, nullable=False),
    sa.Column("language", sa.String(8), nullable=False),
    sa.Column("disabled", sa.Boolean, nullable=False),
    sa.Column("governs", sa.Boolean, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("changed_at", UtcDateTime, nullable=False),
    sa.Index("account_by_kind", "kind", "id"),
    sa.Index("account_by_centre", "centre_id", "id"),
    sa.Index("account_by_centre_kind", "centre_id", "kind", "id"),
    sa.Index("account_by_household", "household_id", "id"),
    sa.Index("account_governing", "governs", "id"),
)

household_gone = sa.Table(
    "household_gone",
    metadata,
    sa.Column("household_id", OUTER_ID, primary_key=True),
    sa.Column("erased_at", UtcDateTime, nullable=False),
)
"""Households that were erased, as cards told: nobody gets an account for them any more."""

session = sa.Table(
    "session",
    metadata,
    sa.Column("id", OUTER_ID, primary_key=True),
    # Null for API tokens: the token itself is the secret, and it is not kept.
    sa.Column("secret", sa.String(64), unique=True),
    sa.Column("account_id", OUTER_ID, nullable=False),
    sa.Column("used_by", sa.String(16), nullable=False),
    sa.Column("name", sa.String(80), nullable=False),
    sa.Column("scopes", Json),
    sa.Column("key_id", sa.String(36), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("seen_at", UtcDateTime, nullable=False),
    sa.Column("ends_at", UtcDateTime, nullable=False),
    sa.Column("idle_seconds", sa.Integer),
    sa.Column("revoked_at", UtcDateTime),
    # No token of this session is valid after this: `until` of its revocation.
    sa.Column("token_until", UtcDateTime, nullable=False),
    # When the password was given again since the session began with it.
    sa.Column("proved_at", UtcDateTime),
    # Where somebody of the whole foundation works for now; "" for all of it.
    sa.Column("centre_id", OUTER_ID, nullable=False, server_default=""),
    sa.Index("session_by_account", "account_id", "used_by", "id"),
    sa.Index("session_by_end", "ends_at"),
)

signing_key = sa.Table(
    "signing_key",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("not_before", UtcDateTime, nullable=False),
    sa.Column("signs_until", UtcDateTime, nullable=False),
)

attempt = sa.Table(
    "attempt",
    metadata,
    # SHA-256 of what is counted: neither addresses of people nor of machines are kept.
    sa.Column("subject", sa.String(64), primary_key=True),
    sa.Column("full_at", UtcDateTime, nullable=False),
    sa.Column("known_until", UtcDateTime),
    sa.Column("forget_at", UtcDateTime, nullable=False, index=True),
)


def hidden(*parts: str) -> str:
    """SHA-256, in hex, of text that must not be kept itself."""
    return hashlib.sha256("\n".join(parts).encode("utf-8", "replace")).hexdigest()


@dataclass(frozen=True)
class Account:
    """An account as stored."""

    id: str
    email: str
    name: str
    password_hash: str
    password_chosen: bool
    password_until: datetime | None
    standing: Standing
    language: str
    created_at: datetime
    changed_at: datetime


def account_of(row: sa.Row[Any]) -> Account:
    """The account of a row of ``account``."""
    return Account(
        id=row.id,
        email=row.email or "",
        name=row.name,
        password_hash=row.password_hash,
        password_chosen=row.password_chosen,
        # A version from before this column, beside this one, leaves it when a person chooses.
        password_until=None if row.password_chosen else row.password_until,
        standing=Standing(
            roles=frozenset(Role(role) for role in row.roles),
            centre_id=row.centre_id,
            household_id=row.household_id,
            organisation_id=row.organisation_id,
            producer_id=row.producer_id,
            disabled=row.disabled,
        ),
        language=row.language,
        created_at=row.created_at,
        changed_at=row.changed_at,
    )


def standing_columns(standing: Standing) -> dict[str, Any]:
    """The columns that say what an account may do."""
    return {
        "roles": sorted(standing.roles),
        "kind": standing.kind.value,
        "centre_id": standing.centre_id,
        "household_id": standing.household_id,
        "organisation_id": standing.organisation_id,
        "producer_id": standing.producer_id,
        "disabled": standing.disabled,
        "governs": standing.governs,
    }


def load_account(connection: sa.Connection, account_id: str) -> Account | None:
    """An account by its id."""
    row = connection.execute(sa.select(account).where(account.c.id == account_id)).first()
    return None if row is None else account_of(row)


def lock_account(connection: sa.Connection, account_id: str) -> Account | None:
    """An account, held until the end of the transaction: taken before any of its sessions."""
    lock_rows(connection, account, [account_id])
    return load_account(connection, account_id)


def accounts_of_household(connection: sa.Connection, household_id: str) -> list[str]:
    """Ids of the accounts of a household, in the order in which they are locked."""
    return list(
        connection.scalars(
            sa.select(account.c.id).where(account.c.household_id == household_id).order_by("id")
        )
    )


def is_gone(connection: sa.Connection, household_id: str) -> bool:
    """Whether a household was erased."""
    gone = household_gone.c.household_id
    return connection.scalar(sa.select(gone).where(gone == household_id)) is not None


def hold_household(connection: sa.Connection, household_id: str) -> None:
    """Until the commit nobody else makes or forgets accounts of this household, of which there may
    be no row at all: taken before any account. On SQLite nobody else writes anyway."""
    if connection.dialect.name == "postgresql":
        number = int(hidden("household", household_id)[:16], 16) - 2**63
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))


def delete_account(connection: sa.Connection, account_id: str) -> None:
    """An account with its sessions and tokens; what they signed is refused by `auth_revoked`."""
    connection.execute(sa.delete(session).where(session.c.account_id == account_id))
    connection.execute(sa.delete(account).where(account.c.id == account_id))


def account_by_email(connection: sa.Connection, email: str) -> Account | None:
    """An account by the stored form of its address."""
    row = connection.execute(sa.select(account).where(account.c.email == email)).first()
    return None if row is None else account_of(row)


def centre_name(connection: sa.Connection, centre_id: str) -> str:
    """The name of a centre; "" when there is none."""
    found = connection.scalar(sa.select(centre.c.name).where(centre.c.id == centre_id))
    return str(found or "")


def time_zone(connection: sa.Connection, centre_id: str) -> str:
    """The time zone of a centre; "" for the whole foundation."""
    if not centre_id:
        return ""
    return connection.scalar(sa.select(centre.c.time_zone).where(centre.c.id == centre_id)) or ""


def email_taken(connection: sa.Connection, email: str, *, but: str = "") -> bool:
    """True when another account has this address."""
    found = connection.scalar(
        sa.select(account.c.id).where(account.c.email == email, account.c.id != but)
    )
    return found is not None


def lock_governing(connection: sa.Connection) -> None:
    """Hold all accounts that govern the foundation, so that two cannot end each other."""
    ids = connection.scalars(sa.select(account.c.id).where(account.c.governs.is_(True)))
    lock_rows(connection, account, ids)


def count_governing(connection: sa.Connection, *, but: str) -> int:
    """Accounts other than one that govern the foundation."""
    found = connection.scalar(
        sa.select(sa.func.count())
        .select_from(account)
        .where(account.c.governs.is_(True), account.c.id != but)
    )
    return int(found or 0)


@dataclass(frozen=True)
class StoredSession:
    """A session with whose it is and what it is called."""

    id: str
    account_id: str
    use: Use
    name: str
    scopes: tuple[str, ...]
    key_id: str
    times: Session
    proved_at: datetime
    token_until: datetime
    centre_id: str


def session_of(row: sa.Row[Any]) -> StoredSession:
    """The session of a row of ``session``."""
    return StoredSession(
        id=row.id,
        account_id=row.account_id,
        use=Use(row.used_by),
        name=row.name,
        scopes=tuple(row.scopes or ()),
        key_id=row.key_id,
        times=Session(
            created_at=row.created_at,
            seen_at=row.seen_at,
            ends_at=row.ends_at,
            idle=None if row.idle_seconds is None else timedelta(seconds=row.idle_seconds),
            revoked_at=row.revoked_at,
        ),
        proved_at=row.proved_at or row.created_at,
        token_until=row.token_until,
        centre_id=row.centre_id,
    )


def load_session(connection: sa.Connection, session_id: str) -> StoredSession | None:
    """A session by its id."""
    row = connection.execute(sa.select(session).where(session.c.id == session_id)).first()
    return None if row is None else session_of(row)


def session_by_secret(connection: sa.Connection, secret: str) -> StoredSession | None:
    """The browser session of a cookie's value, held until the end of a writing transaction."""
    stored = hidden(secret)
    found = connection.scalar(sa.select(session.c.id).where(session.c.secret == stored))
    if found is None:
        return None
    lock_rows(connection, session, [found])
    return load_session(connection, found)


def lock_live_sessions(
    connection: sa.Connection, account_id: str, now: datetime
) -> list[StoredSession]:
    """All sessions of an account for which tokens may still be valid, held, in order of ids."""
    alive = (
        session.c.account_id == account_id,
        session.c.revoked_at.is_(None),
        sa.or_(session.c.ends_at > now, session.c.token_until > now),
    )
    lock_rows(connection, session, connection.scalars(sa.select(session.c.id).where(*alive)))
    rows = connection.execute(sa.select(session).where(*alive).order_by(session.c.id))
    return [session_of(row) for row in rows]


def count_live(connection: sa.Connection, account_id: str, use: Use, now: datetime) -> int:
    """Sessions of an account that are not revoked and whose end has not come."""
    found = connection.scalar(
        sa.select(sa.func.count())
        .select_from(session)
        .where(
            session.c.account_id == account_id,
            session.c.used_by == use.value,
            session.c.revoked_at.is_(None),
            session.c.ends_at > now,
        )
    )
    return int(found or 0)


def load_spans(connection: sa.Connection) -> dict[Span, str]:
    """The spans of all signing keys with their ids; there are a handful."""
    rows = connection.execute(
        sa.select(signing_key.c.id, signing_key.c.not_before, signing_key.c.signs_until)
    )
    return {Span(row.not_before, row.signs_until): row.id for row in rows}


def load_sealed(connection: sa.Connection, key_id: str) -> bytes | None:
    """The sealed private part of a signing key."""
    return connection.scalar(sa.select(signing_key.c.sealed).where(signing_key.c.id == key_id))


@dataclass(frozen=True)
class Counted:
    """How full a bucket of attempts is, and until when its client is known."""

    full_at: datetime
    known_until: datetime | None


def lock_attempts(
    connection: sa.Connection, subjects: Sequence[str], now: datetime
) -> dict[str, Counted]:
    """The buckets of these subjects, made where missing and held until the commit."""
    rows = [{"subject": s, "full_at": now, "forget_at": now} for s in sorted(set(subjects))]
    insert_ignore(connection, attempt, rows)
    lock_rows(connection, attempt, subjects)
    found = connection.execute(sa.select(attempt).where(attempt.c.subject.in_(subjects)))
    return {row.subject: Counted(row.full_at, row.known_until) for row in found}


def save_attempt(
    connection: sa.Connection,
    subject: str,
    full_at: datetime,
    *,
    known_until: datetime | None = None,
) -> None:
    """Keep a bucket; it is forgotten when it is empty and nobody is known by it."""
    connection.execute(
        sa.update(attempt)
        .where(attempt.c.subject == subject)
        .values(
            full_at=full_at,
            known_until=known_until,
            forget_at=max(full_at, known_until or full_at),
        )
    )


def forget_attempts(connection: sa.Connection, subjects: Iterable[str]) -> None:
    """Remove buckets."""
    connection.execute(sa.delete(attempt).where(attempt.c.subject.in_(list(subjects))))
