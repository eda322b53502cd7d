"""Accounts: made and changed by who may, told to the others without name or address.

Every change of what an account may do, of its address or of its password ends its sessions. A
password that staff give is a first one: it ends soon and only leads to choosing another.
Passwords come in as hashes: who hashes does so before the transaction (``identity.hashing``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from contracts.identity import AccountChanged, AccountCreated, AccountErased, Role
from identity import store
from identity.commands import sessions
from identity.domain import accounts
from identity.domain.accounts import LANGUAGES, Asker, Kind, Standing
from messaging import Transaction
from runtime.refusals import N_, Invalid, NotAllowed, Refusal


@dataclass(frozen=True)
class NewAccount:
    """An account to be made; ``email`` in its stored form, ``password_hash`` ready."""

    email: str
    password_hash: str
    standing: Standing
    name: str = ""
    language: str = ""


@dataclass(frozen=True)
class Change:
    """What is to be different; None leaves it as it is."""

    roles: frozenset[Role] | None = None
    centre_id: str | None = None
    household_id: str | None = None
    organisation_id: str | None = None
    producer_id: str | None = None
    disabled: bool | None = None
    email: str | None = None
    name: str | None = None
    language: str | None = None
    password_hash: str | None = None

    def standing(self, before: Standing) -> Standing:
        """What an account may do after this change."""
        wanted: dict[str, Any] = {
            "roles": self.roles,
            "centre_id": self.centre_id,
            "household_id": self.household_id,
            "organisation_id": self.organisation_id,
            "producer_id": self.producer_id,
            "disabled": self.disabled,
        }
        return replace(before, **{name: new for name, new in wanted.items() if new is not None})

    def holds(self, account: store.Account) -> bool:
        """Whether an account is already as this says."""
        return (
            self.standing(account.standing) == account.standing
            and self.email in (None, account.email)
            and self.name in (None, account.name)
            and self.language in (None, account.language)
        )


def changed_meanwhile() -> Refusal:
    """Somebody else changed the account since it was looked at."""
    return Refusal(
        "account.changed_meanwhile",
        N_("Somebody else has changed this account meanwhile."),
        N_("Look at it as it is now, with what you typed, then save again."),
    )


def create_account(
    tx: Transaction, asker: Asker, wanted: NewAccount, *, account_id: str = ""
) -> str:
    """Make an account. Returns its id.

    Raises NotAllowed, Invalid, or Refusal("account.email_taken").
    """
    accounts.check_create(asker, wanted.standing)
    if wanted.standing.household_id:
        store.hold_household(tx.connection, wanted.standing.household_id)
    _check_centre(tx.connection, wanted.standing.centre_id)
    _check_household(tx.connection, wanted.standing.household_id)
    _check_language(wanted.language)
    _check_email_free(tx.connection, wanted.email)
    account_id = account_id or tx.ids.new()
    standing = wanted.standing
    tx.connection.execute(
        sa.insert(store.account).values(
            id=account_id,
            email=wanted.email,
            name=wanted.name.strip(),
            password_hash=wanted.password_hash,
            password_chosen=False,
            password_until=accounts.first_password_until(asker, tx.now),
            language=wanted.language,
            created_at=tx.now,
            changed_at=tx.now,
            **store.standing_columns(standing),
        )
    )
    tx.emit(
        AccountCreated(
            account_id=account_id,
            roles=tuple(sorted(standing.roles)),
            centre_id=standing.centre_id,
            household_id=standing.household_id,
            organisation_id=standing.organisation_id,
            producer_id=standing.producer_id,
            created_at=tx.now,
        ),
        centre=standing.centre_id,
    )
    if standing.disabled:
        tx.emit(_changed(account_id, standing, tx), centre=standing.centre_id)
    return account_id


def change_account(
    tx: Transaction, asker: Asker, account_id: str, change: Change, *, seen: Change | None = None
) -> None:
    """Change an account that the asker may change; ends its sessions when it matters.

    ``seen`` is the account that the asker looked at: when something of it is different by now,
    nothing is written. Raises NotFound for an account out of the asker's reach, NotAllowed,
    Invalid, Refusal (account.changed_meanwhile, account.email_taken).
    """
    if change.household_id:
        store.hold_household(tx.connection, change.household_id)
    if change.roles is not None or change.centre_id is not None or change.disabled is not None:
        store.lock_governing(tx.connection)
    before = store.lock_account(tx.connection, account_id)
    if before is None:
        raise accounts.account_unknown()
    if asker.account_id == account_id and change.password_hash is not None:
        raise NotAllowed(
            "account.own_password",
            N_("Your own password is changed on your own page, where you write the old one too."),
            N_("Open your account from the home page."),
            field="password",
        )
    standing = change.standing(before.standing)
    accounts.check_change(asker, account_id, before.standing, standing)
    if seen is not None and not seen.holds(before):
        raise changed_meanwhile()
    if before.standing.governs and not standing.governs:
        accounts.check_governed(store.count_governing(tx.connection, but=account_id))
    if standing.centre_id != before.standing.centre_id:
        _check_centre(tx.connection, standing.centre_id)
    if standing.household_id != before.standing.household_id:
        _check_household(tx.connection, standing.household_id)
    _check_language(change.language or "")
    if change.email is not None and change.email != before.email:
        _check_email_free(tx.connection, change.email, but=account_id)
    if (
        before.standing.kind is Kind.FAMILY
        and standing.kind is not Kind.FAMILY
        and change.password_hash is None
    ):
        raise Invalid(
            "account.password_needed",
            N_("These roles need a longer password than a family has."),
            N_("Give a new first password together with the new roles."),
            field="password",
        )
    values: dict[str, object] = {}
    if standing != before.standing:
        values |= store.standing_columns(standing)
    if change.email is not None and change.email != before.email:
        values["email"] = change.email
    if change.password_hash is not None:
        values |= {
            "password_hash": change.password_hash,
            "password_chosen": False,
            "password_until": accounts.first_password_until(asker, tx.now),
        }
    ends_sessions = bool(values)
    if change.name is not None and change.name.strip() != before.name:
        values["name"] = change.name.strip()
    if change.language is not None and change.language != before.language:
        values["language"] = change.language
    if not values:
        return
    tx.connection.execute(
        sa.update(store.account)
        .where(store.account.c.id == account_id)
        .values(**values, changed_at=tx.now)
    )
    if standing != before.standing:
        tx.emit(_changed(account_id, standing, tx), centre=standing.centre_id)
    if ends_sessions:
        sessions.revoke_all(tx, account_id, centre=standing.centre_id)


def choose_password(
    tx: Transaction, account_id: str, *, was: str, password_hash: str, keep_session: str
) -> None:
    """Change one's own password; every other session of the account ends.

    ``was`` is the hash that the old password was checked against: when it is no longer the
    account's, somebody else was faster and nothing is changed.
    """
    found = store.lock_account(tx.connection, account_id)
    if found is None or found.standing.disabled or found.password_hash != was:
        raise Refusal(
            "password.changed_meanwhile",
            N_("The password was changed by somebody else in the meantime."),
            N_("Sign in again."),
        )
    tx.connection.execute(
        sa.update(store.account)
        .where(store.account.c.id == account_id)
        .values(
            password_hash=password_hash,
            password_chosen=True,
            password_until=None,
            changed_at=tx.now,
        )
    )
    sessions.revoke_all(tx, account_id, centre=found.standing.centre_id, but=keep_session)


def choose_language(tx: Transaction, account_id: str, language: str) -> None:
    """Choose the language of one's pages; "" lets the browser decide."""
    _check_language(language)
    tx.connection.execute(
        sa.update(store.account)
        .where(store.account.c.id == account_id)
        .values(language=language, changed_at=tx.now)
    )


def revoke_sessions(
    tx: Transaction, asker: Asker, account_id: str, session_ids: tuple[str, ...] | None = None
) -> int:
    """End sessions of an account that the asker may change: all, or those named. Returns how many.

    Raises NotFound or NotAllowed.
    """
    found = store.lock_account(tx.connection, account_id)
    if found is None:
        raise accounts.account_unknown()
    accounts.check_change(asker, account_id, found.standing, found.standing)
    return sessions.revoke_all(tx, account_id, centre=found.standing.centre_id, only=session_ids)


def forget_household(tx: Transaction, household_id: str) -> None:
    """A household is erased: who was here only as its family is forgotten with address, name and
    sessions; who is also something else in the house stays, without the family.

    An account that is made for it at this moment is forgotten as well, or refused: both hold the
    household.
    """
    store.hold_household(tx.connection, household_id)
    for account_id in store.accounts_of_household(tx.connection, household_id):
        found = store.lock_account(tx.connection, account_id)
        if found is None or found.standing.household_id != household_id:
            continue
        if found.standing.kind is not Kind.FAMILY:
            _take_family_away(tx, found)
            continue
        centre = found.standing.centre_id
        sessions.revoke_all(tx, account_id, centre=centre)
        store.delete_account(tx.connection, account_id)
        tx.emit(AccountErased(account_id=account_id, erased_at=tx.now), centre=centre)


def hand_over_household(tx: Transaction, household_id: str, changed_at: datetime) -> None:
    """Somebody left a household, or another holds it: which of its accounts is whose is known to
    staff alone. So each is signed out and its password opens nothing until staff write another;
    who is also something else in the house keeps that, without the family.

    An account made since ``changed_at`` was made for those who are there now, and stays as it is.
    """
    store.hold_household(tx.connection, household_id)
    for account_id in store.accounts_of_household(tx.connection, household_id):
        found = store.lock_account(tx.connection, account_id)
        if (
            found is None
            or found.standing.household_id != household_id
            or found.created_at > changed_at
        ):
            continue
        if found.standing.kind is not Kind.FAMILY:
            _take_family_away(tx, found)
            continue
        if not found.password_hash:
            continue
        tx.connection.execute(
            sa.update(store.account)
            .where(store.account.c.id == account_id)
            .values(password_hash="", password_chosen=False, password_until=None, changed_at=tx.now)
        )
        ended = _changed(account_id, found.standing, tx, password_ended=True)
        tx.emit(ended, centre=found.standing.centre_id)
        sessions.revoke_all(tx, account_id, centre=found.standing.centre_id)


def _take_family_away(tx: Transaction, account: store.Account) -> None:
    """Who is also something else in the house stays that, and is signed out."""
    before = account.standing
    sessions.revoke_all(tx, account.id, centre=before.centre_id)
    standing = replace(before, roles=before.roles - {Role.FAMILY}, household_id="")
    tx.connection.execute(
        sa.update(store.account)
        .where(store.account.c.id == account.id)
        .values(**store.standing_columns(standing), changed_at=tx.now)
    )
    tx.emit(_changed(account.id, standing, tx), centre=standing.centre_id)


def _changed(
    account_id: str, standing: Standing, tx: Transaction, *, password_ended: bool = False
) -> AccountChanged:
    return AccountChanged(
        account_id=account_id,
        roles=tuple(sorted(standing.roles)),
        centre_id=standing.centre_id,
        household_id=standing.household_id,
        organisation_id=standing.organisation_id,
        producer_id=standing.producer_id,
        disabled=standing.disabled,
        changed_at=tx.now,
        password_ended=password_ended,
    )


def _check_centre(connection: sa.Connection, centre_id: str) -> None:
    if not centre_id:
        return
    known = connection.scalar(sa.select(store.centre.c.id).where(store.centre.c.id == centre_id))
    if known is None:
        raise Invalid(
            "centre.unknown",
            N_("There is no such centre."),
            N_("Choose one of the list."),
            field="centre_id",
        )


def _check_household(connection: sa.Connection, household_id: str) -> None:
    if household_id and store.is_gone(connection, household_id):
        raise Invalid(
            "household.erased",
            N_("The data of this household were erased."),
            N_("Register the family anew at the desk, then make the account."),
            field="household_id",
        )


def _check_language(language: str) -> None:
    if language and language not in LANGUAGES:
        raise Invalid(
            "account.language",
            N_("The pages do not speak this language."),
            N_("Choose among: {languages}."),
            field="language",
            languages=", ".join(LANGUAGES),
        )


def _check_email_free(connection: sa.Connection, email: str, *, but: str = "") -> None:
    if store.email_taken(connection, email, but=but):
        raise Refusal(
            "account.email_taken",
            N_("There is an account with this e-mail address already."),
            N_("Use another address, or look for the account in the list."),
            field="email",
        )
