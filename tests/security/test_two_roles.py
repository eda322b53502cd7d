"""Two roles of one account add up, and no more: a family that works in the house, a partner that
does. A role that may not use a route changes nothing of what the route shows to the other one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import sqlalchemy as sa

import cards.commands
import cards.models
import network.commands
import network.models
import notifications.store
from network.store import Who
from web.roles import Role
from web.testing import Client, token

from .routes import Rule, rules_of

CENTRE = "centre-1"
OWN = (Role.FAMILY, Role.PARTNER, Role.PRODUCER)
"""Roles that see only what is their own."""
MINE = {"household": "household-1", "organisation": "organisation-1", "producer": "producer-1"}

BODIES: Mapping[tuple[str, str], Any] = {
    ("PUT", "/notifications/api/households/{household_id}/preferences"): {},
    ("POST", "/network/api/services/{service_id}/capacity"): {"capacity": "none"},
}
"""What a request needs to come as far as what it is about."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def of_others(client: Client) -> dict[str, str]:
    """Ids of what is of the centre and not of whoever asks, made here."""
    if client.service.name == "cards":
        new = cards.models.HouseholdNew(
            members=[cards.models.Member(given_name="Amina", family_name="Rossi")]
        )
        made = await client.run(
            lambda tx: cards.commands.register_household(tx, new), centre=CENTRE
        )
        return {"household_id": made}
    if client.service.name == "notifications":
        known = sa.insert(notifications.store.household_seen).values(
            household_id="household-2",
            centre_id=CENTRE,
            holder_id="holder-2",
            erased=False,
            changed_at=client.clock.now(),
        )
        await client.store.write(lambda connection: connection.execute(known))
        return {"household_id": "household-2"}
    if client.service.name == "network":
        return await client.run(_organisation)
    return {}


def _organisation(tx: Any) -> dict[str, str]:
    who = Who("coordinator", CENTRE, staff=True, editor=True)
    organisation = network.commands.register_organisation(
        tx, who, network.models.NewOrganisation(name="Auser")
    )
    service = network.commands.register_service(
        tx, who, organisation, network.models.NewService(name="Jobs", area="work")
    )
    return {"organisation_id": organisation, "service_id": service}


async def test_a_role_that_may_not_opens_nothing_beside_one_that_may(client: Client) -> None:
    theirs = await of_others(client)

    async def answered(rule: Rule, *roles: Role) -> int:
        client.sign_in(token(*roles, centre=CENTRE, **MINE))
        body = BODIES.get(rule.route)
        more = {} if body is None else {"json": body}
        return (await client.request(rule.method, rule.address(**theirs), **more)).status_code

    wrong = []
    for rule in rules_of(client.service):
        if rule.roles is None:
            continue
        for own in set(OWN) & rule.roles:
            alone = await answered(rule, own)
            for other in set(Role) - rule.roles:
                both = await answered(rule, own, other)
                if both != alone:
                    wrong.append((rule.route, own, other, alone, both))
    assert not wrong
