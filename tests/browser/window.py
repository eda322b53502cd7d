"""Windows on the house: opened by somebody, watched for what a page must not do."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from house import PASSWORD, House
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    Response,
    Route,
    StorageState,
    expect,
)

SOON = 18_000
"""Milliseconds for what comes by the bus; under the 20 s after which a page asks by itself."""

expect.set_options(timeout=10_000)

PHONE, TABLET, DESK = 360, 820, 1280
ZOOMED = 640
"""A desk at 200 %: half as many pixels for the same page."""
LOCALES = {"en": "en-GB", "it": "it-IT", "ar": "ar", "es": "es-ES", "fr": "fr-FR"}

AXE = Axe().axe_script
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
GRAVE = ("serious", "critical")


@dataclass
class Watch:
    """What the pages of a test did that they must not do."""

    address: str
    complaints: list[str] = field(default_factory=list)
    played: set[str] = field(default_factory=set)
    """Addresses that a test itself makes fail."""
    _refused: set[str] = field(default_factory=set)

    def over(self, context: BrowserContext) -> None:
        context.on("request", self._asked)
        context.on("response", self._answered)
        context.on("console", self._said)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))

    def _asked(self, request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme != "data" and f"{url.scheme}://{url.netloc}" != self.address:
            self.complaints.append(f"asked another host: {request.url}")

    def _answered(self, response: Response) -> None:
        if response.status < 400 or response.url in self.played:
            return
        if response.request.resource_type == "document" and response.status < 500:
            self._refused.add(response.url)  # a refusal, that the test itself looks at
        else:
            self.complaints.append(f"{response.status}: {response.url}")

    def _said(self, message: ConsoleMessage) -> None:
        at = message.location.get("url", "")
        # The browser asks for the icon of a page that names none.
        told = at in self._refused | self.played or at.endswith("/favicon.ico")
        if message.type in ("error", "warning") and not told:
            self.complaints.append(f"{message.text} ({at})")


Signed = dict[tuple[str, timedelta], StorageState]
"""What the browser of somebody who signed in once keeps, by name; and by the time that is played,
for a session ends when two days have gone by."""


class Windows:
    """Opens windows, each with cookies of its own."""

    def __init__(self, browser: Browser, house: House, watch: Watch, signed: Signed) -> None:
        self._browser = browser
        self._house = house
        self._watch = watch
        self._signed = signed
        self._contexts: list[BrowserContext] = []

    def __call__(
        self,
        path: str = "/",
        *,
        by: str = "",
        language: str = "en",
        width: int = DESK,
        scripts: bool = True,
    ) -> Page:
        """A window at ``path``; ``by`` somebody who is signed in: now or before, and not by typing,
        which is looked at where it is what a test is about."""
        signed = (by, self._house.clock.offset())
        kept = self._signed.get(signed)
        context = self._browser.new_context(
            storage_state=kept,
            base_url=self._house.settings.address,
            locale=LOCALES[language],
            viewport={"width": width, "height": 800},
            java_script_enabled=scripts,
        )
        self._contexts.append(context)
        self._watch.over(context)
        if by and kept is None:
            self._sign_in(context, by)
            self._signed[signed] = context.storage_state()
        page = context.new_page()
        page.goto(path)
        return page

    def _sign_in(self, context: BrowserContext, by: str) -> None:
        """As the form of the sign-in does, with the cookies of a window."""
        answer = context.request.post(
            "/identity/sign-in",
            form={"email": f"{by}@test.example", "password": PASSWORD},
            headers={"Origin": self._house.settings.address},
            max_redirects=0,
        )
        assert answer.status == 303, answer.text()

    def speak(self, page: Page, language: str) -> None:
        """The language of the next pages of a window, as somebody chooses it in the header."""
        address = self._house.settings.address
        page.context.add_cookies([{"name": "language", "value": language, "url": address}])

    def fail(self, page: Page, path: str, status: int) -> None:
        """From now on what is asked at a path of this window fails: answered with this status and a
        page that says no more, or with 0 not answered at all."""
        self._watch.played.add(self._house.settings.address + path)

        def answer(route: Route) -> None:
            if status:
                route.fulfill(status=status, content_type="text/html", body="<h1>Not now</h1>")
            else:
                route.abort()

        page.route(f"**{path}", answer)

    def close(self) -> None:
        for context in self._contexts:
            context.close()


def stays(page: Page) -> None:
    """Leaves a mark in the window that a reload would wipe."""
    page.evaluate("window.stayed = true")


def stayed(page: Page) -> bool:
    return bool(page.evaluate("window.stayed === true"))


def behind(page: Page, hidden: bool = True) -> None:
    """Another tab comes before this one, or goes. A browser without a screen takes all of its tabs
    for seen: what one with a screen says to a page is played here."""
    page.evaluate(
        """hidden => {
            Object.defineProperty(document, "hidden", { get: () => hidden, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def tab_to(page: Page, wanted: Locator, *, at_most: int = 40) -> None:
    """Goes to an element by the keyboard alone."""
    for _ in range(at_most):
        if wanted.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    expect(wanted).to_be_focused()


def barriers(page: Page, *rules: str, but: str = "") -> list[str]:
    """What keeps somebody out of a page: axe's serious and critical findings, of these rules or of
    all of WCAG 2.2 AA, or of all of them ``but`` one."""
    only = {"type": "rule", "values": rules} if rules else {"type": "tag", "values": WCAG}
    options = {
        "rules": {but: {"enabled": False}} if but else {},
        "resultTypes": ["violations"],
        "runOnly": only,
        # Without fetching the style sheets again: the rules for these tags need none.
        "preload": False,
        # Nor is every element that passes told by a way to it.
        "selectors": False,
    }
    found = page.evaluate(LOOKED_FOR, options)
    if found is None:
        page.evaluate(AXE)
        found = page.evaluate(LOOKED_FOR, options)
    return [
        f"{one['id']}: {node['html'][:120]}"
        for one in found
        if one["impact"] in GRAVE
        for node in one["nodes"]
    ]


LOOKED_FOR = """async options =>
    window.axe ? (await axe.run(options)).violations : null
"""

SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
SMALL = """[...document.querySelectorAll(
    "button, .button, summary, .choice, select, textarea, nav a, " +
    "input:not([type=hidden], [type=checkbox], [type=radio])"
)].filter(one => {
    const box = one.getBoundingClientRect();
    if (!box.width || !box.height || !one.checkVisibility()) return false;
    if (one.closest(".way")) return false;
    return box.height < 43.5 || (one.matches("button, .button") && box.width < 43.5);
}).map(one => one.outerHTML.slice(0, 120))"""
ASTRAY = """[...new Set([...document.querySelectorAll("td.number")].flatMap(cell => {
    const head = cell.closest("table").tHead?.rows[0].cells[cell.cellIndex];
    const same = !head || !head.offsetParent ||
        getComputedStyle(head).textAlign === getComputedStyle(cell).textAlign;
    return same ? [] : [head.outerHTML];
}))]"""
MOVING = """[...document.querySelectorAll("*")].filter(one => {
    const seconds = times => Math.max(...times.split(",").map(parseFloat));
    const style = getComputedStyle(one);
    return (style.animationName !== "none" && seconds(style.animationDuration) > 0.01)
        || seconds(style.transitionDuration) > 0.01
        || style.scrollBehavior === "smooth";
}).map(one => one.outerHTML.slice(0, 80))"""


@dataclass(frozen=True)
class Measures:
    """What is wrong with how a page stands in its window."""

    sideways: int
    """By how many pixels it is wider."""
    small: list[str]
    """What is pressed or filled in and is lower than 44 pixels, or narrower when it is a button."""
    astray: list[str]
    """Headings of columns that do not stand over their figures."""
    moving: list[str]
    """What moves for longer than an eye sees, or glides while the page scrolls."""


def measures(page: Page) -> Measures:
    """All of them at once: each question to a browser takes longer than its answer."""
    return Measures(*page.evaluate(f"[{SIDEWAYS}, {SMALL}, {ASTRAY}, {MOVING}]"))
