"""A database that says nothing any more is hung up, and the store works again."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit, urlunsplit

import pytest
import sqlalchemy as sa

import runtime.store
from runtime.failures import is_transient
from runtime.patience import PATIENCE as PATIENCE_OF_STORES
from runtime.store import Store
from runtime.testing import postgresql_database

PATIENCE = 1.0


class Wire:
    """Carries bytes between a port here and a server; when it is silent, no answer comes through
    and nobody is told."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._door.getsockname()[1]
        self.silent = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = self._door.accept()
                there = socket.socket(socket.AF_UNIX)
                there.connect(self._server)
                for a, b, answers in ((here, there, False), (there, here, True)):
                    carry = threading.Thread(target=self._carry, args=(a, b, answers), daemon=True)
                    carry.start()

    def _carry(self, a: socket.socket, b: socket.socket, answers: bool) -> None:
        silenced = False
        with contextlib.suppress(OSError):
            while data := a.recv(65536):
                if answers and self.silent.is_set():
                    silenced = True
                    self.silent.clear()
                if not silenced:
                    b.sendall(data)
        with contextlib.suppress(OSError):
            b.shutdown(socket.SHUT_WR)

    @contextlib.contextmanager
    def silence(self) -> Iterator[None]:
        """The next answer is swallowed, and all that follow on its connection."""
        self.silent.set()
        try:
            yield
        finally:
            self.silent.clear()

    def close(self) -> None:
        self._door.close()


@pytest.fixture
def wire() -> Iterator[tuple[Wire, str]]:
    with postgresql_database() as url:
        parts = urlsplit(url)
        folder = parse_qs(parts.query)["host"][0]
        made = Wire(str(Path(folder) / ".s.PGSQL.5432"))
        address = f"{parts.username}@127.0.0.1:{made.port}"
        yield made, urlunsplit((parts.scheme, address, parts.path, "sslmode=disable", ""))
        made.close()


def one(connection: sa.Connection) -> int:
    return int(connection.scalar(sa.text("SELECT 1")) or 0)


@pytest.mark.parametrize("way", ["read_now", "write_now"])
def test_a_wire_that_fell_silent_while_it_rested_is_replaced(
    wire: tuple[Wire, str], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime.store, "RESTED", 0.0)
    carried, url = wire
    store = Store(url, readers=1, writers=1, patience=PATIENCE)
    try:
        ask = getattr(store, way)
        assert ask(one) == 1
        with carried.silence():
            begun = time.monotonic()
            assert ask(one) == 1
            assert time.monotonic() - begun >= PATIENCE
    finally:
        store.close_now()


@pytest.mark.parametrize("way", ["read_now", "write_now"])
def test_work_behind_a_wire_that_falls_silent_fails_and_the_next_is_done(
    wire: tuple[Wire, str], way: str
) -> None:
    carried, url = wire
    store = Store(url, readers=1, writers=1, patience=PATIENCE)

    def interrupted(connection: sa.Connection) -> int:
        one(connection)
        with carried.silence():
            return one(connection)

    try:
        ask = getattr(store, way)
        with pytest.raises(sa.exc.DBAPIError) as caught:
            ask(interrupted)
        assert is_transient(caught.value)
        assert ask(one) == 1
    finally:
        store.close_now()


def test_work_that_goes_on_is_not_hung_up(wire: tuple[Wire, str]) -> None:
    _, url = wire
    store = Store(url, readers=1, writers=1, patience=PATIENCE)
    try:
        ends = time.monotonic() + 2 * PATIENCE
        while time.monotonic() < ends:
            assert store.read_now(one) == 1
    finally:
        store.close_now()


def test_locks_of_who_is_gone_end_before_anybody_gives_up_on_them() -> None:
    """A process that was killed in the middle of a transaction, and nobody told the server."""

    def milliseconds(connection: sa.Connection, name: str) -> int:
        asked = sa.text("SELECT setting::int FROM pg_settings WHERE name = :name AND unit = 'ms'")
        return int(connection.scalar(asked, {"name": name}))

    with postgresql_database() as url:
        store = Store(url)
        for ask in (store.write_now, store.read_now):
            idle = ask(lambda c: milliseconds(c, "idle_in_transaction_session_timeout"))
            waited = ask(lambda c: milliseconds(c, "lock_timeout"))
            assert 0 < idle < waited
            whole = ask(lambda c: milliseconds(c, "transaction_timeout"))
            assert waited < whole < PATIENCE_OF_STORES * 1000
        store.close_now()


FLUSH = b"H\x00\x00\x00\x04"
"""A message of PostgreSQL's protocol that is sent in the middle of a request."""


def test_locks_of_who_was_gone_in_the_middle_of_a_request_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with postgresql_database() as url:
        with monkeypatch.context() as brief:
            brief.setattr(runtime.store, "TRANSACTION_TIMEOUT_MS", 1_000)
            brief.setattr(runtime.store, "IDLE_IN_TRANSACTION_TIMEOUT_MS", 500)
            leaves = Store(url, writers=1)
            leaves.write_now(one)
        waits = Store(url, writers=1)

        def gone(connection: sa.Connection) -> None:
            connection.execute(sa.text("CREATE TABLE held (n int)"))
            os.write(connection.connection.fileno(), FLUSH)
            holds.set()
            released.wait(60)

        def begin() -> None:
            with contextlib.suppress(sa.exc.DBAPIError):
                leaves.write_now(gone)

        holds, released = threading.Event(), threading.Event()
        held = threading.Thread(target=begin)
        held.start()
        try:
            assert holds.wait(20)
            waits.write_now(lambda c: c.execute(sa.text("CREATE TABLE held (n int)")))
        finally:
            released.set()
            held.join()
            leaves.close_now()
            waits.close_now()
