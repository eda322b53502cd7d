"""The files of a store that somebody removes while it is at work: what was acknowledged stays."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from runtime.failures import StoreGone
from runtime.store import Store
from runtime.testing import eventually_async

CHILD = """
import os, signal, sys
from pathlib import Path
from runtime.failures import StoreGone
from runtime.store import Store

path, *removed = sys.argv[1:]
store = Store(f"sqlite:///{path}")

def keep(number):
    store.write_now(lambda c: c.exec_driver_sql("INSERT INTO kept VALUES (?)", (number,)))

store.write_now(lambda c: c.exec_driver_sql("CREATE TABLE kept (number INTEGER PRIMARY KEY)"))
store.read_now(lambda c: c.exec_driver_sql("SELECT number FROM kept").all())
for number in range(20):
    if number == 10:
        for name in removed:
            Path(f"{path}-{name}").unlink()
    try:
        keep(number)
        print(number, flush=True)
    except StoreGone:
        print("gone", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
"""A process that writes, loses files and writes on, and is killed."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kept.db"


@pytest.fixture
def kept(path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{path}")
    store.write_now(
        lambda c: c.exec_driver_sql("CREATE TABLE kept (number INTEGER PRIMARY KEY)").close()
    )
    keep(store, 1)
    yield store
    store.close_now()


def keep(store: Store, number: int) -> None:
    store.write_now(lambda c: c.exec_driver_sql("INSERT INTO kept VALUES (?)", (number,)).close())


def numbers(connection: sa.Connection) -> list[int]:
    return list(connection.scalars(sa.text("SELECT number FROM kept ORDER BY number")))


def remove_log(path: Path) -> Path:
    log = path.with_name(f"{path.name}-wal")
    log.unlink()
    return log


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("removed", [["wal"], ["wal", "shm"], ["shm"]])
def test_what_was_acknowledged_outlives_its_log_and_the_process(
    path: Path, removed: list[str]
) -> None:
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(path), *removed],
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL
    told = child.stdout.split()
    with closing(sqlite3.connect(path)) as connection:
        there = connection.execute("SELECT number FROM kept ORDER BY number").fetchall()
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert [str(number) for (number,) in there] == [one for one in told if one != "gone"]
    assert told.index("gone") == 10
    assert told.count("gone") == 1, "it goes on with a new log"


async def test_a_log_is_saved_though_nobody_writes(kept: Store, path: Path) -> None:
    log = remove_log(path)
    with pytest.raises(StoreGone):
        await kept.read(numbers)

    async def read_again() -> bool:
        try:
            return await kept.read(numbers) == [1]
        except StoreGone:
            return False

    await eventually_async(read_again, why="the log to be saved")
    assert log.exists()


async def test_a_reader_who_is_at_it_is_waited_for(kept: Store, path: Path) -> None:
    begun, end = threading.Event(), threading.Event()

    def slow(connection: sa.Connection) -> list[int]:
        begun.set()
        end.wait(10)
        return numbers(connection)

    reader = asyncio.create_task(kept.read(slow))
    await asyncio.to_thread(begun.wait, 10)
    log = remove_log(path)
    for _ in range(2):
        with pytest.raises(StoreGone):
            await asyncio.to_thread(keep, kept, 2)
    assert not log.exists(), "nothing is opened anew beside him"
    end.set()
    assert await reader == [1]
    with pytest.raises(StoreGone):
        await asyncio.to_thread(keep, kept, 2)
    await asyncio.to_thread(keep, kept, 2)
    assert await kept.read(numbers) == [1, 2]


@pytest.mark.parametrize(
    ("given", "taken"), [(None, None), (b"\0a", b"\0a"), (True, 1), (False, 0)]
)
def test_the_driver_need_not_look_how_a_value_is_written(given: object, taken: object) -> None:
    """Without an adapter it looks for one in three places, each time, and is refused here."""
    adapted = sqlite3.adapt(given, sqlite3.PrepareProtocol)
    assert adapted == taken
    assert type(adapted) is type(taken)
