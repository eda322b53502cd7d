"""Pages and forms as a reader without JavaScript meets them."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from web import Role
from web.csrf import is_token_of, token_of
from web.testing import Client, token


@pytest.fixture
async def seller(client: Client) -> Client:
    return client.sign_in(token(Role.TILL, centre="c1"))


async def names(client: Client) -> list[str]:
    from web_sample.app import thing

    return list(await client.read(lambda c: c.scalars(sa.select(thing.c.name)).all()))


async def test_a_form_is_filled_sent_and_leads_on(seller: Client) -> None:
    page = await seller.page("/sample/things")
    page = await page.follow("A new thing")
    assert page.form("new").values["price"] == "1,50"
    page = await page.form("new").submit(name="bread", price="1.234,5", tags=["old", "red"])
    assert page.path == "/sample/things"
    assert "€1,234.50" in page
    assert "123,450 points" in page
    assert "16 Nov 2026, 10:00" in page
    assert await names(seller) == ["bread"]


async def test_what_was_typed_stays_and_the_fields_are_marked(seller: Client) -> None:
    page = await seller.page("/sample/new")
    page = await page.form("new").submit(
        status=422,
        name='"><b>x',
        price="a lot",
        bought="tomorrow",
        kind="plain",
        tags=["red"],
        sure="yes",
        note="Ünïcödé\nتجربة",
        **{"lines.0.what": "milk", "lines.0.quantity": "2", "lines.2.what": "salt"},
        **{"lines.2.quantity": "-1"},
    )
    form = page.form("new")
    assert form.values["name"] == '"><b>x'
    assert form.values["price"] == "a lot"
    assert form.values["bought"] == "tomorrow"
    assert form.values["kind"] == "plain"
    assert form.values["tags"] == "red"
    assert form.values["sure"] == "yes"
    assert form.values["note"] == "Ünïcödé\nتجربة".replace("\n", "\n")
    assert form.values["lines.2.quantity"] == "-1"
    assert "Write an amount, for example 1,50." in page
    assert "Write a date, for example 31/12/2026." in page
    assert 'id="f-lines-2-quantity-error"' in page.html  # not row 1, though row 1 is empty
    assert "<b>x" not in page.html
    assert page.html.count('aria-invalid="true"') == 3
    assert await names(seller) == []


async def test_a_refusal_of_the_domain_is_shown_at_its_field(seller: Client) -> None:
    page = await seller.page("/sample/new")
    page = await page.form("new").submit(status=422, name="gold")
    assert "gold is too dear for us. Take something else." in page
    assert page.form("new").values["name"] == "gold"


async def test_a_double_click_is_done_once(seller: Client) -> None:
    form = (await seller.page("/sample/new")).form("new")
    first = await form.send(name="bread")
    second = await form.send(name="bread")
    assert first.headers["location"] == second.headers["location"]
    assert await names(seller) == ["bread"]


async def test_going_back_and_sending_other_content_is_refused(seller: Client) -> None:
    form = (await seller.page("/sample/new")).form("new")
    await form.send(name="bread")
    page = await form.submit(status=422, name="salt")
    assert "This was already sent once with other content." in page
    assert await names(seller) == ["bread"]


async def test_a_form_without_its_token_is_refused(seller: Client) -> None:
    for data in ({"name": "bread", "price": "1"}, {"name": "x", "_csrf": "f" * 64}):
        answer = await seller.post("/sample/new", data=data)
        assert answer.status_code == 403
        assert "does not belong to your present sign-in" in answer.text
    assert await names(seller) == []


async def test_the_token_of_a_form_is_never_the_same_and_always_right(seller: Client) -> None:
    """Or its bytes could be guessed one by one from how well a page can be compressed."""
    pages = [await seller.page("/sample/new") for _ in range(2)]
    first, second = (str(page.form("new").values["_csrf"]) for page in pages)
    assert not {first[at : at + 8] for at in range(len(first) - 7)} & {
        second[at : at + 8] for at in range(len(second) - 7)
    }
    for name, page in zip(("bread", "salt"), pages, strict=True):
        await page.form("new").submit(name=name)
    assert await names(seller) == ["bread", "salt"]


@pytest.mark.parametrize("given", ["", "0", "zz" * 64, "00" * 31, "00" * 64, "00" * 65, "é" * 128])
def test_what_is_no_token_is_refused(given: str) -> None:
    assert not is_token_of(given, "a-session")
    assert is_token_of(token_of("a-session"), "a-session")
    assert not is_token_of(token_of("a-session"), "another")
    assert not is_token_of(token_of("a-session") + "00", "a-session")


async def test_the_token_of_another_session_is_refused(seller: Client) -> None:
    answer = await seller.post(
        "/sample/new", data={"name": "bread", "price": "1", "_csrf": token_of("another-session")}
    )
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": "http://testserver.elsewhere.example"},
    ],
)
async def test_a_form_from_another_site_is_refused(seller: Client, headers: dict[str, str]) -> None:
    form = (await seller.page("/sample/new")).form("new")
    data = {**form.values, "name": "bread"}
    answer = await seller.post("/sample/new", data=data, headers=headers)
    assert answer.status_code == 403
    assert "sent by another site" in answer.text
    public = await seller.sign_in("").post("/sample/enter", data={"name": "x"}, headers=headers)
    assert public.status_code == 403


async def test_json_with_a_cookie_needs_the_token_in_a_header(seller: Client) -> None:
    body = {"name": "bread", "cents": 1}
    bare = await seller.http.post("/sample/api/things", json=body)
    assert bare.status_code == 403
    page = await seller.page("/sample/things")
    found = re.search(r'<meta name="csrf" content="(\w+)">', page.html)
    assert found is not None
    good = await seller.http.post(
        "/sample/api/things", json=body, headers={"X-CSRF-Token": found[1]}
    )
    assert good.status_code == 201


async def test_too_many_attempts_wait(client: Client) -> None:
    form = (await client.page("/sample/hello")).form("enter")
    assert (await form.send(name="once")).status_code == 303
    answer = await form.send(name="again")
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "300"


async def test_times_are_those_of_the_callers_centre(client: Client) -> None:
    client.sign_in(token(Role.TILL, centre="c1", zone="Atlantic/Azores"))
    page = await client.page("/sample/new")
    page = await page.form("new").submit(name="bread")
    assert "08:00" in page
    client.sign_in(token(Role.TILL, centre="c1", zone="No/Where"))
    assert "10:00" in await client.page("/sample/things")


async def test_errors_are_pages_of_the_house(seller: Client) -> None:
    missing = await seller.page("/sample/missing", status=404)
    assert "There is no such thing." in missing
    nothing = await seller.page("/sample/nothing/here", status=404)
    assert "There is nothing at this address." in nothing
    assert "Sign out" in nothing  # the header knows who asks
    broken = await seller.page("/sample/broken", status=500)
    assert "It is our fault, not yours." in broken
    assert "Maria" not in broken.html
    assert broken.response.headers["x-correlation-id"] in broken


async def test_the_header_links_what_the_role_may(client: Client) -> None:
    client.sign_in(token(Role.TILL, centre="c1"))
    page = await client.page("/sample/hello")
    assert [href for _, href in page.links if href.startswith(("/shop", "/cards"))] == [
        "/shop/till"
    ]
    client.sign_in(token(Role.FAMILY, household="h1"))
    page = await client.page("/sample/hello")
    assert ("My points", "/cards/me") in page.links
    assert "Till" not in page
    client.sign_in("")
    assert "Sign in" in await client.page("/sample/hello")


async def test_the_language_is_chosen_on_every_page_and_kept(client: Client) -> None:
    page = await client.page("/sample/hello")
    assert (page.language, page.direction) == ("en", "ltr")
    page = await page.form("/language").submit(language="ar")
    assert (page.language, page.direction) == ("ar", "rtl")
    assert "انتقل إلى المحتوى" in page
    assert (await client.page("/sample/hello")).language == "ar"
    assert (await client.page("/sample/hello?lang=fr")).language == "fr"


@pytest.mark.parametrize("next_path", ["https://elsewhere.example/", "//elsewhere.example"])
async def test_the_language_form_leads_nowhere_else(client: Client, next_path: str) -> None:
    answer = await client.post("/sample/language", data={"language": "es", "next": next_path})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"


async def test_italian_is_spoken_when_nothing_else_is_asked(client: Client) -> None:
    for accept, language in (("", "it"), ("zh", "it"), ("*", "it"), ("fr-CH, en;q=0.9", "fr")):
        answer = await client.get("/sample/hello", headers={"Accept-Language": accept})
        assert answer.headers["content-language"] == language


async def test_the_account_s_language_wins_over_the_browser_s(client: Client) -> None:
    client.sign_in(token(Role.FAMILY, language="es"))
    assert (await client.page("/sample/hello")).language == "es"


async def test_no_page_holds_script_or_style_of_its_own(seller: Client) -> None:
    for path in ("/sample/things", "/sample/new", "/sample/hello"):
        html = (await seller.page(path)).html
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", html)


async def test_a_session_that_ended_while_typing_shows_the_error_in_its_page(
    seller: Client,
) -> None:
    form = (await seller.page("/sample/new")).form("new")
    seller.sign_in("")
    answer = await form.send(name="bread")
    assert answer.status_code == 307
    seller.sign_in(token(Role.TILL, centre="c1"))  # renewed: the browser sends the form again
    answer = await form.send(name="bread")
    assert answer.status_code == 303
    assert await names(seller) == ["bread"]
