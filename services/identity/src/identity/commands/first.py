"""What a start does: keys in turn, work scheduled, and at the very first start an administrator."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts.identity import Role
from identity import sealing, store
from identity.commands import accounts, centres, housekeeping, keys
from identity.commands.accounts import NewAccount
from identity.commands.centres import NewCentre
from identity.domain.accounts import HOUSE, Standing
from identity.domain.addresses import email_of
from identity.domain.passwords import acceptable
from identity.hashing import HASHER
from messaging import Transaction, restoring
from runtime.ids import derived
from runtime.logging import get_logger
from runtime.refusals import Refusal
from runtime.settings import Settings, SettingsError

SETTING = "VICINATO_FIRST_ADMIN_FILE"
FIRST_CENTRE = "default"
FIRST_ACCOUNT = derived("identity", "first administrator")

log = get_logger()


class IdentitySettings(Settings):
    """What identity may be told besides."""

    identity_key_file: Path | None = Field(
        None,
        description="file with the secret that seals the signing keys in the store; a further line "
        "for each former one",
    )
    first_admin_file: Path | None = Field(
        None,
        description="JSON file {email, password, centre_name?}: the administrator to make at the "
        "first start, when there is no account yet",
    )


class FirstAdministrator(BaseModel):
    """The content of that file; ``centre_name`` has a first centre opened, named so."""

    model_config = ConfigDict(extra="forbid")

    email: str
    password: str
    centre_name: str = ""


def start(tx: Transaction, settings: Settings) -> None:
    """Before anything is answered. Run again it changes nothing but the keys' turn.

    Raises SettingsError for a file that cannot be used.
    """
    assert isinstance(settings, IdentitySettings)
    sealing.use(sealing.read(settings.identity_key_file))
    keys.seal_anew(tx)
    keys.keep_in_turn(tx)
    housekeeping.schedule(tx, after=timedelta(0))
    if settings.first_admin_file is not None:
        make_first_administrator(tx, settings.first_admin_file)


def after_restore(tx: Transaction, settings: Settings) -> None:
    """In a store from a backup every key, token and session ends. On a machine that knows nothing
    of the old passwords the first administrator's becomes the one of the file: whoever put the
    backup back holds both. What the old secret had sealed need not be opened: it goes."""
    assert isinstance(settings, IdentitySettings)
    sealing.use(sealing.read(settings.identity_key_file))
    keys.turn(tx)
    put_back = restoring.read(tx.connection)
    if put_back is not None and put_back.new_machine and settings.first_admin_file is not None:
        made = HASHER.hash(_read(settings.first_admin_file).password)
        tx.connection.execute(
            sa.update(store.account)
            .where(store.account.c.id == FIRST_ACCOUNT)
            .values(password_hash=made, password_until=None)
        )


def make_first_administrator(tx: Transaction, file: Path) -> None:
    """Make the administrator of the file, of the whole foundation, unless there is any account.

    The one password that is hashed inside a transaction: nobody else can be waiting for the store.
    """
    if tx.connection.scalar(sa.select(store.account.c.id).limit(1)) is not None:
        return
    first = _read(file)
    standing = Standing(frozenset({Role.ADMINISTRATOR}))
    try:
        email = email_of(first.email)
        password = acceptable(
            first.password, email=email, roles=standing.roles, names=[first.centre_name]
        )
        accounts.create_account(
            tx, HOUSE, NewAccount(email, HASHER.hash(password), standing), account_id=FIRST_ACCOUNT
        )
        if first.centre_name:
            centres.open_centre(tx, HOUSE, NewCentre(first.centre_name, id=FIRST_CENTRE))
    except Refusal as refusal:
        raise SettingsError(f"{SETTING}: {refusal}") from None
    log.info("identity.first_administrator.made", subject_id=FIRST_ACCOUNT)


def _read(file: Path) -> FirstAdministrator:
    try:
        return FirstAdministrator.model_validate_json(file.read_bytes())
    except OSError:
        raise SettingsError(f"{SETTING}: {file} cannot be read") from None
    except ValidationError as error:
        wrong: Mapping[str, object] = error.errors(include_input=False)[0]
        raise SettingsError(f"{SETTING}: {file}: {wrong['loc']}: {wrong['msg']}") from None
