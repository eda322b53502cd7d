"""The machine's clock is wrong for a while: nothing that lasts may happen by it."""

from __future__ import annotations

import asyncio
import time

from chaos.faults.site import FaultError, Site
from chaos.plan import Fault
from vicinato.settings import SERVICES

JUMPS = (7_200, 3 * 86_400, 50 * 86_400, -7_200, -400 * 86_400)
"""Seconds: past the 15 minutes of a sale, past the two days of an offer, past the expiry of all
points; back, and back before the product existed."""

CONFIRMED_WITHIN = 60.0


async def jump(site: Site, fault: Fault) -> None:
    """Forward or back, and right again; then staff confirm the date. No service is started
    meanwhile: one that starts cannot know how long it was off."""
    async with site.alone(*SERVICES):
        for name in SERVICES:
            await site.ready(name)
        seconds = JUMPS[int(fault.amount * len(JUMPS))]
        site.say(f"the clock jumps by {seconds / 3600:+.0f} hours")
        site.set_battery(seconds)
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            site.set_battery(0)
        for name in SERVICES:
            await _confirm(site, name)


async def _confirm(site: Site, name: str) -> None:
    deadline = time.monotonic() + CONFIRMED_WITHIN
    while time.monotonic() < deadline:
        if await site.client.command(f"/{name}/api/clock/confirm", by="administrator"):
            return
        await asyncio.sleep(0.5)
    raise FaultError(f"{name} does not take the confirmation of the date")
