"""The password once more, before what somebody else at an open desk must not do."""

from __future__ import annotations

from datetime import timedelta

import pytest

from contracts.identity import Role
from identity.domain import throttle
from identity.domain.sessions import PROVED_FOR
from runtime.clock import FixedClock
from web.csrf import HEADER, token_of
from web.testing import Client, PageSeen

from .identity_browser import (
    ACCOUNTS,
    OWN,
    claims,
    page_of,
    person,
    sign_in_elsewhere,
)
from .identity_house import ANNA, PASSWORD

LATER = PROVED_FOR + timedelta(seconds=1)


@pytest.fixture
async def desk(client: Client, clock: FixedClock) -> tuple[Client, str]:
    """A coordinator who signed in a while ago, and somebody else's account."""
    account_id = await person(client, "till@example.org", Role.TILL)
    await sign_in_elsewhere(client, "till@example.org")
    await page_of(client, ANNA, Role.COORDINATOR)
    clock.advance(LATER)
    await client.follow(await client.get("/identity/renew?next=/identity/"))
    return client, account_id


def asks(page: PageSeen) -> bool:
    return any(form.id == "again" for form in page.forms)


async def test_a_token_is_made_with_the_password_again_and_all_that_was_typed(
    desk: tuple[Client, str],
) -> None:
    client, _ = desk
    form = (await client.page(f"{OWN}/tokens")).form("new-token")
    page = await form.submit(name="till", days="7", scopes=["shop:read", "shop:write"])
    assert asks(page)
    wrong = await page.form("again").submit(_password="wrong", status=422)
    assert "not your present password" in wrong
    assert "wrong" not in str(wrong.form("again").values)
    made = await wrong.form("again").submit(_password=PASSWORD)
    assert '<code id="token">' in made.html
    assert "till" in made
    assert not asks(await form.submit(name="x", days="1", scopes=["shop:read"], _nonce="other"))


async def test_sessions_are_ended_with_the_password_again(desk: tuple[Client, str]) -> None:
    client, _ = desk
    await sign_in_elsewhere(client, ANNA)
    page = await client.page(f"{OWN}/sessions")
    ends = [form for form in page.forms if form.action.endswith("/end")]
    me = (await claims(client)).sid
    other = next(form for form in ends if me not in form.action)
    for form in (other, page.form("/end-others")):
        assert asks(await form.submit())
    done = await (await other.submit()).form("again").submit(_password=PASSWORD)
    assert len([form for form in done.forms if form.action.endswith("/end")]) == 1


async def test_signing_out_here_asks_for_nothing(desk: tuple[Client, str]) -> None:
    client, _ = desk
    page = await client.page(f"{OWN}/sessions")
    (here,) = [form for form in page.forms if form.action.endswith("/end")]
    assert (await here.send()).status_code == 303


@pytest.mark.parametrize(
    "typed",
    [{"email": "other@example.org"}, {"roles": ["till", "educator"]}, {"anew": "yes"}],
)
async def test_addresses_roles_and_passwords_of_others_need_it(
    desk: tuple[Client, str], typed: dict[str, object]
) -> None:
    client, account_id = desk
    form = (await client.page(f"{ACCOUNTS}/{account_id}")).form("account")
    page = await form.submit(**typed)
    assert asks(page)
    assert (await sign_in_elsewhere(client, "till@example.org")).status_code == 303
    assert not asks(await page.form("again").submit(_password=PASSWORD))
    kept = (await client.page(f"{ACCOUNTS}/{account_id}")).form("account").values
    assert all(kept[name] == value for name, value in typed.items() if name == "email")
    assert "anew" not in typed or (await sign_in_elsewhere(client, "till@example.org")).is_error


async def test_a_name_and_a_language_do_not(desk: tuple[Client, str]) -> None:
    client, account_id = desk
    form = (await client.page(f"{ACCOUNTS}/{account_id}")).form("account")
    assert "The account is changed." in await form.submit(name="Bottega", language="ar")


async def test_somebody_is_signed_out_everywhere_with_it(desk: tuple[Client, str]) -> None:
    client, account_id = desk
    form = (await client.page(f"{ACCOUNTS}/{account_id}")).form("end-sessions")
    page = await form.submit()
    assert "signed out everywhere" in await page.form("again").submit(_password=PASSWORD)


async def test_guessing_it_is_slowed(desk: tuple[Client, str]) -> None:
    client, account_id = desk
    form = (await client.page(f"{ACCOUNTS}/{account_id}")).form("end-sessions")
    page = await form.submit()
    for _ in range(throttle.FROM_ONE_PLACE.burst):
        page = await page.form("again").submit(_password="wrong", status=422)
    page = await page.form("again").submit(_password=PASSWORD, status=422)
    assert "too many attempts" in page


async def test_the_api_asks_a_browser_and_no_program(desk: tuple[Client, str]) -> None:
    client, account_id = desk
    csrf = {HEADER: token_of((await claims(client)).sid)}
    where = f"{ACCOUNTS.replace('/accounts', '/api/accounts')}/{account_id}"
    for method, path in (
        ("PATCH", where),
        ("POST", f"{where}/sessions/revoke"),
        ("DELETE", "/identity/api/sessions/another"),
    ):
        body = {} if method != "PATCH" else {"json": {"disabled": True}}
        answer = await client.http.request(method, path, headers=csrf, **body)
        assert (answer.status_code, answer.json()["reason"]) == (403, "password.again"), path
    asked = {"email": ANNA, "password": PASSWORD, "scopes": ["identity:write"]}
    made = (await client.post("/identity/api/tokens", json=asked, headers=csrf)).json()
    bearer = {"Authorization": f"Bearer {made['token']}"}
    client.clock.advance(LATER)
    answer = await client.http.patch(where, json={"disabled": True}, headers=bearer)
    assert answer.status_code == 200
