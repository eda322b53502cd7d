"""Every page, by role, in Italian on a bright desk and in Arabic on a dark phone, without motion:
nobody is kept out by a grave barrier (axe), what is pressed is large enough, and nothing has to be
scrolled sideways: in Italian at 200 % and on a tablet neither. Every component in every language at
all widths, with more contrast in these two as well; at night every page in all of that."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from house import PASSWORD, House, unique
from playwright.sync_api import Page, expect
from scene import LEFT_OVER, PAGES, left_over
from window import (
    AXE,
    DESK,
    LOCALES,
    PHONE,
    TABLET,
    ZOOMED,
    Measures,
    Windows,
    barriers,
    measures,
)

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.browser,
    pytest.mark.xdist_group("house"),
    pytest.mark.timeout(300),
]

Light = Literal["light", "dark"]

LIGHTS: tuple[Light, ...] = ("light", "dark")
Look = tuple[str, int, Light]

DIRECTIONS = {"ar": "rtl"}
LOOKS: tuple[Look, ...] = (("it", DESK, "light"), ("ar", PHONE, "dark"))
"""Language, width and light of each look at a page: all that differs is seen in two of them."""
WIDTHS = (PHONE, ZOOMED, TABLET, DESK)
CONTRAST = "color-contrast"


def faults(
    page: Page,
    width: int,
    light: Light,
    *,
    colours: bool = True,
    contrast: bool = False,
    widths: Sequence[int] = WIDTHS,
) -> Iterator[str]:
    """What is wrong with the page as it stands, measured at these `widths` from the one that it has
    on, without motion: a colour on its way from bright to dark is neither. axe looks at `width`;
    unless told at the contrast of `colours` too, and with more `contrast` as well, where what is
    quiet has the colour of ink."""
    page.emulate_media(color_scheme=light, reduced_motion="reduce", contrast="no-preference")
    window = page.viewport_size
    assert window
    for one in sorted(widths, key=lambda other: other != window["width"]):
        if one != window["width"]:
            page.set_viewport_size({"width": one, "height": 800})
        at, found = f"{page.url} at {one}", measures(page)
        if found.sideways:
            yield f"{at}: {found.sideways} pixels too wide"
        yield from (f"{at}: too small: {target}" for target in found.small)
        if one == DESK:  # on less a table may be a list, whose headings nobody sees
            yield from (f"{at}: not over its figures: {heading}" for heading in found.astray)
        yield from (f"{at}: moves: {element}" for element in found.moving)
        if one != width:
            continue
        for barrier in barriers(page, but="" if colours else CONTRAST):
            yield f"{at}, {light}: {barrier}"
        if contrast:
            page.emulate_media(contrast="more")
            for barrier in barriers(page, CONTRAST):
                yield f"{at} with more contrast: {barrier}"
            page.emulate_media(contrast="no-preference")


RULES = Path(__file__).parents[1] / "security" / "routes.rules"
"""All routes of all services, as `tests/security` holds them against the applications."""

NO_PAGES = re.compile(
    r".*/(api|live|\.well-known)/.*|.*/(metrics|livez|readyz|openapi\.json|asyncapi\.json)"
    # They lead to another page.
    r"|/(identity|cards|activities)|/(cards|network|shop)/|/identity/(renew|today|account/password)"
    r"|/cards/design|/identity/first-password"  # looked at below
)


def test_every_page_is_looked_at() -> None:
    known = [path.split("?")[0] for paths in [*PAGES.values(), LEFT_OVER] for path in paths]
    routes = re.findall(r"^GET (\S+)", RULES.read_text("utf-8"), re.MULTILINE)
    pages = {route.replace("{prefix}", "/cards") for route in routes}
    missing = [
        page
        for page in sorted(pages)
        if not NO_PAGES.fullmatch(page)
        and not any(re.fullmatch(re.sub(r"\{[^}]+\}", r"[^/]+", page), path) for path in known)
    ]
    assert missing == []


def looked_at(
    visit: Windows,
    quarter: dict[str, Any],
    role: str,
    looks: Iterable[Look],
    paths: Iterable[str] = (),
    *,
    contrast: bool = False,
) -> Iterator[str]:
    """What is wrong with the pages of a role, or with these, in these looks: with more contrast at
    all widths as well, else at all in Italian, and on a phone and a desk in other languages."""
    page = visit("/identity/welcome", by=quarter["accounts"].get(role, role))
    page.add_init_script(AXE)
    for language, width, light in looks:
        visit.speak(page, language)
        widths = WIDTHS if contrast or language == "it" else (PHONE, DESK)
        for path in paths or PAGES[role]:
            address = path.format_map(quarter)
            answer = page.goto(address)
            assert answer is not None
            assert answer.url.endswith(address)
            assert answer.status == (404 if address == "/shop/nowhere" else 200)
            told = page.evaluate("[document.documentElement.lang, document.documentElement.dir]")
            assert told == [language, DIRECTIONS.get(language, "ltr")]
            yield from faults(page, width, light, contrast=contrast, widths=widths)


@pytest.mark.parametrize("role", PAGES)
def test_nobody_is_kept_out_of_a_page(visit: Windows, quarter: dict[str, Any], role: str) -> None:
    assert list(looked_at(visit, quarter, role, LOOKS)) == []


def test_nobody_is_kept_out_of_what_was_left_over(
    visit: Windows, house: House, quarter: dict[str, Any]
) -> None:
    with left_over(house) as left:
        assert list(looked_at(visit, quarter | left, "foundation", LOOKS, LEFT_OVER)) == []


@pytest.mark.chaos
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("role", PAGES)
def test_nobody_is_kept_out_in_any_language_or_light(
    visit: Windows, quarter: dict[str, Any], role: str
) -> None:
    looks = [(language, PHONE, light) for language in LOCALES for light in LIGHTS]
    assert list(looked_at(visit, quarter, role, looks, contrast=True)) == []


@pytest.mark.parametrize("language", LOCALES)
def test_nobody_is_kept_out_of_any_component(visit: Windows, language: str) -> None:
    """Colours are looked at in both lights: words of another language have the same."""
    page = visit("/identity/design?toast=1", language=language)
    looks = {one: (width, light) for one, width, light in LOOKS}
    own = language in looks
    look = looks[language if own else "it"]
    assert list(faults(page, *look, colours=own, contrast=own)) == []


@pytest.mark.chaos
@pytest.mark.parametrize("language", LOCALES)
def test_no_colour_of_a_component_keeps_anybody_out_in_any_language(
    visit: Windows, language: str
) -> None:
    page = visit("/identity/design?toast=1", language=language)
    found = [fault for light in LIGHTS for fault in faults(page, PHONE, light, contrast=True)]
    assert found == []


@pytest.mark.parametrize(("language", "width", "light"), LOOKS)
def test_nobody_is_kept_out_of_what_a_form_answers(
    visit: Windows, quarter: dict[str, Any], language: str, width: int, light: Light
) -> None:
    """A full basket, a refusal on it, and a card that was just handed out."""
    at = f"/shop/till/{quarter['till']}"
    page = visit(at, by="till", language=language)
    for code in (quarter["card"], quarter["barcode"], "niente"):
        page.locator("#f-code").fill(code)
        with page.expect_navigation():
            page.locator("#f-code").press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    found = list(faults(page, width, light))
    page.locator("#clear button").click()
    desk = visit("/cards/desk", by="reception", language=language)
    desk.locator("#find input[name=text]").fill(quarter["card"])
    desk.locator("#find button").click()
    desk.goto(f"/cards/households/{quarter['family']}")
    desk.locator("#issue button").click()
    expect(desk.locator(".qr svg")).to_be_visible()
    found += faults(desk, width, light)
    assert found == []


@pytest.mark.parametrize(("language", "width", "light"), LOOKS)
def test_nobody_is_kept_out_of_giving_a_first_password_and_of_choosing_another(
    visit: Windows, quarter: dict[str, Any], language: str, width: int, light: Light
) -> None:
    new = f"/identity/accounts/new?household={quarter['family']}"
    desk = visit(new, by="reception", language=language)
    email = f"{unique('nonna')}@test.example"
    desk.locator("#f-email").fill(email)
    desk.locator("#account button").click()
    given = desk.locator("#given").inner_text()
    found = list(faults(desk, width, light))
    page = visit("/identity/sign-in", language=language)
    page.locator("#f-email").fill(email)
    page.locator("#f-password").fill(given)
    page.locator("#f-password").press("Enter")
    page.locator("#first-password button").wait_for()
    found += faults(page, width, light)
    for name in ("password", "again"):
        page.locator(f"#f-{name}").fill(PASSWORD)
    page.locator("#first-password button").click()
    expect(page).to_have_url(re.compile("/identity/$"))
    assert found == []


def test_the_measures_see_a_barrier_and_what_is_too_wide_too_low_astray_or_moves(
    visit: Windows,
) -> None:
    page = visit("/identity/sign-in", width=PHONE)
    page.emulate_media(reduced_motion="reduce")
    assert barriers(page) == []
    assert measures(page) == Measures(0, [], [], [])
    page.evaluate(
        """() => {
            const wide = document.createElement("div");
            wide.append(document.createElement("input"));
            wide.style.inlineSize = "500px";
            document.querySelector("main").append(wide);
        }"""
    )
    assert [one.split(":")[0] for one in barriers(page)] == ["label"]
    assert measures(page).sideways > 0
    page.evaluate(
        """() => {
            const low = document.createElement("button");
            low.style.cssText = "min-block-size: 0; block-size: 30px; transition-duration: 1s";
            document.querySelector("main").append(low);
        }"""
    )
    found = measures(page)
    assert len(found.small) == len(found.moving) == 1
    page.evaluate(
        """() => {
            const table = document.createElement("table");
            table.innerHTML = "<thead><tr><th>Cost</th></tr></thead>" +
                "<tr><td class=number>1</td></tr>";
            document.querySelector("main").append(table);
        }"""
    )
    assert measures(page).astray == ["<th>Cost</th>"]
