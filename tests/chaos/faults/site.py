"""Where faults are made: the house, its wires, and what faults must not do at the same time."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
from house import House

from chaos.checks import Excused
from chaos.client import Client
from chaos.proxy import Proxy
from chaos.slow_disk import SlowDisk
from chaos.timeline import Timeline
from vicinato.folder import Folder
from vicinato.programs.service import store_url

GONE_WITHIN = 20.0
STOPS_WITHIN = 60.0
SAY_AGAIN = 5.0
READY_WITHIN = 90.0


class FaultError(Exception):
    """A fault could not be made. One sentence; the run fails, for it did not test what it says."""


@dataclass
class Site:
    """Everything that a fault may touch. `bus` and `database` are the wires."""

    house: House
    engine: str
    bus: Proxy
    database: Proxy
    battery: Path
    small_disk: bool
    slow_disk: SlowDisk
    timeline: Timeline
    client: Client
    excused: Excused
    copies: dict[str, tuple[int, datetime]] = field(default_factory=dict)
    """Of each store that was copied: the last row of its outbox then, and when."""
    locks: dict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    _dead: dict[str, int] = field(default_factory=dict)

    @property
    def folder(self) -> Folder:
        return self.house.folder

    def say(self, text: str) -> None:
        self.timeline.say(text)

    @asynccontextmanager
    async def alone(self, *names: str) -> AsyncIterator[None]:
        """One fault at a time on each of these things."""
        async with AsyncExitStack() as stack:
            for name in sorted(names):
                await stack.enter_async_context(self.locks[name])
            yield

    # processes

    async def process(self, name: str) -> psutil.Process:
        """The living process of a part, waited for while the supervisor starts it again."""
        deadline = time.monotonic() + READY_WITHIN
        while time.monotonic() < deadline:
            with contextlib.suppress(psutil.Error, StopIteration):
                pid = self.house.child(name)
                if pid and (found := psutil.Process(pid)).status() != psutil.STATUS_ZOMBIE:
                    return found
            await asyncio.sleep(0.1)
        raise FaultError(f"{name} is not there for {READY_WITHIN:.0f} s")

    async def kill(self, name: str) -> None:
        """`kill -9`, and wait until it is gone."""
        await self._end(name, await self.process(name))

    async def _end(self, name: str, process: psutil.Process) -> None:
        self._dead[name] = process.pid
        with contextlib.suppress(psutil.Error):
            process.kill()
        await gone(process)

    async def stop(self, name: str) -> None:
        """SIGTERM, and wait until it is gone."""
        process = await self.process(name)
        self._dead[name] = process.pid
        await ended(process)

    async def kill_together(self, names: Iterable[str]) -> None:
        """`kill -9` of all of these, before one of them is started again."""
        there = {name: await self.process(name) for name in names}
        supervisor = self.house.process
        supervisor.send_signal(signal.SIGSTOP)
        try:
            for process in there.values():
                with contextlib.suppress(psutil.Error):
                    process.kill()
            for name, process in there.items():
                await self._end(name, process)
        finally:
            supervisor.send_signal(signal.SIGCONT)

    @asynccontextmanager
    async def down(self, name: str, *, in_order: bool = False) -> AsyncIterator[None]:
        """Killed, or stopped in order, and not started again before this ends."""
        supervisor = self.house.process
        process = await self.process(name)
        supervisor.send_signal(signal.SIGSTOP)
        try:
            if in_order:
                with contextlib.suppress(FaultError):  # one that is frozen hears nothing
                    await ended(process)
            await self._end(name, process)
            if (later := self.house.child(name)) not in (0, process.pid):
                # It had ended by itself, and was started again before the supervisor stood still.
                with contextlib.suppress(psutil.NoSuchProcess):
                    await self._end(name, psutil.Process(later))
            yield
        finally:
            supervisor.send_signal(signal.SIGCONT)

    async def freeze(self, name: str, seconds: float) -> None:
        """Stopped as by a debugger, with all that it started, and gone on."""
        with contextlib.suppress(psutil.Error):
            await _frozen(await self.process(name), seconds)

    async def freeze_together(self, seconds: float) -> None:
        """All processes of the house, the supervisor's own too."""
        await _frozen(psutil.Process(self.house.process.pid), seconds)

    def port(self, name: str) -> int:
        """Where a part listens."""
        state: Any = self.folder.read_state()
        return next(int(child["port"]) for child in state["children"] if child["name"] == name)

    async def ready(self, name: str) -> None:
        """Returns when a part answers, and not as the process that was killed last."""
        deadline = time.monotonic() + READY_WITHIN
        while time.monotonic() < deadline:
            state: Any = self.folder.read_state()
            for child in state.get("children", []):
                known = child["name"] == name and child["pid"] != self._dead.get(name)
                if known and child["state"] == "ready":
                    return
            await asyncio.sleep(0.2)
        raise FaultError(f"{name} is not ready within {READY_WITHIN:.0f} s")

    async def kafka_answers(self) -> None:
        """Returns when Kafka is up and provisioned again."""
        await self.ready("kafka")

    async def stores_answer(self) -> None:
        """Returns when the server of the stores is up again, if there is one."""
        if self.engine != "sqlite":
            await self.ready("postgresql")

    # wires and time

    def wired(self, name: str) -> dict[str, str]:
        """What the house and its wires add to the environment of a service."""
        given = psutil.Process(self.house.process.pid).environ()
        env = {k: v for k, v in given.items() if k.startswith("VICINATO_")}
        env |= {"VICINATO_KAFKA": f"127.0.0.1:{self.bus.port}"}
        if self.engine != "sqlite":
            url = store_url(name, self.house.settings, self.folder)
            direct, through = self.house.settings.postgres_port, self.database.port
            env["VICINATO_DATABASE_URL"] = url.replace(f":{direct}/", f":{through}/")
        return env

    def set_battery(self, seconds: float) -> None:
        """How much the machine's clock is wrong."""
        part = self.battery.with_name("battery.part")
        part.write_text(str(seconds), encoding="ascii")
        part.replace(self.battery)


async def _frozen(first: psutil.Process, seconds: float) -> None:
    first.suspend()
    stopped = first.children(recursive=True)
    try:
        for process in stopped:
            with contextlib.suppress(psutil.Error):
                process.suspend()
        await asyncio.sleep(seconds)
    finally:
        for process in (*stopped, first):
            with contextlib.suppress(psutil.Error):
                process.resume()


async def ended(process: psutil.Process, say_again: float = SAY_AGAIN) -> None:
    """SIGTERM until it is gone: one that was forked just now does not hear it yet."""
    deadline = time.monotonic() + STOPS_WITHIN
    while True:
        with contextlib.suppress(psutil.Error):
            process.terminate()
        try:
            return await gone(process, within=say_again)
        except FaultError:
            if time.monotonic() > deadline:
                raise


async def gone(process: psutil.Process, within: float = GONE_WITHIN) -> None:
    """Returns when it runs no more (its parent may not have noticed yet)."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                return
        except psutil.Error:
            return
        await asyncio.sleep(0.02)
    raise FaultError(f"process {process.pid} does not die")
