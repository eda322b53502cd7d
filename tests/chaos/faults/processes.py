"""Processes die and stop, at any moment and at chosen ones, and are started twice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]

from chaos.faults.site import GONE_WITHIN, FaultError, Site
from chaos.plan import Fault
from vicinato import programs
from vicinato.ports import free_port
from vicinato.processes import die_with_parent, environment
from vicinato.settings import SERVICES

OPENS_WITHIN = 60.0
FORKS = "multiprocessing.forkserver"


async def kill(site: Site, fault: Fault) -> None:
    """`kill -9` at whatever moment this is."""
    async with site.alone(fault.target):
        await site.kill(fault.target)


async def kill_all(site: Site, fault: Fault) -> None:
    """`kill -9` of everything at once, as when the power goes."""
    names = _parts(site)
    async with site.alone(*names):
        await site.kill_together(names)


def _parts(site: Site) -> list[str]:
    state: Any = site.folder.read_state()
    return [child["name"] for child in state["children"]]


async def restart(site: Site, fault: Fault) -> None:
    """Stopped in order, as by whoever updates it."""
    async with site.alone(fault.target):
        await site.stop(fault.target)


async def restart_all(site: Site, fault: Fault) -> None:
    """Every service is told to stop, again and again, also while it starts or stops already."""
    async with site.alone(*SERVICES):
        until = time.monotonic() + fault.seconds
        while time.monotonic() < until:
            for name in SERVICES:
                with contextlib.suppress(psutil.Error):
                    psutil.Process(site.house.child(name)).terminate()
            await asyncio.sleep(0.3)


async def freeze(site: Site, fault: Fault) -> None:
    """SIGSTOP for some seconds, of its children too: it is there, listens, and does nothing."""
    async with site.alone(fault.target):
        await site.freeze(fault.target, fault.seconds)


async def freeze_all(site: Site, fault: Fault) -> None:
    """SIGSTOP of everything at once, of what starts it again too, as when a lid is closed."""
    async with site.alone(*_parts(site)):
        await site.freeze_together(fault.seconds)


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


async def memory_exhausted(site: Site, fault: Fault) -> None:
    """The process gets no memory more than it had when it was ready: it is started anew for that,
    since one that has been at work for long has some to spare."""
    async with site.alone(fault.target, "postgresql"):
        await site.stores_answer()
        await site.kill(fault.target)
        await site.ready(fault.target)
        process = await site.process(fault.target)
        with contextlib.suppress(psutil.Error):
            before = process.rlimit(psutil.RLIMIT_AS)
            process.rlimit(psutil.RLIMIT_AS, (process.memory_info().vms, before[1]))
            try:
                await asyncio.sleep(fault.seconds)
            finally:
                process.rlimit(psutil.RLIMIT_AS, before)


async def port_taken(site: Site, fault: Fault) -> None:
    """Killed, and its port is another program's before it is started again."""
    async with site.alone(fault.target, "postgresql"):
        await site.stores_answer()
        port = site.port(fault.target)
        async with site.down(fault.target):
            other = await _listening(port)
        async with other:
            await asyncio.sleep(fault.seconds)


async def _listening(port: int) -> asyncio.Server:
    """Who takes every connection on a port and says nothing. What is killed lets go of its port a
    moment after it counts as gone."""
    deadline = time.monotonic() + GONE_WITHIN
    while True:
        try:
            return await asyncio.start_server(lambda _, to: to.close(), "127.0.0.1", port)
        except OSError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


async def nursery_killed(site: Site, fault: Fault) -> None:
    """`kill -9` of the process from which the services are forked: they go with it."""
    async with site.alone(*_parts(site)):
        for process in psutil.Process(site.house.process.pid).children():
            with contextlib.suppress(psutil.Error):
                if FORKS in process.cmdline()[-1]:
                    process.kill()


async def supervisor_killed(site: Site, fault: Fault) -> None:
    """`kill -9` of what keeps all the others up; then somebody opens the house again at once."""
    async with site.alone(*_parts(site)):
        site.house.process.kill()
        await asyncio.to_thread(site.house.process.wait)
        await asyncio.to_thread(site.house.start)


async def house_restarted(site: Site, fault: Fault) -> None:
    """All is stopped in order, as on a machine that is switched off and on."""
    async with site.alone(*_parts(site)):
        await asyncio.to_thread(site.house.stop)
        await asyncio.to_thread(site.house.start)


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
    lives: list[subprocess.Popen[bytes]] = []
    try:
        await _opened(lives, port, partial(_started, site, name, env))
        site.client.others[name] = f"http://127.0.0.1:{port}"
        yield
    finally:
        site.client.others.pop(name, None)
        for copy in lives[-1:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(copy.pid, end)
            await asyncio.to_thread(copy.wait)


async def _opened(
    lives: list[subprocess.Popen[bytes]], port: int, start: Callable[[], subprocess.Popen[bytes]]
) -> None:
    """Returns when the last of its lives answers. One that ends before, for its store was away, is
    followed by another, as the supervisor does it. Raises FaultError when none opens."""
    try:
        async with asyncio.timeout(OPENS_WITHIN):
            while not await _answers(port):
                if not lives or lives[-1].poll() is not None:
                    lives.append(start())
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise FaultError("a second copy does not open") from None


def _started(site: Site, name: str, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    with site.folder.log(f"{name}-second").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "web.serve", name],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment(env),
            preexec_fn=die_with_parent(),
        )


async def _answers(port: int) -> bool:
    """Whether a service opened there."""
    async with httpx.AsyncClient(timeout=2) as http:
        try:
            return (await http.get(f"http://127.0.0.1:{port}/readyz")).is_success
        except httpx.HTTPError:
            return False
