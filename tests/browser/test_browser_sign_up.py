"""A family signs its child up, waits, is offered a place and takes it; with scripts and without."""

from __future__ import annotations

from typing import Any

import pytest
from house import House, unique
from playwright.sync_api import Page, expect
from window import PHONE, SOON, Windows, stayed, stays

from runtime.testing import eventually

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.browser,
    pytest.mark.xdist_group("house"),
    pytest.mark.timeout(300),
]


@pytest.fixture
def taken(house: House) -> tuple[str, str]:
    """A session whose only place is taken: its id, and the sign-up that has it."""
    session = house.session(capacity=1)
    other = house.household()
    body = {"person_id": other["members"][0]["id"]}
    made = house.post(f"/activities/api/sessions/{session}/sign-ups", body, by="educator")
    return session, str(made["sign_ups"][0]["id"])


def family_of(house: House, child: str) -> tuple[str, dict[str, Any]]:
    household = house.household(
        {"given_name": "Amina", "family_name": "Prova"},
        {"given_name": child, "family_name": "Prova", "birth_date": "2016-03-01"},
    )
    account = unique("famiglia")
    house.account(account, ["family"], household_id=household["id"])
    return account, household


def join(page: Page, child: str) -> None:
    """Signs the child up from the list of sessions, and sees that it waits."""
    expect(page.get_by_text("No places left").first).to_be_visible()
    page.get_by_label(f"{child} Prova").check()
    page.get_by_role("button", name="Join the waiting list").click()
    expect(page.get_by_role("row", name=child)).to_contain_text("Waiting: number 1 in the list")


def test_a_child_waits_is_offered_a_place_and_takes_it(
    house: House, visit: Windows, taken: tuple[str, str]
) -> None:
    session, holder = taken
    account, _ = family_of(house, "Samir")
    title = house.get(f"/activities/api/sessions/{session}", by="educator")["title"]
    page = visit("/activities/", by=account, width=PHONE)
    page.get_by_role("link", name=title).click()
    join(page, "Samir")
    stays(page)
    house.post(f"/activities/api/sign-ups/{holder}/cancel", by="educator")
    row = page.get_by_role("row", name="Samir")
    expect(row).to_contain_text("A place is kept until", timeout=SOON)
    assert stayed(page)
    row.get_by_role("button", name="Take the place").click()
    expect(page.get_by_role("row", name="Samir")).to_contain_text("Confirmed")


def test_without_scripts_the_same_takes_a_reload(
    house: House, visit: Windows, taken: tuple[str, str]
) -> None:
    session, holder = taken
    account, _ = family_of(house, "Nadia")
    page = visit(f"/activities/sessions/{session}", by=account, width=PHONE, scripts=False)
    join(page, "Nadia")
    house.post(f"/activities/api/sign-ups/{holder}/cancel", by="educator")

    def offered() -> bool:
        page.reload()
        return "A place is kept until" in page.get_by_role("row", name="Nadia").inner_text()

    eventually(offered, within=15, why="the place is offered")
    page.get_by_role("button", name="Take the place").click()
    expect(page.get_by_role("row", name="Nadia")).to_contain_text("Confirmed")
    page.goto("/activities/")
    mine = page.get_by_role("listitem").filter(has_text="Nadia")
    mine.get_by_role("button", name="I can't come").click()
    expect(mine).to_have_count(0)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
