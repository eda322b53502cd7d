"""The till in a browser: by scanner, by keyboard alone, in cash, in points, and refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
from counter import Till, bread, give_points, scan
from house import PASSWORD, House
from playwright.sync_api import expect
from window import PHONE, SOON, Windows, stayed, stays, tab_to

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.browser,
    pytest.mark.xdist_group("house"),
    pytest.mark.timeout(300),
]


@pytest.fixture
def family(house: House) -> dict[str, Any]:
    return house.household()


def test_a_sale_in_cash_shows_the_change_and_a_receipt(
    house: House, visit: Windows, till: Till, family: dict[str, Any]
) -> None:
    barcode, name = bread(house)
    page = visit("/identity/sign-in")
    page.get_by_label("E-mail").fill(f"{till.seller}@test.example")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("main").get_by_role("button", name="Sign in").click()
    page.get_by_role("main").get_by_role("link", name="Till").click()
    page.get_by_role("link", name=till.name).click()
    scan(page, barcode)
    scan(page, family["card"]["number"])
    scan(page, barcode)
    expect(page.get_by_role("listitem").filter(has_text=name)).to_contain_text("€7.00")
    expect(page.get_by_text("0 points")).to_be_visible()
    page.get_by_role("group", name="In cash").get_by_role("button", name="€10.00").click()
    expect(page.get_by_text("The sale is completed.")).to_be_visible()
    expect(page.get_by_text("Change to give back").locator("..")).to_contain_text("€3.00")
    page.get_by_role("link", name="Receipt").click()
    expect(page.get_by_role("heading", name="Receipt")).to_be_visible()
    expect(page.get_by_role("row", name=name)).to_contain_text("€7.00")
    page.go_back()
    page.get_by_role("link", name="Next customer").click()
    expect(page.get_by_text("The basket is empty.")).to_be_visible()
    expect(page.get_by_text("No card yet.")).to_be_visible()


def test_a_sale_in_points_completes_before_the_eyes_of_the_seller(
    house: House, visit: Windows, till: Till, family: dict[str, Any]
) -> None:
    barcode, _ = bread(house)
    give_points(house, family, 50)
    page = visit(till.path, by=till.seller)
    scan(page, family["card"]["token"])
    expect(page.get_by_text("50 points")).to_be_visible()
    scan(page, barcode)
    page.get_by_role("button", name="Pay with 35 points").click()
    expect(page).to_have_url(re.compile("/shop/sales/"))
    stays(page)
    expect(page.get_by_text("The sale is completed.")).to_be_visible(timeout=SOON)
    assert stayed(page)
    expect(page.get_by_role("link", name="Receipt")).to_be_visible()
    assert house.points(family["id"])[0] == 15


def test_too_few_points_leave_the_basket_and_say_how_many_there_are(
    house: House, visit: Windows, till: Till, family: dict[str, Any]
) -> None:
    barcode, name = bread(house)
    give_points(house, family, 20)
    page = visit(till.path, by=till.seller)
    scan(page, family["card"]["number"])
    scan(page, barcode)
    page.get_by_text("Another amount").click()
    page.get_by_label("Points to use").fill("30")
    page.get_by_role("button", name="Pay with both").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("Points on the card: 20. Asked for: 30.")
    expect(alert).to_contain_text("Use fewer points and take the rest in cash.")
    expect(page.get_by_role("listitem").filter(has_text=name)).to_be_visible()
    expect(page.get_by_label("Points to use")).to_have_value("30")
    page.get_by_label("Points to use").fill("20")
    page.get_by_role("button", name="Pay with both").click()
    expect(page.get_by_text("The sale is completed.")).to_be_visible(timeout=SOON)


def test_a_blocked_card_is_refused_and_the_basket_is_sold_without_it(
    house: House, visit: Windows, till: Till, family: dict[str, Any]
) -> None:
    barcode, name = bread(house)
    page = visit(till.path, by=till.seller)
    scan(page, barcode)
    scan(page, family["card"]["number"])
    house.post(f"/cards/api/cards/{family['card']['id']}/block", {"reason": "lost"}, by="reception")
    house.quiet()
    page.get_by_role("button", name="Exactly").click()
    alert = page.get_by_role("alert").filter(has_text="Something has to be corrected")
    expect(alert).to_contain_text("This card is blocked.")
    expect(alert).to_contain_text("Send the family to the desk for a new one")
    expect(page.get_by_role("listitem").filter(has_text=name)).to_be_visible()
    page.get_by_role("button", name="Sell without the card").click()
    page.get_by_role("button", name="Exactly").click()
    expect(page.get_by_text("The sale is completed.")).to_be_visible()


def test_the_till_works_by_keyboard_alone(house: House, visit: Windows, till: Till) -> None:
    barcode, _ = bread(house)
    page = visit("/identity/sign-in")
    tab_to(page, page.get_by_label("E-mail"))
    page.keyboard.type(f"{till.seller}@test.example")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Welcome")).to_be_visible()
    tab_to(page, page.get_by_role("navigation", name="Main").get_by_role("link", name="Till"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Choose a till")).to_be_visible()
    tab_to(page, page.get_by_role("link", name=till.name), at_most=80)
    page.keyboard.press("Enter")
    scan(page, barcode)
    tab_to(page, page.get_by_role("button", name="€5.00"))
    page.keyboard.press("Enter")
    expect(page.get_by_text("Change to give back").locator("..")).to_contain_text("€1.50")
    scan(page, barcode)
    page.keyboard.press("F8")
    expect(page.get_by_text("The sale is completed.")).to_be_visible()
    tab_to(page, page.get_by_role("link", name="Next customer"))
    page.keyboard.press("Enter")
    scan(page, barcode)


def test_what_was_taken_out_by_a_wrong_press_is_put_back(
    house: House, visit: Windows, till: Till
) -> None:
    barcode, name = bread(house)
    page = visit(till.path, by=till.seller, width=PHONE)
    scan(page, barcode)
    scan(page, barcode)
    page.get_by_role("button", name="One more").click()
    line = page.get_by_role("listitem").filter(has_text=name)
    expect(line).to_contain_text("€10.50")
    page.get_by_role("button", name=f"Take out {name}").click()
    page.get_by_role("button", name="Put back").click()
    expect(line).to_contain_text("€10.50")
