"""``make screenshots``: every page on a phone, a tablet and a desk, bright and dark,
in Italian and in Arabic, in ``screenshots/`` with an index page.

``ONLY=till,desk`` keeps the pages whose role or address holds one of the words; ``WIDTHS=360``,
``THEMES=light`` and ``LANGUAGES=it,ar,es`` narrow or widen the rest. A house of its own is started,
filled with the quarter of ``scene`` and thrown away.
"""

from __future__ import annotations

import html
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import scene
from house import PASSWORD, House, open_house
from playwright.sync_api import BrowserContext, Page, sync_playwright

FOLDER = Path("screenshots")
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-color-profile=srgb")


def wanted(name: str, default: str) -> list[str]:
    return [part for part in os.environ.get(name, default).split(",") if part]


def chosen(only: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Each role with those of its pages that are asked for."""
    every = scene.PAGES | {"foundation": [*scene.PAGES["foundation"], *scene.LEFT_OVER]}
    for role, paths in every.items():
        kept = [p for p in paths if not only or any(word in f"{role}{p}" for word in only)]
        if kept:
            yield role, kept


def sign_in(page: Page, name: str) -> None:
    page.goto("/identity/sign-in")
    page.locator("#sign-in [name=email]").fill(f"{name}@test.example")
    page.locator("#sign-in [name=password]").fill(PASSWORD)
    with page.expect_navigation():
        page.locator("#sign-in [name=password]").press("Enter")


def wishes(context: BrowserContext, house: House, **values: str) -> None:
    address = house.settings.address
    context.add_cookies([{"name": k, "value": v, "url": address} for k, v in values.items()])


def photograph(
    house: House, folder: Path, quarter: dict[str, Any]
) -> list[tuple[str, str, str, str, int]]:
    """Role, page, picture, what is wrong, and its width, in the order they were taken."""
    taken: list[tuple[str, str, str, str, int]] = []
    widths = [int(width) for width in wanted("WIDTHS", "360,820,1280")]
    with sync_playwright() as playwright:
        found = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=found, args=list(ARGUMENTS))
        for role, paths in chosen(wanted("ONLY", "")):
            context = browser.new_context(base_url=house.settings.address, locale="it-IT")
            page = context.new_page()
            if role:
                sign_in(page, quarter["accounts"].get(role, role))
            for path in paths:
                for language in wanted("LANGUAGES", "it,ar"):
                    for theme in wanted("THEMES", "light,dark"):
                        wishes(context, house, language=language, theme=theme)
                        page.goto(path.format_map(quarter))
                        for width in widths:
                            page.set_viewport_size({"width": width, "height": 800})
                            name = re.sub(r"[^a-z]+", "-", f"{role or 'nobody'}{path}").strip("-")
                            file = f"{name}.{language}.{theme}.{width}.png"
                            # As tall as the page: what is fixed to an edge stays there.
                            tall = page.evaluate("document.documentElement.scrollHeight")
                            page.set_viewport_size({"width": width, "height": max(tall, 800)})
                            page.screenshot(path=folder / file)
                            over = page.evaluate(
                                "document.documentElement.scrollWidth"
                                " - document.documentElement.clientWidth"
                            )
                            wrong = f"{over} px too wide" if over else ""
                            taken.append((role, path, file, wrong, width))
            context.close()
        browser.close()
    return taken


def index(taken: list[tuple[str, str, str, str, int]]) -> str:
    """One page with all pictures, by role and page."""
    parts = [
        "<!doctype html><meta charset=utf-8><title>Vicinato</title><style>"
        "body{font:16px system-ui;margin:2rem;background:#ddd}section{display:flex;gap:1rem;"
        "overflow-x:auto;align-items:start;padding-block:1rem}figure{margin:0}"
        "img{height:480px;background:#fff;box-shadow:0 1px 6px #0006}b{color:#a00}</style>"
    ]
    before = None
    for role, path, file, wrong, width in taken:
        if before != (role, path):
            parts.append("</section>" if before else "")
            parts.append(f"<h2>{html.escape(role or 'nobody')} {html.escape(path)}</h2><section>")
            before = (role, path)
        parts.append(
            f'<figure><a href="{file}"><img loading=lazy src="{file}" alt=""></a>'
            f"<figcaption>{width} {file.split('.')[1]} {file.split('.')[2]}"
            f" <b>{html.escape(wrong)}</b></figcaption></figure>"
        )
    return "\n".join(parts)


def main() -> int:
    began = time.monotonic()
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.png"):
        old.unlink()
    with open_house() as house:
        quarter = scene.quarter(house)
        with scene.left_over(house) as left:
            taken = photograph(house, FOLDER, quarter | left)
    (FOLDER / "index.html").write_text(index(taken), "utf-8")
    for _, _, file, wrong, _ in taken:
        if wrong:
            sys.stdout.write(f"{file}: {wrong}\n")
    seconds = time.monotonic() - began
    sys.stdout.write(f"{len(taken)} pictures in {seconds:.0f} s: {FOLDER}/index.html\n")
    return 0 if taken else 1


if __name__ == "__main__":
    sys.exit(main())
