"""Somebody with an administrator's rights changes what Kafka knows, or writes to it, while all goes
on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # names not marked as its own
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    ResourcePatternType,
    ResourceType,
    ScramMechanism,
    UserScramCredentialDeletion,
)

from chaos.faults.site import FaultError, Site
from chaos.plan import Fault
from contracts import events
from messaging.bus import Bus
from messaging.envelope import Record
from vicinato.kafka.broker import ADMIN
from vicinato.kafka.provision import client_settings, provision
from vicinato.kafka.topics import Topics
from vicinato.settings import SERVICES
from vicinato.testing.brokers import delete_first_records

MOST_PARTITIONS = 6
MOST_REPEATED = 40
"""Records of each partition."""

TOO_SMALL = "64"
"""Bytes: no record of ours fits."""

GONE_WITHIN = 30.0
ANSWERS_WITHIN = 20.0


@asynccontextmanager
async def _kafka(site: Site, *besides: str) -> AsyncIterator[None]:
    """Kafka is up, and no other fault is at it, or at what is named besides."""
    async with site.alone("kafka", *besides):
        await site.kafka_answers()
        await asyncio.to_thread(_has_a_controller, site)
        yield


async def anew(site: Site, fault: Fault) -> None:
    """A topic is deleted and made again; its records are gone."""
    async with _kafka(site):
        await asyncio.to_thread(_made_anew, site, fault.target)


async def partitions_added(site: Site, fault: Fault) -> None:
    """Keys move to other partitions from now on."""
    async with _kafka(site):
        await asyncio.to_thread(_grown, site, fault.target)


async def records_deleted(site: Site, fault: Fault) -> None:
    """The first records of a topic are gone, as by a retention that somebody set."""
    async with _kafka(site):
        await asyncio.to_thread(delete_first_records, _admin(site), fault.target, fault.amount)


async def repeated(site: Site, fault: Fault) -> None:
    """The last records come once more as they are, as by a mirror that was set up wrongly; some of
    them in another partition."""
    async with _kafka(site, "bus wire"):
        most = 1 + round(MOST_REPEATED * fault.amount)
        last = await _last(site, fault.target, most)
        await asyncio.to_thread(_write, site, last)
        site.say(f"{len(last)} records repeated")


async def foreign(site: Site, fault: Fault) -> None:
    """Records that nobody here wrote: bytes, headers that are no text, a type that nobody knows,
    and one of ours that says nothing."""
    own = events(fault.target)[0].ce_type()
    key = f"foreign-{fault.number}"
    found = [
        _record(fault.target, b"\x00\xff", b"\xfe{", []),
        _record(
            fault.target, key.encode(), b"{}", [("ce_id", b"\xff\xfe"), ("ce_type", own.encode())]
        ),
        _record(
            fault.target, key.encode(), b"{}", _headers(f"{key}-unknown", "elsewhere.seen.v1", key)
        ),
        _record(fault.target, key.encode(), b"{}", _headers(f"{key}-empty", own, key)),
    ]
    async with _kafka(site, "bus wire"):
        await asyncio.to_thread(_write, site, found)


async def refused(site: Site, fault: Fault) -> None:
    """For a while the topic takes no record, for none is small enough."""
    async with _changed(site, _too_small, fault.target):
        await asyncio.sleep(fault.seconds)


async def rights_withdrawn(site: Site, fault: Fault) -> None:
    """For a while nobody may write or read the topic."""
    async with _changed(site, _without_rights, fault.target):
        await asyncio.sleep(fault.seconds)


async def user_removed(site: Site, fault: Fault) -> None:
    """For a while Kafka does not know a service, which must sign in anew."""
    async with _changed(site, _without_user, fault.target):
        site.bus.cut()
        await asyncio.sleep(fault.seconds)


@asynccontextmanager
async def _changed(
    site: Site, change: Callable[[Site, str], None], target: str
) -> AsyncIterator[None]:
    """Somebody has changed what provisioning sets back at the end."""
    async with _kafka(site, "bus wire"):
        await asyncio.to_thread(change, site, target)
        try:
            yield
        finally:
            await asyncio.to_thread(_provisioned, site)


def _client(site: Site) -> dict[str, Any]:
    """Not through the proxy for the first word; what Kafka advertises is the proxy."""
    address = f"127.0.0.1:{site.house.settings.kafka_port}"
    return client_settings(address, ADMIN, site.folder.kafka_secrets.get(ADMIN))


def _admin(site: Site) -> AdminClient:
    return AdminClient(_client(site))


def _has_a_controller(site: Site) -> None:
    """A broker that was frozen is shut out for some seconds; an administrator's client that meets
    it then knows no broker, and does not ask again."""
    _until(
        lambda: _admin(site).list_topics(timeout=ANSWERS_WITHIN).controller_id >= 0,
        ANSWERS_WITHIN,
        "Kafka has no controller",
    )


def _until(probe: Callable[[], bool], within: float, otherwise: str) -> None:
    """Ask until the answer is yes. Raises FaultError with what is so otherwise."""
    deadline = time.monotonic() + within
    while not probe():
        if time.monotonic() > deadline:
            raise FaultError(otherwise)
        time.sleep(0.2)


def _made_anew(site: Site, topic: str) -> None:
    admin = _admin(site)
    for future in admin.delete_topics([topic], operation_timeout=20).values():
        future.result()
    _until(
        lambda: topic not in admin.list_topics(timeout=10).topics,
        GONE_WITHIN,
        f"{topic} does not go",
    )
    _provisioned(site)


def _provisioned(site: Site) -> None:
    secrets = site.folder.kafka_secrets
    provision(_admin(site), Topics.read(), {name: secrets.get(name) for name in SERVICES})


def _grown(site: Site, topic: str) -> None:
    admin = _admin(site)
    count = len(admin.list_topics(topic, timeout=10).topics[topic].partitions)
    if count >= MOST_PARTITIONS:
        site.say(f"{topic} has {count} partitions already")
        return
    for future in admin.create_partitions([NewPartitions(topic, count + 1)]).values():
        future.result()


def _too_small(site: Site, topic: str) -> None:
    entry = ConfigEntry("max.message.bytes", TOO_SMALL, incremental_operation=AlterConfigOpType.SET)
    what = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    admin = _admin(site)  # kept, or its answers go with it
    for future in admin.incremental_alter_configs([what]).values():
        future.result()


def _without_rights(site: Site, topic: str) -> None:
    anybody: Any = None
    on_topic = AclBindingFilter(
        ResourceType.TOPIC,
        topic,
        ResourcePatternType.LITERAL,
        anybody,
        anybody,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    admin = _admin(site)  # kept, or its answers go with it
    for future in admin.delete_acls([on_topic]).values():
        future.result()


def _without_user(site: Site, user: str) -> None:
    admin = _admin(site)  # kept, or its answers go with it
    gone = UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_512)
    for future in admin.alter_user_scram_credentials([gone]).values():
        future.result()


def _record(topic: str, key: bytes, value: bytes, headers: Sequence[tuple[str, bytes]]) -> Record:
    """As somebody writes it now; the log says where it lies."""
    return Record(topic, 0, 0, 0, key, value, headers)


def _headers(event_id: str, kind: str, subject: str) -> list[tuple[str, bytes]]:
    told = {
        "ce_specversion": "1.0",
        "ce_id": event_id,
        "ce_type": kind,
        "ce_source": "/elsewhere",
        "ce_time": datetime.now(UTC).isoformat(),
        "ce_subject": subject,
    }
    return [(name, value.encode()) for name, value in told.items()]


async def _last(site: Site, topic: str, most: int) -> list[Record]:
    """The last records of each partition, in the order of the log."""
    bus = Bus(f"127.0.0.1:{site.bus.port}", ADMIN, site.folder.kafka_secrets.get(ADMIN))
    async with asyncio.timeout(ANSWERS_WITHIN), bus.reader() as reader:
        names = [(topic, number) for number in await reader.partitions(topic)]
        bounds = await reader.all_bounds(names)
        starts = {name: max(begin, end - most) for name, (begin, end) in bounds.items()}
        ends = {name: end for name, (_, end) in bounds.items()}
        return [record async for batch in reader.read(starts, ends) for record in batch]


def _write(site: Site, records: Iterable[Record]) -> None:
    """Where they go is the client's own choice, which is not that of our relays."""
    producer = Producer(_client(site) | {"partitioner": "consistent_random"})
    for one in records:
        headers: Any = list(one.headers)
        producer.produce(one.topic, one.value, one.key, headers=headers, timestamp=one.stamp)
    if producer.flush(ANSWERS_WITHIN):
        raise FaultError("the records are not taken")
