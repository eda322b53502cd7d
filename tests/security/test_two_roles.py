"""Two roles of one account add up, and no more: a family that works in the house, a partner that
does. A role that may not use a route changes nothing of what the route shows to the other one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from messaging.testing import Bench
from runtime.ids import SystemIds
from web import csrf
from web.roles import Role
from web.testing import ORIGIN, Client, token

from .of_others import CENTRE, MINE, NAME, THEIRS, Places, body_of, made_in
from .routes import Rule, rules_of

OWN = {Role.FAMILY, Role.PARTNER, Role.PRODUCER}
"""Roles that see only what is their own."""

ALIKE = {
    ("GET", "/network/api/organisations"),
    ("GET", "/network/api/organisations/{organisation_id}"),
    ("GET", "/network/api/needs/counts"),
    ("GET", "/network/organisations"),
    ("GET", "/network/organisations/{organisation_id}"),
    ("GET", "/network/needs"),
    ("POST", "/notifications/inbox/read"),
    ("GET", "/notifications/preferences"),
    ("GET", "/shop/"),
}
"""What all of a role are answered alike: shared, or of nobody but who asks."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Shown(NamedTuple):
    """An answer: why it was refused, if an endpoint says so, and what of theirs it shows."""

    status: int
    reason: str
    theirs: frozenset[str]


def rules_of_their_own(client: Client) -> Iterator[tuple[Rule, Role]]:
    """Rules that leave out somebody, each with the roles of `OWN` that it lets in; first what
    changes nothing."""
    rules = [rule for rule in rules_of(client.service) if rule.roles and rule.roles != set(Role)]
    for rule in sorted(rules, key=lambda rule: rule.method != "GET"):
        for own in sorted(OWN & (rule.roles or set())):
            yield rule, own


async def shown(client: Client, rule: Rule, theirs: Places, links: Places, *roles: Role) -> Shown:
    """What the route shows of theirs to an account with these links and roles."""
    account = f"account-of-{links['household']}"
    client.sign_in(token(*roles, centre=CENTRE, account=account, **links))
    headers = {"Origin": ORIGIN}
    if "/api/" not in rule.path:
        headers["X-CSRF-Token"] = csrf.token_of(f"session-of-{account}")
    address = rule.address(**theirs)
    body = body_of(rule.route, theirs)
    answer = await client.request(rule.method, address, headers=headers, **body)
    problem = answer.headers.get("content-type", "").startswith("application/problem+json")
    marks = {NAME, *THEIRS.values(), *theirs.values()}
    return Shown(
        answer.status_code,
        answer.json()["reason"] if problem else "",
        frozenset(mark for mark in marks if mark in answer.text),
    )


async def test_a_role_that_may_not_opens_nothing_beside_one_that_may(client: Client) -> None:
    ids = SystemIds(client.clock)
    with Bench(client.service, client.store.url, clock=client.clock, ids=ids) as bench:
        theirs = made_in(bench)
    owner = THEIRS | {"household": theirs.get("household_id", THEIRS["household"])}
    alone = {}
    wrong = []
    for rule, own in rules_of_their_own(client):
        alone[rule, own] = await shown(client, rule, theirs, MINE, own)
        for other in set(Role) - (rule.roles or set()):
            both = await shown(client, rule, theirs, MINE, own, other)
            if both != alone[rule, own]:
                wrong.append((rule.route, own, other, alone[rule, own], both))
    assert not wrong

    # The control: each request comes as far as what it is about, and opens that to whose it is.
    for rule, own in rules_of_their_own(client):
        stranger = alone[rule, own]
        if stranger.status in (401, 403) or stranger.reason == "input.invalid":
            wrong.append((rule.route, own, stranger))
        opened = await shown(client, rule, theirs, owner, own)
        if (opened == stranger) != (rule.route in ALIKE):
            wrong.append((rule.route, own, stranger, opened))
    assert not wrong
