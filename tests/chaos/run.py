"""One run: the house, its clients, the plan, the checks."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

from house import EndedError, House, open_house

from chaos import centre, plan
from chaos.checks import Excused
from chaos.client import Client
from chaos.disk import SmallDisk, size_for
from chaos.faults import Site
from chaos.load import Load
from chaos.options import Options
from chaos.proxy import Proxy
from chaos.record import Record
from chaos.rounds import come_right, play
from chaos.slow_disk import SlowDisk
from chaos.timeline import Timeline
from vicinato.folder import Folder
from vicinato.ports import free_block

TESTS = Path(__file__).parents[1]


Then = Callable[[Site, Record], Awaitable[None]]


class NotOpenError(Exception):
    """The house does not open on this machine; one sentence, with its last words."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended. `wrong` is empty when all holds."""

    wrong: Sequence[str]
    folder: Path
    faults: int
    told: int


def new_folder() -> Path:
    """A folder for a run. Others may pass through it: PostgreSQL has a user of its own."""
    folder = Path(tempfile.mkdtemp(prefix="vicinato-chaos-"))
    folder.chmod(0o711)
    return folder


async def run(options: Options, folder: Path, then: Then | None = None) -> Outcome:
    """Play the plan of these options. The folder keeps record, log and, after a failure, the
    timeline and the stores. `then` is called when all held, with the house still open.

    Raises NotOpenError when there is no house to play it on.
    """
    with closing(Timeline(folder)) as timeline:
        rounds = plan.make(
            options.seed, options.faults, options.minutes, options.database, options.kinds
        )
        timeline.say(
            f"seed {options.seed}: {options.faults} faults in {options.minutes:g} minutes"
            f" on {options.database}, {options.rate:g} requests a second"
        )
        for one in rounds:
            timeline.say(str(one))
        with closing(Record(folder / "record.jsonl")) as record:
            return await _run(options, rounds, folder, timeline, record, then)


async def _run(
    options: Options,
    rounds: Sequence[plan.Round],
    folder: Path,
    timeline: Timeline,
    record: Record,
    then: Then | None,
) -> Outcome:
    wrong: list[str] = []
    disk = SmallDisk(
        Folder(folder / "data"),
        size_for(options.minutes, options.rate),
        wanted=options.database == "sqlite",
    )
    made = told = 0
    try:
        async with _site(options, folder, timeline, record, small_disk=disk.there) as site:
            try:
                small = await asyncio.to_thread(centre.set_up, site.house)
                load = Load(site.client, small, options.rate, options.seed)
                timeline.say(f"open at {site.house.settings.address}; its folder is {folder}")
                for one in rounds:
                    await play(one, load, site)
                    made += len(one.faults)
                    found = await come_right(one, site, record)
                    told = found.told
                    wrong += found.wrong + [f"a client broke: {e!r}" for e in load.failures]
                    if wrong:
                        break
                if then is not None and not wrong:
                    await then(site, record)
            except Exception as error:
                wrong.append(f"the run broke off: {error!r}")
                timeline.say(wrong[-1])
            timeline.say(f"answers: {site.client.counted()}")
            if wrong:
                timeline.say(f"timeline: {timeline.write(site.folder, record)}")
    finally:
        disk.close(keep=bool(wrong))
    return Outcome(wrong, folder, made, told)


@asynccontextmanager
async def open_site(
    options: Options, folder: Path
) -> AsyncIterator[tuple[Site, centre.Centre, Record]]:
    """A house with its centre and no plan, for who makes faults of their own."""
    with closing(Timeline(folder)) as timeline, closing(Record(folder / "record.jsonl")) as record:
        async with _site(options, folder, timeline, record, small_disk=False) as site:
            yield site, await asyncio.to_thread(centre.set_up, site.house), record


@asynccontextmanager
async def _site(
    options: Options, folder: Path, timeline: Timeline, record: Record, *, small_disk: bool
) -> AsyncIterator[Site]:
    """A house whose wires go through proxies, and what faults and clients need of it."""
    block = free_block()
    battery = folder / "battery"
    slow_disk = SlowDisk(folder)
    async with AsyncExitStack() as stack:
        bus, database = Proxy(block + 10), Proxy(block + 12)
        for proxy in (bus, database):
            await proxy.open()
            stack.push_async_callback(proxy.close)
        more = {
            "PORT": str(block),
            "DATA": str(folder / "data"),
            "READY_WITHIN": "600",
            "CHAOS_KAFKA": str(bus.port),
            "CHAOS_POSTGRESQL": str(database.port),
            "CHAOS_BATTERY": str(battery),
            **slow_disk.variables,
            "PYTHONPATH": str(TESTS),
        }
        opening = open_house(options.database, root=folder, starter="chaos.up", more=more)
        try:
            house: House = await asyncio.to_thread(opening.__enter__)
        except EndedError as error:
            last = next((line for line in reversed(str(error).splitlines()) if line.strip()), "")
            raise NotOpenError(f"The house does not open: {last} Its logs: {folder}") from error
        stack.push_async_callback(asyncio.to_thread, opening.__exit__, None, None, None)
        client = Client(house.settings.address, house.tokens, record)
        stack.push_async_callback(client.close)
        stack.callback(bus.heal)
        stack.callback(database.heal)
        yield Site(
            house=house,
            engine=options.database,
            bus=bus,
            database=database,
            battery=battery,
            small_disk=small_disk,
            slow_disk=slow_disk,
            timeline=timeline,
            client=client,
            excused=Excused(),
        )
