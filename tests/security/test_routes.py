"""Every route of every service asks who it is and what role: the routes are read from the
applications, the rules from ``routes.rules``. What belongs to whom is in ``test_two_roles.py``."""

from __future__ import annotations

import httpx
import pytest

from web import csrf
from web.roles import STAFF, Role
from web.testing import ORIGIN, Client, token

from .routes import OWN, Rule, routes_of, rules_of

CENTRE = "centre-1"
ACCOUNT = "account-1"
LINKS = {"household": "household-1", "organisation": "organisation-1", "producer": "producer-1"}

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def ask(client: Client, rule: Rule, signed: str = "") -> httpx.Response:
    """The request of a rule with nothing in it, as a browser of this site or a program sends it."""
    client.sign_in(signed)
    headers = {"Origin": ORIGIN}
    if signed and "/api/" not in rule.path:
        headers["X-CSRF-Token"] = csrf.token_of(f"session-of-{ACCOUNT}")
    return await client.request(rule.method, rule.address(), headers=headers)


async def ask_as_program(client: Client, rule: Rule, *scopes: str) -> httpx.Response:
    assert rule.roles
    signed = token(*rule.roles, centre=CENTRE, account=ACCOUNT, scopes=scopes, **LINKS)
    client.sign_in("")
    headers = {"Authorization": f"Bearer {signed}"}
    return await client.request(rule.method, rule.address(), headers=headers)


def reason(answer: httpx.Response) -> str:
    """Why it was refused, by the problem or by the page."""
    if answer.headers.get("content-type", "").startswith("application/problem+json"):
        return str(answer.json()["reason"])
    for sentence, found in SENTENCES.items():
        if sentence in answer.text:
            return found
    return ""


SENTENCES = {
    "Your role does not allow this.": "auth.role",
    "This token does not allow this.": "auth.scope",
    "Your account belongs to no centre.": "auth.centre",
}


async def test_every_route_has_a_rule_and_every_rule_a_route(client: Client) -> None:
    written = [rule.route for rule in rules_of(client.service)]
    assert len(written) == len(set(written)), "a route stands twice in routes.rules"
    assert routes_of(client.app) == set(written)


async def test_nobody_comes_in_unknown_but_where_anybody_may(client: Client) -> None:
    wrong = []
    for rule in rules_of(client.service):
        answer = await ask(client, rule)
        if rule.roles is None:
            good = answer.status_code not in (401, 403)
        elif "/api/" in rule.path or "/live/" in rule.path:
            good = answer.status_code == 401 and reason(answer) == "auth.missing"
            good = good and "Bearer" in answer.headers["www-authenticate"]
        else:
            good = answer.status_code == (303 if rule.method == "GET" else 307)
            good = good and answer.headers["location"].startswith("/identity/renew?next=%2F")
        if not good:
            wrong.append((rule.route, answer.status_code, answer.headers.get("location")))
    assert not wrong


async def test_a_role_does_what_is_written_and_nothing_else(client: Client) -> None:
    wrong = []

    async def look(rule: Rule, *roles: Role, may: bool) -> None:
        signed = token(*roles, centre=CENTRE, account=ACCOUNT, **LINKS)
        answer = await ask(client, rule, signed)
        refused = answer.status_code == 403 and reason(answer) == "auth.role"
        fine = answer.status_code < 500 or answer.status_code == 503
        if refused == may or answer.status_code == 401 or not fine:
            wrong.append((rule.route, roles, answer.status_code, reason(answer)))

    for rule in rules_of(client.service):
        if rule.roles is None:
            continue
        for role in rule.roles if rule.roles != set(Role) else {Role.PRODUCER}:
            await look(rule, role, may=True)
        if others := set(Role) - rule.roles:
            await look(rule, *others, may=False)
    assert not wrong


async def test_the_whole_foundation_sees_every_page_or_is_asked_for_the_centre(
    client: Client,
) -> None:
    signed = token(Role.ADMINISTRATOR, account=ACCOUNT, foundation=True)
    wrong = []
    for rule in rules_of(client.service):
        apart = "/api/" in rule.path or "/live/" in rule.path
        if rule.method != "GET" or apart or Role.ADMINISTRATOR not in (rule.roles or ()):
            continue
        answer = await ask(client, rule, signed)
        if answer.status_code not in (200, 303, 404):
            wrong.append((rule.route, answer.status_code, reason(answer)))
    assert not wrong


async def test_a_program_needs_the_scope_as_well(client: Client) -> None:
    wrong = []
    for rule in rules_of(client.service):
        if rule.roles is None:
            continue
        others = [s for s in ("cards:write", "shop:write", "events:write") if s != rule.scope]
        answer = await ask_as_program(client, rule, *others)
        hidden = rule.scope == OWN and rule.method == "DELETE" and answer.status_code == 404
        if not hidden and (answer.status_code, reason(answer)) != (403, "auth.scope"):
            wrong.append((rule.route, answer.status_code, reason(answer)))
        if rule.scope and rule.scope != OWN:
            answer = await ask_as_program(client, rule, rule.scope)
            if reason(answer) in ("auth.scope", "auth.role") or answer.status_code == 401:
                wrong.append((rule.route, answer.status_code, reason(answer)))
    assert not wrong


async def test_staff_of_no_centre_see_no_centre(client: Client) -> None:
    """Only administrators work for the whole foundation; a token without a centre is no way in."""
    wrong = []
    for rule in rules_of(client.service):
        if rule.roles is None or rule.roles == frozenset(Role):
            continue
        if roles := (STAFF - {Role.ADMINISTRATOR}) & rule.roles:
            answer = await ask(client, rule, token(*roles, account=ACCOUNT))
            if (answer.status_code, reason(answer)) != (403, "auth.centre"):
                wrong.append((rule.route, answer.status_code, reason(answer)))
    assert not wrong


FORGED: tuple[dict[str, str], ...] = (
    {"Origin": "https://elsewhere.example", "X-CSRF-Token": "{mine}"},
    {"Origin": "null", "X-CSRF-Token": "{mine}"},
    {"Origin": f"{ORIGIN}.elsewhere.example", "X-CSRF-Token": "{mine}"},
    {"Sec-Fetch-Site": "cross-site", "X-CSRF-Token": "{mine}"},
    {"Sec-Fetch-Site": "same-site", "X-CSRF-Token": "{mine}"},
    {"Origin": ORIGIN, "X-CSRF-Token": csrf.token_of("session-of-somebody-else")},
    {"Origin": ORIGIN},
    {},
)
"""What a browser would send with the cookie of somebody who did not mean it."""


async def test_a_form_of_another_site_or_session_changes_nothing(client: Client) -> None:
    """Cookies alone are not enough: the browser's word on where it comes from, and the token."""
    mine = csrf.token_of(f"session-of-{ACCOUNT}")
    client.sign_in(token(*Role, centre=CENTRE, account=ACCOUNT, **LINKS))
    wrong = []
    for rule in rules_of(client.service):
        if rule.method == "GET":
            continue
        all_ways = rule.path.endswith(("/language", "/wishes", "/api/clock/confirm"))
        for headers in FORGED if all_ways else (FORGED[0], FORGED[-1]):
            sent = {name: value.format(mine=mine) for name, value in headers.items()}
            # As a browser: with the cookie, without Authorization.
            answer = await client.http.request(rule.method, rule.address(), headers=sent)
            if answer.status_code != 403:
                wrong.append((rule.route, headers, answer.status_code))
    assert not wrong
