"""What a screen reader is told: the trees of the till, the desk, the register and a sign-up, by
role and name, in their order. What is not named here may stand between."""

from __future__ import annotations

from typing import Any

import pytest
from house import House, unique
from playwright.sync_api import expect
from window import Windows

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.browser,
    pytest.mark.xdist_group("house"),
    pytest.mark.timeout(300),
]

TILL = """
- link "Go to the content"
- banner:
  - navigation "Main navigation":
    - list
- main:
  - navigation "Shop"
  - heading [level=1]
  - paragraph:
    - link "Recent sales"
  - textbox "Scan a product or a card"
  - button "Add"
  - region "Basket 1 piece":
    - heading "Basket 1 piece" [level=2]
    - list:
      - listitem:
        - button "One less"
        - spinbutton /Pieces of .+/: "1"
        - button "One more"
        - button /Take out .+/
    - button "Empty the basket"
  - region "Card":
    - heading "Card" [level=2]
    - button "Sell without the card"
  - form "Pay":
    - heading "Pay" [level=2]
    - group /In cash/:
      - button /Exactly/
  - region "Without a barcode":
    - heading "Without a barcode" [level=2]
- contentinfo
"""

DESK = """
- main:
  - heading "Desk" [level=1]
  - paragraph:
    - link "Register a household"
  - search:
    - searchbox "Find a household"
    - button "Find"
  - heading "Households found" [level=2]
  - list:
    - listitem:
      - link "Maria «Mimma» D'Amico <b>"
  - paragraph:
    - link "All households"
"""

REGISTER = """
- main:
  - navigation "Where you are":
    - list:
      - listitem:
        - link "Registers of today"
  - heading /Register. Doposcuola/ [level=1]
  - group "Tick who is there":
    - checkbox /أمينة/
  - button "Save the register"
  - heading "Somebody came without a sign-up" [level=2]
  - textbox /Name or surname/
  - button "Look"
"""

SIGN_UP = """
- main:
  - navigation "Where you are"
  - heading [level=1]
  - heading "Sign up" [level=2]
  - group "Who comes?":
    - checkbox "Amina Prova"
    - checkbox "Samir Prova"
  - checkbox /Only together/
  - button "Sign up"
"""

SIGNED_UP = """
- main:
  - heading "Your household" [level=2]
  - table "Your household":
    - rowgroup:
      - row:
        - columnheader "Who"
        - columnheader "Standing"
        - columnheader "Answer"
    - rowgroup:
      - row /Samir Prova Confirmed/:
        - cell:
          - button "I can't come"
"""


def test_the_tree_of_the_till(visit: Windows, quarter: dict[str, Any]) -> None:
    page = visit(f"/shop/till/{quarter['till']}", by="till")
    for code in (quarter["barcode"], quarter["card"]):
        page.locator("#f-code").fill(code)
        with page.expect_navigation():
            page.locator("#f-code").press("Enter")
    expect(page.locator("body")).to_match_aria_snapshot(TILL)
    with page.expect_navigation():
        page.locator("#clear button").click()


def test_the_tree_of_the_desk(visit: Windows, quarter: dict[str, Any]) -> None:
    page = visit("/cards/desk", by="reception")
    page.locator("#find [name=text]").fill("3337654321")
    expect(page.locator("body")).to_match_aria_snapshot(DESK)


def test_the_tree_of_the_register(visit: Windows, quarter: dict[str, Any]) -> None:
    page = visit(f"/activities/sessions/{quarter['session']}/register", by="educator")
    expect(page.locator("body")).to_match_aria_snapshot(REGISTER)


def test_the_tree_of_a_sign_up(house: House, visit: Windows) -> None:
    household = house.household(
        {"given_name": "Amina", "family_name": "Prova"},
        {"given_name": "Samir", "family_name": "Prova", "birth_date": "2016-03-01"},
    )
    account = unique("famiglia")
    house.account(account, ["family"], household_id=household["id"])
    page = visit(f"/activities/sessions/{house.session(capacity=5)}", by=account)
    expect(page.locator("body")).to_match_aria_snapshot(SIGN_UP)
    page.get_by_label("Samir Prova").check()
    page.get_by_role("button", name="Sign up").click()
    expect(page.locator("body")).to_match_aria_snapshot(SIGNED_UP)


def test_a_tree_that_lost_a_name_is_seen(visit: Windows) -> None:
    page = visit("/identity/sign-in")
    tree = '- main:\n  - textbox "E-mail"\n  - textbox "Password"'
    expect(page.locator("body")).to_match_aria_snapshot(tree)
    page.locator("label[for=f-password]").evaluate("label => label.remove()")
    expect(page.locator("body")).not_to_match_aria_snapshot(tree)
