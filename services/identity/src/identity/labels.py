"""What things are called on pages, as msgids."""

from __future__ import annotations

from contracts.identity import Role
from identity.domain.accounts import Kind
from runtime.refusals import N_

ROLES: dict[Role, str] = {
    Role.ADMINISTRATOR: N_("Administrator"),
    Role.COORDINATOR: N_("Coordinator"),
    Role.RECEPTION: N_("Reception"),
    Role.TILL: N_("Till"),
    Role.EDUCATOR: N_("Educator"),
    Role.CASE_WORKER: N_("Help desk operator"),
    Role.PRODUCER: N_("Producer"),
    Role.FAMILY: N_("Family"),
    Role.PARTNER: N_("Partner organisation"),
}

KINDS: dict[Kind, str] = {
    Kind.STAFF: N_("Staff"),
    Kind.FAMILY: N_("Families"),
    Kind.PARTNER: N_("Producers and partners"),
}

SCOPES: dict[str, str] = {
    "activities:read": N_("Read activities and registers"),
    "activities:write": N_("Change activities, sign-ups and registers"),
    "cards:read": N_("Read households, cards and points"),
    "cards:write": N_("Change households, cards and points"),
    "events:read": N_("Read events that were set aside"),
    "events:write": N_("Decide about events that were set aside"),
    "identity:write": N_("Read and change accounts and centres"),
    "network:read": N_("Read organisations, needs and referrals"),
    "network:write": N_("Change organisations, needs and referrals"),
    "notifications:read": N_("Read messages"),
    "notifications:write": N_("Send messages and change preferences"),
    "shop:read": N_("Read products, stock and sales"),
    "shop:write": N_("Sell, and change products and stock"),
}
