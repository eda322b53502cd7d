"""The HTTP API: who may what, bad input, pages of lists."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from contracts.network import ReferralAccepted
from notifications import commands, store
from notifications.access import CALL
from notifications.app import SERVICE
from notifications.domain.delivery import Answer
from notifications.domain.kinds import Kind
from runtime.clock import FixedClock
from runtime.testing import eventually_async
from web.operations import OF_EVERY_SERVICE
from web.roles import STAFF, Role
from web.testing import Client, token

from .conftest import CENTRE, MailServer, World

BASE = "/notifications/api"
STAFF_HERE = sorted(STAFF)


@pytest.fixture
async def client(world: World) -> AsyncIterator[Client]:
    """The application beside a bench that hears for it. No mail server: e-mails are not sent."""
    async with Client(SERVICE, world.url, clock=world.clock) as client:
        client.sign_in(token(Role.COORDINATOR, centre=CENTRE))
        yield client


@pytest.fixture
async def one(sqlite_world: World) -> AsyncIterator[Client]:
    """For what is the same on both engines."""
    async with Client(SERVICE, sqlite_world.url, clock=sqlite_world.clock) as client:
        client.sign_in(token(Role.COORDINATOR, centre=CENTRE))
        yield client


def failed(world: World, answer: Answer = Answer.NEVER) -> str:
    """A message whose e-mail failed; its id."""
    world.bench.deliver(world.offered())
    taken: Any = world.bench.run(lambda tx: commands.take(tx, lease_for=timedelta(minutes=4)))
    world.bench.run(lambda tx: commands.finish(tx, taken, answer, "550"))
    return str(taken.message_id)


ENDPOINTS: list[tuple[str, str, Any, set[Role], str]] = [
    ("GET", "/messages", None, {*STAFF_HERE, Role.FAMILY}, "notifications:read"),
    ("GET", "/messages/{message}", None, {*STAFF_HERE, Role.FAMILY}, "notifications:read"),
    (
        "POST",
        "/messages/{message}/send-again",
        None,
        {Role.ADMINISTRATOR, Role.COORDINATOR},
        "notifications:write",
    ),
    (
        "GET",
        "/calls",
        None,
        {Role.ADMINISTRATOR, Role.COORDINATOR, Role.RECEPTION},
        "notifications:read",
    ),
    (
        "POST",
        "/calls/{call}/done",
        {},
        {Role.ADMINISTRATOR, Role.COORDINATOR, Role.RECEPTION},
        "notifications:write",
    ),
    (
        "GET",
        "/households/house-1/preferences",
        None,
        {Role.ADMINISTRATOR, Role.COORDINATOR, Role.RECEPTION, Role.FAMILY},
        "notifications:read",
    ),
    (
        "PUT",
        "/households/house-1/preferences",
        {"everything": False},
        {Role.ADMINISTRATOR, Role.COORDINATOR, Role.RECEPTION, Role.FAMILY},
        "notifications:write",
    ),
    (
        "GET",
        "/quiet-hours",
        None,
        {Role.ADMINISTRATOR, Role.COORDINATOR},
        "notifications:read",
    ),
    (
        "PUT",
        "/quiet-hours",
        {"hours": {}},
        {Role.ADMINISTRATOR, Role.COORDINATOR},
        "notifications:write",
    ),
]


@pytest.mark.parametrize(
    ("method", "path", "body", "roles", "scope"),
    ENDPOINTS,
    ids=[" ".join(one[:2]) for one in ENDPOINTS],
)
async def test_who_may_what(
    sqlite_world: World, method: str, path: str, body: Any, roles: set[Role], scope: str
) -> None:
    world = sqlite_world
    world.household()
    message = failed(world)
    call = world.delivery("call")
    path = BASE + path.format(message=message, call=call.id)
    more = {} if body is None else {"json": body}
    async with Client(SERVICE, world.url, clock=world.clock) as client:
        answer = await client.request(method, path, **more)
        assert answer.status_code == 401
        for role in Role:
            if role in roles:
                continue
            client.sign_in(token(role, centre=CENTRE, household="house-1"))
            answer = await client.request(method, path, **more)
            assert (role, answer.status_code) == (role, 403)
        api = {"centre": CENTRE, "household": "house-1"}
        client.sign_in(token(Role.COORDINATOR, **api, scopes=["cards:read"]))
        answer = await client.request(method, path, **more)
        assert answer.status_code == 403
        assert answer.json()["reason"] == "auth.scope"
        client.sign_in(token(Role.COORDINATOR, centre="centre-2"))
        answer = await client.request(method, path, **more)
        whole = path.endswith(("/messages", "/calls", "/quiet-hours"))
        assert answer.status_code == (200 if whole else 404), answer.text
        assert answer.json().get("items", []) == []
        client.sign_in(token(Role.COORDINATOR, **api, scopes=[scope]))
        answer = await client.request(method, path, **more)
        assert answer.status_code in (200, 204), answer.text


async def test_a_family_sees_its_own_and_nothing_else(client: Client, world: World) -> None:
    world.household()
    world.household("house-2", "omar")
    world.bench.deliver(world.confirmed(), world.confirmed("omar", household_id="house-2"))
    theirs = next(row.id for row in world.messages() if row.household_id == "house-2")
    client.sign_in(token(Role.FAMILY, centre=CENTRE, household="house-1"))
    for query in ("", "?household_id=house-2", "?person_id=omar", "?channel=in_app"):
        items = (await client.get(f"{BASE}/messages{query}")).json()["items"]
        assert {item["household_id"] for item in items} <= {"house-1"}
    assert len((await client.get(f"{BASE}/messages")).json()["items"]) == 1
    answer = await client.get(f"{BASE}/messages/{theirs}")
    assert (answer.status_code, answer.json()["reason"]) == (404, "message.unknown")
    for method in ("GET", "PUT"):
        answer = await client.request(
            method, f"{BASE}/households/house-2/preferences", json={"everything": False}
        )
        assert answer.status_code == 404
    assert world.rows(store.preference) == []


@pytest.mark.parametrize("role", sorted(STAFF - set(CALL)))
async def test_a_family_that_works_in_the_house_sets_its_own_wishes_alone(
    one: Client, sqlite_world: World, role: Role
) -> None:
    world = sqlite_world
    world.household()
    world.household("house-2", "omar")
    one.sign_in(token(Role.FAMILY, role, centre=CENTRE, household="house-1"))
    for household, status in (("house-1", 200), ("house-2", 404)):
        for method in ("GET", "PUT"):
            answer = await one.request(
                method, f"{BASE}/households/{household}/preferences", json={"everything": False}
            )
            assert (household, method, answer.status_code) == (household, method, status)
    assert [row.household_id for row in world.rows(store.preference)] == ["house-1"]


async def test_messages_are_found_by_what_they_are(client: Client, world: World) -> None:
    world.household()
    world.household("house-2", "omar", email="")
    world.household("house-3", "zoe", centre_id="centre-2")
    world.bench.deliver(
        world.confirmed(),
        world.offered("omar", household_id="house-2"),
        world.confirmed("zoe", household_id="house-3", centre_id="centre-2"),
    )

    async def found(**query: str) -> list[str]:
        answer = await client.get(f"{BASE}/messages", params=query)
        assert answer.status_code == 200, answer.text
        return [item["person_id"] for item in answer.json()["items"]]

    async def sent() -> bool:
        return await found(channel="email", state="created") == []

    await eventually_async(sent, why="the worker, that has no mail server, looked at them")
    assert await found() == ["omar", "maria"] or await found() == ["maria", "omar"]
    assert await found(household_id="house-2") == ["omar"]
    assert await found(person_id="maria") == ["maria"]
    assert await found(kind="signup_offered") == ["omar"]
    assert sorted(await found(state="delivered")) == ["maria", "omar"]
    assert await found(channel="call") == ["omar"]
    assert await found(channel="call", state="created") == ["omar"]
    assert sorted(await found(channel="email", state="not_sent")) == ["maria", "omar"]
    assert await found(channel="email", state="not_sent", household_id="house-2") == ["omar"]
    assert await found(channel="email", state="delivered") == []
    assert await found(household_id="house-3") == []
    for wrong in ({"state": "lost"}, {"kind": "gossip"}, {"channel": "pigeon"}, {"after": "%%"}):
        answer = await client.get(f"{BASE}/messages", params=wrong)
        assert answer.status_code == 422
    client.sign_in(token(Role.ADMINISTRATOR))
    assert sorted(await found()) == ["maria", "omar", "zoe"]
    assert await found(channel="call", state="created") == ["omar"]


async def test_a_long_list_comes_in_parts(client: Client, world: World, clock: FixedClock) -> None:
    world.household()
    for number in range(5):
        world.bench.deliver(world.confirmed(session_id=f"s-{number}"), twice=False)
        clock.advance(timedelta(seconds=number % 2))
    for extra in ({}, {"channel": "in_app"}):
        seen: list[str] = []
        after = ""
        while True:
            answer = await client.get(
                f"{BASE}/messages", params={"limit": 2, "after": after, **extra}
            )
            page = answer.json()
            seen += [item["id"] for item in page["items"]]
            if page["next"] is None:
                break
            after = page["next"]
        assert len(seen) == len(set(seen)) == 5


async def test_a_message_shows_how_it_went_in_the_language_of_the_reader(
    one: Client, sqlite_world: World
) -> None:
    client, world = one, sqlite_world
    world.household()
    message_id = failed(world)
    answer = await client.get(f"{BASE}/messages/{message_id}", headers={"Accept-Language": "it"})
    body = answer.json()
    assert body["subject"] == "C'è un posto libero: Spazio compiti"
    assert "lunedì 23 novembre 2026" in body["text"]
    assert body["state"] == "permanent_failure"
    assert [(one["channel"], one["state"]) for one in body["deliveries"]] == [
        ("in_app", "delivered"),
        ("email", "permanent_failure"),
        ("call", "created"),
    ]
    (attempt,) = body["deliveries"][1]["attempts"]
    assert (attempt["answer"], attempt["code"]) == ("never", "550")
    assert attempt["ended_at"]
    assert "maria@example.org" not in answer.text


async def test_send_again_once_however_often_it_is_asked(client: Client, world: World) -> None:
    world.household()
    message_id = failed(world)
    path = f"{BASE}/messages/{message_id}/send-again"
    first = await client.post(path, headers={"Idempotency-Key": "again-1"})
    assert first.status_code == 200, first.text
    repeated = await client.post(path, headers={"Idempotency-Key": "again-1"})
    assert repeated.status_code == 200
    assert (await client.post(path)).json()["reason"] == "message.not_failed"
    assert (await client.post(f"{BASE}/messages/nothing/send-again")).status_code == 404


async def test_an_unknown_outcome_is_not_sent_again(one: Client, sqlite_world: World) -> None:
    client, world = one, sqlite_world
    world.household()
    message_id = failed(world, Answer.LOST)
    answer = await client.post(
        f"{BASE}/messages/{message_id}/send-again", headers={"Accept-Language": "it"}
    )
    assert answer.status_code == 409
    problem = answer.json()
    assert problem["reason"] == "message.outcome_unknown"
    assert problem["detail"].startswith("Non si sa")
    assert problem["next_step"]


async def test_calls_name_whom_to_call_and_go_when_done(client: Client, world: World) -> None:
    world.household(email="", phone="+390211111", language="ar")
    world.bench.deliver(
        world.person("amina", email="", phone=""), world.offered("amina"), world.cancelled()
    )
    calls = (await client.get(f"{BASE}/calls")).json()["items"]
    assert [(one["name"], one["phone"], one["language"]) for one in calls] == [
        ("Maria Rossi", "+390211111", "ar"),
        ("Maria Rossi", "+390211111", "ar"),
    ]
    first, second = calls
    answer = await client.post(f"{BASE}/calls/{first['id']}/done")
    assert answer.status_code == 204
    answer = await client.post(f"{BASE}/calls/{first['id']}/done")
    assert (answer.status_code, answer.json()["reason"]) == (409, "call.done")
    answer = await client.post(f"{BASE}/calls/{second['id']}/done", json={"reached": "perhaps"})
    assert answer.status_code == 422
    answer = await client.post(f"{BASE}/calls/{second['id']}/done", json={"reached": False})
    assert answer.status_code == 204
    assert (await client.get(f"{BASE}/calls")).json()["items"] == []


async def test_preferences_are_kept(one: Client, sqlite_world: World) -> None:
    client, world = one, sqlite_world
    world.household()
    path = f"{BASE}/households/house-1/preferences"
    client.sign_in(token(Role.FAMILY, centre=CENTRE, household="house-1"))
    first = (await client.get(path)).json()
    assert first["everything"] is True
    assert "signup_offered" in first["always_sent"]
    wanted = {"kinds": {"points_allowance": False}, "channels": {"email": True}}
    assert (await client.put(path, json=wanted)).status_code == 200
    seen = (await client.get(path)).json()
    assert (seen["everything"], seen["kinds"], seen["channels"]) == (
        True,
        {"points_allowance": False},
        {"email": True},
    )
    for wrong in (
        {"kinds": {"signup_offered": False}},
        {"channels": {"in_app": False}},
        {"kind": {}},
        [],
    ):
        answer = await client.put(path, json=wrong)
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
    assert (await client.get(path)).json() == seen


async def test_hours_of_a_centre_from_a_day_on(one: Client, clock: FixedClock) -> None:
    client = one
    path = f"{BASE}/quiet-hours"
    later = (clock.now() + timedelta(days=1)).isoformat()
    hours = {"weekdays": {"opens": "14:00", "closes": "15:00"}}
    answer = await client.put(path, json={"hours": hours, "from_time": later})
    assert answer.status_code == 200, answer.text
    assert (await client.get(path)).json()["hours"]["weekdays"]["opens"] == "09:00:00"
    answer = await client.get(path, params={"at": later})
    assert answer.json()["hours"]["weekdays"]["opens"] == "14:00:00"
    wrong: dict[str, Any]
    for wrong in (
        {"hours": {"weekdays": {"opens": "15:00", "closes": "14:00"}}},
        {"hours": {"weekdays": None, "saturdays": None}},
        {"hours": {}, "from_time": "2026-11-20T00:00:00"},
        {},
    ):
        assert (await client.put(path, json=wrong)).status_code == 422
    answer = await client.put(f"{path}?centre_id=centre-2", json={"hours": {}})
    assert answer.status_code == 403
    client.sign_in(token(Role.ADMINISTRATOR))
    assert (await client.get(path)).status_code == 422
    assert (await client.get(f"{path}?centre_id={CENTRE}")).status_code == 200


async def test_a_referral_is_seen_only_by_who_needs_to_know(
    one: Client, sqlite_world: World
) -> None:
    client, world = one, sqlite_world
    world.household()
    world.bench.deliver(
        ReferralAccepted(
            referral_id="r-1",
            centre_id=CENTRE,
            household_id="house-1",
            to_organisation_id="sert",
            at=world.now,
        )
    )
    (message,) = world.messages()
    for role in sorted(STAFF):
        client.sign_in(token(role, centre=CENTRE))
        seen = role not in (Role.TILL, Role.EDUCATOR)
        answer = await client.get(f"{BASE}/messages/{message.id}")
        assert (role, answer.status_code) == (role, 200 if seen else 404)
        items = (await client.get(f"{BASE}/messages")).json()["items"]
        assert bool(items) == seen
    assert "sert" not in answer.text


async def test_the_running_application_hands_over(
    sqlite_world: World, mail_server: MailServer
) -> None:
    """The worker of the application, woken by what is made in its own process."""
    world = sqlite_world
    world.household()
    settings = {
        "smtp_host": "127.0.0.1",
        "smtp_port": mail_server.port,
        "smtp_starttls": False,
    }
    async with Client(SERVICE, world.url, clock=world.clock, settings=settings) as client:
        intent = world.confirmed()
        await client.run(
            lambda tx: commands.tell(
                tx,
                commands.News(
                    intent="event-1",
                    kind=Kind.SIGN_UP_CONFIRMED,
                    centre_id=CENTRE,
                    household_id="house-1",
                    person_id="maria",
                    told_at=world.now,
                    data={"title": intent.title, "starts_at": intent.starts_at.isoformat()},
                ),
            )
        )
        await eventually_async(lambda: world.delivery().state == "delivered", why="the e-mail")
    assert mail_server.mails[0]["From"] == "vicinato@testserver"


async def test_the_documents(one: Client) -> None:
    client = one
    paths = (await client.get("/openapi.json")).json()["paths"]
    own = {
        path
        for path, item in paths.items()
        if not any(OF_EVERY_SERVICE in asked.get("tags", ()) for asked in item.values())
    }
    assert own == {
        f"{BASE}{path}"
        for path in (
            "/messages",
            "/messages/{message_id}",
            "/messages/{message_id}/send-again",
            "/calls",
            "/calls/{call_id}/done",
            "/households/{household_id}/preferences",
            "/quiet-hours",
        )
    }
    assert (await client.get("/livez")).status_code == 200
    assert "notifications_handed_over_in_time" in (await client.get("/metrics")).text
