"""Signing in on the pages of identity, and staying signed in."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from contracts.identity import Role, SessionRevoked
from identity import carried
from identity.app import SERVICE
from identity.domain import throttle
from messaging.tables import idempotency
from runtime.clock import FixedClock
from web.csrf import is_token_of
from web.testing import Client, PageSeen

from .identity_browser import (
    ACCOUNTS,
    OWN,
    SIGN_IN,
    cookies_of,
    page_of,
    person,
    sign_in,
    told,
)
from .identity_house import ANNA, PASSWORD, furnish, key_file

# -- signing in ----------------------------------------------------------------------------------


async def test_somebody_signs_in_and_out(client: Client) -> None:
    await person(client, ANNA, Role.RECEPTION)
    answer = await sign_in(client, "Anna@EXAMPLE.org")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/identity/"
    cookies = cookies_of(answer)
    for name in ("session", "token"):
        assert cookies[name]["httponly"]
        assert cookies[name]["samesite"] == "lax"
        assert cookies[name]["path"] == "/"
    assert cookies["session"]["max-age"] == "", "a shared desk forgets with its window"
    assert cookies["token"]["max-age"] == "600"
    home = await client.follow(answer)
    assert "Desk" in home
    assert "Till" not in home
    out = await home.form("/identity/sign-out").send()
    assert (out.status_code, out.headers["location"]) == (303, SIGN_IN)
    assert not {"session", "token"} & set(client.http.cookies)
    assert out.headers["clear-site-data"] == '"storage"'
    assert len(await told(client, SessionRevoked)) == 1
    assert (await client.get("/identity/")).headers["location"].startswith("/identity/renew")


async def test_sign_ins_are_logged_right_and_wrong_without_addresses(client: Client) -> None:
    account_id = await person(client, ANNA, Role.TILL)
    with capture_logs() as lines:
        await sign_in(client, ANNA, "not the password")
        await sign_in(client, "nobody@example.org", "not the password")
        await sign_in(client, ANNA)
    told = [(x["event"], x["actor"]) for x in lines if x["event"].startswith("identity.sign_in")]
    assert told == [
        ("identity.sign_in.wrong", account_id),
        ("identity.sign_in.wrong", ""),
        ("identity.sign_in.right", account_id),
    ]
    assert not any("@" in str(line) for line in lines)


async def test_a_family_stays_signed_in_on_its_phone(client: Client) -> None:
    await person(client, ANNA, Role.FAMILY, household="h-1")
    cookies = cookies_of(await sign_in(client))
    assert int(cookies["session"]["max-age"]) > 30 * 24 * 3600


async def test_by_https_the_cookies_are_bound_to_the_host(tmp_path: Any, clock: FixedClock) -> None:
    settings = {
        "public_url": "https://vicinato.example",
        "identity_key_file": key_file(tmp_path),
    }
    url = f"sqlite:///{tmp_path / 'identity.db'}"
    async with Client(SERVICE, url, clock=clock, settings=settings) as client:
        await client.run(furnish)
        await person(client, ANNA, Role.TILL)
        cookies = cookies_of(await sign_in(client))
        assert set(cookies) == {"__Host-session", "__Host-token"}
        assert all(cookies[name]["secure"] for name in cookies)


async def test_a_wrong_sign_in_keeps_the_address_and_not_the_password(client: Client) -> None:
    await person(client, ANNA, Role.TILL)
    for email, password in (
        (ANNA, "not this"),
        ("nobody@example.org", PASSWORD),
        ("no-address@x", PASSWORD),
    ):
        page = await client.follow(await sign_in(client, email, password), status=401)
        assert "is not right" in page
        form = page.form("sign-in")
        assert form.values["email"] == email
        assert form.values["password"] == ""
        assert password not in page.html
        assert "session" not in client.http.cookies


async def test_an_empty_sign_in_names_what_is_missing(client: Client) -> None:
    page = await (await client.page(SIGN_IN)).form("sign-in").submit(status=422)
    assert page.html.count('aria-invalid="true"') == 2


async def test_too_many_guesses_are_told_to_wait(client: Client, clock: FixedClock) -> None:
    await person(client, ANNA, Role.TILL)
    for _ in range(throttle.FROM_ONE_PLACE.burst):
        assert (await sign_in(client, ANNA, "wrong")).status_code == 401
    answer = await sign_in(client)
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "60"
    assert "too many attempts" in (await client.follow(answer, status=429))
    clock.advance(timedelta(minutes=1))
    assert (await sign_in(client)).status_code == 303


async def test_no_quick_digest_of_a_password_is_kept(client: Client) -> None:
    """A form's nonce must not make the store remember what was typed."""
    await page_of(client, ANNA, Role.TILL)
    kept = await client.read(lambda c: c.execute(sa.select(idempotency)).all())
    assert kept == []


WAYS_ON = [
    ("/cards/desk?x=1", "/cards/desk?x=1"),
    ("https://evil.example/", "/identity/"),
    ("//evil.example/", "/identity/"),
    ("/\\evil.example", "/identity/"),
    ("javascript:alert(1)", "/identity/"),
    ("", "/identity/"),
]


async def test_after_signing_in_one_goes_on_inside_the_house(client: Client) -> None:
    await person(client, ANNA, Role.TILL)
    for asked, goes in WAYS_ON:
        client.http.cookies.clear()
        page = await client.follow(await client.get(SIGN_IN, params={"next": asked}))
        sent = await page.form("sign-in").send(email=ANNA, password=PASSWORD)
        assert sent.headers["location"] == goes
        again = await client.get(SIGN_IN, params={"next": asked})
        assert (again.status_code, again.headers["location"]) == (303, goes)
        renewed = await client.get("/identity/renew", params={"next": asked})
        assert (renewed.status_code, renewed.headers["location"]) == (303, goes)


async def test_a_form_of_another_site_does_not_sign_in(client: Client) -> None:
    await person(client, ANNA, Role.TILL)
    body = {"email": ANNA, "password": PASSWORD}
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = await client.post(SIGN_IN, data=body, headers=headers)
        assert answer.status_code == 403
        assert "session" not in client.http.cookies


# -- renewal -------------------------------------------------------------------------------------


async def test_a_token_that_ended_is_renewed_on_the_way(client: Client, clock: FixedClock) -> None:
    await page_of(client, ANNA, Role.TILL)
    before = client.http.cookies["token"]
    clock.advance(timedelta(minutes=11))
    client.http.cookies.delete("token")
    asked = await client.get("/identity/account")
    assert asked.headers["location"] == "/identity/renew?next=%2Fidentity%2Faccount"
    renewed = await client.get(asked.headers["location"])
    assert (renewed.status_code, renewed.headers["location"]) == (303, "/identity/account")
    assert client.http.cookies["token"] != before
    assert "session" not in cookies_of(renewed), "the session's secret stays"
    assert (await client.page("/identity/account")).status == 200


async def test_a_form_on_its_way_is_sent_again_by_the_browser(
    client: Client, clock: FixedClock
) -> None:
    await page_of(client, ANNA, Role.TILL)
    clock.advance(timedelta(minutes=11))
    client.http.cookies.delete("token")
    answer = await client.post("/identity/renew?next=/shop/tills/1", data={"quantity": "2"})
    assert (answer.status_code, answer.headers["location"]) == (307, "/shop/tills/1")
    assert "token" in client.http.cookies


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_without_a_live_session_the_way_leads_to_the_sign_in(
    client: Client, method: str
) -> None:
    for secret in ("", "made-up"):
        if secret:
            client.http.cookies.set("session", secret)
        answer = await client.request(method, "/identity/renew?next=/cards/desk")
        assert answer.status_code == 303
        assert answer.headers["location"] == "/identity/sign-in?next=%2Fcards%2Fdesk"


async def test_a_form_on_its_way_goes_through_the_sign_in(client: Client) -> None:
    """The session had ended while somebody typed: nothing of it is lost, without any script."""
    await person(client, ANNA, Role.TILL)
    typed = {
        "lines.0.note": '<b>due</b> "pani" 😀 خبز',
        "_nonce": "n1",
        "_csrf": "of-the-old-session",
    }
    asked = await client.post("/identity/renew?next=/shop/tills/1%3Fa=b", data=typed)
    assert asked.status_code == 401
    page = PageSeen(client, asked)
    assert "What you had typed is kept" in page
    again = await page.form("sign-in").send(email=ANNA, password="wrong-wrong-wrong")
    assert again.status_code == 401
    answer = await PageSeen(client, again).form("sign-in").send(email=ANNA, password=PASSWORD)
    assert answer.status_code == 200
    assert "token" in client.http.cookies
    waiting = PageSeen(client, answer).form("carried")
    assert (waiting.method, waiting.action) == ("POST", "/shop/tills/1?a=b")
    session_id = (await client.parts.keys.check(client.http.cookies["token"])).sid
    fields = dict(waiting.values)
    assert is_token_of(str(fields.pop("_csrf")), session_id)
    assert fields == {"_nonce": "n1", "lines.0.note": typed["lines.0.note"]}


@pytest.mark.parametrize(
    "sent",
    [
        {"data": {"text": "x" * (carried.LARGEST + 1)}},
        {"data": {f"f{n}": "1" for n in range(carried.MOST + 1)}},
        {"data": {"_csrf": "only"}},
        {"json": {"a": 1}},
        {"data": {"new_password": "of a page without the marker", "text": "x"}},
        {"files": {"picture": b"bytes"}},
    ],
)
async def test_what_cannot_be_carried_leads_to_the_plain_sign_in(
    client: Client, sent: dict[str, Any]
) -> None:
    answer = await client.post("/identity/renew?next=/cards/desk", **sent)
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        "/identity/sign-in?next=%2Fcards%2Fdesk",
    )


@pytest.mark.parametrize(
    ("path", "action", "secret"),
    [
        (OWN, f"{OWN}/password", ["current", "password", "again"]),
        (f"{ACCOUNTS}/new", "account", ["password"]),
        (f"{ACCOUNTS}/{{bruno}}", "account", ["password"]),
    ],
)
async def test_passwords_of_an_ended_session_are_not_shown_to_whoever_signs_in_next(
    client: Client, path: str, action: str, secret: list[str]
) -> None:
    bruno = await person(client, "bruno@example.org", Role.RECEPTION)
    await page_of(client, ANNA, Role.ADMINISTRATOR)
    form = (await client.page(path.format(bruno=bruno))).form(action)
    typed = {name: f"quiet-{name}-words" for name in secret}
    client.http.cookies.clear()
    sent = await form.send(**typed)
    assert sent.status_code == 307
    asked = await client.post(sent.headers["location"], data={**form.values, **typed})
    shown = await client.follow(asked, status=None)
    answer = await shown.form("sign-in").send(email="bruno@example.org", password=PASSWORD)
    went_on = await client.follow(answer, status=None)
    for seen in (asked.text, shown.html, went_on.html):
        assert [word for word in typed.values() if word in seen] == []
    assert "What was typed" not in went_on


def test_every_password_of_the_house_is_asked_for_by_the_field_that_is_not_carried() -> None:
    asking = {
        page.name
        for page in Path(__file__).parents[2].glob("*/src/**/templates/**/*.html")
        if re.search(r"type=[\"']password", page.read_text())
    }
    assert asking == {"password.html"}


@pytest.mark.parametrize("damaged", ["", "[", "{}", '[["a"]]', '[["a", 1]]', "[" * 5000])
def test_a_damaged_form_is_no_form(damaged: str) -> None:
    assert carried.fields_of(damaged) == []


async def test_another_site_cannot_put_a_form_into_the_sign_in(client: Client) -> None:
    headers = {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
    answer = await client.post(
        "/identity/renew?next=/cards/desk", data={"text": "x"}, headers=headers
    )
    assert answer.status_code == 403
