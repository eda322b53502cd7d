"""Who asks: the roles of the house and the caller that a checked token names."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from contracts.identity import Role

__all__ = ["ANONYMOUS", "LEADS", "STAFF", "Caller", "Role"]

STAFF = frozenset(
    {
        Role.ADMINISTRATOR,
        Role.COORDINATOR,
        Role.RECEPTION,
        Role.TILL,
        Role.EDUCATOR,
        Role.CASE_WORKER,
    }
)
"""Roles of people who work for a centre; the others see only what is their own."""

LEADS = (Role.ADMINISTRATOR, Role.COORDINATOR)
"""Who answers for a centre and for the machine that it runs on."""


@dataclass(frozen=True)
class Caller:
    """Somebody whose token was checked, or nobody (``account_id == ""``).

    ``centre_id`` is "" for nobody and for administrators of the whole foundation, unless these have
    chosen a centre to work in for now (``foundation``, and ``place`` is its name). ``scopes`` is
    None for people in a browser; an API token may do what its roles *and* its scopes allow.
    ``zone`` is the IANA name of the centre's time zone, "" for the default. ``over`` is when the
    session ends if nobody comes back, None where that is not known.
    """

    account_id: str = ""
    session_id: str = ""
    roles: frozenset[Role] = frozenset()
    centre_id: str = ""
    scopes: frozenset[str] | None = None
    household_id: str = ""
    organisation_id: str = ""
    producer_id: str = ""
    language: str = ""
    zone: str = ""
    foundation: bool = False
    place: str = ""
    over: datetime | None = None

    @property
    def signed_in(self) -> bool:
        return bool(self.account_id)

    @property
    def staff(self) -> bool:
        """True for people who work for a centre."""
        return bool(self.roles & STAFF)

    def has(self, *roles: Role) -> bool:
        """True when the caller has one of these roles at least."""
        return bool(self.roles.intersection(roles))


ANONYMOUS = Caller()
