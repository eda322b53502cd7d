"""Connections to Kafka and PostgreSQL are cut, refused, slowed and stopped; clients hang up."""

from __future__ import annotations

import asyncio

from chaos.faults.site import Site
from chaos.plan import Fault
from chaos.proxy import Proxy

SLOWEST = 0.25
"""Seconds for each chunk and direction."""


def _wire(site: Site, fault: Fault) -> Proxy:
    return site.bus if fault.target == "kafka" else site.database


def _name(fault: Fault) -> str:
    return "bus wire" if fault.target == "kafka" else "database wire"


async def cut(site: Site, fault: Fault) -> None:
    """Every connection is reset once; then for a while no new one is taken."""
    async with site.alone(_name(fault)):
        wire = _wire(site, fault)
        wire.refuse(True)
        site.say(f"{wire.cut()} connections cut")
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            wire.refuse(False)


async def slow(site: Site, fault: Fault) -> None:
    """Everything arrives, late."""
    async with site.alone(_name(fault)):
        wire = _wire(site, fault)
        wire.delay = fault.amount * SLOWEST
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            wire.delay = 0.0


async def stopped(site: Site, fault: Fault) -> None:
    """Nothing arrives, in one direction or in both, and nobody is told."""
    async with site.alone(_name(fault)):
        wire = _wire(site, fault)
        wire.hold_answers(fault.amount < 0.66)
        wire.hold_requests(fault.amount > 0.33)
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            wire.hold_answers(False)
            wire.hold_requests(False)


async def clients_gone(site: Site, fault: Fault) -> None:
    """Clients hang up in the middle of what they ask, or before the answer, and ask again."""
    async with site.alone("clients"):
        site.client.hangs_up = True
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            site.client.hangs_up = False
