"""Every main page, by role, in Italian and in Arabic, on a phone and on a desk: nobody is kept out
by a grave barrier (axe), and nothing has to be scrolled sideways."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import scene
from house import House
from playwright.sync_api import Page, expect
from scene import PAGES
from window import DESK, LOCALES, PHONE, ZOOMED, Windows, barriers, sideways, small

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.browser,
    pytest.mark.xdist_group("house"),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def quarter(house: House) -> dict[str, Any]:
    return scene.quarter(house)


def faults(page: Page) -> Iterator[str]:
    """What is wrong with the page as it stands, on a phone and on a desk."""
    for width in (PHONE, DESK):
        page.set_viewport_size({"width": width, "height": 800})
        if over := sideways(page):
            yield f"{page.url} at {width}: {over} pixels too wide"
        for barrier in barriers(page):
            yield f"{page.url} at {width}: {barrier}"


def more_faults(page: Page) -> Iterator[str]:
    """Targets too small for a thumb, what is faint in the dark, what is too wide at 200 %."""
    for target in small(page):
        yield f"{page.url}: too small: {target}"
    # Without motion: a colour on its way from bright to dark is neither.
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    for barrier in barriers(page, "color-contrast"):
        yield f"{page.url} in the dark: {barrier}"
    page.emulate_media(color_scheme="light", reduced_motion="no-preference")
    page.set_viewport_size({"width": ZOOMED, "height": 400})
    if over := sideways(page):
        yield f"{page.url} at 200 %: {over} pixels too wide"


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


@pytest.mark.parametrize("language", LOCALES)
def test_nobody_is_kept_out_of_any_component(visit: Windows, language: str) -> None:
    page = visit("/identity/design?toast=1", language=language)
    assert [*faults(page), *more_faults(page)] == []


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
