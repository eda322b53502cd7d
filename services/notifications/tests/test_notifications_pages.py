"""The pages, as a browser without JavaScript uses them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from contracts.cards import PointsExpired
from notifications import commands, live, store
from notifications.app import SERVICE
from notifications.domain.delivery import Answer
from runtime.refusals import NotFound
from runtime.settings import settings_table
from web import live as web_live
from web.call import Call
from web.roles import Caller, Role
from web.testing import Client, token
from web.translations import LANGUAGES

from .conftest import CENTRE, World

FAMILY = {"centre": CENTRE, "household": "house-1"}


@pytest.fixture
async def client(world: World) -> AsyncIterator[Client]:
    async with Client(SERVICE, world.url, clock=world.clock) as client:
        client.sign_in(token(Role.FAMILY, **FAMILY))
        yield client


@pytest.fixture
async def one(sqlite_world: World) -> AsyncIterator[Client]:
    """For what is the same on both engines."""
    async with Client(SERVICE, sqlite_world.url, clock=sqlite_world.clock) as client:
        client.sign_in(token(Role.FAMILY, **FAMILY))
        yield client


def failed(world: World, answer: Answer = Answer.NEVER) -> str:
    world.bench.deliver(world.offered())
    taken: Any = world.bench.run(lambda tx: commands.take(tx, lease_for=timedelta(minutes=4)))
    world.bench.run(lambda tx: commands.finish(tx, taken, answer, "550"))
    return str(taken.message_id)


async def test_a_family_reads_its_messages(client: Client, world: World) -> None:
    world.household()
    world.household("house-2", "omar")
    page = await client.page("/notifications/inbox")
    assert "There are no messages for you yet." in page
    world.bench.deliver(
        world.confirmed(title="Chitarra"),
        world.offered("amina", title="Teatro"),
        world.confirmed("omar", household_id="house-2", title="Scacchi"),
    )
    page = await client.page("/notifications/inbox")
    assert "The place is confirmed: Chitarra" in page
    assert "Monday, 23 November 2026 at 10:00" in page
    assert "Not read yet: 2" in page
    assert "Scacchi" not in page
    assert 'data-live="inbox.house-1"' in page.html
    (message,) = [
        row
        for row in world.messages()
        if row.kind == "signup_confirmed"
        if row.household_id == "house-1"
    ]
    page = await page.form(f"/{message.id}/read").submit()
    assert page.path == "/notifications/inbox"
    assert "Not read yet: 1" in page
    page = await page.form("read-all").submit()
    assert "Not read yet" not in page
    assert "New" not in page.text.replace("Newest", "")
    (theirs,) = world.rows(store.message, household_id="house-2")
    assert theirs.read_at is None


@pytest.mark.parametrize("role", [Role.EDUCATOR, Role.RECEPTION])
async def test_a_family_that_works_in_the_house_has_its_own_inbox_and_the_way_to_the_list(
    one: Client, sqlite_world: World, role: Role
) -> None:
    world = sqlite_world
    world.household()
    world.household("house-2", "omar")
    world.bench.deliver(
        world.confirmed(title="Chitarra"),
        world.confirmed("omar", household_id="house-2", title="Scacchi"),
    )
    one.sign_in(token(Role.FAMILY, role, **FAMILY))
    page = await one.page("/notifications/inbox")
    assert "The place is confirmed: Chitarra" in page
    assert "Scacchi" not in page
    assert "Not read yet: 1" in page
    assert 'data-live="inbox.house-1"' in page.html
    page = await page.form("read-all").submit()
    assert "Not read yet" not in page
    page = await page.follow("Messages to families")
    assert "Scacchi" in page
    one.sign_in(token(role, centre=CENTRE))
    answer = await one.get("/notifications/inbox")
    assert (answer.status_code, answer.headers["location"]) == (303, "/notifications/messages")


async def test_a_family_cannot_read_what_is_not_its_own(one: Client, sqlite_world: World) -> None:
    world = sqlite_world
    world.household()
    world.household("house-2", "omar")
    world.bench.deliver(world.confirmed(), world.confirmed("omar", household_id="house-2"))
    page = await one.page("/notifications/inbox")
    (theirs,) = world.rows(store.message, household_id="house-2")
    form = next(
        form for form in page.forms if form.action.endswith("/read") and "inbox/" in form.action
    )
    form.action = f"/notifications/inbox/{theirs.id}/read"
    answer = await form.send()
    assert answer.status_code == 404
    assert world.rows(store.message, household_id="house-2")[0].read_at is None


async def test_a_family_linked_to_a_household_of_another_centre_sees_nothing_of_it(
    one: Client, sqlite_world: World
) -> None:
    """Whoever makes accounts in a centre could write the id of any household into one."""
    world = sqlite_world
    world.household()
    world.bench.deliver(world.confirmed(title="Chitarra"))
    (message,) = world.messages()
    elsewhere = {"centre": "centre-2", "household": "house-1"}
    one.sign_in(token(Role.FAMILY, **elsewhere))
    page = await one.page("/notifications/inbox")
    assert "Chitarra" not in page
    assert "Not read yet" not in page
    page = await one.page("/notifications/preferences")
    await page.form("preferences").submit(everything="on", status=422)
    assert (await one.get("/notifications/live/inbox.house-1")).status_code == 403
    scopes = ("notifications:read", "notifications:write")
    one.sign_in(token(Role.FAMILY, scopes=scopes, **elsewhere))
    assert (await one.get("/notifications/api/messages")).json()["items"] == []
    for method, path in (
        ("GET", f"messages/{message.id}"),
        ("GET", "households/house-1/preferences"),
        ("PUT", "households/house-1/preferences"),
    ):
        answer = await one.request(method, f"/notifications/api/{path}", json={"everything": True})
        assert answer.status_code == 404, path
    with pytest.raises(NotFound):
        world.bench.run(
            lambda tx: commands.mark_read(tx, "house-1", message.id, centre_id="centre-2")
        )
    assert world.messages()[0].read_at is None


async def test_a_new_message_tells_open_inboxes_after_the_commit(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite_world.household()
    told: list[tuple[str, str, int]] = []

    def publish(kind: str, subject: str) -> None:
        told.append((kind, subject, len(sqlite_world.messages())))

    monkeypatch.setattr(web_live, "publish", publish)
    sqlite_world.bench.deliver(sqlite_world.confirmed())
    assert told == [("inbox", "house-1", 1)]


async def test_who_may_listen(one: Client, sqlite_world: World) -> None:
    sqlite_world.household()
    request = Request({"type": "http", "app": one.app})

    async def allowed(subject: str = "house-1", **who: Any) -> bool:
        caller = Caller(account_id="a", **{"centre_id": CENTRE, **who})
        check = web_live._channels["notifications", live.INBOX]
        return await check(Call(request, caller), subject)

    assert await allowed(household_id="house-1")
    assert not await allowed(household_id="house-2")
    assert not await allowed(household_id="house-1", centre_id="centre-2")
    assert not await allowed(roles=frozenset({Role.COORDINATOR}))
    assert not await allowed("")


async def test_a_long_inbox_comes_in_parts(one: Client, sqlite_world: World) -> None:
    sqlite_world.household()
    for number in range(52):
        sqlite_world.bench.deliver(
            sqlite_world.confirmed(session_id=f"s-{number}", title=f"T{number}x"), twice=False
        )
    page = await one.page("/notifications/inbox")
    assert page.html.count("<article") == 50
    page = await page.follow("Show more")
    assert page.html.count("<article") == 2


@pytest.mark.parametrize("language", LANGUAGES)
async def test_every_page_in_every_language(sqlite_world: World, language: str) -> None:
    world = sqlite_world
    world.household(given_name="ليلى")
    message_id = failed(world)
    world.bench.deliver(
        PointsExpired(
            household_id="house-1",
            transfer_id="t-1",
            points=3,
            buckets=(),
            available=2,
            held=0,
            expired_at=world.now,
        )
    )
    titles = set()
    async with Client(SERVICE, world.url, clock=world.clock, language=language) as client:
        for role, path in (
            (Role.FAMILY, "/notifications/inbox"),
            (Role.FAMILY, "/notifications/preferences"),
            (Role.COORDINATOR, "/notifications/messages"),
            (Role.COORDINATOR, f"/notifications/messages/{message_id}"),
            (Role.RECEPTION, "/notifications/calls"),
        ):
            client.sign_in(token(role, **FAMILY))
            page = await client.page(path)
            assert (page.language, page.direction) == (
                language,
                "rtl" if language == "ar" else "ltr",
            )
            assert "<style" not in page.html
            assert "style=" not in page.html
            assert " onclick" not in page.html
            titles.add(page.html.partition("<h1")[2].partition("</h1>")[0])
    assert len(titles) == 5


async def test_preferences_are_kept_as_ticked(client: Client, world: World) -> None:
    world.household()
    page = await client.page("/notifications/preferences")
    form = page.form("preferences")
    assert form.values["everything"] == "yes"
    assert "signup_offered" not in form.values["kinds"]
    page = await form.submit(kinds=["points_allowance"], channels=[])
    assert "Saved." in page
    form = page.form("preferences")
    assert form.values["kinds"] == "points_allowance"
    assert "channels" not in form.values
    world.bench.deliver(world.confirmed())
    assert world.delivery().why == "switched_off"


async def test_preferences_that_make_no_sense_are_refused_and_nothing_is_lost(
    one: Client, sqlite_world: World
) -> None:
    sqlite_world.household()
    page = await one.page("/notifications/preferences")
    page = await page.form("preferences").submit(kinds=["points_allowance", "gossip"], status=422)
    assert "Something has to be corrected" in page
    assert page.form("preferences").values["kinds"] == "points_allowance"
    assert sqlite_world.rows(store.preference) == []


async def test_a_household_that_is_not_known_yet_is_told_so(one: Client) -> None:
    page = await one.page("/notifications/preferences")
    page = await page.form("preferences").submit(status=422)
    assert "There is no such household." in page
    one.sign_in(token(Role.FAMILY, centre=CENTRE))
    await one.page("/notifications/preferences", status=403)
    page = await one.page("/notifications/inbox")
    assert "There are no messages for you yet." in page


async def test_the_staff_find_a_failed_message_and_send_it_again(
    client: Client, world: World
) -> None:
    world.household()
    failed(world)
    client.sign_in(token(Role.COORDINATOR, centre=CENTRE))
    page = await client.page("/notifications/inbox")
    assert page.path == "/notifications/messages"
    page = await page.form("filter").submit(state="delivered")
    assert "There are no such messages." in page
    page = await page.form("filter").submit(state="permanent_failure")
    assert page.form("filter").values["state"] == "permanent_failure"
    page = await page.follow("A place is free")
    assert "Failed for good" in page
    assert "The mail server refused it" in page
    form = page.form("send-again")
    page = await form.submit()
    assert "send-again" not in page.html
    again = await form.send()  # the same form once more, as a browser's back button does
    assert again.status_code == 303


async def test_a_refusal_stays_on_the_page(one: Client, sqlite_world: World) -> None:
    world = sqlite_world
    world.household()
    message_id = failed(world)
    one.sign_in(token(Role.COORDINATOR, centre=CENTRE))
    page = await one.page(f"/notifications/messages/{message_id}")
    world.bench.run(lambda tx: commands.send_again(tx, message_id))
    page = await page.form("send-again").submit(status=422)
    assert "Only an e-mail that failed can be sent again." in page


async def test_a_failed_email_of_no_use_is_not_offered_again(
    one: Client, sqlite_world: World
) -> None:
    sqlite_world.household()
    message_id = failed(sqlite_world)
    one.sign_in(token(Role.COORDINATOR, centre=CENTRE))
    page = await one.page(f"/notifications/messages/{message_id}")
    assert "send-again" in page.html
    sqlite_world.clock.advance(timedelta(hours=49))
    page = await one.page(f"/notifications/messages/{message_id}")
    assert "send-again" not in page.html


async def test_a_lost_answer_says_what_to_do(one: Client, sqlite_world: World) -> None:
    sqlite_world.household()
    message_id = failed(sqlite_world, Answer.LOST)
    one.sign_in(token(Role.COORDINATOR, centre=CENTRE))
    page = await one.page(f"/notifications/messages/{message_id}")
    assert "it is never sent twice" in page
    assert "send-again" not in page.html


async def test_reception_calls_and_ticks_off(client: Client, world: World) -> None:
    world.household(email="")
    world.bench.deliver(world.offered(), world.cancelled())
    client.sign_in(token(Role.RECEPTION, centre=CENTRE))
    page = await client.page("/notifications/calls")
    assert "Maria Rossi" in page
    assert "+393331234567" in page
    form = next(form for form in page.forms if form.action.endswith("/done"))
    page = await form.submit(reached="yes")
    assert page.html.count("<article") == 1
    form = next(form for form in page.forms if form.action.endswith("/done"))
    (left,) = world.rows(store.delivery, channel="call", state="created")
    world.bench.run(lambda tx: commands.call_done(tx, left.id, reached=True))
    page = await form.submit(reached="no", status=422)
    assert "Somebody has already made this call." in page
    assert "There is nobody to call." in page


async def test_a_call_says_until_when_it_is_of_use_and_goes(
    one: Client, sqlite_world: World
) -> None:
    world = sqlite_world
    world.household(email="")
    world.bench.deliver(world.offered())
    one.sign_in(token(Role.RECEPTION, centre=CENTRE))
    assert "Useful until" in await one.page("/notifications/calls")
    world.clock.advance(timedelta(hours=49))
    assert "There is nobody to call." in await one.page("/notifications/calls")


PAGES = [
    ("/notifications/preferences", {Role.FAMILY}),
    (
        "/notifications/messages",
        {
            Role.ADMINISTRATOR,
            Role.COORDINATOR,
            Role.RECEPTION,
            Role.TILL,
            Role.EDUCATOR,
            Role.CASE_WORKER,
        },
    ),
    ("/notifications/calls", {Role.ADMINISTRATOR, Role.COORDINATOR, Role.RECEPTION}),
]


@pytest.mark.parametrize(("path", "roles"), PAGES)
async def test_who_sees_which_page(
    one: Client, sqlite_world: World, path: str, roles: set[Role]
) -> None:
    sqlite_world.household()
    for role in Role:
        one.sign_in(token(role, **FAMILY))
        answer = await one.get(path)
        assert (role, answer.status_code) == (role, 200 if role in roles else 403)
    one.sign_in("")
    answer = await one.get(path)
    assert answer.status_code == 303
    assert "/identity/" in answer.headers["location"]


async def test_another_centre_is_not_seen(one: Client, sqlite_world: World) -> None:
    world = sqlite_world
    world.household()
    message_id = failed(world)
    one.sign_in(token(Role.COORDINATOR, centre="centre-2"))
    assert "There are no such messages." in await one.page("/notifications/messages")
    assert "There is nobody to call." in await one.page("/notifications/calls")
    await one.page(f"/notifications/messages/{message_id}", status=404)


async def test_no_page_puts_a_name_into_an_address(one: Client, sqlite_world: World) -> None:
    world = sqlite_world
    world.household(email="")
    world.bench.deliver(world.offered())
    for role, path in (
        (Role.COORDINATOR, "/notifications/messages"),
        (Role.RECEPTION, "/notifications/calls"),
    ):
        one.sign_in(token(role, centre=CENTRE))
        page = await one.page(path)
        addresses = [href for _, href in page.links] + [form.action for form in page.forms]
        assert not any("maria" in address.lower() for address in addresses)


def test_the_readme_names_every_setting() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    for row in settings_table(SERVICE.settings):
        if row.name.startswith(("VICINATO_NOTIFICATIONS_", "VICINATO_SMTP_")):
            assert row.name in readme
