"""Somebody with an administrator's rights changes what Kafka knows, or writes to it, while all goes
on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # names not marked as its own
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    ResourcePatternType,
    ResourceType,
    ScramMechanism,
    UserScramCredentialDeletion,
)

from chaos.faults import cluster
from chaos.faults.patience import patiently
from chaos.faults.site import FaultError, Site
from chaos.plan import Fault
from contracts import events
from messaging.bus import Bus
from messaging.envelope import Record
from vicinato.kafka.broker import ADMIN
from vicinato.kafka.provision import provision
from vicinato.kafka.topics import Topics
from vicinato.settings import SERVICES
from vicinato.testing.brokers import delete_first_records

MOST_PARTITIONS = 6
MOST_FOREIGN = 20_000
MOST_REPEATED = 40
"""Records of each partition."""

TOO_SMALL = "max.message.bytes", "64"
"""No record of ours fits."""

SETTINGS = (
    ("min.insync.replicas", "2"),
    ("message.timestamp.before.max.ms", "0"),
    ("message.timestamp.type", "LogAppendTime"),
    ("compression.type", "gzip"),
)
"""With the first two a topic takes nothing from us; the other two change what lies there."""

COMPACTED = (
    ("cleanup.policy", "compact"),
    ("segment.ms", "1000"),
    ("min.cleanable.dirty.ratio", "0.01"),
    ("max.compaction.lag.ms", "1"),
)

GONE_WITHIN = 30.0
LEFT_TO_THE_HOUSE = 0.5
"""From this amount on nobody sets back what was changed."""


@asynccontextmanager
async def _kafka(site: Site) -> AsyncIterator[None]:
    """Kafka is up, and no other fault is at it or at the wire that leads to it: what it advertises
    is the proxy, and a request that is cut on its way is not made again."""
    async with site.alone("kafka", "bus wire"):
        await cluster.answers(site)
        yield


async def anew(site: Site, fault: Fault) -> None:
    """A topic is deleted and made again; its records are gone."""
    async with _kafka(site):
        await asyncio.to_thread(patiently, partial(_made_anew, site, fault.target))


async def deleted(site: Site, fault: Fault) -> None:
    """A topic is deleted, and nobody but the house makes it again."""
    async with _kafka(site):
        await asyncio.to_thread(patiently, partial(_gone, site, fault.target))


async def partitions_added(site: Site, fault: Fault) -> None:
    """Keys move to other partitions from now on."""
    async with _kafka(site):
        await asyncio.to_thread(_grown, site, fault.target)


async def records_deleted(site: Site, fault: Fault) -> None:
    """The first records of a topic are gone, as by a retention that somebody set."""
    async with _kafka(site):
        await asyncio.to_thread(patiently, partial(_deleted, site, fault.target, fault.amount))


async def repeated(site: Site, fault: Fault) -> None:
    """The last records come once more as they are, as by a mirror that was set up wrongly; some of
    them in another partition."""
    async with _kafka(site):
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
    async with _kafka(site):
        await asyncio.to_thread(_write, site, found)


async def flood(site: Site, fault: Fault) -> None:
    """Very many records that nobody here wrote, as by a program that was told a wrong topic."""
    found = [
        _record(fault.target, b"flood-%d" % number, b"{", []) for number in range(MOST_FOREIGN)
    ]
    async with _kafka(site):
        await asyncio.to_thread(_write, site, found)


async def refused(site: Site, fault: Fault) -> None:
    """The topic takes no record, for none is small enough."""
    async with _changed(site, fault, partial(_set, TOO_SMALL)):
        await asyncio.sleep(fault.seconds)


async def settings_changed(site: Site, fault: Fault) -> None:
    """A setting of the topic is another."""
    setting = SETTINGS[fault.number % len(SETTINGS)]
    async with _changed(site, fault, partial(_set, setting)):
        site.say(f"{fault.target} has {'='.join(setting)}")
        await asyncio.sleep(fault.seconds)


async def compacted(site: Site, fault: Fault) -> None:
    """Of each aggregate the last event alone is kept, as by somebody who saves space."""
    async with _changed(site, fault, _keeps_the_last_alone):
        await asyncio.sleep(fault.seconds)


async def rights_withdrawn(site: Site, fault: Fault) -> None:
    """Nobody may write or read the topic."""
    async with _changed(site, fault, _without_rights):
        await asyncio.sleep(fault.seconds)


async def reader_shut_out(site: Site, fault: Fault) -> None:
    """One of its readers may not read the topic."""
    (topic,) = [one for one in Topics.read() if one.name == fault.target]
    readers = sorted(topic.readers - {topic.writer})
    reader = readers[fault.number % len(readers)]
    async with _changed(site, fault, partial(_without_rights, user=f"User:{reader}")):
        site.say(f"{reader} is shut out")
        await asyncio.sleep(fault.seconds)


async def user_removed(site: Site, fault: Fault) -> None:
    """Kafka does not know a service, which must sign in anew."""
    async with _changed(site, fault, _without_user):
        site.bus.cut()
        await asyncio.sleep(fault.seconds)


@asynccontextmanager
async def _changed(
    site: Site, fault: Fault, change: Callable[[Site, str], None]
) -> AsyncIterator[None]:
    """Somebody has changed what provisioning sets back, and does so at the end; or nobody does but
    the house."""
    async with _kafka(site):
        try:
            await asyncio.to_thread(patiently, partial(change, site, fault.target))
            yield
        finally:
            if fault.amount < LEFT_TO_THE_HOUSE:
                await asyncio.to_thread(patiently, partial(_provisioned, site))


def _made_anew(site: Site, topic: str) -> None:
    _gone(site, topic)
    _provisioned(site)


def _gone(site: Site, topic: str) -> None:
    admin = cluster.admin(site)

    def there() -> bool:
        return topic in admin.list_topics(timeout=10).topics

    if there():
        for future in admin.delete_topics([topic], operation_timeout=20).values():
            future.result()
    cluster.until(lambda: not there(), GONE_WITHIN, f"{topic} does not go")


def _provisioned(site: Site) -> None:
    secrets = site.folder.kafka_secrets
    users = {name: secrets.get(name) for name in SERVICES}
    provision(cluster.admin(site), Topics.read(), users, own=True)


def _deleted(site: Site, topic: str, share: float) -> None:
    admin = cluster.admin(site)  # kept, or its answers go with it
    delete_first_records(admin, topic, share)


def _partitions(site: Site, topic: str) -> int:
    return len(cluster.admin(site).list_topics(topic, timeout=10).topics[topic].partitions)


def _grown(site: Site, topic: str) -> None:
    count = patiently(partial(_partitions, site, topic))
    if count >= MOST_PARTITIONS:
        site.say(f"{topic} has {count} partitions already")
        return
    patiently(partial(_has_partitions, site, topic, count + 1))


def _has_partitions(site: Site, topic: str, count: int) -> None:
    if _partitions(site, topic) >= count:
        return
    admin = cluster.admin(site)  # kept, or its answers go with it
    for future in admin.create_partitions([NewPartitions(topic, count)]).values():
        future.result()


def _set(setting: tuple[str, str], site: Site, topic: str) -> None:
    _set_all([setting], site, topic)


def _keeps_the_last_alone(site: Site, topic: str) -> None:
    _set_all(COMPACTED, site, topic)


def _set_all(settings: Iterable[tuple[str, str]], site: Site, topic: str) -> None:
    entries = [ConfigEntry(*s, incremental_operation=AlterConfigOpType.SET) for s in settings]
    what = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
    admin = cluster.admin(site)  # kept, or its answers go with it
    for future in admin.incremental_alter_configs([what]).values():
        future.result()


def _without_rights(site: Site, topic: str, user: Any = None) -> None:
    anybody: Any = None
    on_topic = AclBindingFilter(
        ResourceType.TOPIC,
        topic,
        ResourcePatternType.LITERAL,
        user,
        anybody,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    admin = cluster.admin(site)  # kept, or its answers go with it
    for future in admin.delete_acls([on_topic]).values():
        future.result()


def _without_user(site: Site, user: str) -> None:
    admin = cluster.admin(site)  # kept, or its answers go with it
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
    async with asyncio.timeout(cluster.ANSWERS_WITHIN), bus.reader() as reader:
        names = [(topic, number) for number in await reader.partitions(topic)]
        bounds = await reader.all_bounds(names)
        starts = {name: max(begin, end - most) for name, (begin, end) in bounds.items()}
        ends = {name: end for name, (_, end) in bounds.items()}
        return [record async for batch in reader.read(starts, ends) for record in batch]


def _write(site: Site, records: Iterable[Record]) -> None:
    """Where they go is the client's own choice, which is not that of our relays."""
    producer = Producer(cluster.client(site) | {"partitioner": "consistent_random"})
    for one in records:
        headers: Any = list(one.headers)
        producer.produce(one.topic, one.value, one.key, headers=headers, timestamp=one.stamp)
    if producer.flush(cluster.ANSWERS_WITHIN):
        raise FaultError("the records are not taken")
