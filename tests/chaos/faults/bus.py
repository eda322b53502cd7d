"""The bus is lost whole, while everybody goes on."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from chaos.faults.site import FaultError, Site
from chaos.faults.work import asked
from chaos.plan import Fault

DAMAGED = 24
"""Bytes."""

AFTER_A_KILL, WITHOUT_INDEX = 2, 3
"""Which of four damages come so; the others come after an end in order, as the last does."""


async def wiped(site: Site, fault: Fault) -> None:
    """A new cluster with another id in place of the old one: nothing is left of the log."""
    async with site.alone("kafka"):
        async with site.down("kafka"):
            kafka = site.folder.kafka
            await asyncio.to_thread(shutil.rmtree, kafka / "log")
            (kafka / "formatted").unlink()
        await site.kafka_answers()


async def restored(site: Site, fault: Fault) -> None:
    """Kafka's folder is put back as it was some seconds ago, as by whoever restores its disk: all
    logs end earlier, and so do the places of the groups."""
    log = site.folder.kafka / "log"
    kept = site.battery.with_name("kafka.copy")
    async with site.alone("kafka"):
        await site.kafka_answers()
        async with site.down("kafka"):
            await _copied(log, kept)
        await site.kafka_answers()
        await asyncio.sleep(fault.seconds)
        async with site.down("kafka"):
            await asyncio.to_thread(shutil.rmtree, log)
            kept.rename(log)
        await site.kafka_answers()


async def partition_lost(site: Site, fault: Fault) -> None:
    """The folder of one partition is gone from Kafka's disk, which makes an empty one."""
    async with site.alone("kafka"):
        await site.kafka_answers()
        async with site.down("kafka"):
            found = sorted((site.folder.kafka / "log").glob(f"{fault.target}-?"))
            lost = found[int(fault.amount * len(found))]
            await asyncio.to_thread(shutil.rmtree, lost)
        site.say(f"{lost.name} is gone")
        await site.kafka_answers()


async def log_damaged(site: Site, fault: Fault) -> None:
    """Kafka's disk gives back other bytes than it got, somewhere in a partition, after an end in
    order or a loss of power; or an index is gone as well."""
    async with site.alone("kafka"):
        await site.kafka_answers()
        async with site.down("kafka", in_order=fault.number % 4 != AFTER_A_KILL):
            log = await asyncio.to_thread(_damaged, site, fault)
            if fault.number % 4 == WITHOUT_INDEX:
                log.with_suffix(".index").unlink()
        await site.kafka_answers()


async def unreadable(site: Site, fault: Fault) -> None:
    """A small file that Kafka needs is full of zeros, as after a loss of power: of the node, of its
    metadata, of all logs or of one."""
    async with site.alone("kafka"):
        await site.kafka_answers()
        async with site.down("kafka"):
            log = site.folder.kafka / "log"
            found = [
                *sorted(log.glob("*-checkpoint")),
                log / "meta.properties",
                log / "__cluster_metadata-0" / "quorum-state",
                log / f"{fault.target}-0" / "partition.metadata",
                log / "__consumer_offsets-0" / "leader-epoch-checkpoint",
            ]
            there = [file for file in found if file.exists() and file.stat().st_size]
            lost = there[int(fault.amount * len(there))]
            lost.write_bytes(bytes(lost.stat().st_size))
        site.say(f"{lost.relative_to(log)} is full of zeros")
        await site.kafka_answers()


async def rotting(site: Site, fault: Fault) -> None:
    """The same while Kafka runs, and somebody has the writer compare its outbox with the log."""
    async with site.alone("kafka", "bus wire"):
        await site.kafka_answers()
        await asyncio.to_thread(_damaged, site, fault)
    service = fault.target.partition(".")[0]
    await asked(site, f"/{service}/api/log/compare")


def _damaged(site: Site, fault: Fault) -> Path:
    """In which log: mostly in what was written last, which is read again soon."""
    found = (site.folder.kafka / "log").glob(f"{fault.target}-?/*.log")
    log = max(found, key=lambda one: (one.stat().st_size, one.parent.name))
    size = log.stat().st_size
    at = int((1 - fault.amount**4) * max(0, size - DAMAGED))
    with log.open("r+b") as file:
        file.seek(at)
        bytes_there = file.read(DAMAGED)
        file.seek(at)
        file.write(bytes(one ^ 0xA5 for one in bytes_there))
    site.say(f"{log.parent.name} is damaged at {at} of {size} bytes")
    return log


async def _copied(source: Path, target: Path) -> None:
    """With its holes: an index file of Kafka is 10 MB of nothing at first."""
    copying = await asyncio.create_subprocess_exec(
        "cp", "--archive", "--sparse=always", str(source), str(target)
    )
    if await copying.wait():
        raise FaultError("Kafka's folder could not be copied")
