"""A family's inbox: in its language, from right to left, while it looks."""

from __future__ import annotations

import pytest
from house import House, unique
from playwright.sync_api import Route, expect
from window import PHONE, SOON, Windows, stayed, stays

from runtime.testing import eventually

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.browser,
    pytest.mark.xdist_group("house"),
    pytest.mark.timeout(300),
]


def test_a_message_in_arabic_appears_while_the_inbox_is_open(house: House, visit: Windows) -> None:
    family = house.household(
        {"given_name": "أمينة", "family_name": "بن يوسف", "language": "ar"},
        consents=("messages",),
    )
    account = unique("famiglia")
    # The browser speaks Italian: the language is the account's.
    house.account(account, ["family"], household_id=family["id"], language="ar")
    page = visit("/notifications/inbox", by=account, language="it", width=PHONE)
    expect(page.locator("html")).to_have_attribute("dir", "rtl")
    expect(page.locator("html")).to_have_attribute("lang", "ar")
    expect(page.get_by_role("heading", name="الرسائل")).to_be_visible()
    session = house.session(capacity=1)
    title = house.get(f"/activities/api/sessions/{session}", by="educator")["title"]
    message = page.locator("#messages article").filter(has_text=title)
    expect(message).to_have_count(0)
    stays(page)
    body = {"person_id": family["members"][0]["id"]}
    house.post(f"/activities/api/sessions/{session}/sign-ups", body, by="educator")
    expect(message).to_have_count(1, timeout=SOON)
    assert stayed(page)
    expect(message.get_by_role("heading")).to_contain_text("تم تأكيد المكان")
    expect(message.get_by_role("heading")).to_contain_text(title)
    expect(message).to_contain_text("جديد")

    message.get_by_role("button").click()
    expect(page).to_have_url(house.settings.address + "/notifications/inbox")
    expect(message).to_have_count(1)
    expect(message).not_to_contain_text("جديد")
    expect(message.get_by_role("button")).to_have_count(0)
    page.reload()
    expect(message).not_to_contain_text("جديد")


def test_what_came_before_the_stream_opened_is_heard(house: House, visit: Windows) -> None:
    """The page is on its way, a message comes, and only then does the browser listen."""
    family = house.household(consents=("messages",))
    account = unique("famiglia")
    house.account(account, ["family"], household_id=family["id"])
    page = visit("/cards/me", by=account)
    held: list[Route] = []
    page.route("**/notifications/live/*", lambda route: held.append(route))
    with page.expect_request("**/notifications/live/*"):
        page.goto("/notifications/inbox")
    session = house.session(capacity=1)
    title = house.get(f"/activities/api/sessions/{session}", by="educator")["title"]
    body = {"person_id": family["members"][0]["id"]}
    house.post(f"/activities/api/sessions/{session}/sign-ups", body, by="educator")

    def told() -> bool:
        items = house.get("/notifications/api/messages", by=account)["items"]
        return any(title in str(item) for item in items)

    eventually(told, within=20, why="the message is made")
    message = page.locator("#messages article").filter(has_text=title)
    expect(message).to_have_count(0)
    for route in held:
        route.continue_()
    expect(message).to_have_count(1, timeout=SOON)


def test_the_language_changes_in_the_middle_and_stays(house: House, visit: Windows) -> None:
    family = house.household()
    account = unique("famiglia")
    house.account(account, ["family"], household_id=family["id"], language="it")
    page = visit("/notifications/inbox", by=account, language="it")
    expect(page.get_by_role("heading", name="Messaggi")).to_be_visible()
    page.locator("header .menu summary").click()
    page.get_by_role("button", name="العربية").click()
    expect(page).to_have_url(house.settings.address + "/notifications/inbox")
    expect(page.locator("html")).to_have_attribute("dir", "rtl")
    page.goto("/cards/me")
    expect(page.get_by_role("heading", name="نقاطي")).to_be_visible()
