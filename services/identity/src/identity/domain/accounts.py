"""What an account may be, and who may make or change which account."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from contracts.identity import Role
from identity.domain.passwords import FIRST_LASTS
from runtime.refusals import N_, Invalid, NotAllowed, NotFound

OPAQUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
LANGUAGES = ("it", "en", "ar", "es", "fr")
"""The languages of the pages; "" means the reader's browser decides."""


class Kind(StrEnum):
    """The coarse sort of an account, by which lists are cut and rules are chosen."""

    STAFF = "staff"
    FAMILY = "family"
    PARTNER = "partner"
    """Producers and people of partner organisations: neither staff nor nothing but a family."""


_STAFF = frozenset(
    {
        Role.ADMINISTRATOR,
        Role.COORDINATOR,
        Role.RECEPTION,
        Role.TILL,
        Role.EDUCATOR,
        Role.CASE_WORKER,
    }
)


def kind_of(roles: Iterable[Role]) -> Kind:
    """Staff if any role is one of staff; family if that is the only role; else partner."""
    given = frozenset(roles)
    if given & _STAFF:
        return Kind.STAFF
    return Kind.FAMILY if given == {Role.FAMILY} else Kind.PARTNER


@dataclass(frozen=True)
class Standing:
    """What an account may do and for whom: everything that its tokens say."""

    roles: frozenset[Role]
    centre_id: str = ""
    household_id: str = ""
    organisation_id: str = ""
    producer_id: str = ""
    disabled: bool = False

    @property
    def kind(self) -> Kind:
        return kind_of(self.roles)

    @property
    def governs(self) -> bool:
        """An administrator of the whole foundation who can sign in."""
        return Role.ADMINISTRATOR in self.roles and not self.centre_id and not self.disabled


@dataclass(frozen=True)
class Asker:
    """Who makes or changes an account. The house itself (first start) is `HOUSE`."""

    account_id: str
    roles: frozenset[Role] = field(default_factory=frozenset)
    centre_id: str = ""


HOUSE = Asker("system", frozenset({Role.ADMINISTRATOR}), "")


def first_password_until(asker: Asker, now: datetime) -> datetime | None:
    """Until when a password holds that the asker gives to somebody else. None for the house: the
    first administrator's was made by whoever installs, and commands sign in with it."""
    return None if asker == HOUSE else now + FIRST_LASTS


def check_standing(standing: Standing) -> None:
    """Raises Invalid when roles, centre and links do not fit together.

    Only administrators may belong to the whole foundation (centre ""). A family account belongs to
    a household, a producer's to a producer, a partner's to an organisation; a case worker may
    belong to an organisation; nobody else is linked to what is not theirs.
    """
    if not standing.roles:
        raise Invalid(
            "account.without_role",
            N_("The account has no role."),
            N_("Choose one role at least."),
            field="roles",
        )
    if not standing.centre_id and Role.ADMINISTRATOR not in standing.roles:
        raise Invalid(
            "account.without_centre",
            N_("Only administrators can belong to the whole foundation."),
            N_("Choose a centre."),
            field="centre_id",
        )
    for name, value, needed_by, allowed in (
        (
            "household_id",
            standing.household_id,
            (Role.FAMILY, N_("A family account needs its household.")),
            {Role.FAMILY},
        ),
        (
            "producer_id",
            standing.producer_id,
            (Role.PRODUCER, N_("A producer's account needs its producer.")),
            {Role.PRODUCER},
        ),
        (
            "organisation_id",
            standing.organisation_id,
            (Role.PARTNER, N_("A partner's account needs its organisation.")),
            {Role.PARTNER, Role.CASE_WORKER},
        ),
    ):
        role, sentence = needed_by
        if role in standing.roles and not value:
            raise Invalid("account.link_missing", sentence, N_("Write its identifier."), field=name)
        if value and not standing.roles & allowed:
            raise Invalid(
                "account.link_without_role",
                N_("This link does not belong to the chosen roles."),
                N_("Leave it empty, or choose the role that it belongs to."),
                field=name,
            )
        if value and not OPAQUE.fullmatch(value):
            raise Invalid(
                "account.link_malformed",
                N_("This is not an identifier."),
                N_("Copy it from the page of the household, producer or organisation."),
                field=name,
            )


def manageable_roles(asker: Asker) -> frozenset[Role]:
    """The roles that an asker may give and whose holders they may change.

    Administrators: all. Coordinators: all but administrator. Reception: family alone.
    """
    if Role.ADMINISTRATOR in asker.roles:
        return frozenset(Role)
    if Role.COORDINATOR in asker.roles:
        return frozenset(Role) - {Role.ADMINISTRATOR}
    if Role.RECEPTION in asker.roles:
        return frozenset({Role.FAMILY})
    return frozenset()


def in_reach(asker: Asker, centre_id: str) -> bool:
    """True when the asker may know of what belongs to this centre."""
    if not asker.centre_id:
        return Role.ADMINISTRATOR in asker.roles
    return asker.centre_id == centre_id


def may_see(asker: Asker, standing: Standing) -> bool:
    """Administrators and coordinators see every account in their reach, reception the families."""
    if not in_reach(asker, standing.centre_id):
        return False
    if asker.roles & {Role.ADMINISTRATOR, Role.COORDINATOR}:
        return True
    return Role.RECEPTION in asker.roles and standing.kind is Kind.FAMILY


def check_create(asker: Asker, wanted: Standing) -> None:
    """Raises NotAllowed when the asker may not make such an account, Invalid when it is none."""
    check_standing(wanted)
    if not in_reach(asker, wanted.centre_id):
        raise NotAllowed(
            "account.other_centre",
            N_("You can make accounts for your own centre only."),
            N_("Choose your centre, or ask an administrator."),
            field="centre_id",
        )
    _check_roles(asker, wanted.roles)


def check_change(asker: Asker, account_id: str, before: Standing, after: Standing) -> None:
    """Raises NotFound, NotAllowed or Invalid when this change is not theirs to make.

    Nobody changes their own roles, links, centre or whether they can sign in: so nobody locks
    themselves out or climbs.
    """
    if not may_see(asker, before):
        raise account_unknown()
    _check_roles(asker, before.roles)
    if before == after:
        return
    if asker.account_id == account_id:
        raise NotAllowed(
            "account.own",
            N_("You cannot change your own roles, or disable your own account."),
            N_("Ask another administrator or coordinator."),
        )
    check_create(asker, after)


def account_unknown() -> NotFound:
    """The one answer for an account that is not there and for one that may not be seen."""
    return NotFound(
        "account.unknown",
        N_("There is no such account."),
        N_("Look for it in the list of accounts."),
    )


def check_governed(others_governing: int) -> None:
    """Raises NotAllowed when a change would leave nobody to govern the foundation."""
    if others_governing < 1:
        raise NotAllowed(
            "account.last_administrator",
            N_("This is the last administrator of the foundation."),
            N_("Make another administrator first."),
        )


def _check_roles(asker: Asker, roles: frozenset[Role]) -> None:
    if not roles <= manageable_roles(asker):
        raise NotAllowed(
            "account.roles_above",
            N_("You cannot give these roles, or change who has them."),
            N_("Ask a coordinator or an administrator."),
            field="roles",
        )
