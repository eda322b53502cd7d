"""The pages of identity, as a browser without JavaScript sees them: accounts, centres, who may."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from contracts.identity import AccountCreated, Role, SessionRevoked
from identity import store
from identity.app import SERVICE
from identity.commands import centres
from identity.commands.centres import NewCentre
from identity.domain.accounts import HOUSE
from messaging.tables import idempotency
from runtime.clock import FixedClock
from web.testing import Client, token
from web.translations import LANGUAGES

from .identity_browser import (
    ACCOUNTS,
    OWN,
    SIGN_IN,
    given_on,
    page_of,
    person,
    sign_in,
    sign_in_elsewhere,
    told,
)
from .identity_house import ANNA, NORTH, PASSWORD, SOUTH, key_file

# -- accounts ------------------------------------------------------------------------------------


async def test_the_desk_makes_an_account_for_a_household(client: Client) -> None:
    await page_of(client, ANNA, Role.RECEPTION)
    page = await client.page(f"{ACCOUNTS}/new?household=household-7")
    form = page.form("account")
    assert form.values["household_id"] == "household-7"
    assert form.values["roles"] == "family"
    assert form.options("roles") == ["family"]
    assert form.values["centre_id"] == NORTH
    made = await form.submit(email="Famiglia@example.org", name="Amal")
    assert "The account is made" in made
    assert given_on(made) == form.values["password"]
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
        "name": "بيت",
        "roles": ["till", "educator"],
        "centre_id": NORTH,
        "language": "ar",
    }
    page = await form.submit(**typed, status=422)
    assert "already" in page
    kept = page.form("account").values
    assert {k: kept[k] for k in typed} == typed
    assert kept["password"] == form.values["password"], "as proposed"
    assert page.html.count('aria-invalid="true"') == 1
    missing = await form.submit(email="", status=422)
    assert "Fill in this field" in missing
    none = await form.submit(**{**typed, "email": "c@example.org", "roles": []}, status=422)
    assert "no role" in none


async def test_the_same_form_sent_twice_makes_one_account(client: Client) -> None:
    await page_of(client, ANNA, Role.COORDINATOR)
    form = (await client.page(f"{ACCOUNTS}/new")).form("account")
    typed = {
        "email": "t@example.org",
        "roles": ["till"],
        "centre_id": NORTH,
    }
    first, again = await form.send(**typed), await form.send(**typed)
    assert first.status_code == again.status_code == 200
    one, other = await client.follow(first), await client.follow(again)
    assert given_on(one) == given_on(other) == form.values["password"]
    assert len(await told(client, AccountCreated)) == 2, "hers and this one"
    kept = await client.read(lambda c: str(c.execute(sa.select(idempotency)).all()))
    assert given_on(one) not in kept


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


async def test_a_save_undoes_nothing_that_somebody_else_changed_meanwhile(client: Client) -> None:
    account_id = await person(client, "till@example.org", Role.TILL)
    await page_of(client, ANNA, Role.COORDINATOR)
    open_before = (await client.page(f"{ACCOUNTS}/{account_id}")).form("account")
    other = (await client.page(f"{ACCOUNTS}/{account_id}")).form("account")
    await other.submit(disabled="yes", roles=["till", "educator"], language="ar")
    page = await open_before.submit(name="Bottega", language="es", status=422)
    assert "Somebody else has changed this account meanwhile." in page
    form = page.form("account")
    assert form.values["disabled"] == "yes", "what was not touched is shown as it is now"
    assert sorted(form.values["roles"]) == ["educator", "till"]
    assert (form.values["name"], form.values["language"]) == ("Bottega", "es"), "typed: kept"
    assert (await open_before.send(name="Bottega")).status_code == 422, "however often it is sent"
    saved = (await form.submit()).form("account").values
    assert (saved["disabled"], saved["name"]) == ("yes", "Bottega")
    assert sorted(saved["roles"]) == ["educator", "till"]


@pytest.mark.parametrize("seen", [None, "", "{", "[]", '{"email": 1}'])
async def test_a_form_that_does_not_say_what_it_showed_is_begun_anew(
    client: Client, seen: str | None
) -> None:
    account_id = await person(client, "till@example.org", Role.TILL)
    await page_of(client, ANNA, Role.COORDINATOR)
    form = (await client.page(f"{ACCOUNTS}/{account_id}")).form("account")
    sent = {name: value for name, value in form.values.items() if name != "seen"}
    said = {} if seen is None else {"seen": seen}
    answer = await client.http.post(form.action, data={**sent, **said, "disabled": "yes"})
    page = await client.follow(answer, status=422)
    assert "Somebody else has changed this account meanwhile." in page
    assert "disabled" not in page.form("account").values
    done = await page.form("account").submit(disabled="yes")
    assert done.form("account").values["disabled"] == "yes"


async def test_a_save_that_is_refused_for_another_reason_tells_it_too(client: Client) -> None:
    account_id = await person(client, "till@example.org", Role.TILL)
    await page_of(client, ANNA, Role.COORDINATOR)
    open_before = (await client.page(f"{ACCOUNTS}/{account_id}")).form("account")
    await (await client.page(f"{ACCOUNTS}/{account_id}")).form("account").submit(disabled="yes")
    page = await open_before.submit(email="nonsense", status=422)
    assert "not an e-mail address" in page
    assert "Somebody else has changed this account meanwhile." in page
    assert page.form("account").values["disabled"] == "yes"
    assert page.form("account").values["email"] == "nonsense"


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
