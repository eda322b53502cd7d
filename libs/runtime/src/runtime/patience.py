"""A database behind a silent wire: who waits for it longer than anything takes is let go.

Time-outs of the server do not help when its answers do not arrive, and neither do those of TCP when
something between (a proxy, a balancer, a firewall that forgot the connection) goes on saying that
all is well. A thread that waits for such an answer waits for ever; with all of them the service
would be up and answer nobody (seen: `make chaos` with a wire that was silent in one direction).
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from runtime.logging import get_logger

log = get_logger()

PATIENCE = 45.0
"""Seconds: longer than a lock is waited for, and than any unit of work of a service takes."""


class Patience:
    """Watches the work on some engines of PostgreSQL; ends with `close`."""

    def __init__(self, *engines: sa.Engine, seconds: float = PATIENCE) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()
        self._begun: dict[int, float] = {}
        self._closing = threading.Event()
        for engine in engines:
            event.listen(engine, "connect", self._connected)
        threading.Thread(target=self._watch, name="store-watch", daemon=True).start()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """The work of this thread, from asking for a connection to giving it back."""
        self._begun[threading.get_ident()] = time.monotonic()
        try:
            yield
        finally:
            del self._begun[threading.get_ident()]

    def close(self) -> None:
        """Watch no more."""
        self._closing.set()

    def _connected(self, connection: Any, _record: object) -> None:
        with self._lock:
            self._connections.add(connection)

    def _watch(self) -> None:
        hung_up = 0.0
        while not self._closing.wait(self._seconds / 10):
            now = time.monotonic()
            # A thread may end its work meanwhile: a copy is looked at.
            begun = min(list(self._begun.values()), default=now)
            # After a hang-up the same work is given its time again, on another connection.
            if now - max(begun, hung_up) > self._seconds:
                hung_up = now
                log.error("store.silent", age_s=round(now - begun))
                self._hang_up()

    def _hang_up(self) -> None:
        """End every connection: which of them is silent is not known. Who was at work on another
        fails as if the server had gone, and is asked again."""
        with self._lock:
            open_now = list(self._connections)
        for connection in open_now:
            with contextlib.suppress(Exception):  # closed meanwhile
                _shut(connection.fileno())


def _shut(number: int) -> None:
    """Both ends hear that it is over; the file descriptor stays its owner's to close."""
    with socket.socket(fileno=os.dup(number)) as wire:
        wire.shutdown(socket.SHUT_RDWR)
