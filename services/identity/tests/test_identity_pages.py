"""The pages of identity, as a browser without JavaScript sees them."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from http.cookies import SimpleCookie
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from structlog.testing import capture_logs

from contracts.identity import AccountCreated, Role, SessionRevoked
from identity import carried, store
from identity.app import SERVICE
from identity.commands import centres
from identity.commands.centres import NewCentre
from identity.domain import throttle
from identity.domain.accounts import HOUSE
from messaging.tables import idempotency, outbox
from runtime.clock import FixedClock
from web.csrf import is_token_of, token_of
from web.testing import Client, PageSeen, token
from web.tokens import Claims, key_id_of, verify
from web.translations import LANGUAGES

from .identity_house import ANNA, NORTH, PASSWORD, SOUTH, furnish, key_file, somebody

SIGN_IN = "/identity/sign-in"
ACCOUNTS = "/identity/accounts"
OWN = "/identity/account"


@pytest.fixture
async def client(tmp_path: Any, clock: FixedClock) -> AsyncIterator[Client]:
    url = f"sqlite:///{tmp_path / 'identity.db'}"
    settings = {"identity_key_file": key_file(tmp_path)}
    async with Client(SERVICE, url, clock=clock, settings=settings) as made:
        await made.run(furnish)
        yield made


async def person(client: Client, email: str, *roles: Role, **more: str) -> str:
    return await client.run(lambda tx: somebody(tx, email, *roles, **more))


async def sign_in(client: Client, email: str = ANNA, password: str = PASSWORD) -> httpx.Response:
    page = await client.page(SIGN_IN)
    return await page.form("sign-in").send(email=email, password=password)


async def page_of(client: Client, email: str, *roles: Role, **more: str) -> tuple[str, PageSeen]:
    """Somebody who has signed in, and their home."""
    account_id = await person(client, email, *roles, **more)
    return account_id, await client.follow(await sign_in(client, email))


def cookies_of(answer: httpx.Response) -> SimpleCookie:
    found = SimpleCookie()
    for line in answer.headers.get_list("set-cookie"):
        found.load(line)
    return found


async def claims(client: Client) -> Claims:
    """What the token in the browser's cookie says."""
    sent = client.http.cookies["token"]
    keys = (await client.get("/identity/.well-known/jwks.json")).json()["keys"]
    (key,) = (one for one in keys if one["kid"] == key_id_of(sent))
    public = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(key["x"] + "="))
    return verify(sent, public, client.clock.now())


async def told(client: Client, kind: Any) -> list[Any]:
    bodies = await client.read(
        lambda c: c.scalars(sa.select(outbox.c.body).where(outbox.c.type == kind.ce_type())).all()
    )
    return [kind.model_validate_json(body) for body in bodies]


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
        "password": "not-carried",
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


@pytest.mark.parametrize("damaged", ["", "[", "{}", '[["a"]]', '[["a", 1]]', "[" * 5000])
def test_a_damaged_form_is_no_form(damaged: str) -> None:
    assert carried.fields_of(damaged) == []


async def test_another_site_cannot_put_a_form_into_the_sign_in(client: Client) -> None:
    headers = {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
    answer = await client.post(
        "/identity/renew?next=/cards/desk", data={"text": "x"}, headers=headers
    )
    assert answer.status_code == 403


# -- one's own -----------------------------------------------------------------------------------


HOMES = [
    (Role.RECEPTION, ["/cards/desk", ACCOUNTS], ["/shop/till", "/identity/centres"]),
    (Role.TILL, ["/shop/till"], ["/cards/desk", ACCOUNTS]),
    (Role.EDUCATOR, ["/activities/today"], ["/shop/till"]),
    (Role.FAMILY, ["/cards/me", "/notifications/inbox"], ["/cards/desk", ACCOUNTS]),
    (Role.CASE_WORKER, ["/network/referrals"], ["/shop/till"]),
    (Role.PARTNER, ["/network/referrals"], ["/cards/desk"]),
    (Role.COORDINATOR, ["/shop/till", "/cards/desk", ACCOUNTS], ["/identity/centres"]),
    (Role.ADMINISTRATOR, [ACCOUNTS, "/identity/centres"], ["/cards/me"]),
]


async def test_home_shows_what_a_role_uses(client: Client) -> None:
    links = {
        Role.FAMILY: {"household": "h-1"},
        Role.PARTNER: {"organisation": "o-1"},
        Role.ADMINISTRATOR: {"centre": ""},
    }
    for role, sees, not_sees in HOMES:
        client.http.cookies.clear()
        _, home = await page_of(client, f"{role}@example.org", role, **links.get(role, {}))
        paths = [href for _, href in home.links]
        assert OWN in paths
        assert [path for path in sees if path not in paths] == [], role
        assert [path for path in not_sees if path in paths] == [], role
        assert "Choose one that only you know" in home


async def test_somebody_chooses_a_password(client: Client, clock: FixedClock) -> None:
    await page_of(client, ANNA, Role.TILL)
    page = await client.page(OWN)
    form = page.form(f"{OWN}/password")
    better = "cinque parole messe in fila"
    wrong = await form.submit(current="wrong", password=better, again=better, status=422)
    assert "not your present password" in wrong
    differs = await form.submit(current=PASSWORD, password=better, again="x", status=422)
    assert "not the same" in differs
    short = await form.submit(current=PASSWORD, password="short", again="short", status=422)
    assert "at least 12 characters" in short
    assert await told(client, SessionRevoked) == []
    done = await form.submit(current=PASSWORD, password=better, again=better)
    assert "The password is changed" in done
    assert "only you know" not in await client.page("/identity/")
    client.http.cookies.clear()
    assert (await sign_in(client)).status_code == 401
    assert (await sign_in(client, ANNA, better)).status_code == 303


async def test_passwords_are_hidden_and_may_be_pasted(client: Client) -> None:
    """Hidden while typed, and named so that password managers know them; no script hinders."""
    sign_in = await client.page("/identity/sign-in")
    await page_of(client, ANNA, Role.COORDINATOR)
    for html, kinds in (
        (sign_in.html, {"current-password"}),
        ((await client.page(OWN)).html, {"current-password", "new-password"}),
        ((await client.page("/identity/accounts/new")).html, {"new-password"}),
    ):
        fields = [tag for tag in re.findall(r"<input[^>]*>", html) if "-password" in tag]
        assert {re.search(r'autocomplete="([^"]*)"', tag)[1] for tag in fields} == kinds
        assert all('type="password"' in tag for tag in fields)
        assert "onpaste" not in html


async def test_guessing_the_present_password_is_slowed_too(client: Client) -> None:
    await page_of(client, ANNA, Role.TILL)
    page = await client.page(OWN)
    better = "cinque parole messe in fila"
    for _ in range(throttle.FROM_ONE_PLACE.burst):
        page = await page.form(f"{OWN}/password").submit(
            current="wrong", password=better, again=better, status=422
        )
    page = await page.form(f"{OWN}/password").submit(
        current=PASSWORD, password=better, again=better, status=422
    )
    assert "too many attempts" in page


async def test_somebody_chooses_a_language(client: Client) -> None:
    _, home = await page_of(client, ANNA, Role.FAMILY, household="h-1")
    assert (home.language, home.direction) == ("en", "ltr")
    page = await (await client.page(OWN)).form("own-language").submit(language="ar")
    assert (page.language, page.direction) == ("ar", "rtl")
    again = await page.form("own-language").submit(language="")
    assert again.language == "en"


async def test_somebody_sees_and_ends_their_sessions(client: Client) -> None:
    await person(client, ANNA, Role.TILL)
    phone = {"User-Agent": "Mozilla/5.0 (Android 14; Mobile; rv:133.0) Firefox/133.0"}
    body = {"email": ANNA, "password": PASSWORD}
    for _ in range(3):
        client.http.cookies.clear()
        assert (await client.post(SIGN_IN, data=body, headers=phone)).status_code == 303
    page = await client.page(f"{OWN}/sessions")
    assert page.text.count("Firefox, Android") == 3
    assert page.text.count("(this one)") == 1
    others = [f for f in page.forms if f.action.endswith("/end") and "there" in page.text]
    page = await client.follow(await others[1].send())
    assert page.text.count("Firefox, Android") == 2
    page = await page.form("/end-others").submit()
    assert page.text.count("Firefox, Android") == 1
    assert "(this one)" in page
    assert len(await told(client, SessionRevoked)) == 2


async def test_somebody_makes_a_token_and_reads_it_for_five_minutes(
    client: Client, clock: FixedClock
) -> None:
    await page_of(client, ANNA, Role.TILL)
    page = await client.page(f"{OWN}/tokens")
    assert "You have no tokens" in page
    form = page.form("new-token")
    assert "cards:write" not in form.options("scopes")
    wrong = await form.submit(name="till", days="91", status=422)
    assert wrong.form("new-token").values["days"] == "91"
    none = await form.submit(name="till", days="7", status=422)
    assert none.form("new-token").values["name"] == "till"
    made = await form.submit(name="till", days="7", scopes=["shop:read", "shop:write"])
    shown = made.html.split('<code id="token">')[1].split("</code>")[0]
    browser = dict(client.http.cookies)
    client.http.cookies.clear()
    listed = await client.get("/identity/api/tokens", headers={"Authorization": f"Bearer {shown}"})
    assert listed.json()["reason"] == "auth.scope", "it is a token, without this scope"
    for name, value in browser.items():
        client.http.cookies.set(name, value)
    clock.advance(timedelta(minutes=5))
    later = await client.page(made.path)
    assert shown not in later.html
    page = await client.page(f"{OWN}/tokens")
    (delete,) = [f for f in page.forms if f.action.endswith("/delete")]
    assert "You have no tokens" in await client.follow(await delete.send())


async def test_nobody_reads_the_token_of_somebody_else(client: Client) -> None:
    await page_of(client, ANNA, Role.TILL)
    page = await client.page(f"{OWN}/tokens")
    made = await page.form("new-token").submit(name="x", days="1", scopes=["shop:read"])
    client.http.cookies.clear()
    await page_of(client, "other@example.org", Role.TILL)
    assert (await client.get(made.path)).status_code == 404


# -- where the foundation works ------------------------------------------------------------------


async def test_the_foundation_works_in_the_centre_that_it_chooses(client: Client) -> None:
    _, home = await page_of(client, ANNA, Role.ADMINISTRATOR, centre="")
    assert "The whole foundation" in home
    choice = await client.page("/identity/centre?next=/identity/account")
    form = choice.form("centre")
    assert form.values["next"] == "/identity/account"
    done = await form.send(centre_id=NORTH)
    assert (done.status_code, done.headers["location"]) == (303, "/identity/account")
    seen = await client.follow(done)
    assert "Centre of the north" in seen
    called = await claims(client)
    assert (called.centre, called.place, called.foundation) == (NORTH, "Centre of the north", True)
    renewed = await client.get("/identity/renew?next=/identity/")
    assert renewed.status_code == 303
    assert (await claims(client)).centre == NORTH
    back = await (await client.page("/identity/centre")).form("centre").send(centre_id="")
    assert back.headers["location"] == "/identity/"
    assert (await claims(client)).centre == ""


async def test_a_centre_is_chosen_by_one_browser_and_until_it_is_signed_out(
    client: Client,
) -> None:
    await page_of(client, ANNA, Role.ADMINISTRATOR, centre="")
    await (await client.page("/identity/centre")).form("centre").send(centre_id=SOUTH)
    assert (await claims(client)).centre == SOUTH
    client.http.cookies.clear()
    await sign_in(client)
    assert (await claims(client)).centre == ""


async def test_a_centre_that_there_is_not_is_refused_and_nothing_changes(client: Client) -> None:
    await page_of(client, ANNA, Role.ADMINISTRATOR, centre="")
    form = (await client.page("/identity/centre")).form("centre")
    assert "There is no such centre" in await form.submit(centre_id="nowhere", status=422)
    assert (await claims(client)).centre == ""


async def test_people_of_one_centre_choose_none(client: Client) -> None:
    _, home = await page_of(client, ANNA, Role.ADMINISTRATOR)
    assert "/identity/centre?" not in home
    assert (await client.get("/identity/centre")).status_code == 403
    fields = {"_csrf": token_of((await claims(client)).sid), "centre_id": SOUTH}
    answer = await client.http.post("/identity/centre", data=fields)
    assert answer.status_code == 403
    assert (await claims(client)).centre == NORTH


# -- what a centre says of itself ----------------------------------------------------------------

WORDS = "/identity/centre/words"


async def test_a_coordinator_writes_what_everybody_reads(client: Client, clock: FixedClock) -> None:
    await page_of(client, ANNA, Role.COORDINATOR)
    form = (await client.page(WORDS)).form("words")
    typed = {
        "about_it": "Una casa <b>aperta</b>",
        "about_ar": "بيت مفتوح",
        "day_0": "9-13, 15:30 – 18",
        "day_2": "10.00-12.30",
        "address": "via Satta 12",
        "directions": "Tram 12, suonare da Nives",
        "phone": "+39 02 1234567",
    }
    done = await form.submit(**typed)
    assert "Saved" in done
    kept = (await client.page(WORDS)).form("words").values
    assert kept["day_0"] == "09:00-13:00, 15:30-18:00"
    client.http.cookies.clear()
    page = await client.page("/identity/welcome?lang=it")
    assert "Una casa &lt;b&gt;aperta&lt;/b&gt;" in page.html
    for text in ("via Satta 12", "Tram 12", "tel:+39021234567", "09:00-13:00, 15:30-18:00"):
        assert text in page.html
    assert "Aperto ora, fino alle 13:00" in page.html, "a Monday at ten, in Milan"
    assert "بيت مفتوح" in await client.page("/identity/welcome?lang=ar")
    spanish = await client.page("/identity/welcome?lang=es")
    assert '<p class="lead" lang="it" dir="auto">' in spanish.html, "what there is, as what it is"


async def test_hours_that_nobody_understands_are_refused_and_stay_typed(client: Client) -> None:
    await page_of(client, ANNA, Role.COORDINATOR)
    form = (await client.page(WORDS)).form("words")
    page = await form.submit(day_0="9-13", day_3="dalle nove", address="via Satta", status=422)
    assert "cannot be understood" in page
    kept = page.form("words").values
    assert (kept["day_3"], kept["address"]) == ("dalle nove", "via Satta")
    assert page.html.count('aria-invalid="true"') == 1
    assert await client.read(lambda c: c.execute(sa.select(store.centre_words)).all()) == []


async def test_the_words_of_another_centre_are_not_written(client: Client) -> None:
    await page_of(client, ANNA, Role.COORDINATOR)
    await (await client.page(WORDS)).form("words").submit(address="via Nord")
    written = await client.read(
        lambda c: c.scalars(sa.select(store.centre_words.c.centre_id)).all()
    )
    assert written == [NORTH]


# -- accounts ------------------------------------------------------------------------------------


async def test_the_desk_makes_an_account_for_a_household(client: Client) -> None:
    await page_of(client, ANNA, Role.RECEPTION)
    page = await client.page(f"{ACCOUNTS}/new?household=household-7")
    form = page.form("account")
    assert form.values["household_id"] == "household-7"
    assert form.values["roles"] == "family"
    assert form.options("roles") == ["family"]
    assert form.values["centre_id"] == NORTH
    made = await form.submit(email="Famiglia@example.org", password="otto 888", name="Amal")
    assert "The account is made" in made
    (event,) = [e for e in await told(client, AccountCreated) if e.household_id]
    assert (event.household_id, event.roles) == ("household-7", (Role.FAMILY,))
    listed = await client.page(f"{ACCOUNTS}?household=household-7")
    assert "famiglia@example.org" in listed
    empty = await client.page(f"{ACCOUNTS}?household=household-8")
    assert "no account yet" in empty


async def test_a_form_that_is_refused_keeps_what_was_typed(client: Client) -> None:
    await page_of(client, ANNA, Role.COORDINATOR)
    form = (await client.page(f"{ACCOUNTS}/new")).form("account")
    typed = {
        "email": ANNA,
        "password": "altre quattro parole",
        "name": "بيت",
        "roles": ["till", "educator"],
        "centre_id": NORTH,
        "language": "ar",
    }
    page = await form.submit(**typed, status=422)
    assert "already" in page
    kept = page.form("account").values
    assert {k: kept[k] for k in typed if k != "password"} == {
        k: v for k, v in typed.items() if k != "password"
    }
    assert kept["password"] == ""
    assert page.html.count('aria-invalid="true"') == 1
    wrong = await page.form("account").submit(email="b@example.org", password="x", status=422)
    assert "at least 12" in wrong
    missing = await form.submit(email="", status=422)
    assert "Fill in this field" in missing
    none = await form.submit(**{**typed, "email": "c@example.org", "roles": []}, status=422)
    assert "no role" in none


async def test_the_same_form_sent_twice_makes_one_account(client: Client) -> None:
    await page_of(client, ANNA, Role.COORDINATOR)
    form = (await client.page(f"{ACCOUNTS}/new")).form("account")
    typed = {
        "email": "t@example.org",
        "password": "altre quattro parole",
        "roles": ["till"],
        "centre_id": NORTH,
    }
    first, again = await form.send(**typed), await form.send(**typed)
    assert first.status_code == again.status_code == 303
    assert first.headers["location"] == again.headers["location"]
    kept = await client.read(lambda c: str(c.execute(sa.select(idempotency)).all()))
    assert "altre quattro" not in kept


async def test_an_account_is_changed_and_its_person_signed_out(client: Client) -> None:
    account_id = await person(client, "till@example.org", Role.TILL)
    await client.follow(await sign_in(client, "till@example.org"))
    client.http.cookies.clear()
    await page_of(client, ANNA, Role.COORDINATOR)
    page = await client.page(f"{ACCOUNTS}/{account_id}")
    form = page.form("account")
    assert form.values["email"] == "till@example.org"
    assert form.values["roles"] == "till"
    assert "disabled" not in form.values
    changed = await form.submit(name="Bottega", roles=["till", "educator"])
    assert "The account is changed" in changed
    assert len(await told(client, SessionRevoked)) == 1
    off = await changed.form("account").submit(disabled="yes")
    assert off.form("account").values["disabled"] == "yes"
    assert (await sign_in_elsewhere(client, "till@example.org")).status_code == 401
    on = await client.http.post(
        f"{ACCOUNTS}/{account_id}",
        data={k: v for k, v in off.form("account").values.items() if k != "disabled"},
    )
    assert on.status_code == 303
    assert (await sign_in_elsewhere(client, "till@example.org")).status_code == 303


async def sign_in_elsewhere(client: Client, email: str) -> httpx.Response:
    """A sign-in from another browser."""
    transport = httpx.ASGITransport(client.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as other:
        return await other.post(SIGN_IN, data={"email": email, "password": PASSWORD})


async def test_somebody_is_signed_out_everywhere(client: Client) -> None:
    account_id = await person(client, "till@example.org", Role.TILL)
    await sign_in_elsewhere(client, "till@example.org")
    await page_of(client, ANNA, Role.COORDINATOR)
    page = await client.page(f"{ACCOUNTS}/{account_id}")
    done = await page.form("end-sessions").submit()
    assert "signed out everywhere" in done
    (ended,) = await told(client, SessionRevoked)
    assert ended.account_id == account_id


async def test_an_address_is_looked_for_without_standing_in_the_url(client: Client) -> None:
    account_id = await person(client, "till@example.org", Role.TILL)
    await person(client, "south@example.org", Role.TILL, centre=SOUTH)
    await page_of(client, ANNA, Role.COORDINATOR)
    page = await client.page(ACCOUNTS)
    found = await page.form("find").submit(email="TILL@example.org")
    assert found.path == f"{ACCOUNTS}/{account_id}"
    for email in ("south@example.org", "nobody@example.org"):
        none = await page.form("find").submit(email=email)
        assert "Nobody whom you may see" in none
        assert email not in none.response.headers.get("location", "")
    assert "not an e-mail address" in await page.form("find").submit(email="x@y", status=422)


async def test_one_s_own_account_is_changed_by_others(client: Client) -> None:
    account_id, _ = await page_of(client, ANNA, Role.COORDINATOR)
    page = await client.page(f"{ACCOUNTS}/{account_id}")
    assert "your own account" in page
    form = page.form("account")
    assert "password" not in form.fields
    assert "disabled" not in form.fields
    refused = await form.submit(roles=["till"], status=422)
    assert "cannot change your own roles" in refused
    assert "The account is changed" in await form.submit(name="Anna")


async def test_the_list_goes_on(client: Client) -> None:
    for n in range(55):
        await person(client, f"p{n:02}@example.org", Role.TILL)
    await page_of(client, ANNA, Role.COORDINATOR)
    page = await client.page(f"{ACCOUNTS}?kind=staff")
    assert page.text.count("@example.org") == 50
    rest = await page.follow("Show more")
    assert rest.text.count("@example.org") == 6
    families = await client.page(f"{ACCOUNTS}?kind=family")
    assert "no accounts here yet" in families


# -- centres -------------------------------------------------------------------------------------


async def test_a_centre_is_opened_on_its_page(client: Client) -> None:
    await page_of(client, ANNA, Role.ADMINISTRATOR, centre="")
    page = await client.page("/identity/centres")
    assert "Centre of the north" in page
    form = (await page.follow("Open a centre")).form("centre")
    wrong = await form.submit(name="Nuovo", time_zone="Mars/Olympus", status=422)
    assert wrong.form("centre").values["name"] == "Nuovo"
    assert wrong.form("centre").values["time_zone"] == "Mars/Olympus"
    taken = await form.submit(name="Nuovo", id=NORTH, status=422)
    assert "already" in taken
    done = await form.submit(name="Nuovo", id="nuovo", languages=["it", "ar"])
    assert done.path == "/identity/centres"
    assert "Nuovo" in done


# -- who may, in which language ------------------------------------------------------------------

PAGES = [
    ("/identity/", set(Role)),
    (OWN, set(Role)),
    (f"{OWN}/sessions", set(Role)),
    (f"{OWN}/tokens", set(Role)),
    (ACCOUNTS, {Role.ADMINISTRATOR, Role.COORDINATOR, Role.RECEPTION}),
    (f"{ACCOUNTS}/new", {Role.ADMINISTRATOR, Role.COORDINATOR, Role.RECEPTION}),
    ("/identity/centres", {Role.ADMINISTRATOR}),
    ("/identity/centres/new", {Role.ADMINISTRATOR}),
]


async def test_who_may_see_a_page(client: Client) -> None:
    account_id = await person(client, ANNA, Role.COORDINATOR)
    for path, may in PAGES:
        client.sign_in("")
        anonymous = await client.get(path)
        assert anonymous.status_code == 303
        assert anonymous.headers["location"].startswith("/identity/renew?next=")
        for role in Role:
            client.sign_in(token(role, account=account_id, centre=NORTH))
            assert (await client.get(path)).status_code == (200 if role in may else 403), role
        program = token(Role.ADMINISTRATOR, account=account_id, scopes=["identity:write"])
        client.sign_in(program)
        assert (await client.get(path)).status_code == 403, "an API token sees no pages"


async def test_pages_of_another_centre_are_not_there(client: Client) -> None:
    south = await person(client, "s@example.org", Role.TILL, centre=SOUTH)
    _, home = await page_of(client, ANNA, Role.COORDINATOR)
    hidden = home.form("/identity/sign-out").values
    fields = {**hidden, "email": "x@example.org", "roles": "till", "centre_id": NORTH}
    assert (await client.get(f"{ACCOUNTS}/{south}")).status_code == 404
    for path in (f"{ACCOUNTS}/{south}", f"{ACCOUNTS}/{south}/sessions/end"):
        assert (await client.post(path, data=fields)).status_code == 404


async def test_no_form_is_taken_without_its_token(client: Client) -> None:
    await page_of(client, ANNA, Role.COORDINATOR)
    for path in (
        f"{OWN}/password",
        f"{OWN}/language",
        f"{OWN}/sessions/end-others",
        f"{OWN}/tokens",
        f"{ACCOUNTS}/new",
        "/identity/sign-out",
    ):
        answer = await client.post(path, data={"language": "ar"})
        assert answer.status_code == 403, path
    ended = sa.select(sa.func.count(store.session.c.revoked_at))
    assert await client.read(lambda c: c.scalar(ended)) == 0


async def test_every_page_speaks_every_language(client: Client) -> None:
    account_id = await person(client, ANNA, Role.ADMINISTRATOR, centre="")
    for language in LANGUAGES:
        client.http.cookies.clear()
        client.http.cookies.set("language", language)
        signing_in = await client.page(SIGN_IN)
        assert signing_in.language == language
        assert ("Sign in" in signing_in) is (language == "en")
        await client.follow(await signing_in.form("sign-in").send(email=ANNA, password=PASSWORD))
        for path in (*(path for path, _ in PAGES), f"{ACCOUNTS}/{account_id}"):
            page = await client.page(path)
            assert page.language == language
            assert page.direction == ("rtl" if language == "ar" else "ltr")
            assert " style=" not in page.html
            assert "<script>" not in page.html


# -- without a sign-in ---------------------------------------------------------------------------


async def test_the_public_home_leads_to_what_every_centre_shows(client: Client) -> None:
    page = await client.page("/identity/welcome")
    ways = {href for _, href in page.links}
    for centre in (NORTH, SOUTH):
        assert f"/activities/open/{centre}" in ways
        assert f"/shop/open/{centre}" in ways
    assert "/identity/sign-in" in ways
    chosen = await client.get("/identity/today")
    assert chosen.headers["location"] == "/identity/welcome", "two centres: to be chosen"


async def test_the_screen_at_the_entrance_finds_the_only_centre(
    tmp_path: Any, clock: FixedClock
) -> None:
    url = f"sqlite:///{tmp_path / 'one.db'}"
    settings = {"identity_key_file": key_file(tmp_path)}
    async with Client(SERVICE, url, clock=clock, settings=settings) as client:
        assert "No centre is open yet." in await client.page("/identity/welcome")
        await client.run(lambda tx: centres.open_centre(tx, HOUSE, NewCentre("Vialba", "vialba")))
        answer = await client.get("/identity/today")
        assert answer.headers["location"] == "/activities/wall/vialba"
