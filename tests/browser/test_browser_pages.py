"""Every main page, by role, in Italian and in Arabic, on a phone and on a desk: nobody is kept out
by a grave barrier (axe), and nothing has to be scrolled sideways."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from house import House, unique
from playwright.sync_api import Page, expect
from window import DESK, PHONE, Windows, barriers, sideways

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.browser,
    pytest.mark.xdist_group("house"),
    pytest.mark.timeout(300),
]

LONG_NAME = "Massimiliano Ferdinando Alessandro Maria Quattrocchi-Buonaventura"


@pytest.fixture(scope="module")
def quarter(house: House) -> dict[str, Any]:
    """A family of two scripts with points, a sale, sign-ups, messages and a referral."""
    family = house.household(
        {"given_name": "أمينة", "family_name": "بن يوسف", "language": "ar", "phone": "3331234567"},
        {"given_name": LONG_NAME, "family_name": "Ben Youssef", "birth_date": "2016-05-01"},
        consents=("messages", "referrals"),
    )
    here = f"/cards/api/households/{family['id']}/points/adjustments"
    house.post(here, {"points": 80, "reason": "dotazione"}, by="coordinator")
    house.quiet()
    product = house.product(1290, 5)
    sale = house.sell(product, card=family["card"], cash=790, points=50)
    starts = house.clock.now() + timedelta(hours=1)
    activity = house.post(
        "/activities/api/activities",
        {"title": unique("Doposcuola"), "default_capacity": 2},
        by="educator",
    )
    session = house.post(
        f"/activities/api/activities/{activity['id']}/sessions",
        {
            "starts_at": starts.isoformat(),
            "ends_at": (starts + timedelta(hours=2)).isoformat(),
            "place": "Sala grande",
        },
        by="educator",
    )["id"]
    for person in family["members"]:
        body = {"person_id": person["id"]}
        house.post(f"/activities/api/sessions/{session}/sign-ups", body, by="educator")
    organisation = house.post(
        "/network/api/organisations",
        {"name": unique("Cooperativa «Il Melograno»"), "areas": ["elderly"]},
        by="coordinator",
    )["id"]
    referral = house.post(
        "/network/api/referrals",
        {
            "household_id": family["id"],
            "area": "elderly",
            "zone": "Satta",
            "to_organisation_id": organisation,
        },
        by="case_worker",
    )["id"]
    for area in ("elderly", "work"):
        need = {"area": area, "zone": "Via Concilio Vaticano II"}
        house.post("/network/api/needs", need, by="case_worker")
    account, partner = unique("famiglia"), unique("partner")
    house.account(account, ["family"], household_id=family["id"])
    house.account(partner, ["partner"], organisation_id=organisation)
    house.quiet()
    return {
        "family": family["id"],
        "card": family["card"]["number"],
        "barcode": house.get(f"/shop/api/products/{product}", by="till")["barcode"],
        "product": product,
        "till": house.till,
        "sale": sale["id"],
        "session": session,
        "referral": referral,
        "accounts": {"family": account, "partner": partner},
    }


PAGES = {
    "": ["/identity/sign-in"],
    "till": [
        "/identity/",
        "/shop/till",
        "/shop/till/{till}",
        "/shop/till/{till}/sales",
        "/shop/till/{till}/closing",
        "/shop/sales/{sale}",
        "/shop/sales/{sale}/receipt",
        "/shop/sales/{sale}/refund",
        "/shop/products/{product}",
        "/shop/nowhere",
    ],
    "reception": [
        "/identity/",
        "/cards/desk",
        "/cards/households",
        "/cards/households/{family}",
        "/cards/households/new",
        "/activities/households/{family}",
        "/notifications/messages",
    ],
    "coordinator": [
        "/identity/",
        "/cards/households/{family}",
        "/cards/set-aside",
        "/identity/accounts",
        "/network/needs",
    ],
    "educator": [
        "/activities/",
        "/activities/sessions/{session}",
        "/activities/sessions/{session}/register",
        "/activities/today",
        "/activities/activities/new",
    ],
    "case_worker": [
        "/network/referrals",
        "/network/referrals/{referral}",
        "/network/referrals/new?household={family}",
        "/network/organisations",
    ],
    "family": [
        "/cards/me",
        "/activities/",
        "/activities/sessions/{session}",
        "/notifications/inbox",
        "/notifications/preferences",
    ],
    "partner": ["/network/referrals", "/network/referrals/{referral}"],
}


def faults(page: Page) -> Iterator[str]:
    """What is wrong with the page as it stands, on a phone and on a desk."""
    for width in (PHONE, DESK):
        page.set_viewport_size({"width": width, "height": 800})
        if over := sideways(page):
            yield f"{page.url} at {width}: {over} pixels too wide"
        for barrier in barriers(page):
            yield f"{page.url} at {width}: {barrier}"


@pytest.mark.parametrize("language", ["it", "ar"])
@pytest.mark.parametrize("role", PAGES)
def test_nobody_is_kept_out_of_a_page(
    visit: Windows, quarter: dict[str, Any], role: str, language: str
) -> None:
    who = quarter["accounts"].get(role, role)
    first, *others = (path.format_map(quarter) for path in PAGES[role])
    page = visit(first, by=who, language=language)
    direction = {"it": "ltr", "ar": "rtl"}[language]
    expect(page.locator("html")).to_have_attribute("dir", direction)
    found = list(faults(page))
    for path in others:
        page.goto(path)
        found += faults(page)
    assert found == []


@pytest.mark.parametrize("language", ["it", "ar"])
def test_nobody_is_kept_out_of_what_a_form_answers(
    visit: Windows, quarter: dict[str, Any], language: str
) -> None:
    """A full basket, a refusal on it, and a card that was just handed out."""
    at = f"/shop/till/{quarter['till']}"
    page = visit(at, by="till", language=language)
    for code in (quarter["card"], quarter["barcode"], "niente"):
        page.locator("#f-code").fill(code)
        with page.expect_navigation():
            page.locator("#f-code").press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    found = list(faults(page))
    page.locator("#clear button").click()
    desk = visit("/cards/desk", by="reception", language=language)
    desk.locator("#find input[name=text]").fill(quarter["card"])
    desk.locator("#find button").click()
    desk.goto(f"/cards/households/{quarter['family']}")
    desk.locator("#issue button").click()
    expect(desk.locator(".qr svg")).to_be_visible()
    found += faults(desk)
    assert found == []


def test_the_measures_see_a_barrier_and_a_page_that_is_too_wide(visit: Windows) -> None:
    page = visit("/identity/sign-in", width=PHONE)
    assert (barriers(page), sideways(page)) == ([], 0)
    page.evaluate(
        """() => {
            const wide = document.createElement("div");
            wide.append(document.createElement("input"));
            wide.style.inlineSize = "500px";
            document.querySelector("main").append(wide);
        }"""
    )
    assert [one.split(":")[0] for one in barriers(page)] == ["label"]
    assert sideways(page) > 0
