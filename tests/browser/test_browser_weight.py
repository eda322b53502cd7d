"""What a first visit costs, measured in Chromium: bytes, letters, what moves while it loads, when
its largest part is there, and how long scripts keep somebody from pressing anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Page
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

SLOWER = 4
"""By how much the page's processor is slowed, as a cheap phone's (Lighthouse's factor)."""
LARGEST, BLOCKED = 2_500.0, 200.0
"""Milliseconds until the largest part is painted (LCP) and that tasks block beyond 50 each (TBT):
Web Vitals' and Lighthouse's bounds for a good page."""

OBSERVED = """
window.seen = { shift: 0, largest: 0, blocked: 0 };
function each(type, use) {
    const observer = new PerformanceObserver(list => list.getEntries().forEach(use));
    observer.observe({ type, buffered: true });
}
each("layout-shift", entry => { if (!entry.hadRecentInput) seen.shift += entry.value; });
each("largest-contentful-paint", entry => { seen.largest = entry.startTime; });
each("longtask", entry => { seen.blocked += entry.duration - 50; });
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
    largest: float
    blocked: float


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
    session.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    page.add_init_script(OBSERVED)
    page.goto(path, wait_until="load")
    page.evaluate(SETTLED)
    seen = page.evaluate("window.seen")
    session.send("Emulation.setCPUThrottlingRate", {"rate": 1})
    letters = sum(size for one, size in bytes_of.items() if kinds.get(one) == "Font")
    return Cost(weight=sum(bytes_of.values()) - letters, letters=letters, **seen)


@pytest.mark.parametrize("language", ["it", "ar"])
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
    visit: Windows, quarter: dict[str, Any], by: str, path: str, language: str
) -> None:
    who = quarter["accounts"].get(by, by)
    width = DESK if by == "coordinator" else PHONE
    page = visit("/identity/sign-in" if not by else "/identity/", by=who, language=language)
    page.set_viewport_size({"width": width, "height": 800})
    cost = cost_of(page, path.format_map(quarter))
    assert cost.weight <= WEIGHT, cost
    assert 0 < cost.letters <= LETTERS, cost
    assert cost.shift <= SHIFT, cost
    assert 0 < cost.largest <= LARGEST, cost
    assert cost.blocked <= BLOCKED, cost


def test_the_measures_see_a_page_that_is_heavy_moves_and_blocks(visit: Windows) -> None:
    page = visit("/identity/sign-in", width=PHONE)
    page.route(
        "**/static/empty.svg*",
        lambda route: route.fulfill(
            body="<svg xmlns='http://www.w3.org/2000/svg'/>" + " " * 200_000
        ),
    )
    page.add_init_script(
        """addEventListener("DOMContentLoaded", () => setTimeout(() => {
            const late = document.createElement("p");
            late.style.blockSize = "300px";
            document.body.prepend(late);
            const until = performance.now() + 400;
            while (performance.now() < until);
        }, 50));"""
    )
    cost = cost_of(page, "/identity/design")
    assert cost.weight > WEIGHT
    assert cost.shift > SHIFT
    assert cost.blocked > BLOCKED
