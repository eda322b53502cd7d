"""The read side of identity: SQL to what pages and endpoints show."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel, Field

from contracts.identity import Role
from identity import store
from identity.commands.centres import Words
from identity.domain.accounts import Asker, Kind, account_unknown, may_see
from identity.domain.sessions import Use
from identity.store import Account, StoredSession
from messaging.tables import auth_key
from web.paging import Page, Paging


class CentreShown(BaseModel):
    """A centre."""

    id: str
    name: str
    time_zone: str = Field(description="IANA name")
    region: str = Field(description="ISO 3166-2, for holidays")
    languages: list[str]
    opened_at: datetime


class AccountShown(BaseModel):
    """An account, without its password."""

    id: str
    email: str = Field(description='"" when it was learnt again after a restore')
    name: str
    roles: list[Role]
    kind: Kind
    centre_id: str = Field(description='"" for the whole foundation')
    household_id: str
    organisation_id: str
    producer_id: str
    language: str
    disabled: bool
    can_sign_in: bool = Field(
        description="not disabled, with an address and a password that has not ended"
    )
    password_chosen: bool = Field(description="whether the person chose the password themselves")
    password_until: datetime | None = Field(
        description="until when a first password holds; null for one that does not end"
    )
    created_at: datetime
    changed_at: datetime


class SessionShown(BaseModel):
    """Somebody's sign-in in a browser, or an API token."""

    id: str
    used_by: Use
    name: str
    scopes: list[str] = Field(description="of an API token")
    created_at: datetime
    seen_at: datetime
    ends_at: datetime = Field(description="when it ends if nobody comes back")
    current: bool = Field(description="whether this request was made with it")


def centres(connection: sa.Connection, paging: Paging, only: str = "") -> Page[CentreShown]:
    """All centres by id, or the one to which the asker is bound."""
    wanted = sa.select(store.centre)
    if only:
        wanted = wanted.where(store.centre.c.id == only)
    return paging.read(connection, wanted, by=(store.centre.c.id,), show=_centre)


def centre(connection: sa.Connection, centre_id: str) -> CentreShown | None:
    """One centre."""
    row = connection.execute(sa.select(store.centre).where(store.centre.c.id == centre_id)).first()
    return None if row is None else _centre(row)


def centre_names(connection: sa.Connection) -> list[tuple[str, str]]:
    """Ids and names of all centres, by name; a foundation has some fifty."""
    rows = connection.execute(
        sa.select(store.centre.c.id, store.centre.c.name).order_by(
            store.centre.c.name, store.centre.c.id
        )
    )
    return [(row.id, row.name) for row in rows]


def words(connection: sa.Connection, centre_id: str) -> Words | None:
    """What a centre says of itself; None when it has said nothing yet."""
    table = store.centre_words
    row = connection.execute(sa.select(table).where(table.c.centre_id == centre_id)).first()
    return None if row is None else Words.of(row)


def open_houses(connection: sa.Connection) -> list[tuple[str, str, str, Words | None]]:
    """Id, name, time zone and own words of all centres, by name; a foundation has some fifty."""
    centre, said = store.centre, store.centre_words
    rows = connection.execute(
        sa.select(centre.c.id, centre.c.name, centre.c.time_zone, said)
        .select_from(centre.outerjoin(said, said.c.centre_id == centre.c.id))
        .order_by(centre.c.name, centre.c.id)
    )
    return [
        (row.id, row.name, row.time_zone, None if row.centre_id is None else Words.of(row))
        for row in rows
    ]


def accounts(
    connection: sa.Connection,
    asker: Asker,
    paging: Paging,
    now: datetime,
    *,
    kind: Kind | None = None,
    centre_id: str = "",
    household_id: str = "",
) -> Page[AccountShown]:
    """The accounts that the asker may see, the newest first, narrowed as wanted."""
    wanted = sa.select(store.account)
    if household_id:
        wanted = wanted.where(store.account.c.household_id == household_id)
    if asker.centre_id or centre_id:
        if asker.centre_id and centre_id not in ("", asker.centre_id):
            return Page[AccountShown](items=[])
        wanted = wanted.where(store.account.c.centre_id == (asker.centre_id or centre_id))
    if not asker.roles & {Role.ADMINISTRATOR, Role.COORDINATOR}:
        if kind not in (None, Kind.FAMILY):
            return Page[AccountShown](items=[])
        kind = Kind.FAMILY
    if kind is not None:
        wanted = wanted.where(store.account.c.kind == kind.value)
    return paging.read(
        connection,
        wanted,
        by=(store.account.c.id,),
        show=lambda row: shown(store.account_of(row), now),
        newest_first=True,
    )


def account_by_email(
    connection: sa.Connection, asker: Asker, email: str, now: datetime
) -> AccountShown | None:
    """The account of a stored form of an address, if the asker may see it."""
    found = store.account_by_email(connection, email)
    return None if found is None or not may_see(asker, found.standing) else shown(found, now)


def account(
    connection: sa.Connection, asker: Asker, account_id: str, now: datetime
) -> AccountShown:
    """An account that the asker may see. Raises NotFound."""
    found = store.load_account(connection, account_id)
    if found is None or not may_see(asker, found.standing):
        raise account_unknown()
    return shown(found, now)


def own_account(connection: sa.Connection, account_id: str, now: datetime) -> AccountShown:
    """One's own account. Raises NotFound."""
    found = store.load_account(connection, account_id)
    if found is None:
        raise account_unknown()
    return shown(found, now)


def sessions(
    connection: sa.Connection,
    account_id: str,
    now: datetime,
    paging: Paging,
    *,
    use: Use | None = None,
    current: str = "",
) -> Page[SessionShown]:
    """The sessions of an account that were not ended, the newest first."""
    wanted = sa.select(store.session).where(
        store.session.c.account_id == account_id,
        store.session.c.revoked_at.is_(None),
        store.session.c.ends_at > now,
    )
    if use is not None:
        wanted = wanted.where(store.session.c.used_by == use.value)
    return paging.read(
        connection,
        wanted,
        by=(store.session.c.id,),
        show=lambda row: _session(store.session_of(row), current),
        newest_first=True,
    )


def session(connection: sa.Connection, session_id: str) -> StoredSession | None:
    """A session as stored."""
    return store.load_session(connection, session_id)


def public_keys(connection: sa.Connection, now: datetime) -> list[tuple[str, str]]:
    """Ids and public parts of all keys that check tokens, the oldest first."""
    rows = connection.execute(
        sa.select(auth_key.c.key_id, auth_key.c.public_key)
        .where(auth_key.c.not_after > now)
        .order_by(auth_key.c.not_before, auth_key.c.key_id)
    )
    return [(row.key_id, row.public_key) for row in rows]


def shown(found: Account, now: datetime) -> AccountShown:
    """An account as it is shown."""
    standing, until = found.standing, found.password_until
    holds = bool(found.password_hash) and (until is None or until > now)
    return AccountShown(
        id=found.id,
        email=found.email,
        name=found.name,
        roles=sorted(standing.roles),
        kind=standing.kind,
        centre_id=standing.centre_id,
        household_id=standing.household_id,
        organisation_id=standing.organisation_id,
        producer_id=standing.producer_id,
        language=found.language,
        disabled=standing.disabled,
        can_sign_in=bool(found.email) and holds and not standing.disabled,
        password_chosen=found.password_chosen,
        password_until=until,
        created_at=found.created_at,
        changed_at=found.changed_at,
    )


def _centre(row: sa.Row[Any]) -> CentreShown:
    return CentreShown(
        id=row.id,
        name=row.name,
        time_zone=row.time_zone,
        region=row.region,
        languages=row.languages,
        opened_at=row.opened_at,
    )


def _session(found: StoredSession, current: str) -> SessionShown:
    return SessionShown(
        id=found.id,
        used_by=found.use,
        name=found.name,
        scopes=list(found.scopes),
        created_at=found.times.created_at,
        seen_at=found.times.seen_at,
        ends_at=found.times.over_at,
        current=found.id == current,
    )
