"""The HTTP API: what it does, who may, what it refuses, on both engines."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cards.app import SERVICE
from runtime.clock import FixedClock
from runtime.ids import SequenceIds
from web.operations import OF_EVERY_SERVICE
from web.roles import Role
from web.testing import Client, token

AMINA = {
    "given_name": "Amina",
    "family_name": "Rossi",
    "birth_date": "1988-04-21",
    "language": "ar",
    "email": "amina@example.org",
    "phone": "333 123 4567",
    "holder": True,
}
LUCA = {"given_name": "Luca", "family_name": "Rossi"}
FAMILY_ROSSI = {
    "members": [AMINA, LUCA],
    "zone": "via Satta",
    "consents": ["registration", "messages"],
}


@pytest.fixture
async def client(tmp_path: Path, clock: FixedClock, ids: SequenceIds) -> AsyncIterator[Client]:
    """For what does not depend on the engine."""
    async with Client(SERVICE, f"sqlite:///{tmp_path / 'cards.db'}", clock=clock, ids=ids) as made:
        yield made.sign_in(token(Role.RECEPTION, Role.COORDINATOR, centre="c1"))


@pytest.fixture
async def either(store_url: str, clock: FixedClock, ids: SequenceIds) -> AsyncIterator[Client]:
    """On each engine."""
    async with Client(SERVICE, store_url, clock=clock, ids=ids) as made:
        yield made.sign_in(token(Role.RECEPTION, Role.COORDINATOR, centre="c1"))


async def registered(client: Client, **more: Any) -> dict[str, Any]:
    answer = await client.post("/cards/api/households", json=FAMILY_ROSSI | more)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def card_of(client: Client, household_id: str) -> dict[str, Any]:
    answer = await client.post(f"/cards/api/households/{household_id}/cards")
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def reason(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    problem = answer.json()
    assert problem["detail"]
    return str(problem["reason"])


async def test_a_household_is_registered_and_read(either: Client) -> None:
    made = await registered(either)
    amina, luca = made["members"]
    assert (amina["phone"], amina["holder"], luca["holder"]) == ("+393331234567", True, False)
    assert made["holder_id"] == amina["id"]
    assert made["centre_id"] == "c1"
    assert {c["purpose"] for c in made["consents"]} == {"registration", "messages"}
    assert (await either.get(f"/cards/api/households/{made['id']}")).json() == made


async def test_the_first_member_is_the_holder_when_nobody_is_named(client: Client) -> None:
    made = await registered(client, members=[LUCA, LUCA])
    assert [m["holder"] for m in made["members"]] == [True, False]


SENSELESS: list[tuple[dict[str, Any], str]] = [
    ({"members": []}, "members"),
    ({"members": [AMINA, AMINA]}, "members"),
    ({"members": [LUCA] * 31}, "members"),
    ({"members": [{"given_name": "Amina"}]}, "members.0.family_name"),
    ({"members": [LUCA | {"given_name": "  "}]}, "members.0.given_name"),
    ({"members": [LUCA | {"given_name": "A\u0000a"}]}, "members.0.given_name"),
    ({"members": [LUCA | {"given_name": "A" * 101}]}, "members.0.given_name"),
    ({"members": [LUCA | {"phone": "12"}]}, "members.0.phone"),
    ({"members": [LUCA | {"phone": "call me"}]}, "members.0.phone"),
    ({"members": [LUCA | {"email": "nobody"}]}, "members.0.email"),
    ({"members": [LUCA | {"birth_date": "2026-12-31"}]}, "members.0.birth_date"),
    ({"members": [LUCA | {"birth_date": "1850-01-01"}]}, "members.0.birth_date"),
    ({"members": [LUCA | {"language": "not a language"}]}, "members.0.language"),
    ({"members": [LUCA | {"shoe_size": 42}]}, "members.0.shoe_size"),
    ({"zone": "x" * 101}, "zone"),
    ({"consents": ["everything"]}, "consents.0"),
]


async def test_what_makes_no_sense_is_refused_by_field(client: Client) -> None:
    for wrong, field in SENSELESS:
        answer = await client.post("/cards/api/households", json=FAMILY_ROSSI | wrong)
        assert answer.status_code == 422, answer.text
        assert any(field in error["field"] for error in answer.json()["errors"]), answer.text
    listed = await client.get("/cards/api/households")
    assert listed.json()["items"] == []


async def test_a_repeated_request_registers_once(client: Client) -> None:
    key = {"Idempotency-Key": "once"}
    first = await client.post("/cards/api/households", json=FAMILY_ROSSI, headers=key)
    again = await client.post("/cards/api/households", json=FAMILY_ROSSI, headers=key)
    assert first.json()["id"] == again.json()["id"]
    other = await client.post("/cards/api/households", json={"members": [LUCA]}, headers=key)
    assert reason(other, 422) == "idempotency.other_content"


async def test_a_card_opens_its_household_by_token_and_by_number(either: Client) -> None:
    made = await registered(either)
    card = await card_of(either, made["id"])
    for asked in ({"token": card["token"]}, {"token": card["token"].lower() + "\n"},
                  {"number": card["number"]},
                  {"number": f"{card['number'][:4]} {card['number'][4:]}"}):  # fmt: skip
        found = await either.post("/cards/api/cards/lookup", json=asked)
        assert found.status_code == 200, found.text
        assert found.json()["household_id"] == made["id"]
        assert found.json()["holder"] == "Amina Rossi"


async def test_the_token_is_shown_once_and_kept_nowhere(client: Client) -> None:
    made = await registered(client)
    key = {"Idempotency-Key": "card"}
    path = f"/cards/api/households/{made['id']}/cards"
    first = (await client.post(path, headers=key)).json()
    again = (await client.post(path, headers=key)).json()
    assert first["id"] == again["id"]
    assert len(first["token"]) == 32
    assert again["token"] is None

    def everything(connection: Any) -> str:
        return " ".join(
            str(row)
            for table in SERVICE.metadata.sorted_tables
            for row in connection.execute(table.select())
        )

    kept = await client.read(everything)
    assert first["token"] not in kept
    assert hashlib.sha256(first["token"].encode()).hexdigest() in kept


async def test_a_blocked_card_says_so_and_a_new_one_takes_its_place(client: Client) -> None:
    made = await registered(client)
    old = await card_of(client, made["id"])
    path = f"/cards/api/cards/{old['id']}"
    blocked = await client.post(f"{path}/block", json={"reason": "lost"})
    assert (blocked.json()["state"], blocked.json()["block_reason"]) == ("blocked", "lost")
    assert (await client.post(f"{path}/block", json={"reason": "stolen"})).json()[
        "block_reason"
    ] == "lost"
    seen = await client.post("/cards/api/cards/lookup", json={"number": old["number"]})
    assert seen.json()["state"] == "blocked"
    new = await client.post(f"{path}/replace")
    assert new.status_code == 201
    assert new.json()["household_id"] == made["id"]
    assert reason(await client.post(f"{path}/replace"), 409) == "card.replaced"
    assert reason(await client.post(f"{path}/block", json={"reason": "eaten"}), 422)
    cards = (await client.get(f"/cards/api/households/{made['id']}")).json()["cards"]
    assert {(c["id"], c["state"]) for c in cards} == {
        (old["id"], "blocked"),
        (new.json()["id"], "active"),
    }


async def test_a_look_up_needs_one_of_the_two(client: Client) -> None:
    for asked in ({}, {"token": "x", "number": "y"}, {"token": "x" * 201}, {"number": 12}):
        assert reason(await client.post("/cards/api/cards/lookup", json=asked), 422)


async def test_an_unknown_card_is_not_found(client: Client) -> None:
    for asked in ({"number": "401234567896"}, {"number": "123"}, {"token": "A" * 32}):
        answer = await client.post("/cards/api/cards/lookup", json=asked)
        assert reason(answer, 404) == "card.unknown"


async def test_points_by_hand(either: Client, clock: FixedClock) -> None:
    made = await registered(either)
    path = f"/cards/api/households/{made['id']}/points"
    until = (clock.now() + timedelta(days=3)).isoformat()
    give = {"points": 30, "reason": "Christmas workshop", "expires_at": until}
    assert (await either.post(f"{path}/adjustments", json=give)).json()["available"] == 30
    await either.post(f"{path}/adjustments", json={"points": 12, "reason": "helped"})
    took = await either.post(f"{path}/adjustments", json={"points": -35, "reason": "mistake"})
    assert took.status_code == 201
    seen = (await either.get(path)).json()
    assert (seen["available"], seen["held"]) == (7, 0)
    assert seen["buckets"] == [{"points": 7, "held": 0, "expires_at": None}]
    too_many = await either.post(f"{path}/adjustments", json={"points": -8, "reason": "again"})
    assert reason(too_many, 409) == "points.too_few"
    assert "7" in too_many.json()["detail"]
    entries = (await either.get(f"{path}/entries?limit=2")).json()
    assert [(e["kind"], e["points"], e["reason"]) for e in entries["items"]] == [
        ("adjustment", -35, "mistake"),
        ("adjustment", 12, "helped"),
    ]
    rest = (await either.get(f"{path}/entries?limit=2&after={entries['next']}")).json()
    assert [e["points"] for e in rest["items"]] == [30]
    assert rest["next"] is None


WRONG_ADJUSTMENTS: list[dict[str, Any]] = [
    {"points": 0, "reason": "nothing"},
    {"points": 5, "reason": "x"},
    {"points": 5},
    {"points": "many", "reason": "because"},
    {"points": 10**7, "reason": "because"},
    {"points": 5, "reason": "because", "expires_at": "2020-01-01T00:00:00Z"},
    {"points": 5, "reason": "because", "expires_at": "2027-01-01T00:00:00"},
    {"points": -5, "reason": "because", "expires_at": "2027-01-01T00:00:00Z"},
]


async def test_a_wrong_adjustment_changes_nothing(client: Client) -> None:
    made = await registered(client)
    path = f"/cards/api/households/{made['id']}/points"
    for wrong in WRONG_ADJUSTMENTS:
        assert reason(await client.post(f"{path}/adjustments", json=wrong), 422), wrong
    assert (await client.get(path)).json() == {"available": 0, "held": 0, "buckets": []}


async def test_members_and_zone_change(either: Client) -> None:
    made = await registered(either)
    amina, luca = made["members"]
    changed = await either.patch(
        f"/cards/api/households/{made['id']}",
        json={
            "zone": "piazza Capuana",
            "members": [
                {"id": luca["id"], "phone": "+34 612 345 678", "holder": True},
                {"given_name": "Zoe", "family_name": "Rossi"},
            ],
            "removed": [amina["id"]],
        },
    )
    assert changed.status_code == 200, changed.text
    body = changed.json()
    assert body["zone"] == "piazza Capuana"
    assert [(m["given_name"], m["holder"]) for m in body["members"]] == [
        ("Luca", True),
        ("Zoe", False),
    ]
    assert body["members"][0]["phone"] == "+34612345678"
    found = await either.post("/cards/api/households/search", json={"text": "amina"})
    assert found.json()["items"] == []


async def test_a_change_that_leaves_no_household_is_refused_whole(client: Client) -> None:
    made = await registered(client)
    amina, luca = (member["id"] for member in made["members"])
    both = [{"id": one, "holder": True} for one in (amina, luca)]
    for wrong, expected in (
        ({"removed": [amina]}, "household.holder_leaves"),
        ({"removed": [amina, luca]}, "household.empty"),
        ({"removed": ["nobody"]}, "person.unknown"),
        ({"members": [{"id": "nobody", "given_name": "X"}]}, "person.unknown"),
        ({"members": [{"given_name": "X"}]}, "person.name"),
        ({"members": both}, "household.holder"),
        ({"members": [{"id": amina, "birth_date": "2999-01-01"}]}, "person.birth_date"),
    ):
        body = {"zone": "elsewhere"} | wrong
        answer = await client.patch(f"/cards/api/households/{made['id']}", json=body)
        assert answer.status_code in (404, 409, 422)
        assert answer.json()["reason"] == expected, answer.text
    assert (await client.get(f"/cards/api/households/{made['id']}")).json() == made


async def test_search_finds_by_name_phone_and_card(either: Client) -> None:
    made = await registered(either)
    card = await card_of(either, made["id"])
    other = await registered(either, members=[{"given_name": "José", "family_name": "Núñez"}])
    third = await registered(either, members=[{"given_name": "فاطمة", "family_name": "الزهراء"}])

    async def found(text: str) -> list[str]:
        answer = await either.post("/cards/api/households/search", json={"text": text})
        assert answer.status_code == 200, answer.text
        return [one["id"] for one in answer.json()["items"]]

    for text in ("ross", "ROSSI amina", "luca rossi", "ami luc", "333 123", "+39 333 1234567",
                 card["number"], card["number"][:6]):  # fmt: skip
        assert await found(text) == [made["id"]], text
    for text in ("nunez", "Jose N", "NÚÑ"):
        assert await found(text) == [other["id"]], text
    assert await found("فاطم") == [third["id"]]
    for text in ("", "   ", "%", "_", "'; --", "ossi", "amina nunez", "\u0000", "x" * 200):
        assert await found(text) == [], text


async def test_households_are_listed_in_parts(either: Client) -> None:
    made = [(await registered(either))["id"] for _ in range(5)]
    seen: list[str] = []
    path = "/cards/api/households?limit=2"
    after = ""
    while after is not None:
        page = (await either.get(path + (f"&after={after}" if after else ""))).json()
        seen += [one["id"] for one in page["items"]]
        after = page["next"]
    assert seen == made
    assert reason(await either.get("/cards/api/households?after=nonsense"), 422) == "paging.after"


async def test_consents_and_steps_of_the_path(either: Client) -> None:
    made = await registered(either, consents=[])
    path = f"/cards/api/households/{made['id']}"
    given = (await either.put(f"{path}/consents/messages")).json()["consents"]
    assert [(c["purpose"], c["withdrawn_at"]) for c in given] == [("messages", None)]
    withdrawn = (await either.delete(f"{path}/consents/messages")).json()["consents"]
    assert withdrawn[0]["withdrawn_at"] is not None
    assert (await either.put(f"{path}/consents/anything")).status_code == 422
    person = made["members"][1]["id"]
    moved = await either.post(f"{path}/members/{person}/stage", json={"stage": "accompaniment"})
    assert moved.json()["members"][1]["stage"] == "accompaniment"
    assert (
        reason(await either.post(f"{path}/members/nobody/stage", json={"stage": "welcome"}), 404)
        == "person.unknown"
    )


async def test_earning_rules(either: Client) -> None:
    rule = {"per_euro": 1, "per_attendance": 5, "valid_days": 90}
    made = await either.post("/cards/api/earning-rules", json=rule)
    assert made.status_code == 201, made.text
    assert made.json()["per_attendance"] == 5
    listed = (await either.get("/cards/api/earning-rules")).json()["items"]
    assert [one["id"] for one in listed] == [made.json()["id"]]
    for wrong in ({"per_euro": -1}, {"per_euro": 1001}, {"valid_days": 0}, {"from_time": "soon"}):
        assert reason(await either.post("/cards/api/earning-rules", json=wrong), 422)


async def test_an_erased_household_is_gone(either: Client) -> None:
    made = await registered(either)
    card = await card_of(either, made["id"])
    path = f"/cards/api/households/{made['id']}"
    await either.post(f"{path}/points/adjustments", json={"points": 9, "reason": "for Amina"})
    assert (await either.delete(path)).status_code == 204
    assert reason(await either.get(path), 404) == "household.unknown"
    assert reason(await either.get(f"{path}/points"), 404) == "household.unknown"
    assert reason(await either.delete(path), 404) == "household.unknown"
    lookup = await either.post("/cards/api/cards/lookup", json={"number": card["number"]})
    assert reason(lookup, 404) == "card.unknown"
    for text in ("amina", "333", card["number"]):
        found = await either.post("/cards/api/households/search", json={"text": text})
        assert found.json()["items"] == []

    def everything(connection: Any) -> str:
        return " ".join(
            str(row)
            for table in SERVICE.metadata.sorted_tables
            for row in connection.execute(table.select())
        )

    kept = await either.read(everything)
    for word in ("Amina", "amina", "Rossi", "3331234567", "1988"):
        assert word not in kept, word


OPERATIONS = [
    ("POST", "/cards/api/households", FAMILY_ROSSI, "desk"),
    ("GET", "/cards/api/households", None, "desk"),
    ("POST", "/cards/api/households/search", {"text": "rossi"}, "desk"),
    ("GET", "/cards/api/households/{id}", None, "desk"),
    ("PATCH", "/cards/api/households/{id}", {"zone": "x"}, "desk"),
    ("DELETE", "/cards/api/households/{id}", None, "lead"),
    ("PUT", "/cards/api/households/{id}/consents/messages", None, "desk"),
    ("DELETE", "/cards/api/households/{id}/consents/messages", None, "desk"),
    ("POST", "/cards/api/households/{id}/members/{person}/stage", {"stage": "welcome"}, "desk"),
    ("GET", "/cards/api/households/{id}/timeline", None, "desk"),
    ("POST", "/cards/api/households/{id}/cards", None, "desk"),
    ("POST", "/cards/api/cards/lookup", {"number": "{number}"}, "till"),
    ("POST", "/cards/api/cards/{card}/block", {"reason": "lost"}, "desk"),
    ("POST", "/cards/api/cards/{card}/replace", None, "desk"),
    ("GET", "/cards/api/households/{id}/points", None, "points"),
    ("GET", "/cards/api/households/{id}/points/entries", None, "points"),
    ("POST", "/cards/api/households/{id}/points/adjustments",
     {"points": 1, "reason": "because"}, "lead"),
    ("GET", "/cards/api/points/uncovered", None, "lead"),
    ("POST", "/cards/api/earning-rules", {"per_euro": 1}, "lead"),
    ("GET", "/cards/api/earning-rules", None, "desk"),
]  # fmt: skip
MAY = {
    "desk": {Role.ADMINISTRATOR, Role.COORDINATOR, Role.RECEPTION},
    "lead": {Role.ADMINISTRATOR, Role.COORDINATOR},
    "till": {Role.ADMINISTRATOR, Role.COORDINATOR, Role.RECEPTION, Role.TILL},
    "points": {Role.ADMINISTRATOR, Role.COORDINATOR, Role.RECEPTION, Role.TILL, Role.FAMILY},
}


async def test_who_may_what(client: Client) -> None:
    """Anonymous 401, wrong role or scope 403, another centre 404, for every operation there is."""
    documented = {
        (method.upper(), path)
        for path, item in client.app.openapi()["paths"].items()
        for method, operation in item.items()
        if OF_EVERY_SERVICE not in operation.get("tags", ())
    }
    assert len(documented) == len(OPERATIONS)
    made = await registered(client)
    card = await card_of(client, made["id"])
    here = {"id": made["id"], "card": card["id"], "person": made["members"][0]["id"]}
    for method, template, sent, who in OPERATIONS:
        path = template.format(**here)
        body = {"number": card["number"]} if "lookup" in path else sent

        async def asked(path: str = path, method: str = method, body: Any = body) -> Any:
            return await client.request(method, path, json=body)

        client.sign_in("")
        assert reason(await asked(), 401) == "auth.missing"
        for role in set(Role) - MAY[who]:
            client.sign_in(token(role, centre="c1", household=made["id"]))
            assert reason(await asked(), 403) == "auth.role", (method, path, role)
        scope = "cards:read" if method != "GET" else "cards:write"
        if path.endswith(("search", "lookup")):
            scope = "cards:write"
        client.sign_in(token(Role.COORDINATOR, centre="c1", scopes=[scope]))
        assert reason(await asked(), 403) == "auth.scope", (method, path)
        client.sign_in(token(Role.COORDINATOR, centre=""))
        assert reason(await asked(), 403) == "auth.centre", (method, path)
        if "{" in template or "lookup" in path:
            client.sign_in(token(Role.COORDINATOR, centre="c2"))
            assert reason(await asked(), 404).endswith(".unknown"), (method, path)
    client.sign_in(token(Role.COORDINATOR, centre="c1"))
    assert (await client.get(f"/cards/api/households/{made['id']}")).json()["zone"] == "via Satta"


async def test_a_family_sees_its_own_points_only(client: Client) -> None:
    mine, other = await registered(client), await registered(client)
    client.sign_in(token(Role.FAMILY, household=mine["id"]))
    assert (await client.get(f"/cards/api/households/{mine['id']}/points")).status_code == 200
    for path in (f"/cards/api/households/{other['id']}/points",
                 f"/cards/api/households/{other['id']}/points/entries"):  # fmt: skip
        assert reason(await client.get(path), 404) == "household.unknown"


@pytest.mark.parametrize("role", [Role.EDUCATOR, Role.CASE_WORKER, Role.PARTNER])
async def test_a_family_that_works_in_the_house_sees_what_its_roles_show_and_no_more(
    client: Client, role: Role
) -> None:
    """Neither role alone reads the points of another household: the two together neither."""
    mine, other = await registered(client), await registered(client)
    client.sign_in(token(Role.FAMILY, role, centre="c1", household=mine["id"]))
    for path in ("points", "points/entries"):
        assert (await client.get(f"/cards/api/households/{mine['id']}/{path}")).is_success
        answer = await client.get(f"/cards/api/households/{other['id']}/{path}")
        assert reason(answer, 404) == "household.unknown"
    client.sign_in(token(Role.FAMILY, Role.TILL, centre="c1", household=mine["id"]))
    assert (await client.get(f"/cards/api/households/{other['id']}/points")).is_success


async def test_lists_hold_only_what_is_of_the_centre(client: Client) -> None:
    await registered(client)
    client.sign_in(token(Role.COORDINATOR, centre="c2"))
    assert (await client.get("/cards/api/households")).json()["items"] == []
    found = await client.post("/cards/api/households/search", json={"text": "rossi"})
    assert found.json()["items"] == []


async def test_the_foundation_sees_all_and_names_the_centre(either: Client) -> None:
    await registered(either)
    either.sign_in(token(Role.ADMINISTRATOR))
    assert len((await either.get("/cards/api/households")).json()["items"]) == 1
    found = await either.post("/cards/api/households/search", json={"text": "rossi"})
    assert len(found.json()["items"]) == 1
    nowhere = await either.post("/cards/api/households", json=FAMILY_ROSSI)
    assert reason(nowhere, 422) == "centre.missing"
    there = await either.post("/cards/api/households", json=FAMILY_ROSSI | {"centre_id": "c9"})
    assert there.json()["centre_id"] == "c9"
    either.sign_in(token(Role.COORDINATOR, centre="c1"))
    elsewhere = await either.post("/cards/api/households", json=FAMILY_ROSSI | {"centre_id": "c9"})
    assert reason(elsewhere, 404) == "centre.unknown"
