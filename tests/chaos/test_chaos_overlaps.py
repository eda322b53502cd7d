"""Faults that fall upon each other: none stands in another's way, and none breaks the run off."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import psycopg
import pytest

from chaos.faults import FAULTS, Site
from chaos.faults.patience import patiently
from chaos.faults.site import ended
from chaos.faults.stores import _hold_file, _sessions_ended
from chaos.plan import Fault
from runtime.testing import postgresql_database

WITHIN = 30.0


def site_of_locks() -> Site:
    """A site of which faults get no further than to what must be theirs alone."""
    nothing: Any = None
    return Site(
        house=nothing,
        engine="sqlite",
        bus=nothing,
        database=nothing,
        battery=nothing,
        small_disk=False,
        slow_disk=nothing,
        timeline=nothing,
        client=nothing,
        excused=nothing,
    )


@pytest.mark.parametrize(
    "kind",
    [
        "topic-anew",
        "partitions-added",
        "records-deleted",
        "records-repeated",
        "records-foreign",
        "records-refused",
        "rights-withdrawn",
        "user-removed",
        "reader-shut-out",
        "topic-deleted",
        "settings-changed",
        "group-forgotten",
        "group-moved",
        "restore",
    ],
)
async def test_who_asks_kafka_for_more_than_a_list_waits_until_nobody_is_at_the_wire(
    kind: str,
) -> None:
    site = site_of_locks()
    async with site.alone("bus wire"):
        fault = Fault(1, kind, "shop.events", at=0, seconds=0, amount=0.5)
        made = asyncio.ensure_future(FAULTS[kind](site, fault))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not made.done()
        assert not site.locks["kafka"].locked()
        made.cancel()
        await asyncio.wait({made})


DEAF = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
sys.stdin.readline()
signal.signal(signal.SIGTERM, signal.SIG_DFL)
time.sleep(60)
"""
"""What a service is from when it is forked until it begins."""


async def test_a_part_that_was_started_this_moment_hears_that_it_is_to_stop() -> None:
    part = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", DEAF),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert part.stdin is not None
        assert part.stdout is not None
        assert await part.stdout.readline() == b"deaf\n"
        stopping = asyncio.create_task(ended(psutil.Process(part.pid), say_again=0.2))
        await asyncio.sleep(0)  # it was told, and did not hear
        part.stdin.write(b"\n")
        async with asyncio.timeout(WITHIN):
            await stopping
    finally:
        with suppress(ProcessLookupError):
            part.kill()
        await part.wait()


def test_a_store_that_cannot_be_locked_yet_is_locked_when_it_can_be(tmp_path: Path) -> None:
    path = tmp_path / "stores" / "shop.db"
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(_hold_file, path, 0.0)
        try:
            assert not wait([held], timeout=1.0).done  # there is no such file yet
        finally:
            path.parent.mkdir()
            with closing(sqlite3.connect(path)) as store:
                store.execute("CREATE TABLE outbox (id)")
        held.result(WITHIN)


def test_what_a_full_disk_answers_once_is_asked_again() -> None:
    asked: list[str] = []

    def work() -> int:
        asked.append("BEGIN IMMEDIATE")
        if len(asked) == 1:
            raise sqlite3.OperationalError("disk I/O error")
        return len(asked)

    assert patiently(work) == 2


def test_sessions_are_ended_by_who_loses_his_own_in_the_middle() -> None:
    with postgresql_database() as url, psycopg.connect(url) as somebody:
        lost: list[int] = []

        def work() -> None:
            if not lost:
                with psycopg.connect(url, autocommit=True) as own:
                    lost.append(own.info.backend_pid)
                    own.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            _sessions_ended(url, somebody.info.dbname)

        patiently(work)
        assert lost
        with pytest.raises(psycopg.OperationalError):
            somebody.execute("SELECT 1")
