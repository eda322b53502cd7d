"""Facts of identity, on ``identity.events``: centres, accounts, sessions and signing keys."""

from __future__ import annotations

from enum import StrEnum

from contracts.event import Event, Id, Moment

TOPIC = "identity.events"


class Role(StrEnum):
    """What a person may be in the house (DESIGN §1)."""

    ADMINISTRATOR = "administrator"
    COORDINATOR = "coordinator"
    RECEPTION = "reception"
    TILL = "till"
    EDUCATOR = "educator"
    CASE_WORKER = "case_worker"
    PRODUCER = "producer"
    FAMILY = "family"
    PARTNER = "partner"


class CentreOpened(Event, type="identity.centre.opened", topic=TOPIC, key="centre_id"):
    """A centre exists. ``time_zone`` is an IANA name; ``region`` an ISO 3166-2 code (holidays)."""

    centre_id: Id
    name: str
    time_zone: str = "Europe/Rome"
    region: str = "IT-MI"
    languages: tuple[str, ...] = ("it", "en", "ar", "es", "fr")
    opened_at: Moment


class AccountCreated(Event, type="identity.account.created", topic=TOPIC, key="account_id"):
    """Somebody can sign in. No name and no address: these stay in identity."""

    account_id: Id
    roles: tuple[Role, ...]
    centre_id: str = ""
    household_id: str = ""
    organisation_id: str = ""
    producer_id: str = ""
    created_at: Moment


class AccountChanged(Event, type="identity.account.changed", topic=TOPIC, key="account_id"):
    """Roles or links of an account are now these; ``disabled`` accounts cannot sign in."""

    account_id: Id
    roles: tuple[Role, ...]
    centre_id: str = ""
    household_id: str = ""
    organisation_id: str = ""
    producer_id: str = ""
    disabled: bool = False
    changed_at: Moment
    password_ended: bool = False
    """Its password opens nothing from now on, until staff write another; none is ever told."""


class AccountErased(Event, type="identity.account.erased", topic=TOPIC, key="account_id"):
    """The household of an account was erased: address, name and password are gone."""

    account_id: Id
    erased_at: Moment


class SessionRevoked(Event, type="identity.session.revoked", topic=TOPIC, key="session_id"):
    """Tokens of this session are refused from now on; after ``until`` none can be valid anyway."""

    session_id: Id
    account_id: Id
    revoked_at: Moment
    until: Moment


class KeyPublished(Event, type="identity.key.published", topic=TOPIC, key="key_id"):
    """A public key that signs tokens. ``public_key``: raw Ed25519, base64url."""

    key_id: Id
    algorithm: str = "EdDSA"
    public_key: str
    not_before: Moment
    not_after: Moment
