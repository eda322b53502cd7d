"""Chromium in front of the whole house.

Each test opens windows of its own by `visit`, and fails when one of them asked another host for
something, or when Chromium had to complain: a refused script or style, an error in a script, a file
that is not there.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from house import House, unique
from playwright.sync_api import Browser, Playwright, sync_playwright

from vicinato.testing import unavailable

sys.path.insert(0, str(Path(__file__).parent))

import scene
from counter import Till
from window import Signed, Watch, Windows

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    # A script is made faster for the thousandth time that it runs; a page of a test is gone before.
    "--js-flags=--no-opt",
)


WHOLE = ("chromium", "chromium-browser", "google-chrome")
LIGHT = "chromium-headless-shell"
"""The same engine without what a window on a desk needs: a third less of processor time."""


def installed(*names: str) -> str:
    """The path of the first of these browsers that is there."""
    found = next(filter(None, map(shutil.which, names)), "")
    if not found:
        unavailable(f"there is none of these browsers on this machine: {', '.join(names)}")
    return found


class Browsers:
    """Those that are open, each until the last test in a browser that comes in a row."""

    def __init__(self) -> None:
        self._playwright: Playwright | None = None
        self._open: dict[str, Browser] = {}

    def at(self, path: str) -> Browser:
        if self._playwright is None:
            self._playwright = sync_playwright().start()
        if path not in self._open:
            chromium = self._playwright.chromium
            self._open[path] = chromium.launch(executable_path=path, args=list(ARGUMENTS))
        return self._open[path]

    def close(self) -> None:
        for browser in self._open.values():
            browser.close()
        self._open.clear()
        if self._playwright is not None:
            self._playwright.stop()
            self._playwright = None


BROWSERS = pytest.StashKey[Browsers]()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Playwright keeps an event loop in this thread, where other tests run theirs."""
    browsers = item.config.stash.get(BROWSERS, None)
    follows = nextitem is not None and nextitem.get_closest_marker("browser") is not None
    if browsers is not None and not follows:
        browsers.close()


@pytest.fixture(scope="session", autouse=True)
def chromium() -> str:
    """The path of the browser; first of all fixtures, so that nothing is started without one."""
    return installed(LIGHT, *WHOLE)


@pytest.fixture
def browsers(pytestconfig: pytest.Config) -> Browsers:
    return pytestconfig.stash.setdefault(BROWSERS, Browsers())


@pytest.fixture
def whole_browser(browsers: Browsers) -> Browser:
    """One with devices."""
    return browsers.at(installed(*WHOLE))


@pytest.fixture
def browser(browsers: Browsers, chromium: str) -> Browser:
    return browsers.at(chromium)


@pytest.fixture(scope="session")
def signed() -> Signed:
    """Who signed in once stays so for all tests, as in a browser that was not closed."""
    return {}


@pytest.fixture(scope="session")
def quarter(house: House) -> dict[str, Any]:
    """The families, sales and sign-ups that pages are looked at with."""
    return scene.quarter(house)


@pytest.fixture
def visit(browser: Browser, house: House, signed: Signed) -> Iterator[Windows]:
    watch = Watch(house.settings.address)
    windows = Windows(browser, house, watch, signed)
    yield windows
    windows.close()
    assert watch.complaints == []


@pytest.fixture
def till(house: House) -> Till:
    name = unique("Banco")
    made = house.post("/shop/api/tills", {"name": name}, by="coordinator")
    seller = unique("cassa")
    house.account(seller, ["till"])
    return Till(seller, name, f"/shop/till/{made['id']}")
