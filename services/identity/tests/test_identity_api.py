"""The HTTP API of identity: who may, what comes back, what is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from contracts.identity import AccountCreated, CentreOpened, Role, SessionRevoked
from identity import edge, store
from identity.domain import throttle
from messaging.tables import idempotency, outbox
from runtime.clock import FixedClock
from web.testing import Client, token
from web.tokens import key_id_of, public_key, verify

from .identity_house import ANNA, NORTH, PASSWORD, SOUTH, somebody

TOKENS = "/identity/api/tokens"
ACCOUNTS = "/identity/api/accounts"
CENTRES = "/identity/api/centres"

BOSS = token(Role.ADMINISTRATOR, account="boss")
LEAD = token(Role.COORDINATOR, centre=NORTH, account="lead")
DESK = token(Role.RECEPTION, centre=NORTH, account="desk")


async def person(client: Client, email: str, *roles: Role, **more: str) -> str:
    return await client.run(lambda tx: somebody(tx, email, *roles, **more))


async def events(client: Client, kind: Any) -> list[Any]:
    bodies = await client.read(
        lambda c: c.scalars(
            sa.select(outbox.c.body).where(outbox.c.type == kind.ce_type()).order_by(outbox.c.row)
        ).all()
    )
    return [kind.model_validate_json(body) for body in bodies]


# -- tokens --------------------------------------------------------------------------------------


async def test_a_program_gets_a_token_and_works_with_it(client: Client, clock: FixedClock) -> None:
    account_id = await person(client, ANNA, Role.RECEPTION)
    answer = await client.post(TOKENS, json={"email": "Anna@Example.org", "password": PASSWORD})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["token_type"] == "Bearer"
    assert "cards:write" in made["scopes"]
    assert "shop:write" not in made["scopes"]
    expires = clock.now() + timedelta(hours=12)
    assert made["expires_at"] == expires.isoformat().replace("+00:00", "Z")
    assert answer.headers["cache-control"] == "no-store"

    keys = (await client.get("/identity/.well-known/jwks.json")).json()["keys"]
    (key,) = [k for k in keys if k["kid"] == key_id_of(made["token"])]
    assert (key["kty"], key["crv"], key["alg"]) == ("OKP", "Ed25519", "EdDSA")
    claims = verify(made["token"], public_key(key["x"]), clock.now())
    assert (claims.sub, claims.sid, claims.typ) == (account_id, made["id"], "api")

    client.sign_in(made["token"])
    mine = (await client.get(TOKENS)).json()["items"]
    assert [one["id"] for one in mine] == [made["id"]]
    assert mine[0]["current"] is True
    assert "token" not in mine[0]
    assert (await client.get(ACCOUNTS)).status_code == 200
    assert (await client.delete(f"{TOKENS}/{made['id']}")).status_code == 204
    await client.parts.keys.refresh()
    assert (await client.get(TOKENS)).status_code == 401
    assert [e.session_id for e in await events(client, SessionRevoked)] == [made["id"]]


async def test_a_token_is_narrowed_by_scopes_and_days(client: Client) -> None:
    await person(client, ANNA, Role.ADMINISTRATOR, centre="")
    body = {"email": ANNA, "password": PASSWORD, "scopes": ["shop:read"], "days": 90, "name": " x "}
    made = (await client.post(TOKENS, json=body)).json()
    assert made["scopes"] == ["shop:read"]
    client.sign_in(made["token"])
    for path in (ACCOUNTS, TOKENS, CENTRES):
        answer = await client.get(path)
        assert answer.status_code == 403
        assert answer.json()["reason"] == "auth.scope"
    assert (await client.delete(f"{TOKENS}/another")).status_code == 404
    assert (await client.delete(f"{TOKENS}/{made['id']}")).status_code == 204, "itself it may end"


async def test_wrong_scopes_are_no_guess_at_a_password(client: Client) -> None:
    await person(client, ANNA, Role.RECEPTION)
    for _ in range(2 * throttle.FROM_ONE_PLACE.burst):
        body = {"email": ANNA, "password": PASSWORD, "scopes": ["shop:burn"]}
        assert (await client.post(TOKENS, json=body)).status_code == 422


TOKENS_REFUSED: list[tuple[dict[str, Any], int, str, str | None]] = [
    ({"scopes": ["shop:burn"]}, 422, "scope.unknown", "scopes"),
    ({"scopes": ["shop:write"]}, 422, "scope.not_yours", "scopes"),
    ({"scopes": []}, 422, "scope.none", "scopes"),
    ({"days": 0}, 422, "token.days", "days"),
    ({"days": 91}, 422, "token.days", "days"),
    ({"days": "many"}, 422, "input.invalid", "days"),
    ({"surprise": 1}, 422, "input.invalid", "surprise"),
    ({"password": ""}, 422, "input.invalid", "password"),
    ({"password": "wrong"}, 401, "sign_in.wrong", None),
    ({"email": "nobody@example.org"}, 401, "sign_in.wrong", None),
    ({"email": "no address"}, 401, "sign_in.wrong", None),
]


async def test_a_token_is_refused_for_a_reason(client: Client) -> None:
    await person(client, ANNA, Role.RECEPTION)
    for more, status, reason, field in TOKENS_REFUSED:
        answer = await client.post(TOKENS, json={"email": ANNA, "password": PASSWORD, **more})
        assert answer.status_code == status, answer.text
        problem = answer.json()
        assert problem["reason"] == reason
        assert problem["detail"]
        assert [e["field"] for e in problem["errors"]] == ([field] if field else []), more
        assert PASSWORD not in answer.text
    count = sa.select(sa.func.count(store.session.c.id))
    assert await client.read(lambda c: c.scalar(count)) == 0


async def test_unknown_wrong_and_disabled_are_answered_the_same(client: Client) -> None:
    await person(client, ANNA, Role.RECEPTION)
    disabled = await person(client, "gone@example.org", Role.RECEPTION)
    client.sign_in(BOSS)
    await client.patch(f"{ACCOUNTS}/{disabled}", json={"disabled": True})
    client.sign_in("")
    answers = []
    for email, password in (
        (ANNA, "not the password"),
        ("nobody@example.org", "not the password"),
        ("gone@example.org", PASSWORD),
    ):
        answer = await client.post(TOKENS, json={"email": email, "password": password})
        problem = answer.json()
        problem.pop("correlation")
        answers.append((answer.status_code, problem))
    assert answers[0] == answers[1] == answers[2]


async def test_the_same_work_is_done_for_an_address_that_nobody_has(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time is not measured here but what takes it: one hash each."""
    await person(client, ANNA, Role.RECEPTION)
    hashed: list[str] = []
    real = edge.HASHING.matches

    async def matches(stored: str, password: str) -> bool:
        hashed.append(password)
        return await real(stored, password)

    monkeypatch.setattr(edge.HASHING, "matches", matches)
    for email in (ANNA, "nobody@example.org"):
        await client.post(TOKENS, json={"email": email, "password": "wrong"})
    assert hashed == ["wrong", "wrong"]


async def test_guessing_is_slowed_with_a_sentence_and_a_time(
    client: Client, clock: FixedClock
) -> None:
    await person(client, ANNA, Role.RECEPTION)
    wrong = {"email": ANNA, "password": "wrong"}
    for _ in range(throttle.FROM_ONE_PLACE.burst):
        assert (await client.post(TOKENS, json=wrong)).status_code == 401
    answer = await client.post(TOKENS, json={"email": ANNA, "password": PASSWORD})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) == 60
    assert answer.json()["detail"]
    assert answer.json()["next_step"]
    clock.advance(timedelta(seconds=60))
    answer = await client.post(TOKENS, json={"email": ANNA, "password": PASSWORD})
    assert answer.status_code == 201


async def test_a_token_that_is_asked_for_twice_is_one(client: Client) -> None:
    await person(client, ANNA, Role.RECEPTION)
    key = {"Idempotency-Key": "one-and-only"}
    body = {"email": ANNA, "password": PASSWORD, "days": 3}
    first = await client.post(TOKENS, json=body, headers=key)
    again = await client.post(TOKENS, json=body, headers=key)
    assert first.json() == again.json()
    other = await client.post(TOKENS, json={**body, "days": 4}, headers=key)
    assert other.json()["reason"] == "idempotency.other_content"
    kept = await client.read(lambda c: str(c.execute(sa.select(idempotency)).all()))
    assert first.json()["token"] not in kept
    assert PASSWORD not in kept


# -- centres -------------------------------------------------------------------------------------


async def test_the_foundation_opens_a_centre(client: Client) -> None:
    client.sign_in(BOSS)
    body = {"id": "quarto-oggiaro", "name": "Quarto Oggiaro", "languages": ["it", "ar"]}
    answer = await client.post(CENTRES, json=body)
    assert answer.status_code == 201
    assert answer.json()["id"] == "quarto-oggiaro"
    assert answer.json()["time_zone"] == "Europe/Rome"
    assert (await client.post(CENTRES, json=body)).status_code == 201
    taken = await client.post(CENTRES, json={**body, "name": "Another"})
    assert (taken.status_code, taken.json()["reason"]) == (409, "centre.id_taken")
    assert len(await events(client, CentreOpened)) == 3
    listed = (await client.get(CENTRES, params={"limit": 2})).json()
    assert [one["id"] for one in listed["items"]] == [NORTH, "quarto-oggiaro"]
    rest = (await client.get(CENTRES, params={"after": listed["next"]})).json()
    assert [one["id"] for one in rest["items"]] == [SOUTH]
    client.sign_in(LEAD)
    assert [one["id"] for one in (await client.get(CENTRES)).json()["items"]] == [NORTH]


CENTRES_REFUSED: list[dict[str, Any]] = [
    {},
    {"name": "  "},
    {"name": "x", "id": "not an id"},
    {"name": "x", "time_zone": "Mars/Olympus"},
    {"name": "x", "region": "Lombardia"},
    {"name": "x", "languages": []},
    {"name": "x", "languages": ["de"]},
    {"name": "x" * 201},
]


async def test_a_centre_that_cannot_be_is_refused(client: Client) -> None:
    client.sign_in(BOSS)
    for body in CENTRES_REFUSED:
        answer = await client.post(CENTRES, json=body)
        assert answer.status_code == 422, body
        assert answer.json()["errors"]
    assert len(await events(client, CentreOpened)) == 2


# -- accounts ------------------------------------------------------------------------------------


def new(email: str, *roles: Role, **more: Any) -> dict[str, Any]:
    return {"email": email, "password": PASSWORD, "roles": list(roles), **more}


async def test_an_account_is_made_and_its_person_signs_in(client: Client) -> None:
    client.sign_in(LEAD)
    answer = await client.post(
        ACCOUNTS, json=new("Till@Example.org", Role.TILL, name="Bottega", language="ar")
    )
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["email"] == "till@example.org"
    assert made["centre_id"] == NORTH
    assert (made["roles"], made["kind"], made["disabled"]) == (["till"], "staff", False)
    assert "password" not in str(set(made) - {"password_chosen", "password_until"})
    assert PASSWORD not in answer.text
    (told,) = await events(client, AccountCreated)
    assert told.account_id == made["id"]
    client.sign_in("")
    own = {"email": "till@example.org", "password": PASSWORD, "new_password": PASSWORD + "!"}
    assert (await client.post("/identity/api/password", json=own)).status_code == 204
    asked = {"email": "till@example.org", "password": PASSWORD + "!"}
    assert (await client.post(TOKENS, json=asked)).status_code == 201


async def test_an_account_that_is_asked_for_twice_is_one(client: Client) -> None:
    client.sign_in(LEAD)
    key = {"Idempotency-Key": "k"}
    body = new("t@example.org", Role.TILL)
    first = await client.post(ACCOUNTS, json=body, headers=key)
    again = await client.post(ACCOUNTS, json=body, headers=key)
    assert first.json() == again.json()
    assert again.status_code == 201
    other = await client.post(ACCOUNTS, json={**body, "password": PASSWORD + "!"}, headers=key)
    assert other.json()["reason"] == "idempotency.other_content"
    without = await client.post(ACCOUNTS, json=body)
    assert (without.status_code, without.json()["reason"]) == (409, "account.email_taken")


ACCOUNTS_REFUSED: list[tuple[str, dict[str, Any], int, str]] = [
    (LEAD, new("a@example.org", Role.ADMINISTRATOR), 403, "account.roles_above"),
    (LEAD, new("a@example.org", Role.TILL, centre_id=SOUTH), 403, "account.other_centre"),
    (DESK, new("a@example.org", Role.TILL), 403, "account.roles_above"),
    (
        DESK,
        new("a@example.org", Role.FAMILY, Role.TILL, household_id="h"),
        403,
        "account.roles_above",
    ),
    (DESK, new("a@example.org", Role.FAMILY), 422, "account.link_missing"),
    (
        DESK,
        new("a@example.org", Role.FAMILY, household_id="h", centre_id=SOUTH),
        403,
        "account.other_centre",
    ),
    (LEAD, new("a@example.org"), 422, "input.invalid"),
    (LEAD, new("a@example.org", "king"), 422, "input.invalid"),
    (LEAD, new("not an address", Role.TILL), 422, "email.malformed"),
    (LEAD, {**new("a@example.org", Role.TILL), "password": "short"}, 422, "password.too_short"),
    (
        LEAD,
        {**new("averylongname@example.org", Role.TILL), "password": "averylongname"},
        422,
        "password.is_email",
    ),
    (LEAD, {**new("a@example.org", Role.TILL), "language": "de"}, 422, "input.invalid"),
    (BOSS, new("a@example.org", Role.TILL), 422, "account.without_centre"),
    (BOSS, new("a@example.org", Role.TILL, centre_id="nowhere"), 422, "centre.unknown"),
]


async def test_an_account_that_cannot_be_is_refused(client: Client) -> None:
    for who, body, status, reason in ACCOUNTS_REFUSED:
        client.sign_in(who)
        answer = await client.post(ACCOUNTS, json=body)
        assert (answer.status_code, answer.json()["reason"]) == (status, reason), answer.text
    assert await events(client, AccountCreated) == []


async def test_reception_makes_accounts_of_families_alone_and_sees_no_others(
    client: Client,
) -> None:
    staff = await person(client, ANNA, Role.TILL)
    await person(client, "s@example.org", Role.FAMILY, household="h-9", centre=SOUTH)
    client.sign_in(DESK)
    body = {**new("f@example.org", Role.FAMILY, household_id="h-1"), "password": "otto 888"}
    made = (await client.post(ACCOUNTS, json=body)).json()
    assert made["household_id"] == "h-1"
    listed = (await client.get(ACCOUNTS)).json()["items"]
    assert [one["id"] for one in listed] == [made["id"]]
    assert (await client.get(ACCOUNTS, params={"kind": "staff"})).json()["items"] == []
    assert (await client.get(ACCOUNTS, params={"household_id": "h-9"})).json()["items"] == []
    assert (await client.get(f"{ACCOUNTS}/{staff}")).status_code == 404
    assert (await client.patch(f"{ACCOUNTS}/{staff}", json={"name": "x"})).status_code == 404
    assert (await client.post(f"{ACCOUNTS}/find", json={"email": ANNA})).status_code == 404
    changed = await client.patch(f"{ACCOUNTS}/{made['id']}", json={"disabled": True})
    assert changed.json()["disabled"] is True


async def test_another_centre_is_not_there(client: Client) -> None:
    south = await person(client, ANNA, Role.TILL, centre=SOUTH)
    client.sign_in(LEAD)
    for answer in (
        await client.get(f"{ACCOUNTS}/{south}"),
        await client.patch(f"{ACCOUNTS}/{south}", json={"disabled": True}),
        await client.post(f"{ACCOUNTS}/{south}/sessions/revoke"),
        await client.get(f"{ACCOUNTS}/{south}/sessions"),
        await client.post(f"{ACCOUNTS}/find", json={"email": ANNA}),
    ):
        assert (answer.status_code, answer.json()["reason"]) == (404, "account.unknown")
    assert (await client.get(ACCOUNTS, params={"centre_id": SOUTH})).json()["items"] == []
    client.sign_in(BOSS)
    found = await client.post(f"{ACCOUNTS}/find", json={"email": "ANNA@example.org"})
    assert found.json()["id"] == south
    listed = await client.get(ACCOUNTS, params={"centre_id": SOUTH})
    assert [one["id"] for one in listed.json()["items"]] == [south]


async def test_accounts_are_listed_in_parts_the_newest_first(client: Client) -> None:
    made = [await person(client, f"p{n}@example.org", Role.TILL) for n in range(5)]
    client.sign_in(LEAD)
    seen: list[str] = []
    after = ""
    while True:
        part = (await client.get(ACCOUNTS, params={"limit": 2, "after": after})).json()
        seen += [one["id"] for one in part["items"]]
        after = part["next"]
        if after is None:
            break
    assert seen == made[::-1]
    assert (await client.get(ACCOUNTS, params={"after": "nonsense"})).status_code == 422


async def test_changed_roles_end_the_tokens_within_two_seconds(client: Client) -> None:
    account_id = await person(client, ANNA, Role.RECEPTION)
    made = (await client.post(TOKENS, json={"email": ANNA, "password": PASSWORD})).json()
    client.sign_in(BOSS)
    answer = await client.patch(f"{ACCOUNTS}/{account_id}", json={"roles": ["till"]})
    assert answer.json()["roles"] == ["till"]
    await client.parts.keys.refresh()
    client.sign_in(made["token"])
    assert (await client.get(TOKENS)).status_code == 401


async def test_a_password_is_changed_for_somebody_else_only(client: Client) -> None:
    mine = await person(client, "lead@example.org", Role.COORDINATOR)
    other = await person(client, ANNA, Role.TILL)
    client.sign_in(token(Role.COORDINATOR, centre=NORTH, account=mine))
    body = {"password": "altre quattro parole"}
    refused = await client.patch(f"{ACCOUNTS}/{mine}", json=body)
    assert (refused.status_code, refused.json()["reason"]) == (403, "account.own_password")
    short = await client.patch(f"{ACCOUNTS}/{other}", json={"password": "short"})
    assert short.json()["reason"] == "password.too_short"
    assert (await client.patch(f"{ACCOUNTS}/{other}", json=body)).status_code == 200
    client.sign_in("")
    old = await client.post(TOKENS, json={"email": ANNA, "password": PASSWORD})
    assert old.status_code == 401
    now = await client.post(TOKENS, json={"email": ANNA, **body})
    assert (now.status_code, now.json()["reason"]) == (403, "password.first")


# -- sessions ------------------------------------------------------------------------------------


async def test_leads_see_and_end_the_sessions_of_others(client: Client) -> None:
    account_id = await person(client, ANNA, Role.TILL)
    made = [
        (await client.post(TOKENS, json={"email": ANNA, "password": PASSWORD})).json()["id"]
        for _ in range(3)
    ]
    client.sign_in(LEAD)
    path = f"{ACCOUNTS}/{account_id}/sessions"
    assert [s["id"] for s in (await client.get(path)).json()["items"]] == made[::-1]
    one = await client.post(f"{path}/revoke", json={"session_ids": [made[0], "unknown"]})
    assert one.json() == {"revoked": 1}
    rest = await client.post(f"{path}/revoke")
    assert rest.json() == {"revoked": 2}
    assert (await client.get(path)).json()["items"] == []
    assert (await client.post(f"{path}/revoke")).json() == {"revoked": 0}
    assert len(await events(client, SessionRevoked)) == 3


async def test_everybody_lists_and_ends_their_own_sessions(client: Client) -> None:
    await person(client, ANNA, Role.FAMILY, household="h-1")
    other = (await client.post(TOKENS, json={"email": ANNA, "password": PASSWORD})).json()
    account_id = (await client.read(lambda c: c.scalar(sa.select(store.account.c.id)))) or ""
    client.sign_in(token(Role.FAMILY, account=account_id, household="h-1", centre=NORTH))
    listed = (await client.get("/identity/api/sessions")).json()["items"]
    assert [(one["id"], one["used_by"]) for one in listed] == [(other["id"], "api")]
    answer = await client.delete(f"/identity/api/sessions/{other['id']}")
    assert answer.status_code == 204
    assert (await client.delete("/identity/api/sessions/unknown")).status_code == 404


async def test_the_keys_are_turned_by_the_foundation_alone(client: Client) -> None:
    await person(client, ANNA, Role.ADMINISTRATOR, centre="")
    made = (await client.post(TOKENS, json={"email": ANNA, "password": PASSWORD})).json()
    client.sign_in(token(Role.ADMINISTRATOR, centre=NORTH))
    assert (await client.post("/identity/api/keys/turn")).status_code == 403
    client.sign_in(made["token"])
    turned = await client.post("/identity/api/keys/turn")
    assert turned.status_code == 200
    assert turned.json()["key_id"] != key_id_of(made["token"])
    await client.parts.keys.refresh()
    assert (await client.get(TOKENS)).status_code == 401


# -- who may -------------------------------------------------------------------------------------

MATRIX = [
    ("GET", TOKENS, set(Role)),
    ("DELETE", f"{TOKENS}/x", set(Role)),
    ("GET", "/identity/api/sessions", set(Role)),
    ("DELETE", "/identity/api/sessions/x", set(Role)),
    ("POST", CENTRES, {Role.ADMINISTRATOR}),
    ("GET", CENTRES, {Role.ADMINISTRATOR, Role.COORDINATOR, Role.RECEPTION}),
    ("POST", ACCOUNTS, {Role.ADMINISTRATOR, Role.COORDINATOR, Role.RECEPTION}),
    ("GET", ACCOUNTS, {Role.ADMINISTRATOR, Role.COORDINATOR, Role.RECEPTION}),
    ("POST", f"{ACCOUNTS}/find", {Role.ADMINISTRATOR, Role.COORDINATOR, Role.RECEPTION}),
    ("GET", f"{ACCOUNTS}/x", {Role.ADMINISTRATOR, Role.COORDINATOR, Role.RECEPTION}),
    ("PATCH", f"{ACCOUNTS}/x", {Role.ADMINISTRATOR, Role.COORDINATOR, Role.RECEPTION}),
    ("GET", f"{ACCOUNTS}/x/sessions", {Role.ADMINISTRATOR, Role.COORDINATOR}),
    ("POST", f"{ACCOUNTS}/x/sessions/revoke", {Role.ADMINISTRATOR, Role.COORDINATOR}),
    ("POST", "/identity/api/keys/turn", {Role.ADMINISTRATOR}),
]


async def test_who_may(client: Client) -> None:
    for method, path, may in MATRIX:
        client.sign_in("")
        anonymous = await client.request(method, path, json={})
        assert anonymous.status_code == 401, path
        assert anonymous.headers["content-type"] == "application/problem+json"
        for role in Role:
            client.sign_in(token(role, centre=NORTH, household="h", producer="p", organisation="o"))
            answer = await client.request(method, path, json={})
            refused = answer.json()["reason"] == "auth.role" if answer.status_code == 403 else False
            assert refused is (role not in may), (method, path, role)
            assert answer.status_code != 401


async def test_the_api_is_documented(client: Client) -> None:
    document = (await client.get("/identity/openapi.json")).json()
    for method, path, _ in [*MATRIX, ("POST", TOKENS, None)]:
        known = document["paths"].get(path.replace("/x", "/{account_id}"))
        known = known or document["paths"].get(path.replace("/x", "/{token_id}"))
        known = known or document["paths"].get(path.replace("/x", "/{session_id}"))
        assert known, path
        assert method.lower() in known
        assert known[method.lower()]["description"]


async def test_what_a_centre_says_of_itself_is_of_that_centre_and_whole(client: Client) -> None:
    where = f"/identity/api/centres/{NORTH}/words"
    said = {"about": {"it": "Una casa"}, "hours": {"0": "9-13"}, "address": "via Nord 1"}
    client.sign_in(token(Role.COORDINATOR, centre=SOUTH))
    assert (await client.put(where, json=said)).status_code == 403
    client.sign_in(token(Role.COORDINATOR, centre=NORTH))
    answer = await client.put(where, json=said)
    assert (answer.status_code, answer.json()["address"]) == (200, "via Nord 1")
    wrong = await client.put(where, json={"hours": {"0": "9-13", "4": "sempre"}})
    assert (wrong.status_code, wrong.json()["reason"]) == (422, "hours.malformed")
    assert wrong.json()["errors"][0]["field"] == "hours.4"
    assert (await client.put(where, json={"about": {"xx": "?"}})).status_code == 422
    client.sign_in(token(Role.ADMINISTRATOR, account="foundation"))
    gone = await client.put("/identity/api/centres/nowhere/words", json=said)
    assert gone.status_code == 404
    assert "via Nord 1" in (await client.page("/identity/welcome")).html
