"""Processes die and stop, at any moment and at chosen ones, and are started twice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]

from chaos.faults.site import FaultError, Site
from chaos.plan import Fault
from vicinato import programs
from vicinato.ports import free_port
from vicinato.processes import die_with_parent, environment

OPENS_WITHIN = 60.0


async def kill(site: Site, fault: Fault) -> None:
    """`kill -9` at whatever moment this is."""
    async with site.alone(fault.target):
        await site.kill(fault.target)


async def kill_all(site: Site, fault: Fault) -> None:
    """`kill -9` of everything at once, as when the power goes."""
    state: Any = site.folder.read_state()
    names = [child["name"] for child in state["children"]]
    async with site.alone(*names):
        await site.kill_together(names)


async def freeze(site: Site, fault: Fault) -> None:
    """SIGSTOP for some seconds: it is there, listens, and does nothing."""
    async with site.alone(fault.target):
        await site.freeze(fault.target, fault.seconds)


async def files_exhausted(site: Site, fault: Fault) -> None:
    """The process can open no file and no connection more, as where something leaks them."""
    async with site.alone(fault.target):
        process = await site.process(fault.target)
        with contextlib.suppress(psutil.Error):
            before = process.rlimit(psutil.RLIMIT_NOFILE)
            process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds(), before[1]))
            try:
                await asyncio.sleep(fault.seconds)
            finally:
                process.rlimit(psutil.RLIMIT_NOFILE, before)


async def kill_unmarked(site: Site, fault: Fault) -> None:
    """Events are on the bus and their acknowledgements on the way when the service is killed: they
    were published and are not marked."""
    async with site.alone(fault.target, "bus wire"):
        site.bus.hold_answers(True)
        try:
            await asyncio.sleep(fault.seconds)
            await site.kill(fault.target)
        finally:
            site.bus.hold_answers(False)


async def kill_unpublished(site: Site, fault: Fault) -> None:
    """What was committed meanwhile has not reached the bus when the service is killed."""
    async with site.alone(fault.target, "bus wire"):
        site.bus.hold_requests(True)
        try:
            await asyncio.sleep(fault.seconds)
            await site.kill(fault.target)
        finally:
            site.bus.hold_requests(False)


async def twice(site: Site, fault: Fault) -> None:
    """A second copy of a service on the same store, ended in order or not."""
    async with site.alone(fault.target):
        end = signal.SIGKILL if fault.amount < 0.5 else signal.SIGTERM
        async with second_copy(site, fault.target, end):
            await asyncio.sleep(fault.seconds)


@asynccontextmanager
async def second_copy(site: Site, name: str, end: signal.Signals) -> AsyncIterator[None]:
    """One more process of a service, that clients talk to as well while this lasts."""
    port = free_port()
    program = programs.service(name, site.house.settings, site.folder)
    env = {**program.env, **site.wired(name), "VICINATO_PORT": str(port)}
    with site.folder.log(f"{name}-second").open("ab") as log:
        copy = subprocess.Popen(  # noqa: ASYNC220 - takes milliseconds
            [sys.executable, "-m", "web.serve", name],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment(env),
            preexec_fn=die_with_parent(),
        )
    try:
        await _ready(copy, port)
        site.client.others[name] = f"http://127.0.0.1:{port}"
        yield
    finally:
        site.client.others.pop(name, None)
        os.kill(copy.pid, end)
        await asyncio.to_thread(copy.wait)


async def _ready(copy: subprocess.Popen[bytes], port: int) -> None:
    """Raises FaultError when a second copy does not open."""
    async with httpx.AsyncClient(timeout=2) as http, asyncio.timeout(OPENS_WITHIN):
        while copy.poll() is None:
            try:
                if (await http.get(f"http://127.0.0.1:{port}/readyz")).is_success:
                    return
            except httpx.HTTPError:
                pass
            await asyncio.sleep(0.2)
    raise FaultError(f"a second copy ended with {copy.returncode}")
