"""What leaves the house on paper: a card as large as a bank card, a receipt on a roll of 80 mm, a
register and a poster on A4."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from house import CENTRE, House, unique
from playwright.sync_api import Page
from scene import LONG_NAME
from window import Windows

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.browser,
    pytest.mark.xdist_group("house"),
    pytest.mark.timeout(300),
]

CHINESE = "Noto Sans SC Thin"
"""What the file `paper/noto-sans-sc.woff2` calls itself: after the thinnest of its family."""

POINT = 25.4 / 72
"""Millimetres of a point, the unit of a PDF."""


def sheets(page: Page) -> list[tuple[float, float]]:
    """Width and height in millimetres of each page of the PDF that the browser prints."""
    printed = page.pdf(prefer_css_page_size=True)
    boxes = re.findall(rb"/MediaBox\s*\[\s*0 0 ([\d.]+) ([\d.]+)\s*\]", printed)
    return [(float(wide) * POINT, float(high) * POINT) for wide, high in boxes]


def cut_off(page: Page, within: str) -> list[str]:
    """Elements that reach out of what holds them, as it is printed."""
    page.emulate_media(media="print")
    found: list[str] = page.eval_on_selector(
        within,
        """holder => {
            const edge = holder.getBoundingClientRect();
            return [...holder.querySelectorAll("*")].filter(one => {
                const own = one.getBoundingClientRect();
                // The box of a letter may be higher than its line: only what is a block is cut.
                const block = getComputedStyle(one).display !== "inline";
                return own.right > edge.right + 1 || own.left < edge.left - 1
                    || block && (own.bottom > edge.bottom + 1 || own.top < edge.top - 1);
            }).map(one => one.outerHTML.slice(0, 80));
        }""",
    )
    return found


@pytest.mark.parametrize(
    ("given", "family"),
    [("أمينة", "بن يوسف"), ("小明", "王"), tuple(LONG_NAME.split(" ", 1))],
    ids=["arabic", "chinese", "long"],
)
def test_a_card_is_printed_as_large_as_a_bank_card(
    house: House, visit: Windows, given: str, family: str
) -> None:
    holder: dict[str, Any] = {"given_name": given, "family_name": family}
    asked = {"zone": "Satta", "consents": ["registration"], "members": [holder]}
    made = house.post("/cards/api/households", asked, by="reception")
    page = visit(f"/cards/households/{made['id']}", by="reception", language="it")
    page.locator("#issue button").click()
    card = page.locator(".card")
    assert f"{given} {family}" in card.inner_text()
    assert card.locator(".qr svg").count() == 1
    assert cut_off(page, ".card") == []
    ((wide, high),) = sheets(page)
    assert (wide, high) == (pytest.approx(85.6, abs=0.5), pytest.approx(53.98, abs=0.5))


def letters(page: Page, selector: str) -> set[str]:
    """The families of our own in whose letters an element is drawn."""
    session = page.context.new_cdp_session(page)
    session.send("DOM.enable")
    session.send("CSS.enable")
    root = session.send("DOM.getDocument")["root"]["nodeId"]
    node = session.send("DOM.querySelector", {"nodeId": root, "selector": selector})["nodeId"]
    fonts = session.send("CSS.getPlatformFontsForNode", {"nodeId": node})["fonts"]
    return {one["familyName"] for one in fonts if one["isCustomFont"]}


def test_chinese_is_printed_where_the_device_has_no_chinese(house: House, visit: Windows) -> None:
    holder = {"given_name": "堃淼", "family_name": "劉"}
    asked = {"zone": "Satta", "consents": ["registration"], "members": [holder]}
    made = house.post("/cards/api/households", asked, by="reception")
    page = visit(f"/cards/households/{made['id']}", by="reception", language="it")
    assert CHINESE not in letters(page, "h1 bdi")
    page.locator("#issue button").click()
    page.evaluate("document.fonts.ready")
    assert CHINESE in letters(page, ".card strong")


def test_a_register_is_printed_on_a4_with_every_child(house: House, visit: Windows) -> None:
    session = house.session(capacity=20)
    crowd = [
        {"given_name": f"Bimbo{number}", "family_name": "Registro", "birth_date": "2016-05-01"}
        for number in range(12)
    ]
    adult = {"given_name": "Adulta", "family_name": "Registro"}
    family = house.household(adult, *crowd)
    children = [member["id"] for member in family["members"][1:]]
    path = f"/activities/api/sessions/{session}/sign-ups"
    house.post(path, {"person_ids": children}, by="educator")
    page = visit(f"/activities/sessions/{session}/register", by="educator", language="it")
    page.emulate_media(media="print")
    for number in range(12):
        assert page.get_by_text(f"Bimbo{number} Registro").first.is_visible()
    assert page.locator("header.house").is_hidden()
    assert sheets(page)
    for wide, high in sheets(page):
        assert (wide, high) == (pytest.approx(210, abs=0.5), pytest.approx(297, abs=0.5))
    assert cut_off(page, "main") == []


@pytest.mark.parametrize("language", ["it", "ar"])
def test_a_poster_is_printed_large_on_a4(house: House, visit: Windows, language: str) -> None:
    starts = house.clock.now() + timedelta(days=1)
    titles = [LONG_NAME, unique("مساعدة في الواجبات"), "Spazio compiti"]
    made = [
        house.post(
            "/activities/api/activities", {"title": title, "default_capacity": 5}, by="educator"
        )["id"]
        for title in titles
    ]
    for activity in made:
        body = {
            "starts_at": starts.isoformat(),
            "ends_at": (starts + timedelta(hours=2)).isoformat(),
            "place": "Sala grande del primo piano",
        }
        house.post(f"/activities/api/activities/{activity}/sessions", body, by="educator")
    page = visit(f"/activities/poster/{CENTRE}", language=language)
    for title in titles:
        assert page.get_by_text(title).first.is_visible()
    assert cut_off(page, "main") == []
    assert page.locator("header.house").is_hidden()
    assert page.locator("h1").evaluate("one => parseFloat(getComputedStyle(one).fontSize)") > 60
    for wide, high in sheets(page):
        assert (wide, high) == (pytest.approx(210, abs=0.5), pytest.approx(297, abs=0.5))
    page.goto(f"/activities/poster/{CENTRE}?activity={made[0]}")
    assert page.locator("h1").inner_text() == LONG_NAME
    assert cut_off(page, "main") == []
    assert len(sheets(page)) == 1


def test_a_receipt_is_printed_on_a_roll_of_80_mm(house: House, visit: Windows) -> None:
    sale = house.sell(house.product(1290, 5), card=None, cash=1290)["id"]
    page = visit(f"/shop/sales/{sale}/receipt", by="till", language="ar")
    assert cut_off(page, "main") == []
    ((wide, _),) = sheets(page)
    assert wide == pytest.approx(80, abs=0.5)
