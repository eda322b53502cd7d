"""The bus is lost whole, or a part of it, while everybody goes on."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # names not marked as its own
    AdminClient,
    NewPartitions,
)

from chaos.faults.site import FaultError, Site
from chaos.plan import Fault
from vicinato.kafka.broker import ADMIN
from vicinato.kafka.provision import admin_client, provision
from vicinato.kafka.topics import Topics
from vicinato.settings import SERVICES
from vicinato.testing.brokers import delete_first_records

MOST_PARTITIONS = 6
GONE_WITHIN = 30.0


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


async def _copied(source: Path, target: Path) -> None:
    """With its holes: an index file of Kafka is 10 MB of nothing at first."""
    copying = await asyncio.create_subprocess_exec(
        "cp", "--archive", "--sparse=always", str(source), str(target)
    )
    if await copying.wait():
        raise FaultError("Kafka's folder could not be copied")


async def topic_anew(site: Site, fault: Fault) -> None:
    """A topic is deleted and made again; its records are gone."""
    async with site.alone("kafka"):
        await site.kafka_answers()
        await asyncio.to_thread(_made_anew, site, fault.target)


async def partitions_added(site: Site, fault: Fault) -> None:
    """Keys move to other partitions from now on."""
    async with site.alone("kafka"):
        await site.kafka_answers()
        await asyncio.to_thread(_grown, site, fault.target)


async def records_deleted(site: Site, fault: Fault) -> None:
    """The first records of a topic are gone, as by a retention that somebody set."""
    async with site.alone("kafka"):
        await site.kafka_answers()
        await asyncio.to_thread(delete_first_records, _admin(site), fault.target, fault.amount)


def _admin(site: Site) -> AdminClient:
    """Not through the proxy for the first word; what Kafka advertises is the proxy."""
    address = f"127.0.0.1:{site.house.settings.kafka_port}"
    return admin_client(address, ADMIN, site.folder.kafka_secrets.get(ADMIN))


def _made_anew(site: Site, topic: str) -> None:
    admin = _admin(site)
    for future in admin.delete_topics([topic], operation_timeout=20).values():
        future.result()
    deadline = time.monotonic() + GONE_WITHIN
    while topic in admin.list_topics(timeout=10).topics:
        if time.monotonic() > deadline:
            raise FaultError(f"{topic} does not go")
        time.sleep(0.2)
    secrets = site.folder.kafka_secrets
    provision(admin, Topics.read(), {name: secrets.get(name) for name in SERVICES})


def _grown(site: Site, topic: str) -> None:
    admin = _admin(site)
    count = len(admin.list_topics(topic, timeout=10).topics[topic].partitions)
    if count >= MOST_PARTITIONS:
        site.say(f"{topic} has {count} partitions already")
        return
    for future in admin.create_partitions([NewPartitions(topic, count + 1)]).values():
        future.result()
