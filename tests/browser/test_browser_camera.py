"""The camera of a tablet as a scanner. It needs the whole browser: the headless shell has none."""

from __future__ import annotations

import json

import pytest
from counter import Till, bread, give_points, scan
from house import House
from playwright.sync_api import Browser, Page, Route, expect
from window import PHONE, SOON, Windows, stayed, stays

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.browser,
    pytest.mark.xdist_group("house"),
    pytest.mark.timeout(300),
]


@pytest.fixture
def browser(whole_browser: Browser) -> Browser:
    return whole_browser


READS = """window.BarcodeDetector = class {
    async detect(video) { return video.videoWidth ? [{ rawValue: CODE }] : []; }
};"""
"""Chromium on a desk reads no codes in pictures: that is played here. The camera is its own."""


def at_the_camera(visit: Windows, till: Till, code: str) -> Page:
    page = visit("/identity/", by=till.seller, width=PHONE)
    page.add_init_script(READS.replace("CODE", json.dumps(code)))
    page.goto(till.path)
    return page


def test_the_camera_of_a_tablet_is_a_scanner(visit: Windows, house: House, till: Till) -> None:
    barcode, name = bread(house)
    page = at_the_camera(visit, till, barcode)
    page.context.grant_permissions(["camera"])
    with page.expect_navigation():
        page.get_by_role("button", name="Use the camera").click()
    expect(page.locator("#basket-title ~ ul")).to_contain_text(name)


def test_the_camera_is_a_scanner_in_a_part_that_came_later(
    visit: Windows, house: House, till: Till
) -> None:
    """The page of a sale that waits for its points offers none; when it is paid it does."""
    (barcode, name), family = bread(house), house.household()
    give_points(house, family, 50)
    page = at_the_camera(visit, till, barcode)
    page.context.grant_permissions(["camera"])
    scan(page, family["card"]["token"])
    scan(page, barcode)
    page.get_by_role("button", name="Pay with 35 points").click()
    stays(page)
    camera = page.get_by_role("button", name="Use the camera")
    expect(camera).to_be_visible(timeout=SOON)
    assert stayed(page)
    with page.expect_navigation():
        camera.click()
    expect(page.locator("#basket-title ~ ul")).to_contain_text(name)


def test_where_the_camera_is_refused_the_number_is_typed(
    visit: Windows, house: House, till: Till
) -> None:
    barcode, name = bread(house)
    page = at_the_camera(visit, till, barcode)
    page.get_by_role("button", name="Use the camera").click()
    expect(page.get_by_role("alert")).to_contain_text("type the number under the code")
    page.get_by_role("button", name="Close").click()
    page.locator("#f-code").focus()
    scan(page, barcode)
    expect(page.locator("#basket-title ~ ul")).to_contain_text(name)


def test_nothing_moves_when_the_camera_is_offered(visit: Windows, till: Till) -> None:
    """The script, which knows whether there is one, runs when the page is there to be pressed."""
    page = visit("/identity/", by=till.seller, width=PHONE)
    page.add_init_script(READS.replace("CODE", "''"))
    touched = page.context.new_cdp_session(page)
    touched.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
    held: list[Route] = []
    page.route("**/static/house.js*", lambda script: held.append(script))
    page.goto(till.path, wait_until="commit")
    basket = page.locator("#basket-title")
    before = basket.bounding_box()
    expect(page.locator("[data-camera]")).to_be_hidden()
    for script in held:
        script.continue_()
    expect(page.locator("[data-camera]")).to_be_visible()
    assert basket.bounding_box() == before


def test_a_browser_that_reads_no_codes_offers_no_camera(visit: Windows, till: Till) -> None:
    page = visit(till.path, by=till.seller, width=PHONE)
    expect(page.locator("#f-code")).to_be_visible()
    expect(page.locator("[data-camera]")).to_be_hidden()
