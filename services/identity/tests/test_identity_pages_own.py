"""What somebody finds and changes about themselves, and about their centre."""

from __future__ import annotations

import re
from datetime import timedelta

import sqlalchemy as sa

from contracts.identity import Role, SessionRevoked
from identity import store
from identity.domain import throttle
from runtime.clock import FixedClock
from web.csrf import token_of
from web.testing import Client

from .identity_browser import (
    ACCOUNTS,
    OWN,
    SIGN_IN,
    claims,
    page_of,
    person,
    sign_in,
    told,
)
from .identity_house import ANNA, NORTH, PASSWORD, SOUTH

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


async def test_the_address_of_a_password_form_leads_back_to_it(client: Client) -> None:
    """A sign-in goes back there when the form was sent after the session had ended."""
    await page_of(client, ANNA, Role.TILL)
    answer = await client.get(f"{OWN}/password")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{OWN}#password")


async def test_passwords_are_hidden_and_may_be_pasted(client: Client) -> None:
    """Hidden while typed, and named so that password managers know them; no script hinders."""
    sign_in = await client.page("/identity/sign-in")
    await page_of(client, ANNA, Role.COORDINATOR)
    for html, kinds in (
        (sign_in.html, {"current-password"}),
        ((await client.page(OWN)).html, {"current-password", "new-password"}),
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


async def test_two_who_write_the_words_at_once_do_not_undo_each_other(client: Client) -> None:
    await page_of(client, ANNA, Role.COORDINATOR)
    first = (await client.page(WORDS)).form("words")
    second = (await client.page(WORDS)).form("words")
    await first.submit(day_0="9-13", about_it="Una casa\r\naperta", phone="02 1234567")
    page = await second.submit(address="via Satta", phone="02 7654321", status=422)
    assert "Somebody else has changed these words meanwhile." in page
    shown = page.form("words").values
    assert (shown["day_0"], shown["address"]) == ("09:00-13:00", "via Satta")
    assert shown["phone"] == "02 7654321", "what was typed stays"
    assert "Saved" in await page.form("words").submit()
    kept = (await client.page(WORDS)).form("words").values
    assert (kept["about_it"], kept["day_0"]) == ("Una casa\naperta", "09:00-13:00")
    assert (kept["address"], kept["phone"]) == ("via Satta", "02 7654321")


async def test_words_with_the_line_ends_of_a_browser_are_changed_like_others(
    client: Client,
) -> None:
    """Earlier versions kept them as they came."""
    await page_of(client, ANNA, Role.COORDINATOR)
    await (await client.page(WORDS)).form("words").submit(about_it="Una casa", directions="Tram")
    table = store.centre_words
    earlier = {"about": {"it": "Una casa\r\naperta"}, "directions": "Tram 12,\r\nsuonare "}
    await client.store.write(lambda c: c.execute(sa.update(table).values(earlier)) and None)
    form = (await client.page(WORDS)).form("words")
    assert "Saved" in await form.submit(day_0="9-13")
    kept = (await client.page(WORDS)).form("words").values
    assert (kept["about_it"], kept["directions"]) == ("Una casa\naperta", "Tram 12,\nsuonare")


async def test_the_words_of_another_centre_are_not_written(client: Client) -> None:
    await page_of(client, ANNA, Role.COORDINATOR)
    await (await client.page(WORDS)).form("words").submit(address="via Nord")
    written = await client.read(
        lambda c: c.scalars(sa.select(store.centre_words.c.centre_id)).all()
    )
    assert written == [NORTH]
