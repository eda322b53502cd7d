"""What an API token may be narrowed to: a token does what its roles *and* its scopes allow."""

from __future__ import annotations

from collections.abc import Iterable

from contracts.identity import Role
from runtime.refusals import N_, Invalid

SCOPES: dict[str, frozenset[Role]] = {
    "activities:read": frozenset(Role),
    "activities:write": frozenset(
        {
            Role.ADMINISTRATOR,
            Role.COORDINATOR,
            Role.RECEPTION,
            Role.EDUCATOR,
            Role.CASE_WORKER,
            Role.FAMILY,
        }
    ),
    "cards:read": frozenset(
        {
            Role.ADMINISTRATOR,
            Role.COORDINATOR,
            Role.RECEPTION,
            Role.TILL,
            Role.EDUCATOR,
            Role.CASE_WORKER,
            Role.FAMILY,
        }
    ),
    "cards:write": frozenset({Role.ADMINISTRATOR, Role.COORDINATOR, Role.RECEPTION}),
    "events:read": frozenset({Role.ADMINISTRATOR, Role.COORDINATOR}),
    "events:write": frozenset({Role.ADMINISTRATOR, Role.COORDINATOR}),
    "identity:write": frozenset({Role.ADMINISTRATOR, Role.COORDINATOR, Role.RECEPTION}),
    "network:read": frozenset(
        {
            Role.ADMINISTRATOR,
            Role.COORDINATOR,
            Role.RECEPTION,
            Role.CASE_WORKER,
            Role.PARTNER,
        }
    ),
    "network:write": frozenset(
        {
            Role.ADMINISTRATOR,
            Role.COORDINATOR,
            Role.RECEPTION,
            Role.CASE_WORKER,
            Role.PARTNER,
        }
    ),
    "notifications:read": frozenset(Role),
    "set-aside": frozenset({Role.ADMINISTRATOR, Role.COORDINATOR}),
    "shop:read": frozenset(
        {
            Role.ADMINISTRATOR,
            Role.COORDINATOR,
            Role.RECEPTION,
            Role.TILL,
            Role.PRODUCER,
            Role.FAMILY,
        }
    ),
    "shop:write": frozenset({Role.ADMINISTRATOR, Role.COORDINATOR, Role.TILL}),
}
"""Every scope and the roles that have any use for it."""


def allowed_to(roles: Iterable[Role]) -> tuple[str, ...]:
    """All scopes that these roles may ask for, sorted."""
    given = frozenset(roles)
    return tuple(sorted(scope for scope, may in SCOPES.items() if given & may))


def chosen(roles: Iterable[Role], wanted: Iterable[str] | None) -> tuple[str, ...]:
    """The scopes of a new token, sorted; all that the roles may when none are named.

    Raises Invalid("scope.unknown") or Invalid("scope.not_yours").
    """
    may = allowed_to(roles)
    if wanted is None:
        return may
    named = sorted(set(wanted))
    for scope in named:
        if scope not in SCOPES:
            raise Invalid(
                "scope.unknown",
                N_("There is no such permission: {scope}."),
                N_("Choose among: {scopes}."),
                field="scopes",
                scope=scope[:40],
                scopes=", ".join(SCOPES),
            )
        if scope not in may:
            raise Invalid(
                "scope.not_yours",
                N_("Your roles do not give this permission: {scope}."),
                N_("Choose among: {scopes}."),
                field="scopes",
                scope=scope,
                scopes=", ".join(may),
            )
    if not named:
        raise Invalid(
            "scope.none",
            N_("A token without any permission can do nothing."),
            N_("Choose among: {scopes}."),
            field="scopes",
            scopes=", ".join(may),
        )
    return tuple(named)
