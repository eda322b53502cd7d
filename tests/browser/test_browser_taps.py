"""How many taps, keys and pages the everyday things take, by a finger on a phone and by keys alone.

What somebody types or a scanner reads is not counted; every press on something is, every key that
goes from one thing to the next, and every page that is loaded. The limits are what it takes today:
who needs more than that has made it worse.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest
from house import House, unique
from playwright.sync_api import Page, expect
from window import PHONE, Windows, tab_to

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.browser,
    pytest.mark.xdist_group("house"),
    pytest.mark.timeout(300),
]

COUNTED = """(() => {
    const count = (name, by) =>
        sessionStorage.setItem(name, Number(sessionStorage.getItem(name)) + by);
    addEventListener("click", event => count("taps", event.detail ? 1 : 0), true);
    addEventListener("keydown", event => count("keys", event.key.length > 1 ? 1 : 0), true);
    count("pages", 1);
})()"""


class Effort(NamedTuple):
    """What was done in a window since it was opened."""

    taps: int = 0
    keys: int = 0
    pages: int = 0


@contextmanager
def takes(page: Page, *, taps: int = 0, keys: int = 0, pages: int) -> Iterator[None]:
    """At most so many; less than half of it, and the measure is broken or the limit out of date."""
    page.add_init_script(COUNTED)
    page.reload()
    page.evaluate("sessionStorage.clear()")
    yield
    spent = Effort(
        *(page.evaluate(f"Number(sessionStorage.{name} || 0)") for name in Effort._fields)
    )
    most = Effort(taps, keys, pages)
    assert all(one <= limit for one, limit in zip(spent, most, strict=True)), spent
    assert all(2 * one >= limit for one, limit in zip(spent, most, strict=True)), spent


def scan(page: Page, code: str) -> None:
    """A scanner types into the field that has the focus; its Enter is no key of anybody's."""
    expect(page.locator("#f-code")).to_be_focused()
    with page.expect_navigation():
        page.keyboard.type(code)
        page.keyboard.press("Enter")
    page.evaluate("sessionStorage.keys -= 1")


@pytest.fixture
def bread(house: House) -> str:
    """The barcode of a product of 3.50 euros."""
    return str(house.get(f"/shop/api/products/{house.product(350, 50)}", by="till")["barcode"])


@pytest.fixture
def till(house: House) -> str:
    """The page of a till of its own."""
    made = house.post("/shop/api/tills", {"name": unique("Banco")}, by="coordinator")
    return f"/shop/till/{made['id']}"


def test_a_sale_in_cash_is_one_tap(house: House, visit: Windows, till: str, bread: str) -> None:
    card = house.household()["card"]["number"]
    page = visit(till, by="till", width=PHONE)
    with takes(page, taps=1, pages=5):
        for code in (card, bread, bread):
            scan(page, code)
        page.get_by_role("group", name="In cash").get_by_role("button", name="€10.00").click()
        expect(page.get_by_text("Change to give back").locator("..")).to_contain_text("€3.00")
        scan(page, bread)


def test_a_sale_in_cash_is_one_key(visit: Windows, till: str, bread: str) -> None:
    page = visit(till, by="till")
    with takes(page, keys=1, pages=4):
        for code in (bread, bread):
            scan(page, code)
        page.keyboard.press("F8")
        expect(page.get_by_text("The sale is completed.")).to_be_visible()
        scan(page, bread)


def test_a_mother_and_her_child_are_registered_and_have_a_card(visit: Windows) -> None:
    page = visit("/cards/desk", by="reception", width=PHONE)
    with takes(page, taps=5, pages=5):
        page.get_by_role("link", name="Register a household").first.click()
        named(page, 0, "Fatou")
        page.get_by_label("Family name").click()
        page.keyboard.type("Diop")
        page.get_by_role("button", name="Add a member").click()
        named(page, 1, "Awa")
        page.get_by_role("button", name="Register the household").click()
        page.get_by_role("button", name="Hand out a card").click()
        expect(page.locator(".card")).to_contain_text("Fatou Diop")


def test_a_mother_is_registered_by_keys(visit: Windows) -> None:
    page = visit("/cards/desk", by="reception")
    with takes(page, keys=40, pages=4):
        page.keyboard.press("Escape")
        page.locator("#find [name=text]").evaluate("one => one.blur()")
        page.keyboard.press("n")
        named(page, 0, "Fatou")
        page.keyboard.press("Tab")
        page.keyboard.type("Diop")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Fatou Diop")).to_be_visible()
        tab_to(page, page.get_by_role("button", name="Hand out a card"), at_most=60)
        page.keyboard.press("Enter")
        expect(page.locator(".card")).to_contain_text("Fatou Diop")


def named(page: Page, row: int, name: str) -> None:
    """The cursor is where the name of the next member goes."""
    expect(page.get_by_label("Given name").nth(row)).to_be_focused()
    page.keyboard.type(name)


def expected(house: House, children: int, name: str) -> str:
    """A session that begins in an hour, for which so many children are signed up."""
    session = house.session(12, in_days=1 / 24)
    family = house.household(
        *({"given_name": f"{name}{n}", "family_name": "Prova"} for n in range(children))
    )
    body = {"person_ids": [member["id"] for member in family["members"]]}
    house.post(f"/activities/api/sessions/{session}/sign-ups", body, by="educator")
    return session


def test_a_register_is_a_tap_for_each_who_is_missing(house: House, visit: Windows) -> None:
    session = expected(house, 8, "Bimbo")
    page = visit("/activities/today", by="educator", width=PHONE)
    with takes(page, taps=4, pages=2):
        page.locator(f"main a[href*='{session}']").first.click()
        page.get_by_role("button", name="Everybody is there").click()
        expect(page.locator(".dock")).to_contain_text("8 of 8")
        page.get_by_role("checkbox", name="Bimbo3").click()
        expect(page.locator(".dock")).to_contain_text("7 of 8")
        page.get_by_role("button", name="Save the register").click()
        expect(page.get_by_text("7 present, 1 absent")).to_be_visible()


def test_ticking_everybody_is_undone(house: House, visit: Windows) -> None:
    session = expected(house, 5, "Bimba")
    page = visit(f"/activities/sessions/{session}/register", by="educator")
    page.get_by_role("checkbox", name="Bimba2").click()
    page.get_by_role("button", name="Everybody is there").click()
    expect(page.locator(".dock")).to_contain_text("5 of 5")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".dock")).to_contain_text("1 of 5")
    expect(page.get_by_role("checkbox", name="Bimba2")).to_be_checked()
    expect(page.get_by_role("button", name="Everybody is there")).to_be_visible()
    page.get_by_role("button", name="Save the register").click()
    expect(page.get_by_text("1 present, 4 absent")).to_be_visible()


def test_a_sign_up_is_four_taps_from_home(house: House, visit: Windows) -> None:
    household = house.household(
        {"given_name": "Amina", "family_name": "Prova"},
        {"given_name": "Samir", "family_name": "Prova", "birth_date": "2016-03-01"},
    )
    account = unique("famiglia")
    house.account(account, ["family"], household_id=household["id"])
    session = house.session(capacity=5)
    title = house.get(f"/activities/api/sessions/{session}", by="educator")["title"]
    page = visit("/cards/me", by=account, width=PHONE)
    with takes(page, taps=4, pages=3):
        page.get_by_role("link", name="Activities").first.click()
        page.get_by_role("link", name=title).click()
        page.get_by_label("Samir Prova").click()
        page.get_by_role("button", name="Sign up").click()
        expect(page.get_by_role("row", name="Samir")).to_contain_text("Confirmed")
