"""(j) What a page feels like on an old phone, in Chromium.

The whole house with the families of the browser tests; each page is opened five times by a browser
that has nothing kept, signed in as who uses it, on a processor slowed down four times and a line of
1.6 Mbit/s with 150 ms there and back (what Lighthouse calls a slow 4G phone). Counted from the
click: when the largest thing was painted (LCP), for how long the page could not have answered a
finger (TBT: of every task longer than 50 ms what is above, until two seconds after loading), and
how far things jumped (CLS). The slowest page counts, by its median; the limits are those that
Lighthouse and Web Vitals call good.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, sync_playwright

from benchmarks.figures import Figure, at_most
from benchmarks.place import Place

sys.path += [str(Path(__file__).parents[1] / "browser")]

import photograph
import scene
from house import House, open_house

TIMES = 5
SLOWER = 4
LINE = {
    "offline": False,
    "latency": 150,
    "downloadThroughput": 1.6e6 / 8,
    "uploadThroughput": 0.75e6 / 8,
}
PAGES = (
    ("", "/identity/welcome"),
    ("", "/identity/sign-in"),
    ("till", "/shop/till/{till}"),
    ("reception", "/cards/desk"),
    ("reception", "/cards/households/{crowd}"),
    ("educator", "/activities/sessions/{session}/register"),
    ("coordinator", "/cards/overview"),
    ("case_worker", "/network/referrals"),
    ("family", "/cards/me"),
    ("family", "/notifications/inbox"),
)

OBSERVED = """
window.felt = { largest: 0, jumped: 0, blocked: 0 };
const seen = (type, take) =>
    new PerformanceObserver(list => list.getEntries().forEach(take))
        .observe({ type, buffered: true });
seen("largest-contentful-paint", one => { felt.largest = one.startTime; });
seen("layout-shift", one => { if (!one.hadRecentInput) felt.jumped += one.value; });
seen("longtask", one => { felt.blocked += Math.max(0, one.duration - 50); });
"""
SETTLED = "() => new Promise(done => setTimeout(() => done(window.felt), 2000))"


async def run(place: Place) -> list[Figure]:
    """The slowest page for each of the three."""
    place.figures += await asyncio.to_thread(_run, max(1, round(TIMES * min(1.0, place.scale))))
    return place.figures


def _run(times: int) -> list[Figure]:
    felt: dict[str, dict[str, float]] = {}
    with open_house() as house, sync_playwright() as playwright:
        quarter = scene.quarter(house)
        found = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=found, args=list(photograph.ARGUMENTS))
        for role, path in PAGES:
            context = _window(browser, house, quarter["accounts"].get(role, role))
            felt[path] = _felt(context, path.format_map(quarter), times)
            context.close()
        browser.close()
    return [
        _slowest(felt, "largest", "largest thing painted", "ms", 2500),
        _slowest(felt, "blocked", "blocked for a finger", "ms", 200),
        _slowest(felt, "jumped", "layout shift", "", 0.1),
    ]


def _window(browser: Browser, house: House, who: str) -> BrowserContext:
    context = browser.new_context(
        base_url=house.settings.address,
        locale="it-IT",
        viewport={"width": 360, "height": 740},
    )
    if who:
        page = context.new_page()
        photograph.sign_in(page, who)
        page.close()
    return context


def _felt(context: BrowserContext, path: str, times: int) -> dict[str, float]:
    taken: list[dict[str, float]] = []
    for _ in range(times):
        page = context.new_page()
        page.add_init_script(OBSERVED)
        session = context.new_cdp_session(page)
        session.send("Network.enable")
        session.send("Network.clearBrowserCache")
        session.send("Network.emulateNetworkConditions", LINE)
        session.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
        page.goto(path, wait_until="load")
        taken.append(page.evaluate(SETTLED))
        page.close()
    return {name: statistics.median(one[name] for one in taken) for name in taken[0]}


def _slowest(
    felt: dict[str, dict[str, float]], name: str, words: str, unit: str, limit: float
) -> Figure:
    digits = 0 if unit else 3
    by_page: dict[str, Any] = {path: round(one[name], digits) for path, one in felt.items()}
    path, value = max(by_page.items(), key=lambda item: float(item[1]))
    return at_most(f"{words}: the slowest page ({path})", value, unit, limit, by_page=by_page)
