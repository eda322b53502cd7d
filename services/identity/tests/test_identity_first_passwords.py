"""First passwords, given by somebody else: random, good for choosing another, and soon over."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
import sqlalchemy as sa

from contracts.identity import AccountCreated, Role
from identity import store
from identity.commands import accounts, sign_in
from identity.commands.accounts import Change, NewAccount
from identity.commands.sign_in import FirstPasswordEnded
from identity.domain.accounts import Asker, Standing
from identity.domain.passwords import (
    FIRST_LASTS,
    acceptable_first,
    as_given,
    first_password,
    shortest_for,
)
from identity.domain.sessions import CHOOSING
from messaging import Transaction
from messaging.testing import Bench
from runtime.clock import FixedClock
from runtime.refusals import NotAllowed
from web.csrf import token_of
from web.testing import Client, PageSeen

from .identity_browser import (
    ACCOUNTS,
    OWN,
    SIGN_IN,
    claims,
    given_on,
    page_of,
    person,
    sign_in_elsewhere,
    told,
)
from .identity_browser import sign_in as signs_in
from .identity_house import ANNA, NORTH, PASSWORD, PASSWORD_HASH, QUICK, all_checks, begin

FIRST = "/identity/first-password"
TOKENS = "/identity/api/tokens"
GIVEN = "4729-3658-2947"
GIVEN_HASH = QUICK.hash(GIVEN)
OWN_WORDS = "cinque parole messe in fila"
DESK = Asker("desk-1", frozenset({Role.RECEPTION}), NORTH)


def given(tx: Transaction, email: str = ANNA, language: str = "", role: Role = Role.FAMILY) -> str:
    """An account as staff make it."""
    household = "h-1" if role is Role.FAMILY else ""
    standing = Standing(frozenset({role}), NORTH, household)
    lead = Asker("lead-1", frozenset({Role.COORDINATOR}), NORTH)
    return accounts.create_account(
        tx, lead, NewAccount(email, GIVEN_HASH, standing, language=language)
    )


async def arrives(client: Client, password: str = GIVEN, going: str = "") -> PageSeen:
    """The form that comes first, for whoever signs in with a first password."""
    page = await client.page(f"{SIGN_IN}?next={going}" if going else SIGN_IN)
    answer = await page.form("sign-in").send(email=ANNA, password=password)
    assert answer.headers["location"].startswith(FIRST)
    return await client.follow(answer)


# -- which ones -----------------------------------------------------------------------------------


def test_one_that_is_proposed_is_random_easy_to_say_and_good_enough_for_anybody() -> None:
    drawn = {first_password() for _ in range(50)}
    assert len(drawn) == 50
    for one in drawn:
        assert re.fullmatch(r"\d{4}-\d{4}-\d{4}", one)
        assert len(one) >= shortest_for({Role.ADMINISTRATOR})
        assert acceptable_first(one, email=ANNA, roles=[Role.ADMINISTRATOR]) == one


@pytest.mark.parametrize(
    "typed",
    [
        GIVEN,
        "472936582947",
        " 4729 3658 2947 ",
        "4729–3658–2947",
        "٤٧٢٩-٣٦٥٨-٢٩٤٧",
        "4 7 2 9365829 47",
    ],
)
def test_it_is_known_however_its_digits_are_typed(typed: str) -> None:
    assert as_given(typed) == GIVEN


@pytest.mark.parametrize(
    "typed", ["", "4729-3658-294", "4729-3658-29471", PASSWORD, "4729x36582947"]
)
def test_anything_else_is_taken_as_it_was_typed(typed: str) -> None:
    assert as_given(typed) == typed


# -- on both engines ------------------------------------------------------------------------------


def test_nothing_but_choosing_can_be_done_with_it(bench: Bench) -> None:
    bench.run(given)
    attempt = bench.run(begin())
    issued = bench.run(lambda tx: sign_in.open_browser(tx, attempt))
    assert issued.token == ""
    again = bench.run(lambda tx: sign_in.renew(tx, issued.secret))
    assert again is not None
    assert again.token == ""
    with pytest.raises(NotAllowed, match=r"password\.first"):
        bench.run(lambda tx: sign_in.open_api(tx, attempt, wanted=None, name="", days=None))


def test_what_is_chosen_instead_opens_everything_and_never_ends(
    bench: Bench, clock: FixedClock
) -> None:
    account_id = bench.run(given)
    attempt = bench.run(begin())
    issued = bench.run(lambda tx: sign_in.open_browser(tx, attempt))
    found = bench.run(lambda tx: sign_in.chooser(tx, issued.secret))
    assert found is not None
    session_id, chooser = found
    chosen = bench.run(
        lambda tx: sign_in.choose_first(tx, chooser, session_id, password_hash=PASSWORD_HASH)
    )
    assert chosen.token
    clock.advance(CHOOSING + timedelta(minutes=1))
    assert bench.run(lambda tx: sign_in.renew(tx, issued.secret)), "like any other from now on"
    clock.advance(10 * FIRST_LASTS)
    later = bench.run(begin())
    assert bench.run(lambda tx: sign_in.open_browser(tx, later)).token
    kept = bench.read(lambda c: store.load_account(c, account_id))
    assert kept is not None
    assert (kept.password_chosen, kept.password_until) == (True, None)
    assert all_checks(bench) == []


def test_it_ends_after_two_weeks(bench: Bench, clock: FixedClock) -> None:
    bench.run(given)
    clock.advance(FIRST_LASTS - timedelta(seconds=1))
    attempt = bench.run(begin())
    bench.run(lambda tx: sign_in.open_browser(tx, attempt))
    clock.advance(timedelta(seconds=1))
    for _ in range(2):
        late = bench.run(begin())
        with pytest.raises(FirstPasswordEnded):
            bench.run(lambda tx, late=late: sign_in.open_browser(tx, late))


def test_a_new_one_begins_its_two_weeks(bench: Bench, clock: FixedClock) -> None:
    account_id = bench.run(given)
    clock.advance(2 * FIRST_LASTS)
    change = Change(password_hash=GIVEN_HASH)
    bench.run(lambda tx: accounts.change_account(tx, DESK, account_id, change))
    attempt = bench.run(begin())
    assert bench.run(lambda tx: sign_in.open_browser(tx, attempt)).secret


@pytest.mark.parametrize("before", [{"password_until": None}, {"password_chosen": True}])
def test_what_was_given_or_chosen_before_this_was_known_goes_on(
    bench: Bench, clock: FixedClock, before: dict[str, object]
) -> None:
    """An upgrade locks nobody out: passwords from before it do not end, and one that was chosen at
    an older version beside this one is nobody's first."""
    account_id = bench.run(given)
    bench.store.write_now(
        lambda c: (
            c.execute(
                sa.update(store.account).where(store.account.c.id == account_id).values(before)
            )
            and None
        )
    )
    clock.advance(2 * FIRST_LASTS)
    attempt = bench.run(begin())
    assert bench.run(lambda tx: sign_in.open_browser(tx, attempt)).token


def test_the_others_hear_nothing_of_it(bench: Bench) -> None:
    bench.run(given)
    (made,) = bench.emitted(AccountCreated)
    assert "password" not in made.model_dump_json()


# -- on the pages ---------------------------------------------------------------------------------


async def test_the_desk_gives_one_and_the_family_chooses_its_own(
    client: Client, clock: FixedClock
) -> None:
    await page_of(client, "desk@example.org", Role.RECEPTION)
    form = (await client.page(f"{ACCOUNTS}/new?household=h-1")).form("account")
    made = await form.submit(email=ANNA, name="Nonna Anna", language="it")
    password = given_on(made)
    assert "You see it only now" in made
    listed = await client.page(f"{ACCOUNTS}?household=h-1")
    assert "first password until" in listed
    assert password not in listed.html
    client.http.cookies.clear()

    page = await arrives(client, password, going="/cards/me")
    assert "Scegli la tua password" in page, "in the language of the account"
    assert "token" not in client.http.cookies
    for where in ("/identity/", OWN, f"{OWN}/sessions"):
        sent = await client.get(where)
        assert sent.headers["location"].startswith("/identity/renew")
        back = await client.get(sent.headers["location"])
        assert back.headers["location"].startswith(FIRST), "whatever is opened leads there"
    form = page.form("first-password")
    assert form.values["username"] == ANNA
    short = await form.submit(password="corta", again="corta", status=422)
    assert "almeno 8 caratteri" in short
    differs = await form.submit(password=OWN_WORDS, again="altro", status=422)
    assert "non sono uguali" in differs
    same = await form.submit(password=password, again=password, status=422)
    assert "hai già" in same
    done = await form.send(password=OWN_WORDS, again=OWN_WORDS)
    assert (done.status_code, done.headers["location"]) == (303, "/cards/me")
    assert (await claims(client)).household == "h-1"
    assert "Somebody else wrote" not in await client.page("/identity/?lang=en")
    assert (await sign_in_elsewhere(client, ANNA, password)).status_code == 401
    assert (await sign_in_elsewhere(client, ANNA, OWN_WORDS)).status_code == 303


async def test_digits_in_arabic_script_and_without_groups_are_right(client: Client) -> None:
    await client.run(given)
    await arrives(client, "٤٧٢٩٣٦٥٨٢٩٤٧")


async def test_pressed_twice_it_is_chosen_once_and_goes_on(client: Client) -> None:
    await client.run(given)
    form = (await arrives(client)).form("first-password")
    first = await form.send(password=OWN_WORDS, again=OWN_WORDS)
    again = await form.send(password=OWN_WORDS, again=OWN_WORDS)
    assert first.headers["location"] == "/identity/"
    assert again.headers["location"] == "/identity/renew?next=%2Fidentity%2F"
    assert (await client.follow(again)).path == "/identity/"


async def test_what_was_typed_before_is_sent_after_the_choice(client: Client) -> None:
    await client.run(given)
    sent = await client.http.post("/identity/renew?next=/cards/desk", data={"name": "Amal"})
    page = await client.follow(sent, status=401)
    page = await client.follow(await page.form("sign-in").send(email=ANNA, password=GIVEN))
    page = await page.form("first-password").submit(password=OWN_WORDS, again=OWN_WORDS)
    assert page.form("carried").values["name"] == "Amal"


async def test_the_form_of_another_session_chooses_nothing(client: Client) -> None:
    await client.run(given)
    form = (await arrives(client)).form("first-password")
    forged = await form.send(password=OWN_WORDS, again=OWN_WORDS, _csrf=token_of("another"))
    assert forged.status_code == 403
    assert (await sign_in_elsewhere(client, ANNA, OWN_WORDS)).status_code == 401


async def test_who_takes_too_long_signs_in_again(client: Client, clock: FixedClock) -> None:
    await client.run(given)
    form = (await arrives(client)).form("first-password")
    clock.advance(CHOOSING)
    late = await client.follow(await form.send(password=OWN_WORDS, again=OWN_WORDS))
    assert late.path.startswith(SIGN_IN)
    assert (await sign_in_elsewhere(client, ANNA, OWN_WORDS)).status_code == 401


async def test_one_that_has_ended_says_so_to_who_knows_it(
    client: Client, clock: FixedClock
) -> None:
    await client.run(given)
    clock.advance(FIRST_LASTS)
    page = await client.follow(await signs_in(client, ANNA, GIVEN), status=401)
    assert "This first password has ended. Ask at your centre for a new one." in page
    wrong = await client.follow(await signs_in(client, ANNA, "4729-3658-2948"), status=401)
    assert "has ended" not in wrong
    client.http.cookies.clear()
    await page_of(client, "desk@example.org", Role.RECEPTION)
    listed = await client.page(f"{ACCOUNTS}?household=h-1")
    assert "needs a new password" in listed


async def test_somebody_else_at_the_same_desk_is_not_left_signed_in(client: Client) -> None:
    await client.run(given)
    await page_of(client, "desk@example.org", Role.RECEPTION)
    answer = await client.http.post(SIGN_IN, data={"email": ANNA, "password": GIVEN})
    if answer.status_code == 403:  # the form of a signed-in browser carries its token
        token = token_of((await claims(client)).sid)
        typed = {"email": ANNA, "password": GIVEN, "_csrf": token}
        answer = await client.http.post(SIGN_IN, data=typed)
    assert answer.headers["location"].startswith(FIRST)
    assert "token" not in client.http.cookies


async def test_an_account_that_is_saved_keeps_its_password_unless_a_new_one_is_wanted(
    client: Client,
) -> None:
    account_id = await person(client, "till@example.org", Role.TILL)
    await page_of(client, ANNA, Role.COORDINATOR)
    form = (await client.page(f"{ACCOUNTS}/{account_id}")).form("account")
    assert "The account is changed." in await form.submit(name="Bottega")
    assert (await sign_in_elsewhere(client, "till@example.org")).status_code == 303
    form = (await client.page(f"{ACCOUNTS}/{account_id}")).form("account")
    password = given_on(await form.submit(anew="yes"))
    assert password == form.values["password"]
    assert (await sign_in_elsewhere(client, "till@example.org")).status_code == 401
    answer = await sign_in_elsewhere(client, "till@example.org", password)
    assert answer.headers["location"].startswith(FIRST)


async def test_a_family_that_begins_to_work_here_needs_a_new_one(client: Client) -> None:
    account_id = await person(client, "f@example.org", Role.FAMILY, household="h-1")
    await page_of(client, ANNA, Role.COORDINATOR)
    form = (await client.page(f"{ACCOUNTS}/{account_id}")).form("account")
    page = await form.submit(roles=["family", "till"], status=422)
    assert "Give a new first password together with the new roles." in page
    assert 'href="#f-anew"' in page.html
    assert given_on(await page.form("account").submit(anew="yes"))


# -- of programs ----------------------------------------------------------------------------------


async def test_a_program_is_told_why_and_chooses(client: Client) -> None:
    await client.run(given)
    asked = {"email": ANNA, "password": GIVEN}
    refused = await client.post(TOKENS, json=asked)
    assert (refused.status_code, refused.json()["reason"]) == (403, "password.first")
    for new, reason in ((GIVEN, "same"), ("472936582947", "same"), ("short", "too_short")):
        answer = await client.post("/identity/api/password", json={**asked, "new_password": new})
        assert (answer.status_code, answer.json()["reason"]) == (422, f"password.{reason}")
    wrong = {"email": ANNA, "password": "wrong", "new_password": OWN_WORDS}
    answer = await client.post("/identity/api/password", json=wrong)
    assert (answer.status_code, answer.json()["reason"]) == (401, "sign_in.wrong")
    chosen = await client.post("/identity/api/password", json={**asked, "new_password": OWN_WORDS})
    assert chosen.status_code == 204
    made = await client.post(TOKENS, json={"email": ANNA, "password": OWN_WORDS})
    assert made.status_code == 201


async def test_a_program_whose_first_password_has_ended_is_told(
    client: Client, clock: FixedClock
) -> None:
    await client.run(given)
    clock.advance(FIRST_LASTS)
    asked = {"email": ANNA, "password": GIVEN}
    for path, body in ((TOKENS, {}), ("/identity/api/password", {"new_password": OWN_WORDS})):
        answer = await client.post(path, json={**asked, **body})
        assert (answer.status_code, answer.json()["reason"]) == (401, "password.first_ended")
    assert await told(client, AccountCreated)
