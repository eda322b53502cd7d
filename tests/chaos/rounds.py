"""A round of the plan: faults on a house at work, then no traffic until all has come right."""

from __future__ import annotations

import asyncio
import time

from chaos.checks import Findings, check
from chaos.checks.order import deadlocks
from chaos.faults import FAULTS, Site
from chaos.faults.restore import copy
from chaos.faults.stores import administration
from chaos.load import Load
from chaos.plan import HEALS_WITHIN, Fault, Round
from chaos.record import Record
from vicinato.settings import SERVICES

SLACK = 90.0
"""Seconds more than HEALS_WITHIN until a house that does not come right has failed: a machine that
does other things besides needs them, the house does not."""

BUSY = (
    "vicinato_outbox_unsent",
    "vicinato_consumer_lag",
    'vicinato_set_aside{state="waiting"',
    'vicinato_set_aside{state="retrying"',
)
"""Figures that are zero at rest."""

LOOK_EVERY = 3.0
SHOWN = 40


async def play(one: Round, load: Load, site: Site) -> None:
    """The faults of a round, some of them upon each other, on a house at work."""
    last = one.faults[-1]
    if one.silent and last.kind == "restore":
        await copy(site, last.target)  # from before all that this round will tell
    site.say(f"round {one.number}: traffic")
    began = time.monotonic()
    load.start()
    try:
        early = one.faults[:-1] if one.silent else one.faults
        async with asyncio.TaskGroup() as group:
            for fault in early:
                group.create_task(_fault(fault, began, site))
    finally:
        await load.stop()
    site.say(f"round {one.number}: no traffic any more; {load.count} requests so far")
    if one.silent:
        await _fault(last, began, site)


async def _fault(fault: Fault, began: float, site: Site) -> None:
    await asyncio.sleep(max(0.0, began + fault.at - time.monotonic()))
    site.say(f"fault {fault.number}: {fault.kind} {fault.target}")
    start = time.monotonic()
    await FAULTS[fault.kind](site, fault)
    site.say(f"fault {fault.number}: over after {time.monotonic() - start:.1f} s")


async def come_right(one: Round, site: Site, record: Record) -> Findings:
    """Wait without traffic, then look, until all holds or its time is up. Where the quiet was as
    long as the house may take, the first look decides."""
    start = time.monotonic()
    await asyncio.sleep(one.quiet)
    decides = one.quiet >= HEALS_WITHIN
    while True:
        looked = time.monotonic() - start
        found = await look(site, record)
        if found.holds:
            took = time.monotonic() - start - looked
            site.say(
                f"round {one.number}: all holds {looked:.0f} s after the last fault:"
                f" {found.told} acknowledged, {found.looked_at} facts compared in {took:.1f} s"
            )
            return found
        if decides or looked > HEALS_WITHIN + SLACK:
            for sentence in found.wrong[:SHOWN]:
                site.say(f"WRONG  {sentence}")
            return found
        site.say(f"round {one.number}: not yet after {looked:.0f} s: {found.wrong[0]}")
        await asyncio.sleep(LOOK_EVERY)


async def look(site: Site, record: Record) -> Findings:
    """What is found now; a house that is not at rest, or does not answer, does not hold."""
    try:
        busy = await asyncio.to_thread(_busy, site)
        if busy:
            return Findings(wrong=[busy])
        lines = await asyncio.to_thread(lambda: list(record.lines()))
        found = await asyncio.to_thread(check, site.house, site.bus.port, lines, site.excused)
        if site.engine == "postgres":
            found.wrong += await asyncio.to_thread(_deadlocks, site)
        return found
    except Exception as error:
        return Findings(wrong=[f"it could not be looked at: {error!r}"])


def _deadlocks(site: Site) -> list[str]:
    with administration(site) as connection:
        return list(deadlocks(connection))


def _busy(site: Site) -> str:
    """Why the house is not at rest; "" when it is."""
    for name in SERVICES:
        if line := busy_line(site.house.metrics(name)):
            return f"{name}: {line}"
    return ""


def busy_line(page: str) -> str:
    """What says on a page of metrics that a service is not at rest; "" when nothing does. What is
    dead has come to rest; `checks.heard` asks whose it was."""
    for line in page.splitlines():
        metric, _, value = line.rpartition(" ")
        if (metric.startswith(BUSY) and value != "0.0") or line == "vicinato_bus_connected 0.0":
            return line
    return ""
