"""Chromium in front of the whole house.

Each test opens windows of its own by `visit`, and fails when one of them asked another host for
something, or when Chromium had to complain: a refused script or style, an error in a script, a file
that is not there.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from house import House, unique
from playwright.sync_api import Browser, sync_playwright

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


@contextmanager
def opened(path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="session", autouse=True)
def chromium() -> str:
    """The path of the browser; first of all fixtures, so that nothing is started without one."""
    return installed(LIGHT, *WHOLE)


@pytest.fixture(scope="module")
def whole_browser() -> Iterator[Browser]:
    """One with devices."""
    with opened(installed(*WHOLE)) as browser:
        yield browser


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """One for a module: Playwright keeps an event loop in this thread, where others run theirs."""
    with opened(chromium) as browser:
        yield browser


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
