"""What an API token may be narrowed to: a token does what its roles *and* its scopes allow."""

from __future__ import annotations

from collections.abc import Iterable

from contracts.identity import Role
from runtime.refusals import N_, Invalid

_LEADS = frozenset({Role.ADMINISTRATOR, Role.COORDINATOR})
_DESK = _LEADS | {Role.RECEPTION}
_STAFF = _DESK | {Role.TILL, Role.EDUCATOR, Role.CASE_WORKER}
_ALL = frozenset(Role)

SCOPES: dict[str, frozenset[Role]] = {
    "activities:read": _ALL,
    "activities:write": _STAFF | {Role.FAMILY},
    "cards:read": _STAFF | {Role.FAMILY},
    "cards:write": _DESK,
    "events:read": _LEADS,
    "events:write": _LEADS,
    "identity:write": _DESK,
    "network:read": _DESK | {Role.CASE_WORKER, Role.EDUCATOR, Role.PARTNER},
    "network:write": _DESK | {Role.CASE_WORKER, Role.EDUCATOR, Role.PARTNER},
    "notifications:read": _ALL,
    "notifications:write": _ALL,
    "shop:read": _STAFF | {Role.PRODUCER, Role.FAMILY},
    "shop:write": _LEADS | {Role.TILL},
}
"""Every scope and the roles that have any use for it. A service still asks for the role: a scope
only narrows."""

TOGETHER = {"set-aside": ("events:read", "events:write")}
"""One name for several scopes: what is needed for events that were set aside."""


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
    named = sorted({scope for name in wanted for scope in TOGETHER.get(name, (name,))})
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
