"""The machine that all of it runs on has something else to do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys

import psutil  # type: ignore[import-untyped]

from chaos.faults.site import Site
from chaos.plan import Fault
from vicinato.processes import die_with_parent

SLOWEST = 2.0
"""Seconds for each fsync."""

FIRST = -20
"""Before all others; who is not root gets his share like them."""


async def processor_taken(site: Site, fault: Fault) -> None:
    """A program has work for all cores and comes first, as one that looks for viruses."""
    async with site.alone("processor"):
        busy = [_busy() for _ in range(os.cpu_count() or 1)]
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            for one in busy:
                one.kill()
                await asyncio.to_thread(one.wait)


async def disk_slow(site: Site, fault: Fault) -> None:
    """Each fsync, of stores and of Kafka, takes up to seconds."""
    if not site.slow_disk.there:
        site.say("there is no C compiler here: the disk stays as it is")
        return
    async with site.alone("disk"):
        site.slow_disk.take(fault.amount * SLOWEST)
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            site.slow_disk.take(0)


def _busy() -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", "while True: pass"], preexec_fn=die_with_parent()
    )
    with contextlib.suppress(psutil.AccessDenied):
        psutil.Process(process.pid).nice(FIRST)
    return process
