"""What an administrator has asked for is broken off in its middle."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from chaos.faults.site import Site
from chaos.plan import Fault
from vicinato.processes import die_with_parent

ASKED_WITHIN = 60.0


async def killed(site: Site, fault: Fault) -> None:
    """A service sends all its events again, reads all topics again, builds its read models anew or
    compares its outbox with the log, and is killed at it."""
    name = fault.target
    asks: tuple[tuple[str, Any], ...] = (
        ("log/replay", {"topic": f"{name}.events"}),
        ("log/reread", None),
        ("projections/rebuild", None),
        ("log/compare", None),
    )
    path, body = asks[fault.number % len(asks)]
    async with site.alone(name):
        await asked(site, f"/{name}/api/{path}", body)
        site.say(f"{name} is at {path}")
        await asyncio.sleep(fault.seconds)
        await site.kill(name)


async def asked(site: Site, path: str, body: Any = None) -> None:
    """Until it is begun, or some time has passed: the service may be away, or the bus."""
    deadline = time.monotonic() + ASKED_WITHIN
    while not await site.client.command(path, by="administrator", body=body):
        if time.monotonic() > deadline:
            return
        await asyncio.sleep(0.5)


async def backup_killed(site: Site, fault: Fault) -> None:
    """`kill -9` of a backup, which may hold the write locks of all stores just then."""
    async with site.alone("backup"):
        to = site.battery.with_name(f"backup-{fault.number}")
        to.mkdir()
        saving = _saving(site, to)
        await asyncio.sleep(fault.seconds)
        saving.kill()
        code = await asyncio.to_thread(saving.wait)
        site.say(f"the backup ended with {code}")


def _saving(site: Site, to: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "vicinato.cli", "backup", str(to)],
        env=dict(site.house.starting.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent(),
    )
