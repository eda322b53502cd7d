"""Services as they run in the house, each a process of its own, and whoever asks them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]

from vicinato.ports import free_port
from vicinato.processes import die_with_parent, environment, memory_pss
from vicinato.testing.brokers import TestKafka

READY_WITHIN = 120.0


@dataclass
class Served:
    """A running process of a service."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    ready_after: float = 0.0
    """Seconds from the start of the process to its first answer that it is ready."""
    log: Path = field(default_factory=Path)

    @property
    def memory_mb(self) -> float:
        """Resident memory, shared pages by their share."""
        return memory_pss(self.process.pid) / 2**20

    @property
    def cpu_s(self) -> float:
        """Processor time so far."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)


@contextlib.contextmanager
def served(
    name: str,
    url: str,
    kafka: TestKafka | None,
    *,
    command: Sequence[str] = (),
    extra: Mapping[str, str] | None = None,
    log_level: str = "INFO",
) -> Iterator[Served]:
    """A service on its store and bus, as the supervisor starts it; ready when this begins."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="vicinato-served-") as folder:
        settings = {
            "VICINATO_SERVICE": name,
            "VICINATO_DATABASE_URL": url,
            "VICINATO_PORT": str(port),
            "VICINATO_DATA": folder,
            "VICINATO_LOG_LEVEL": log_level,
            "VICINATO_REQUESTS_PER_SECOND": "0",
        }
        if kafka is not None:
            settings |= {
                "VICINATO_KAFKA": kafka.bootstrap,
                "VICINATO_KAFKA_USER": name,
                "VICINATO_KAFKA_SECRET_FILE": str(kafka.secret_file(name)),
            }
        log = Path(folder) / "log"
        with log.open("wb") as out:
            begun = time.monotonic()
            process = subprocess.Popen(
                [sys.executable, *(command or ("-m", "web.serve", name))],
                env=environment({**settings, **(extra or {})}),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent(),
            )
        one = Served(name, port, process, log=log)
        try:
            _wait_ready(one, begun)
            yield one
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_ready(one: Served, begun: float) -> None:
    """Until it says that it is ready; RuntimeError with its last words when it does not."""
    while True:
        if one.process.poll() is not None or time.monotonic() - begun > READY_WITHIN:
            raise RuntimeError(f"{one.name} does not start: {one.log.read_text()[-500:]}")
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"http://127.0.0.1:{one.port}/readyz", timeout=5).status_code == 200:
                one.ready_after = time.monotonic() - begun
                return
        time.sleep(0.02)


class Line:
    """One kept-open HTTP/1.1 connection, as thin as it can be: the generator must not be what is
    measured. It reconnects when the server closed it meanwhile."""

    def __init__(self, port: int, token: str = "", cookie: str = "") -> None:
        self._port = port
        self._head = "Host: 127.0.0.1\r\n"
        if token:
            self._head += f"Authorization: Bearer {token}\r\n"
        if cookie:
            self._head += f"Cookie: {cookie}\r\n"
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body of the answer."""
        request = (
            f"{method} {path} HTTP/1.1\r\n{self._head}"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        for again in (True, False):
            try:
                return await self._once(request)
            except (ConnectionError, asyncio.IncompleteReadError):
                self.close()
                if not again:
                    raise
        raise AssertionError("not reached")

    async def _once(self, request: bytes) -> tuple[int, bytes]:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        length = 0
        for line in head.split(b"\r\n"):
            if line[:15].lower() == b"content-length:":
                length = int(line[15:])
            elif line.lower() == b"transfer-encoding: chunked":
                return status, await self._chunks()
        return status, await self._reader.readexactly(length)

    async def _chunks(self) -> bytes:
        assert self._reader is not None
        whole = b""
        while size := int((await self._reader.readline()).strip(), 16):
            whole += (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readline()
        return whole

    def close(self) -> None:
        """Let the connection go."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


class Lines:
    """As many connections as are needed at once; each is used by one request at a time."""

    def __init__(self, port: int, token: str) -> None:
        self._port, self._token = port, token
        self._free: list[Line] = []
        self.opened = 0

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body of the answer."""
        if self._free:
            line = self._free.pop()
        else:
            line = Line(self._port, self._token)
            self.opened += 1
        try:
            return await line.ask(method, path, body)
        finally:
            self._free.append(line)

    def close(self) -> None:
        """Let all connections go."""
        for line in self._free:
            line.close()


def own_cpu() -> float:
    """Processor time of this process: of the generator."""
    return sum(os.times()[:2])
