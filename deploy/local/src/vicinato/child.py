"""One child process and its lives: started, probed, watched, started again with backoff, stopped.

It dies with the supervisor (`processes.die_with_parent`). Its output goes to a file of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import psutil  # type: ignore[import-untyped]

from vicinato.processes import die_with_parent, environment


class State(StrEnum):
    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    BACKING_OFF = "backing off"
    STOPPING = "stopping"
    STOPPED = "stopped"


class NotReadyError(Exception):
    """A probe's answer: not ready, and why (shown when it never gets ready)."""


@dataclass(frozen=True)
class Backoff:
    """Seconds between the lives of a child that keeps dying: doubled from `first` up to `most`,
    and forgotten once a life was healthy for `healthy`."""

    first: float = 0.5
    most: float = 30.0
    healthy: float = 60.0

    def delay(self, deaths: int) -> float:
        return min(self.first * 2.0 ** max(deaths - 1, 0), self.most)


async def _nothing() -> None:
    return None


async def _nothing_done(_: int) -> str:
    return ""


async def _first(waits: set[asyncio.Future[Any]], within: float | None = None) -> None:
    await asyncio.wait(waits, timeout=within, return_when=asyncio.FIRST_COMPLETED)


def _ended(process: Process) -> asyncio.Future[None]:
    """Done when the process is gone. A thread for each child: asyncio's own subprocesses wait for
    ever when they are cancelled between fork and connection (CPython 3.11)."""
    loop = asyncio.get_running_loop()
    gone: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not gone.done():
            gone.set_result(None)

    def wait() -> None:
        process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody asks any more
            loop.call_soon_threadsafe(tell)

    threading.Thread(target=wait, name=f"waits for {process.pid}", daemon=True).start()
    return gone


class Process(Protocol):
    """What a started program is to us; `subprocess.Popen` is one."""

    pid: int

    @property
    def returncode(self) -> int | Any: ...
    def wait(self) -> int: ...
    def kill(self) -> None: ...
    def send_signal(self, sig: int, /) -> None: ...


@dataclass(frozen=True)
class Program:
    """What is to be run. `probe` returns when it is ready and raises NotReadyError when it is not;
    `alive` the same for one that was ready: silent for `silence` seconds, it is killed and started
    again. `failed` hears the code of one that ended by itself before it was ready, and says what it
    did about it. It runs in `folder`, in ours when none is named."""

    name: str
    command: Callable[[], list[str]]
    log: Path
    port: int = 0
    folder: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[], Awaitable[None]] = _nothing
    probe: Callable[[], Awaitable[None]] = _nothing
    alive: Callable[[], Awaitable[None]] | None = None
    failed: Callable[[int], Awaitable[str]] = _nothing_done
    ready_within: float = 60.0
    silence: float = 60.0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_within: float = 20.0
    user: int | None = None
    group: int | None = None
    spawn: Callable[[Program], Awaitable[Process]] = field(default=lambda program: execute(program))


async def execute(program: Program) -> Process:
    """Starts a program of its own. Not in a thread: the child would die with it."""
    with program.log.open("ab") as log:
        return subprocess.Popen(  # noqa: ASYNC220 - takes milliseconds
            program.command(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=program.folder,
            env=environment(program.env),
            start_new_session=True,  # Ctrl-C on the terminal is for us: we stop in order
            preexec_fn=die_with_parent(),
            user=program.user,
            group=program.group,
            extra_groups=[] if program.user is not None else None,
        )


class Child:
    """Runs a program until `stop`; `tell` hears of every change of state."""

    def __init__(
        self,
        program: Program,
        tell: Callable[[Child], None] = lambda _: None,
        backoff: Backoff | None = None,
    ) -> None:
        self.program = program
        self.backoff = backoff or Backoff()
        self.state = State.WAITING
        self.restarts = 0
        self.reason = ""
        self.pid: int | None = None
        self.born = 0.0
        self.took = 0.0
        self._tell = tell
        self._deaths = 0
        self._stopping = asyncio.Event()
        self._ready = asyncio.Event()
        self._life: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self.program.name

    def start(self) -> None:
        self._life = asyncio.create_task(self._live(), name=self.name)

    async def ready(self) -> None:
        """Returns when it is ready for the first time (or again)."""
        await self._ready.wait()

    async def stop(self) -> None:
        """Asks it to end, insists after `stop_within`; returns when it is gone."""
        self._stopping.set()
        if self._life is not None:
            await self._life
        self._become(State.STOPPED)

    def kill(self) -> None:
        """At once, whatever it is doing."""
        self._stopping.set()
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    async def _live(self) -> None:
        while not self._stopping.is_set():
            began = time.monotonic()
            self.reason = ""
            self._become(State.STARTING)
            try:
                await self.program.prepare()
                why = await self._one_life(began)
            except Exception as error:
                why = f"{error}"
            self.pid = None
            self._ready.clear()
            if self._stopping.is_set():
                return
            if time.monotonic() - began >= self.backoff.healthy:
                self._deaths = 0
            self._deaths += 1
            self.restarts += 1
            delay = self.backoff.delay(self._deaths)
            self.reason = f"{why}; again in {delay:g} s"
            self._become(State.BACKING_OFF)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)

    async def _one_life(self, began: float) -> str:
        """From start to end of one process; returns why it ended."""
        process = await self._spawn()
        ended = _ended(process)
        stopping = asyncio.create_task(self._stopping.wait())
        heard = time.monotonic()
        try:
            while not (ended.done() or stopping.done()):
                asking = asyncio.create_task(self._ask(began))
                await _first({ended, stopping, asking})
                if not asking.done():
                    asking.cancel()
                    continue
                silent = time.monotonic() - heard
                if self._answered(asking):
                    heard = time.monotonic()
                elif silent > self._patience:
                    process.kill()
                    return f"gave no answer for {silent:.0f} s ({self.reason})"
                await _first({ended, stopping}, 5.0 if self.state is State.READY else 0.1)
            if not ended.done():
                await self._end(process, ended)
            elif self.state is State.STARTING:
                done = await self.program.failed(process.returncode)
                return f"ended with code {process.returncode}{done and '; '}{done}"
            return f"ended with code {process.returncode}"
        finally:
            stopping.cancel()
            process.kill()  # does nothing to one that has ended
            await asyncio.shield(ended)

    @property
    def _patience(self) -> float:
        ready = self.state is State.READY
        return self.program.silence if ready else self.program.ready_within

    def _answered(self, asked: asyncio.Task[None]) -> bool:
        """Keeps the reason of a NotReadyError; any other error is a fault of ours and goes on."""
        try:
            asked.result()
        except NotReadyError as not_yet:
            self.reason = str(not_yet)
            return False
        self.reason = ""
        return True

    async def _ask(self, began: float) -> None:
        if self.state is State.STARTING:
            await self.program.probe()
            self.reason = ""
            self.took = time.monotonic() - began
            self._ready.set()
            self._become(State.READY)
        elif self.program.alive is not None:
            await self.program.alive()

    async def _spawn(self) -> Process:
        self.program.log.parent.mkdir(parents=True, exist_ok=True)
        process = await self.program.spawn(self.program)
        self.pid = process.pid
        with contextlib.suppress(psutil.Error):
            self.born = psutil.Process(process.pid).create_time()
        self._become(State.STARTING)
        return process

    async def _end(self, process: Process, ended: asyncio.Future[None]) -> None:
        self._become(State.STOPPING)
        process.send_signal(signal.SIGCONT)  # a frozen one could not hear the next
        process.send_signal(self.program.stop_signal)
        await _first({ended}, self.program.stop_within)
        if not ended.done():
            self.reason = f"did not stop within {self.program.stop_within:g} s and was killed"
            process.kill()
            await ended

    def _become(self, state: State) -> None:
        self.state = state
        self._tell(self)
