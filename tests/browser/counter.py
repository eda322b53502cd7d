"""A till of a test, and what is done at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from house import House
from playwright.sync_api import Page, expect


@dataclass(frozen=True)
class Till:
    """A till of its own and whoever stands at it."""

    seller: str
    name: str
    path: str


def bread(house: House, price_cents: int = 350) -> tuple[str, str]:
    """A product as (barcode, name)."""
    made = house.get(f"/shop/api/products/{house.product(price_cents, 5)}", by="till")
    return str(made["barcode"]), str(made["name"])


def give_points(house: House, family: dict[str, Any], points: int) -> None:
    path = f"/cards/api/households/{family['id']}/points/adjustments"
    house.post(path, {"points": points, "reason": "dotazione"}, by="coordinator")
    house.quiet()


def scan(page: Page, code: str) -> None:
    """What a scanner does: it types into the field that has the focus, and presses Enter."""
    expect(page.locator("#f-code")).to_be_focused()
    with page.expect_navigation():
        page.keyboard.type(code)
        page.keyboard.press("Enter")
