"""The HTTP API: who may, what is answered, what is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from web.roles import Role
from web.testing import token

API = "/activities/api"


async def test_a_session_is_planned_filled_and_seen(web: Any) -> None:
    session_id = await web.session(2)
    made = await web.sign_up(session_id, "ada", "bruno", "carla")
    assert [one["state"] for one in made] == ["confirmed", "confirmed", "waiting"]
    assert made[2]["position"] == 1
    seen = await web.see(session_id)
    assert (seen["confirmed"], seen["offered"], seen["waiting"]) == (2, 0, 1)
    assert (seen["places_left"], seen["open_places"], seen["capacity"]) == (0, 0, 2)
    assert [one["person_id"] for one in seen["sign_ups"]] == ["ada", "bruno", "carla"]
    cancelled = await web.client.post(f"{API}/sign-ups/{made[0]['id']}/cancel")
    assert cancelled.json()["state"] == "cancelled"
    offered = (await web.see(session_id))["sign_ups"][1]
    assert offered["state"] == "offered"
    assert offered["answer_by"] == (web.clock.now() + timedelta(hours=48)).isoformat().replace(
        "+00:00", "Z"
    )
    accepted = await web.client.post(f"{API}/sign-ups/{offered['id']}/accept")
    assert accepted.json()["state"] == "confirmed"


async def test_one_person_may_be_named_alone(web: Any) -> None:
    session_id = await web.session()
    made = await web.family().post(
        f"{API}/sessions/{session_id}/sign-ups", json={"person_id": "ada"}
    )
    assert made.status_code == 201
    (one,) = made.json()["sign_ups"]
    assert (one["person_id"], one["state"]) == ("ada", "confirmed")


async def test_a_sign_up_that_makes_no_sense_is_refused(web: Any) -> None:
    session_id = await web.session()
    bodies: list[dict[str, Any]] = [
        {},
        {"person_id": "ada", "person_ids": ["ada"]},
        {"person_ids": []},
        {"person_ids": ["ada"], "priority": 10},
        {"person_ids": ["ada"], "togehter": True},
        {"person_ids": ["bad id"]},
        {"person_ids": "ada"},
        {"person_ids": ["p"] * 21},
    ]
    for body in bodies:
        answer = await web.staff().post(f"{API}/sessions/{session_id}/sign-ups", json=body)
        assert answer.status_code == 422, body
        assert answer.headers["content-type"].startswith("application/problem+json")
    assert (await web.see(session_id))["sign_ups"] == []


async def test_unknown_people_are_refused_with_reason_sentence_and_next_step(web: Any) -> None:
    session_id = await web.session()
    for nobody in ("nobody", "lontano"):
        answer = await web.staff().post(
            f"{API}/sessions/{session_id}/sign-ups",
            json={"person_ids": ["ada", nobody]},
            headers={"Accept-Language": "it"},
        )
        problem = answer.json()
        assert (answer.status_code, problem["reason"]) == (422, "person.unknown")
        assert problem["detail"] == "Questa persona qui non è conosciuta."
        assert problem["next_step"]
        assert problem["errors"][0]["field"] == "person_ids"
    assert (await web.see(session_id))["sign_ups"] == []


async def test_a_request_sent_twice_is_done_once(web: Any) -> None:
    session_id = await web.session()
    path, body = f"{API}/sessions/{session_id}/sign-ups", {"person_ids": ["ada"]}
    key = {"Idempotency-Key": "one"}
    first = await web.staff().post(path, json=body, headers=key)
    again = await web.client.post(path, json=body, headers=key)
    assert again.status_code == 201
    assert again.json() == first.json()
    other = await web.client.post(path, json={"person_ids": ["bruno"]}, headers=key)
    assert other.json()["reason"] == "idempotency.other_content"
    twice = await web.client.post(path, json=body)
    assert (twice.status_code, twice.json()["reason"]) == (409, "signup.already")


async def test_a_family_signs_up_only_its_own_people_and_sees_only_them(web: Any) -> None:
    session_id = await web.session()
    (bruno,) = await web.sign_up(session_id, "bruno")
    family = web.family("h1")
    path = f"{API}/sessions/{session_id}/sign-ups"
    refused = await family.post(path, json={"person_ids": ["carla"]})
    assert refused.json()["reason"] == "person.unknown"
    priority = await family.post(path, json={"person_ids": ["ada"], "priority": 1})
    assert priority.json()["reason"] == "signup.priority"
    both = await family.post(path, json={"person_ids": ["ada", "ida"], "together": True})
    assert [one["state"] for one in both.json()["sign_ups"]] == ["waiting", "waiting"]
    for act in ("accept", "decline", "cancel"):
        answer = await family.post(f"{API}/sign-ups/{bruno['id']}/{act}")
        assert (answer.status_code, answer.json()["reason"]) == (404, "signup.unknown")
    seen = (await family.get(f"{API}/sessions/{session_id}")).json()
    assert {one["person_id"] for one in seen["sign_ups"]} == {"ada", "ida"}
    assert [one["position"] for one in seen["sign_ups"]] == [1, 2]
    assert seen["confirmed"] == 1
    assert (seen["places_left"], seen["open_places"]) == (1, 1)
    first = both.json()["sign_ups"][0]["id"]
    declined = await family.post(f"{API}/sign-ups/{first}/decline")
    assert declined.json()["reason"] == "offer.none"
    cancelled = await family.post(f"{API}/sign-ups/{first}/cancel")
    assert cancelled.json()["state"] == "cancelled"


async def test_places_kept_for_a_group_are_not_open_to_newcomers(web: Any) -> None:
    session_id = await web.session(2, waiting_list_policy="keep_for_group")
    await web.sign_up(session_id, "bruno")
    await web.sign_up(session_id, "ada", "ida", together=True)
    seen = await web.see(session_id)
    assert (seen["places_left"], seen["open_places"]) == (1, 0)
    (carla,) = await web.sign_up(session_id, "carla")
    assert (carla["state"], carla["position"]) == ("waiting", 3)


WRITES: list[tuple[str, str, Any]] = [
    ("POST", "/activities", {"title": "Coro", "default_capacity": 5}),
    (
        "POST",
        "/activities/{activity}/sessions",
        {"starts_at": "2026-11-23T16:30:00Z", "ends_at": "2026-11-23T18:30:00Z"},
    ),
    ("PATCH", "/sessions/{session}", {"capacity": 5}),
    ("POST", "/sessions/{session}/cancel", {}),
    ("PUT", "/sessions/{session}/register", {"entries": []}),
]
ANSWERS: list[tuple[str, str, Any]] = [
    ("POST", "/sessions/{session}/sign-ups", {"person_ids": ["ada"]}),
    ("POST", "/sign-ups/{sign_up}/accept", None),
    ("POST", "/sign-ups/{sign_up}/decline", None),
    ("POST", "/sign-ups/{sign_up}/cancel", None),
]
READS: list[tuple[str, str, Any]] = [
    ("GET", "/activities", None),
    ("GET", "/activities/{activity}", None),
    ("GET", "/sessions", None),
    ("GET", "/sessions/{session}", None),
]
STAFF_READS: list[tuple[str, str, Any]] = [("GET", "/sessions/{session}/register", None)]
SETS: list[tuple[str, str, Any]] = [("POST", "/offer-holds", {"hours": 24})]


async def test_who_may_do_what(web: Any) -> None:
    session_id = await web.session()
    (one,) = await web.sign_up(session_id, "bruno")
    seen = await web.see(session_id)
    names = {"activity": seen["activity_id"], "session": session_id, "sign_up": one["id"]}

    async def ask(who: str, endpoint: tuple[str, str, Any]) -> Any:
        method, path, body = endpoint
        client = web.client.sign_in(who)
        more = {} if body is None else {"json": body}
        return await client.request(method, API + path.format(**names), **more)

    everything = WRITES + ANSWERS + READS + STAFF_READS + SETS
    for endpoint in everything:
        answer = await ask("", endpoint)
        assert answer.status_code == 401, endpoint

    for endpoint in WRITES + ANSWERS + STAFF_READS + SETS:
        answer = await ask(token(Role.PRODUCER, centre="centre-1"), endpoint)
        assert (answer.status_code, answer.json()["reason"]) == (403, "auth.role"), endpoint
    for endpoint in WRITES + STAFF_READS + SETS:
        answer = await ask(token(Role.FAMILY, centre="centre-1", household="h1"), endpoint)
        assert (answer.status_code, answer.json()["reason"]) == (403, "auth.role"), endpoint
    for endpoint in SETS:
        answer = await ask(token(Role.EDUCATOR, centre="centre-1"), endpoint)
        assert (answer.status_code, answer.json()["reason"]) == (403, "auth.role"), endpoint

    reading = token(Role.COORDINATOR, centre="centre-1", scopes=["activities:read"])
    for endpoint in WRITES + ANSWERS + SETS:
        answer = await ask(reading, endpoint)
        assert (answer.status_code, answer.json()["reason"]) == (403, "auth.scope"), endpoint
    writing = token(Role.COORDINATOR, centre="centre-1", scopes=["activities:write"])
    for endpoint in READS + STAFF_READS:
        answer = await ask(writing, endpoint)
        assert (answer.status_code, answer.json()["reason"]) == (403, "auth.scope"), endpoint
    for endpoint in READS + STAFF_READS:
        answer = await ask(reading, endpoint)
        assert answer.status_code == 200, endpoint

    nowhere = token(Role.EDUCATOR)
    for endpoint in READS + ANSWERS:
        answer = await ask(nowhere, endpoint)
        assert (answer.status_code, answer.json()["reason"]) == (403, "auth.centre"), endpoint

    other = token(Role.COORDINATOR, centre="centre-2")
    for endpoint in everything:
        if "{" in endpoint[1]:
            answer = await ask(other, endpoint)
            assert answer.status_code == 404, endpoint
    assert (await ask(other, ("GET", "/sessions", None))).json()["items"] == []
    assert (await ask(other, ("GET", "/activities", None))).json()["items"] == []
    untouched = await web.see(session_id)
    assert untouched == seen | {"sign_ups": untouched["sign_ups"]}
    assert [s["state"] for s in untouched["sign_ups"]] == ["confirmed"]


async def test_these_roles_plan_and_sign_up(web: Any) -> None:
    for role in (Role.EDUCATOR, Role.COORDINATOR, Role.RECEPTION):
        client = web.as_(role)
        made = await client.post(f"{API}/activities", json={"title": "Coro", "default_capacity": 5})
        assert made.status_code == 201, role
        session_id = await web.session()
        answer = await web.as_(role).post(
            f"{API}/sessions/{session_id}/sign-ups", json={"person_ids": ["ada"], "priority": 1}
        )
        assert answer.status_code == 201, role


async def test_the_foundation_names_the_centre(web: Any) -> None:
    client = web.as_(Role.ADMINISTRATOR, centre="")
    body = {"title": "Coro", "default_capacity": 5}
    unnamed = await client.post(f"{API}/activities", json=body)
    assert (unnamed.status_code, unnamed.json()["reason"]) == (422, "auth.centre_missing")
    made = await client.post(f"{API}/activities", json=body | {"centre_id": "centre-1"})
    assert made.json()["centre_id"] == "centre-1"
    own = web.as_(Role.COORDINATOR)
    foreign = await own.post(f"{API}/activities", json=body | {"centre_id": "centre-2"})
    assert (foreign.status_code, foreign.json()["reason"]) == (403, "auth.centre")
    listed = await web.as_(Role.ADMINISTRATOR, centre="").get(f"{API}/activities")
    assert [item["title"] for item in listed.json()["items"]] == ["Coro"]


async def test_activities_are_listed_by_title_in_parts(web: Any) -> None:
    for title in ("Danza", "Arte", "Coro"):
        await web.activity(title=title, area="quartiere", min_age=6)
    first = (await web.staff().get(f"{API}/activities", params={"limit": 2})).json()
    assert [item["title"] for item in first["items"]] == ["Arte", "Coro"]
    rest = (await web.client.get(f"{API}/activities", params={"after": first["next"]})).json()
    assert [item["title"] for item in rest["items"]] == ["Danza"]
    assert rest["next"] is None
    one = await web.client.get(f"{API}/activities/{rest['items'][0]['id']}")
    assert one.json() == rest["items"][0]
    assert one.json()["waiting_list_policy"] == "next_who_fits"


async def test_an_activity_that_makes_no_sense_is_refused(web: Any) -> None:
    changes: list[tuple[dict[str, Any], str]] = [
        ({"title": ""}, "input.invalid"),
        ({"title": "x" * 201}, "input.invalid"),
        ({"default_capacity": 0}, "input.invalid"),
        ({"waiting_list_policy": "who_knows"}, "input.invalid"),
        ({"min_age": -1}, "input.invalid"),
        ({"min_age": 10, "max_age": 6}, "activity.ages"),
    ]
    for change, reason in changes:
        body = {"title": "Coro", "default_capacity": 5} | change
        answer = await web.staff().post(f"{API}/activities", json=body)
        assert (answer.status_code, answer.json()["reason"]) == (422, reason), change


async def test_sessions_are_listed_by_time_between_two_moments(web: Any) -> None:
    activity_id = await web.activity()
    begin = web.clock.now() + timedelta(days=1)
    made = await web.staff().post(
        f"{API}/activities/{activity_id}/sessions",
        json={
            "starts_at": begin.isoformat(),
            "ends_at": (begin + timedelta(hours=1)).isoformat(),
            "weeks": 3,
        },
    )
    assert made.json()["capacity"] == 2
    assert len(made.json()["series"]) == 3
    assert made.json()["series"][0] == made.json()["id"]
    asked = {
        "from": (begin + timedelta(days=1)).isoformat(),
        "to": (begin + timedelta(days=20)).isoformat(),
        "limit": "1",
    }
    first = (await web.client.get(f"{API}/sessions", params=asked)).json()
    assert [item["id"] for item in first["items"]] == [made.json()["series"][1]]
    second = await web.client.get(f"{API}/sessions", params=asked | {"after": first["next"]})
    assert [item["id"] for item in second.json()["items"]] == [made.json()["series"][2]]
    assert second.json()["next"] is None
    wrong = await web.client.get(f"{API}/sessions", params={"from": "yesterday"})
    assert wrong.status_code == 422
    damaged = await web.client.get(f"{API}/sessions", params={"after": "xx"})
    assert damaged.json()["reason"] == "paging.after"


async def test_a_session_without_zone_or_backwards_is_refused(web: Any) -> None:
    activity_id = await web.activity()
    path = f"{API}/activities/{activity_id}/sessions"
    for starts_at, ends_at, reason in [
        ("2026-11-23T16:30:00", "2026-11-23T18:30:00", "input.invalid"),
        ("2026-11-23T18:30:00Z", "2026-11-23T16:30:00Z", "session.times"),
        ("2036-11-23T16:30:00Z", "2036-11-23T18:30:00Z", "session.times"),
    ]:
        answer = await web.staff().post(path, json={"starts_at": starts_at, "ends_at": ends_at})
        assert (answer.status_code, answer.json()["reason"]) == (422, reason)
    unknown = await web.client.post(
        f"{API}/activities/nothing/sessions",
        json={"starts_at": "2026-11-23T16:30:00Z", "ends_at": "2026-11-23T18:30:00Z"},
    )
    assert (unknown.status_code, unknown.json()["reason"]) == (404, "activity.unknown")


async def test_the_capacity_changes_and_a_session_is_cancelled(web: Any) -> None:
    session_id = await web.session(1)
    await web.sign_up(session_id, "ada", "bruno")
    path = f"{API}/sessions/{session_id}"
    more = await web.client.patch(path, json={"capacity": 2})
    assert (more.json()["capacity"], more.json()["offered"]) == (2, 1)
    fewer = await web.client.patch(path, json={"capacity": 1})
    assert (fewer.status_code, fewer.json()["reason"]) == (409, "session.capacity_taken")
    assert (await web.client.patch(path, json={"capacity": 0})).status_code == 422
    cancelled = await web.client.post(f"{path}/cancel", json={"reason": "neve"})
    assert cancelled.json()["state"] == "cancelled"
    assert {one["state"] for one in cancelled.json()["sign_ups"]} == {"cancelled"}
    assert (await web.client.post(f"{path}/cancel")).json()["state"] == "cancelled"


async def test_the_register_is_taken_whole_and_again_the_same(web: Any) -> None:
    session_id = await web.session(2, starts_in=timedelta(hours=1))
    await web.sign_up(session_id, "ada", "bruno")
    path = f"{API}/sessions/{session_id}/register"
    before = (await web.client.get(path)).json()
    assert (before["revision"], before["taken_at"]) == (0, None)
    assert [(e["person_id"], e["present"]) for e in before["entries"]] == [
        ("ada", None),
        ("bruno", None),
    ]
    web.clock.advance(timedelta(hours=4))
    missing = await web.client.get(f"{API}/sessions", params={"register": "missing"})
    assert [item["id"] for item in missing.json()["items"]] == [session_id]
    body = {"entries": [{"person_id": "ada", "present": True}], "revision": 0}
    taken = await web.client.put(path, json=body)
    assert taken.status_code == 200, taken.text
    assert (taken.json()["present"], taken.json()["absent"], taken.json()["revision"]) == (1, 1, 1)
    stale = await web.client.put(path, json=body)
    assert (stale.status_code, stale.json()["reason"]) == (409, "register.changed")
    del body["revision"]
    again = await web.client.put(path, json=body)
    assert again.json() == taken.json()
    missing = await web.client.get(f"{API}/sessions", params={"register": "missing"})
    assert missing.json()["items"] == []
    twice = {"entries": [{"person_id": "ada", "present": p} for p in (True, False)]}
    assert (await web.client.put(path, json=twice)).status_code == 422
    stranger = {"entries": [{"person_id": "nobody", "present": True}]}
    refused = await web.client.put(path, json=stranger)
    assert (refused.status_code, refused.json()["reason"]) == (422, "person.unknown")


async def test_the_hold_of_offers_is_set_by_the_coordinator(web: Any) -> None:
    session_id = await web.session(1)
    ada, _ = await web.sign_up(session_id, "ada", "bruno")
    set_ = await web.as_(Role.COORDINATOR).post(f"{API}/offer-holds", json={"hours": 5})
    assert set_.status_code == 201
    await web.staff().post(f"{API}/sign-ups/{ada['id']}/cancel")
    offer = next(s for s in (await web.see(session_id))["sign_ups"] if s["state"] == "offered")
    assert offer["answer_by"].startswith("2026-11-16T14:00:00")
    assert (
        await web.as_(Role.COORDINATOR).post(f"{API}/offer-holds", json={"hours": 0})
    ).status_code == 422


async def test_the_api_is_documented(web: Any) -> None:
    document = (await web.client.get("/activities/openapi.json")).json()
    paths = [path for path in document["paths"] if path.startswith(API)]
    assert f"{API}/sessions/{{session_id}}/register" in paths
    for path in paths:
        for method, operation in document["paths"][path].items():
            assert operation.get("description"), f"{method} {path}"
