"""A throw-away centre: free ports, its own folder, a clock that moves, a mailbox that counts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller

from runtime.clock import PlayedClock
from vicinato import first_start
from vicinato.ask import get
from vicinato.day.steps import TookTooLongError, eventually
from vicinato.folder import Folder
from vicinato.ports import NoFreePortsError, free_block, free_port
from vicinato.processes import die_with_parent
from vicinato.settings import SERVICES, Settings, load

OPEN_WITHIN = 120.0
STOP_WITHIN = 60.0
_METRIC = re.compile(r"^vicinato_(\w+?)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


class NotOpenError(Exception):
    """The throw-away centre did not open. One sentence."""


@dataclass
class Mailbox:
    """Counts what the mail server of the stage was handed."""

    received: int = 0
    recipients: set[str] = field(default_factory=set)

    async def handle_DATA(  # noqa: N802 - the name that aiosmtpd calls
        self, _server: Any, _session: Any, envelope: Any
    ) -> str:
        self.received += 1
        self.recipients.update(envelope.rcpt_tos)
        return "250 taken"


@dataclass
class Stage:
    """A centre at work."""

    folder: Folder
    settings: Settings
    clock: PlayedClock
    mailbox: Mailbox

    @property
    def administrator(self) -> dict[str, str]:
        return first_start.administrator(self.settings, self.folder)

    def now(self) -> datetime:
        return self.clock.now()

    def move_to(self, moment: datetime) -> None:
        """Time only goes forward: a moment that has passed changes nothing."""
        if moment > self.clock.now():
            self.clock.play(moment - self.clock.under.now())

    async def quiet(self) -> None:
        """Wait until nothing is on its way: outboxes empty, no lag, nothing waiting."""
        for _ in range(2):
            await eventually("the house comes to rest", self._is_quiet)

    async def _is_quiet(self) -> bool:
        pages = await asyncio.gather(*(asyncio.to_thread(self._metrics, name) for name in SERVICES))
        return all(page is not None and _rests(page) for page in pages)

    def _metrics(self, service: str) -> dict[str, float] | None:
        try:
            status, body = get(self.settings.service_port(service), "/metrics", within=10)
        except OSError:
            return None
        if status != 200:
            return None
        found: dict[str, float] = {}
        for name, labels, value in _METRIC.findall(body):
            found[f"{name}{{{labels}}}" if labels else name] = float(value)
        return found


def _rests(page: dict[str, float]) -> bool:
    busy = ("outbox_unsent", "consumer_lag", 'set_aside{state="waiting"}')
    return page.get("bus_connected") == 1 and not any(
        value for name, value in page.items() if name.startswith(busy)
    )


@asynccontextmanager
async def open_stage(
    begins: datetime, *, database: str, keep: Path | None, say: Any
) -> AsyncIterator[Stage]:
    """A centre of its own whose time begins at `begins`, thrown away at the end (kept at `keep`).

    Raises NotOpenError.
    """
    root = keep or Path(tempfile.mkdtemp(prefix="vicinato-day-"))
    if keep is None:
        root.rmdir()
    mailbox = Mailbox()
    mail = Controller(mailbox, hostname="127.0.0.1", port=free_port())
    mail.start()
    clock_file = root.with_name(root.name + ".clock")
    clock = PlayedClock(clock_file)
    clock.play(begins - clock.under.now())
    environment = {
        **os.environ,
        "PORT": str(_ports()),
        "DATA": str(root),
        "DATABASE": database,
        "DEMO": "false",
        "VICINATO_CLOCK_FILE": str(clock_file),
        "VICINATO_SMTP_HOST": "127.0.0.1",
        "VICINATO_SMTP_PORT": str(mail.port),
        "VICINATO_SMTP_SENDER": "centro@vicinato.example",
        "VICINATO_SMTP_STARTTLS": "false",
    }
    wanted = load(environment)
    folder = Folder(wanted.data)
    log = root.with_name(root.name + ".log")
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "vicinato.cli", "up"),
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )
    stage = Stage(folder, wanted, clock, mailbox)
    good = False
    try:
        say(f"opening a throw-away centre at {wanted.address}")
        await _opened(process, wanted, log)
        yield stage
        good = True
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), STOP_WITHIN)
        if process.returncode is None:
            process.kill()
            await process.wait()
        mail.stop()
        if keep is None and good:
            await asyncio.to_thread(shutil.rmtree, root, ignore_errors=True)
            log.unlink(missing_ok=True)
            clock_file.unlink(missing_ok=True)
        elif root.exists():
            say(f"its folder is kept: {root}")


def _ports() -> int:
    try:
        return free_block()
    except NoFreePortsError as error:
        raise NotOpenError(str(error)) from error


async def _opened(process: asyncio.subprocess.Process, wanted: Settings, log: Path) -> None:
    deadline = time.monotonic() + OPEN_WITHIN

    async def answers() -> bool:
        if process.returncode is not None:
            text = await asyncio.to_thread(log.read_text, "utf-8", "replace")
            raise NotOpenError(f"The centre did not open: {text.strip()[-600:]}")
        if b"is open at" not in await asyncio.to_thread(log.read_bytes):
            return False
        status, _ = await asyncio.to_thread(get, wanted.port, "/identity/readyz")
        return status == 200

    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, TookTooLongError):
            if await answers():
                return
        await asyncio.sleep(0.2)
    raise NotOpenError(f"The centre did not open within {OPEN_WITHIN:.0f} s; see {log}.")
