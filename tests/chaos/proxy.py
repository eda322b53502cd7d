"""A TCP proxy whose wires can be cut, slowed and stopped, in each direction for itself."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

CHUNK = 64 * 1024


@dataclass
class Proxy:
    """Listens on a port of the loopback interface and forwards to `target`."""

    target: int
    port: int = 0
    delay: float = 0.0
    """Seconds that each chunk takes longer, in each direction."""

    _up: asyncio.Event = field(default_factory=asyncio.Event)
    _down: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None
    _wires: set[asyncio.StreamWriter] = field(default_factory=set)
    _refusing: bool = False

    async def open(self) -> None:
        """Listen; `port` is known afterwards when it was 0."""
        self._up.set()
        self._down.set()
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", self.port)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()

    # what is done to it

    def cut(self) -> int:
        """Reset every connection at once, without a farewell; how many there were."""
        wires = list(self._wires)
        for wire in wires:
            with contextlib.suppress(Exception):
                wire.transport.abort()
        return len(wires) // 2

    def refuse(self, refusing: bool) -> None:
        """Whether new connections are dropped as soon as they are made."""
        self._refusing = refusing

    def hold_answers(self, held: bool) -> None:
        """Requests go through, what comes back does not: acknowledgements are on their way."""
        (self._down.clear if held else self._down.set)()

    def hold_requests(self, held: bool) -> None:
        """Nothing goes to the server; what it had said already arrives."""
        (self._up.clear if held else self._up.set)()

    def heal(self) -> None:
        """A wire like any other."""
        self.delay = 0.0
        self._refusing = False
        self._up.set()
        self._down.set()

    # forwarding

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self._wires |= {writer, back}
        try:
            await asyncio.gather(
                self._pump(reader, back, self._up), self._pump(there, writer, self._down)
            )
        finally:
            for wire in (writer, back):
                self._wires.discard(wire)
                wire.transport.abort()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, may: asyncio.Event
    ) -> None:
        with contextlib.suppress(ConnectionError, OSError):
            while data := await source.read(CHUNK):
                if self.delay:
                    await asyncio.sleep(self.delay)
                await may.wait()
                sink.write(data)
                await sink.drain()
            # The other side has said all: let it arrive, then end both.
            await may.wait()
            if sink.can_write_eof():
                sink.write_eof()
