"""What pages do beyond loading: keys, choices that stay, a sign-in that ended while typing."""

from __future__ import annotations

import pytest
from house import PASSWORD, House, unique
from playwright.sync_api import Page, expect
from window import PHONE, Windows

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.browser,
    pytest.mark.xdist_group("house"),
    pytest.mark.timeout(300),
]


def sign_in_again(page: Page, name: str) -> None:
    form = page.locator("#sign-in")
    form.locator("[name=email]").fill(f"{name}@test.example")
    form.locator("[name=password]").fill(PASSWORD)
    form.locator("[name=password]").press("Enter")


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
def test_nothing_typed_is_lost_when_the_sign_in_had_ended(
    house: House, visit: Windows, scripts: bool
) -> None:
    page = visit("/activities/activities/new", by="educator", scripts=scripts)
    title = unique("Compiti «alle 4» <b>")
    page.locator("[name=title]").fill(title)
    page.locator("[name=default_capacity]").fill("12")
    page.context.clear_cookies()
    page.locator("main form button.main").first.click()
    expect(page.locator("input[name=carried]")).to_have_count(1)
    sign_in_again(page, "educator")
    page.locator("#carried button").click()
    expect(page.get_by_role("heading", name=title)).to_be_visible()


@pytest.mark.parametrize("status", [429, 500, 503, 0])
def test_a_search_without_an_answer_shows_nobody_and_says_so(
    house: House, visit: Windows, status: int
) -> None:
    """What was found for the word before would be opened for the one that is typed."""
    before, typed = unique("Prima"), unique("Seconda")
    for name in (before, typed):
        house.household({"given_name": "Nadia", "family_name": name})
    page = visit("/cards/desk", by="reception")
    word, found = page.locator("#find [name=text]"), page.locator("#found")
    told = page.locator("#find").get_by_role("alert")
    word.fill(before)
    expect(found).to_contain_text(before)
    expect(told).to_be_hidden()
    visit.fail(page, "/cards/desk", status)
    word.fill(typed)
    expect(told).to_contain_text("The search cannot answer now.")
    expect(found).to_be_empty()
    page.unroute_all()
    word.dispatch_event("input")  # as by a key that leaves the same word
    expect(found).to_contain_text(typed)
    expect(told).to_be_hidden()


def test_a_question_mark_lists_the_keys_and_a_key_goes_to_its_button(visit: Windows) -> None:
    page = visit("/identity/design")
    page.locator("h1").click()
    page.keyboard.press("?")
    dialog = page.locator("#keys")
    expect(dialog).to_be_visible()
    expect(dialog.locator("kbd").first).to_be_visible()
    expect(dialog).to_contain_text("F8")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.keyboard.press("/")
    expect(page.locator("#f-text")).to_be_focused()
    page.keyboard.type("?")
    expect(page.locator("#f-text")).to_have_value("?")
    expect(dialog).to_be_hidden()


def test_the_light_is_chosen_without_scripts_and_stays(visit: Windows) -> None:
    page = visit("/identity/sign-in", scripts=False, width=PHONE)
    assert page.locator(".needs-scripts:visible").count() == 0
    page.locator("header .menu summary").click()
    opened = page.locator("header .menu > div").bounding_box()
    assert opened is not None
    assert opened["x"] >= 0
    assert opened["x"] + opened["width"] <= PHONE
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.goto("/identity/nowhere")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.locator("header .menu summary").click()
    page.get_by_role("button", name="Like the device").click()
    assert page.locator("html").get_attribute("data-theme") is None


def test_a_dialog_opens_by_its_button_and_leads_elsewhere_without_scripts(visit: Windows) -> None:
    page = visit("/identity/design")
    page.locator("[data-open=design-dialog]").click()
    expect(page.locator("#design-dialog")).to_be_visible()
    page.locator("#design-dialog form button").click()
    expect(page.locator("#design-dialog")).to_be_hidden()
    plain = visit("/identity/design", scripts=False)
    plain.locator("[data-open=design-dialog]").click()
    expect(plain.locator("#design-dialog")).to_be_hidden()
    assert plain.url.endswith("#buttons")


def test_more_and_less_stay_within_their_bounds(visit: Windows) -> None:
    page = visit("/identity/design")
    stepper = page.locator("[data-stepper]").first
    number, less, more = (
        stepper.locator("input"),
        stepper.locator("[data-step='-1']"),
        stepper.locator("[data-step='1']"),
    )
    expect(number).to_have_value("3")
    more.click()
    expect(number).to_have_value("4")
    for _ in range(6):
        less.click()
    expect(number).to_have_value("0")
