"""What a first visit costs, measured in Chromium: bytes, letters, and what moves while it loads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from window import DESK, PHONE, Windows

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.browser,
    pytest.mark.xdist_group("house"),
    pytest.mark.timeout(300),
]

WEIGHT, LETTERS = 100_000, 150_000
"""Bytes on the way: everything without letters, and the letters."""
SHIFT = 0.02
"""Cumulative layout shift, a fifth of Web Vitals' bound for a good page."""

EMPTY = "about:blank"
"""Where a window is before its first visit."""

VISITS = 3
"""Tries: on a busy machine a page is drawn while it is read, and its foot may move; what jumps by
itself does so at each visit."""

OBSERVED = """
window.shift = 0;
new PerformanceObserver(list => list.getEntries().forEach(entry => {
    if (!entry.hadRecentInput) window.shift += entry.value;
})).observe({ type: "layout-shift", buffered: true });
"""

SETTLED = """async () => {
    const wait = wish => new Promise(wish);
    await document.fonts.ready;
    await wait(done => setTimeout(done, 200));
    for (let frame = 0; frame < 3; frame++) await wait(requestAnimationFrame);
    await wait(done => setTimeout(done, 100));
}"""


@dataclass
class Cost:
    weight: int
    letters: int
    shift: float


def cost_of(page: Page, path: str) -> Cost:
    """A visit to a page by a browser that has nothing kept."""
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.clearBrowserCache")
    kinds: dict[str, str] = {}
    bytes_of: dict[str, int] = {}
    session.on("Network.requestWillBeSent", lambda e: kinds.update({e["requestId"]: e["type"]}))
    session.on(
        "Network.loadingFinished",
        lambda e: bytes_of.update({e["requestId"]: int(e["encodedDataLength"])}),
    )
    page.goto(path, wait_until="load")
    page.evaluate(SETTLED)
    shift = float(page.evaluate("window.shift"))
    letters = sum(size for one, size in bytes_of.items() if kinds.get(one) == "Font")
    return Cost(sum(bytes_of.values()) - letters, letters, shift)


@pytest.mark.parametrize(
    ("by", "path"),
    [
        ("", "/identity/sign-in"),
        ("", "/identity/design"),
        ("coordinator", "/identity/"),
        ("till", "/shop/till/{till}"),
        ("reception", "/cards/households/{crowd}"),
        ("educator", "/activities/sessions/{session}/register"),
        ("family", "/cards/me"),
        ("family", "/notifications/inbox"),
    ],
)
def test_a_first_visit_is_light_and_still(
    visit: Windows, quarter: dict[str, Any], by: str, path: str
) -> None:
    who = quarter["accounts"].get(by, by)
    page = visit(EMPTY, by=who, width=DESK if by == "coordinator" else PHONE)
    page.add_init_script(OBSERVED)
    for language in ("it", "ar"):
        visit.speak(page, language)
        for _ in range(VISITS):
            cost = cost_of(page, path.format_map(quarter))
            if cost.shift <= SHIFT:
                break
        assert page.evaluate("document.documentElement.lang") == language
        assert cost.weight <= WEIGHT, (language, cost)
        assert 0 < cost.letters <= LETTERS, (language, cost)
        assert cost.shift <= SHIFT, (language, cost)


ALONE = """nav => {
    const first = nav.querySelector("li"), at = () => JSON.stringify(first.getBoundingClientRect());
    const before = at();
    nav.querySelectorAll("li:not(:first-child)").forEach(later => later.remove());
    return before === at();
}"""


def test_the_bar_at_the_thumb_stands_before_all_of_it_has_come(visit: Windows) -> None:
    """A page that comes slowly is drawn while it comes: who presses must not miss."""
    page = visit("/identity/", by="coordinator", width=PHONE)
    bar = page.locator("nav.ways")
    expect(bar.locator("li:not(.rest)")).to_have_count(5)
    assert bar.evaluate(ALONE)


JUMPS = """async most => {
    const frame = () => new Promise(requestAnimationFrame);
    while (performance.now() < 1000) await frame();  // what comes right after input is excused
    const late = document.createElement("div");
    late.style.blockSize = "300px";
    document.querySelector("main").prepend(late);
    while (window.shift <= most && performance.now() < 10000) await frame();
    return window.shift;
}"""


def test_the_measures_see_a_page_that_jumps(visit: Windows) -> None:
    page = visit(EMPTY, width=PHONE)
    page.add_init_script(OBSERVED)
    assert cost_of(page, "/identity/sign-in").shift <= SHIFT
    assert float(page.evaluate(JUMPS, SHIFT)) > SHIFT


def test_the_measures_see_a_heavy_page(visit: Windows) -> None:
    page = visit(EMPTY, width=PHONE)
    page.route(
        "**/static/empty.svg*",
        lambda route: route.fulfill(
            body="<svg xmlns='http://www.w3.org/2000/svg'/>" + " " * 200_000
        ),
    )
    page.add_init_script(OBSERVED)
    assert cost_of(page, "/identity/design").weight > WEIGHT
