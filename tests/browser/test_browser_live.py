"""Live parts of pages: who looks at them hears what changes, and loses nothing by what does not."""

from __future__ import annotations

import pytest
from house import House
from playwright.sync_api import Page, expect
from window import SOON, Windows, behind, stayed, stays

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.browser,
    pytest.mark.xdist_group("house"),
    pytest.mark.timeout(300),
]

AT_ONCE = 6
"""Connections that a browser opens to one host over HTTP/1.1 (RFC 9112 names no number; Chromium,
Firefox and Safari hold to this one)."""

READ = """() => {
    const parse = DOMParser.prototype.parseFromString;
    DOMParser.prototype.parseFromString = function (...given) {
        document.documentElement.setAttribute("data-read", "");
        return parse.apply(this, given);
    };
}"""
"""Says when a page looked for its parts in an answer; what it exchanges it does in the same
breath."""


POLLUTED = """() => {
    const put = { method: "DELETE", signal: "x", attributeFilter: [], attributes: false };
    for (const name of Object.keys(put)) Object.defineProperty(
        Object.prototype, name, { __proto__: null, value: put[name], writable: true }
    );
}"""
EVERY_OBJECT = "() => Object.getOwnPropertyNames(Object.prototype).sort()"


def with_a_sign_up(house: House) -> str:
    """The page of a session that somebody is signed up for."""
    session = house.session(capacity=5)
    sign_up(house, session, "Amina")
    return f"/activities/sessions/{session}"


def sign_up(house: House, session: str, name: str) -> None:
    family = house.household({"given_name": name, "family_name": "Prova"})
    body = {"person_id": family["members"][0]["id"]}
    house.post(f"/activities/api/sessions/{session}/sign-ups", body, by="educator")


def listening(page: Page, path: str) -> None:
    """Goes there, until the stream of the page is open."""
    with page.expect_response("**/live/*"):
        page.goto(path)


def test_as_many_tabs_as_there_are_connections_leave_one_for_the_next(
    house: House, visit: Windows
) -> None:
    path = with_a_sign_up(house)
    first = visit("/identity/", by="educator")
    page = first
    for _ in range(AT_ONCE):
        listening(page, path)
        behind(page)
        page = first.context.new_page()
    listening(page, path)
    expect(page.get_by_role("row", name="Amina")).to_be_visible()


def test_who_comes_back_to_a_tab_sees_what_changed_meanwhile_and_what_changes_then(
    house: House, visit: Windows
) -> None:
    path = with_a_sign_up(house)
    session = path.rpartition("/")[2]
    page = visit("/identity/", by="educator")
    listening(page, path)
    stays(page)
    behind(page)
    sign_up(house, session, "Samir")
    with page.expect_response("**/live/*"):
        behind(page, hidden=False)
    expect(page.get_by_role("row", name="Samir")).to_be_visible()
    sign_up(house, session, "Fatou")
    expect(page.get_by_role("row", name="Fatou")).to_be_visible(timeout=SOON)
    assert stayed(page)


def test_what_was_put_into_every_object_changes_nothing(house: House, visit: Windows) -> None:
    """A polluted prototype (OWASP ASVS 5.0, 15.3.6): these would turn each question of a page into
    another, and stop what listens."""
    path = with_a_sign_up(house)
    page = visit("/identity/", by="educator")
    page.add_init_script(f"({POLLUTED})()")
    listening(page, path)
    before = page.evaluate(EVERY_OBJECT)
    assert {"method", "signal", "attributeFilter"} <= set(before)
    stays(page)
    sign_up(house, path.rpartition("/")[2], "Samir")
    expect(page.get_by_role("row", name="Samir")).to_be_visible(timeout=SOON)
    assert stayed(page)
    assert page.evaluate(EVERY_OBJECT) == before
    desk = visit("/cards/desk", by="reception")
    desk.add_init_script(f"({POLLUTED})()")
    desk.goto("/cards/desk")
    desk.locator("#find input[name=text]").fill("Amina")
    expect(desk.get_by_role("link", name="Amina").first).to_be_visible()


def test_a_part_of_which_nothing_changed_keeps_what_has_the_focus(
    house: House, visit: Windows
) -> None:
    """Its forms have other one-time values in each answer."""
    page = visit("/identity/", by="educator")
    listening(page, with_a_sign_up(house))
    button = page.locator("#state form button").first
    button.focus()
    kept = button.element_handle()
    page.evaluate(READ)
    behind(page)
    behind(page, hidden=False)
    expect(page.locator("html[data-read]")).to_have_count(1)
    assert kept.evaluate("one => one === document.activeElement")
