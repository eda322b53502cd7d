"""The API of the network, as programs see it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from network import store
from runtime.clock import FixedClock
from web import Role
from web.testing import Client, token

from .network_callers import (
    API,
    AUSER,
    CASE_WORKER,
    CENTRE,
    COORDINATOR,
    FAMILY,
    FOUNDATION,
    SECRET,
    STRANGER,
    TORRI,
    asked,
)


async def test_the_whole_way_by_the_api(client: Client) -> None:
    referral = await asked(client, id="r-1")
    assert referral == "r-1"
    client.sign_in(AUSER)
    listed = (await client.get(f"{API}/referrals")).json()
    assert [line["id"] for line in listed["items"]] == ["r-1"]
    assert SECRET not in str(listed)
    seen = (await client.get(f"{API}/referrals/r-1")).json()
    assert seen["steps"][0]["note"] == SECRET
    assert seen["people"][0]["given_name"] == "Samira"
    assert seen["allowed"] == ["accept", "reject"]
    for act, body in (
        ("accept", None),
        ("start", {"note": "we met"}),
        ("hold", {}),
        ("complete", {"outcome": "partly_met", "note": "half a job"}),
    ):
        answer = await client.post(f"{API}/referrals/r-1/{act}", json=body)
        assert answer.status_code == 200, answer.text
    assert answer.json()["state"] == "completed"
    assert answer.json()["outcome"] == "partly_met"
    client.sign_in(COORDINATOR)
    log = (await client.get(f"{API}/audit")).json()["items"]
    assert [(line["account_id"], line["referral_id"]) for line in log] == [("auser", "r-1")]


async def test_rejected_asked_elsewhere_cancelled(client: Client) -> None:
    referral = await asked(client)
    client.sign_in(AUSER)
    path = f"{API}/referrals/{referral}"
    refused = await client.post(f"{path}/reject", json={"note": "no reason given"})
    assert refused.status_code == 422
    assert (await client.post(f"{path}/reject", json={"reason": "no_capacity"})).is_success
    client.sign_in(CASE_WORKER)
    answer = await client.post(f"{path}/reroute", json={"to_organisation_id": "torri"})
    assert answer.json()["state"] == "requested"
    client.sign_in(AUSER)
    assert (await client.get(path)).status_code == 404
    client.sign_in(TORRI)
    assert (await client.get(path)).status_code == 200
    client.sign_in(CASE_WORKER)
    answer = await client.post(f"{path}/cancel", json={"reason": "need_met"})
    assert (answer.json()["state"], answer.json()["reason"]) == ("cancelled", "need_met")
    again = await client.post(f"{path}/cancel", json={"reason": "need_met"})
    assert again.status_code == 409
    assert again.json()["reason"] == "referral.not_possible_now"
    assert again.json()["next_step"]


async def test_a_draft_is_asked_later(client: Client) -> None:
    referral = await asked(client, household_id="h2", draft=True)
    path = f"{API}/referrals/{referral}/request"
    refused = await client.post(path, json={})
    assert (refused.status_code, refused.json()["reason"]) == (409, "consent.missing")
    done = await client.post(path, json={"override_reason": "Minor in danger"})
    assert done.json()["state"] == "requested"


async def test_what_is_repeated_is_done_once_and_keeps_no_text(client: Client) -> None:
    client.sign_in(CASE_WORKER)
    body = {"area": "work", "household_id": "h1", "to_organisation_id": "auser", "note": SECRET}
    key = {"Idempotency-Key": "once"}
    first = await client.post(f"{API}/referrals", json=body, headers=key)
    second = await client.post(f"{API}/referrals", json=body, headers=key)
    assert first.json() == second.json()
    other = await client.post(f"{API}/referrals", json=body | {"note": "x"}, headers=key)
    assert other.json()["reason"] == "idempotency.other_content"
    kept = await client.read(
        lambda c: c.execute(sa.select(store.metadata.tables["idempotency"])).all()
    )
    assert kept
    assert SECRET not in str(kept)


async def test_the_same_id_with_other_content_is_refused(client: Client) -> None:
    await asked(client, id="r-1")
    await asked(client, id="r-1")
    body = {"id": "r-1", "area": "home", "household_id": "h1", "to_organisation_id": "auser"}
    refused = await client.post(f"{API}/referrals", json=body)
    assert (refused.status_code, refused.json()["reason"]) == (409, "id.other_content")
    client.sign_in(COORDINATOR)
    for path, one, other in (
        ("organisations", {"id": "o-1", "name": "A"}, {"id": "o-1", "name": "B"}),
        ("needs", {"id": "n", "zone": "a", "area": "work"}, {"id": "n", "zone": "b", "area": "x1"}),
        (
            "organisations/auser/services",
            {"id": "s-1", "name": "A", "area": "work"},
            {"id": "s-1", "name": "B", "area": "work"},
        ),
    ):
        assert (await client.post(f"{API}/{path}", json=one)).status_code == 201
        assert (await client.post(f"{API}/{path}", json=one)).status_code == 201
        assert (await client.post(f"{API}/{path}", json=other)).status_code == 409


ENDPOINTS = [
    ("POST", "organisations", {"name": "x"}),
    ("GET", "organisations", None),
    ("GET", "organisations/auser", None),
    ("PUT", "organisations/auser", {"name": "x"}),
    ("POST", "organisations/auser/services", {"name": "x", "area": "work"}),
    ("PUT", "services/none", {"name": "x", "area": "work"}),
    ("POST", "services/none/capacity", {"capacity": "none"}),
    ("POST", "needs", {"zone": "north", "area": "work"}),
    ("GET", "needs/counts", None),
    ("POST", "referrals", {"area": "work", "zone": "n", "to_organisation_id": "auser"}),
    ("GET", "referrals", None),
    ("GET", "referrals/{referral}", None),
    ("POST", "referrals/{referral}/request", {}),
    ("POST", "referrals/{referral}/accept", {}),
    ("POST", "referrals/{referral}/reject", {"reason": "refused"}),
    ("POST", "referrals/{referral}/reroute", {"to_organisation_id": "torri"}),
    ("POST", "referrals/{referral}/start", {}),
    ("POST", "referrals/{referral}/hold", {}),
    ("POST", "referrals/{referral}/complete", {"outcome": "met"}),
    ("POST", "referrals/{referral}/cancel", {"reason": "refused"}),
    ("GET", "audit", None),
    ("GET", "rules", None),
    ("POST", "rules", {"counts": {"threshold": 6}}),
]


async def test_every_endpoint_wants_a_token_a_role_and_a_scope(client: Client) -> None:
    referral = await asked(client)
    half = token(Role.COORDINATOR, centre=CENTRE, scopes=())
    for method, path, body in ENDPOINTS:
        where = f"{API}/{path.format(referral=referral)}"
        for who, status in (("", 401), (FAMILY, 403), (half, 403)):
            client.sign_in(who)
            answer = await client.request(method, where, json=body)
            assert answer.status_code == status, (method, path, status, answer.text)


async def test_another_centre_finds_nothing(client: Client) -> None:
    referral = await asked(client)
    client.sign_in(CASE_WORKER)
    need = (await client.post(f"{API}/needs", json={"zone": "north", "area": "work"})).json()["id"]
    client.sign_in(STRANGER)
    for method, path, body in ENDPOINTS:
        if "{referral}" in path or "auser" in path or path.startswith("services/"):
            where = f"{API}/{path.format(referral=referral)}"
            answer = await client.request(method, where, json=body)
            assert answer.status_code in (404, 403), (method, path, answer.text)
            if answer.status_code == 403:
                assert path.endswith(("accept", "reject", "start", "hold", "complete"))
    for path in ("organisations", "referrals", "audit"):
        assert (await client.get(f"{API}/{path}")).json()["items"] == []
    assert (await client.get(f"{API}/needs/counts")).json()["total"] == 0
    for body in (
        {"need_id": need, "to_organisation_id": "auser"},
        {"area": "work", "zone": "n", "to_organisation_id": "auser"},
        {"area": "work", "household_id": "h1", "to_organisation_id": "auser"},
    ):
        assert (await client.post(f"{API}/referrals", json=body)).status_code == 404
    named = await client.get(f"{API}/needs/counts", params={"centre_id": CENTRE})
    assert named.status_code == 403


async def test_without_a_centre_nobody_but_the_foundation_comes_in(client: Client) -> None:
    referral = await asked(client)
    client.sign_in(token(Role.COORDINATOR, account="nowhere"))
    assert (await client.get(f"{API}/referrals/{referral}")).status_code == 403
    client.sign_in(FOUNDATION)
    assert (await client.get(f"{API}/referrals/{referral}")).status_code == 200


async def test_the_foundation_names_the_centre(client: Client) -> None:
    client.sign_in(FOUNDATION)
    missing = await client.get(f"{API}/needs/counts")
    assert (missing.status_code, missing.json()["reason"]) == (422, "auth.centre_missing")
    counted = await client.get(f"{API}/needs/counts", params={"centre_id": CENTRE})
    assert counted.status_code == 200
    answer = await client.post(f"{API}/organisations", json={"id": "caritas", "name": "Caritas"})
    assert answer.status_code == 201
    for who in (CASE_WORKER, STRANGER):
        client.sign_in(who)
        assert (await client.get(f"{API}/organisations/caritas")).status_code == 200
    client.sign_in(COORDINATOR)
    refused = await client.put(f"{API}/organisations/caritas", json={"name": "x"})
    assert refused.status_code == 403


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("organisations", {"name": ""}, "name"),
        ("organisations", {"name": "x", "areas": ["Not a word"]}, "areas"),
        ("organisations", {"name": "x", "email": "nobody"}, "email"),
        ("organisations", {"name": "x", "website": "javascript:alert(1)"}, "website"),
        ("organisations", {"name": "x", "colour": "red"}, "colour"),
        ("organisations", {"name": "x", "id": "a b"}, "id"),
        (
            "organisations/auser/services",
            {"name": "x", "area": "work", "capacity": "?"},
            "capacity",
        ),
        (
            "organisations/auser/services",
            {"name": "x", "area": "work", "schedule_rrule": "FREQ=NEVER"},
            "schedule_rrule",
        ),
        (
            "organisations/auser/services",
            {"name": "x", "area": "work", "minimum_age": 9, "maximum_age": 3},
            "",
        ),
        ("needs", {"area": "work"}, "zone"),
        ("needs", {"zone": "n", "area": ""}, "area"),
        ("needs", {"zone": "x" * 81, "area": "work"}, "zone"),
        ("referrals", {"area": "work", "zone": "n"}, "to_organisation_id"),
        ("rules", {}, ""),
        ("rules", {"counts": {"threshold": 2}}, "counts.threshold"),
        ("rules", {"deadlines": {"answer_days": 9, "expiry_days": 3}}, "deadlines"),
    ],
)
async def test_bad_input_names_the_field(
    client: Client, path: str, body: dict[str, Any], field: str
) -> None:
    client.sign_in(COORDINATOR)
    answer = await client.post(f"{API}/{path}", json=body)
    assert answer.status_code == 422, answer.text
    if field:
        assert field in [error["field"].split(".0")[0] for error in answer.json()["errors"]]


async def test_lists_come_in_parts(client: Client) -> None:
    made = {await asked(client, note=str(n)) for n in range(5)}
    seen: list[str] = []
    after = ""
    while True:
        page = (await client.get(f"{API}/referrals", params={"limit": 2, "after": after})).json()
        seen += [line["id"] for line in page["items"]]
        if page["next"] is None:
            break
        after = page["next"]
    assert len(seen) == 5
    assert set(seen) == made
    wrong = await client.get(f"{API}/referrals", params={"after": "nonsense"})
    assert wrong.status_code == 422


async def test_capacity_and_services_are_found_in_the_directory(client: Client) -> None:
    client.sign_in(COORDINATOR)
    service = (
        await client.post(
            f"{API}/organisations/auser/services",
            json={
                "name": "Jobs",
                "area": "work",
                "minimum_age": 18,
                "languages": ["it", "ar"],
                "schedule_rrule": "RRULE:FREQ=WEEKLY;BYDAY=MO",
            },
        )
    ).json()["id"]
    client.sign_in(AUSER)
    said = await client.post(
        f"{API}/services/{service}/capacity", json={"capacity": "waiting_list"}
    )
    assert said.status_code == 200
    found = (await client.get(f"{API}/organisations", params={"capacity": "waiting_list"})).json()[
        "items"
    ]
    assert [(line["id"], line["capacity"]) for line in found] == [("auser", {"waiting_list": 1})]
    view = (await client.get(f"{API}/organisations/auser")).json()
    assert view["services"][0]["schedule_rrule"] == "FREQ=WEEKLY;BYDAY=MO"
    client.sign_in(TORRI)
    stolen = await client.post(f"{API}/services/{service}/capacity", json={"capacity": "none"})
    assert stolen.status_code == 404
    client.sign_in(COORDINATOR)
    changed = await client.put(
        f"{API}/services/{service}", json={"name": "Work", "area": "work", "capacity": "none"}
    )
    assert changed.status_code == 200
    renamed = await client.put(f"{API}/organisations/auser", json={"name": "Auser Milano"})
    assert renamed.status_code == 200
    view = (await client.get(f"{API}/organisations/auser")).json()
    assert (view["name"], view["services"][0]["name"]) == ("Auser Milano", "Work")


async def test_small_counts_are_not_shown(client: Client) -> None:
    client.sign_in(CASE_WORKER)
    numbers = {
        ("north", "work"): 7,
        ("north", "home"): 2,
        ("south", "work"): 6,
        ("south", "home"): 9,
    }
    for (zone, area), number in numbers.items():
        for _ in range(number):
            await client.post(f"{API}/needs", json={"zone": zone, "area": area})
    counted = (await client.get(f"{API}/needs/counts")).json()
    assert counted["threshold"] == 5
    assert counted["cells"] == [[None, None], [None, None]]
    assert (counted["zone_totals"], counted["area_totals"]) == ([9, 15], [11, 13])
    page = await client.page("/network/needs")
    assert "Counts under 5 are hidden" in page
    assert "<svg" in page.html


async def test_rules_hold_from_their_day(client: Client, clock: FixedClock) -> None:
    client.sign_in(COORDINATOR)
    from_time = (clock.now() + timedelta(days=2)).isoformat()
    set_ = await client.post(
        f"{API}/rules", json={"from_time": from_time, "counts": {"threshold": 9}}
    )
    assert set_.json()[1]["values"] == {"threshold": 5}
    clock.advance(timedelta(days=2))
    known = (await client.get(f"{API}/rules")).json()
    assert known[1]["values"] == {"threshold": 9}


async def test_the_api_is_described(client: Client) -> None:
    document = (await client.get("/openapi.json")).json()
    for method, path, _body in ENDPOINTS:
        path = path.replace("{referral}", "{referral_id}").replace(
            "services/none", "services/{service_id}"
        )
        path = path.replace("organisations/auser", "organisations/{organisation_id}")
        operation = document["paths"][f"{API}/{path}"][method.lower()]
        assert operation["description"]
        assert "409" in operation["responses"]
