"""(e) Cold start and memory.

The whole house is started by `vicinato up` on a folder of its own, once with nothing there and once
again, with 2,000 households; then the memory of each of its processes is read (proportional set
size: shared pages count by their share), idle, and once more while a till of the same house has 50
sales a second. `cards` alone applies a long log, to see whether anything grows with the number of
events: a line is laid through the samples of the second half, and told for a million events.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import facts, visible
from benchmarks.figures import Figure, at_most
from benchmarks.place import Place
from benchmarks.served import served
from benchmarks.till import sell
from cards.app import SERVICE as CARDS
from vicinato.folder import Folder
from vicinato.ports import free_block
from vicinato.processes import die_with_parent, environment, memory_pss
from vicinato.settings import Settings, load

EVENTS = 200_000
LEAST_EVENTS = 20_000
SETTLE_S = 8.0
LOAD_S = 15.0
MILLION = 1_000_000
MOST_IDLE = 800.0
"""MB."""
MOST_GROWTH = 10.0
"""MB over a million events that count as nothing: what caches and the allocator move. A log shorter
than `EVENTS` has no verdict: a line through so little says nothing of a million."""
UP_WITHIN = 180.0


async def run(place: Place) -> list[Figure]:
    """Start, idle, under load, and growth."""
    place.figures += await asyncio.to_thread(_house, place)
    place.figures += await _growth(place)
    return place.figures


@dataclass(frozen=True)
class _Open:
    """A house that is open: seconds until it was, and the process ids by name."""

    after: float
    settings: Settings
    pids: dict[str, int]

    def memory(self) -> dict[str, float]:
        """MB of each process; those with a name of their own count there alone."""
        inner = set(self.pids.values())
        return {
            name: round(memory_pss(pid, without=inner - {pid}) / 2**20, 1)
            for name, pid in self.pids.items()
        }


def _house(place: Place) -> list[Figure]:
    data = place.folder / "house"
    with _up(data) as first:
        pass
    stores = Folder(data).stores
    facts.into(f"sqlite:///{stores / 'shop.db'}", lambda s: facts.fill_shop(s, visible.HOUSEHOLDS))
    facts.into(
        f"sqlite:///{stores / 'cards.db'}", lambda s: facts.fill_cards(s, visible.HOUSEHOLDS)
    )
    with _up(data) as second:
        time.sleep(SETTLE_S)
        idle = second.memory()
        loaded = asyncio.run(_loaded(second))
    return [
        at_most("cold start of the house, nothing there yet", first.after, "s", None),
        at_most("cold start of the house, data there", second.after, "s", None),
        at_most(
            "memory of the house, idle", sum(idle.values()), "MB", MOST_IDLE, processes_mb=idle
        ),
        at_most(
            f"memory of the house, at {visible.OFTEN:g} sales/s",
            sum(loaded.values()),
            "MB",
            None,
            processes_mb=loaded,
        ),
    ]


async def _loaded(house: _Open) -> dict[str, float]:
    """MB of each process when a till has sold for a time, and still does."""
    selling = asyncio.create_task(
        sell(house.settings.port, visible.OFTEN, LOAD_S, households=visible.HOUSEHOLDS)
    )
    await asyncio.wait({selling}, timeout=LOAD_S)
    loaded = await asyncio.to_thread(house.memory)
    await selling
    return loaded


@contextmanager
def _up(data: Path) -> Iterator[_Open]:
    told = {"PORT": str(free_block()), "DATA": str(data), "DEMO": "false"}
    given = environment({**told, "VICINATO_REQUESTS_PER_SECOND": "0"})
    settings = load(told)
    log = data.with_suffix(".log")
    with log.open("wb") as out:
        begun = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "vicinato.cli", "up"],
            env=given,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )
    try:
        while b"is open at" not in log.read_bytes():
            if process.poll() is not None or time.monotonic() - begun > UP_WITHIN:
                raise RuntimeError(f"the house does not open: {log.read_text()[-500:]}")
            time.sleep(0.05)
        seconds = time.monotonic() - begun
        state: Any = Folder(settings.data).read_state() or {"children": []}
        pids = {str(one["name"]): int(one["pid"] or 0) for one in state["children"]}
        yield _Open(seconds, settings, {"supervisor": process.pid, **pids})
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _growth(place: Place) -> list[Figure]:
    count = place.size(EVENTS, least=LEAST_EVENTS)
    # Each sale makes an event of cards' own, which it reads as well.
    made = facts.messages(facts.sales(count // 2, visible.HOUSEHOLDS), "shop")
    await facts.send(place.bus("shop"), "shop.events", made)
    del made
    url = place.new_store(CARDS, "sqlite")
    facts.into(url, lambda store: facts.fill_cards(store, visible.HOUSEHOLDS))
    samples: list[tuple[int, float]] = []
    with served("cards", url, place.kafka) as cards:
        begun = time.monotonic()
        while (done := facts.settled(url, own=True)) < count:
            samples.append((done, cards.memory_mb))
            if time.monotonic() - begun > 60 + count / 500:
                raise RuntimeError(f"only {done} of {count} events were applied")
            await asyncio.sleep(0.5)
        seconds = time.monotonic() - begun
        samples.append((done, cards.memory_mb))
    late = [sample for sample in samples if sample[0] >= count / 2]
    slope = statistics.linear_regression(*zip(*late, strict=True)).slope if len(late) > 2 else 0.0
    return [
        at_most(
            "memory of cards: growth in a million events",
            slope * MILLION,
            "MB",
            MOST_GROWTH if count >= EVENTS else None,
            events=count,
            at_first_mb=round(samples[0][1], 1),
            at_half_mb=round(late[0][1], 1),
            at_last_mb=round(samples[-1][1], 1),
            events_per_s=round(count / seconds),
        )
    ]
