"""How far a service has read, as Kafka knows it, is forgotten or set by somebody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # names not marked as its own
    AdminClient,
    OffsetSpec,
)

from chaos.faults import cluster
from chaos.faults.patience import patiently
from chaos.faults.site import Site
from chaos.plan import Fault


async def forgotten(site: Site, fault: Fault) -> None:
    """The groups of a service are deleted while it is away."""
    await _while_away(site, fault, _deleted)


async def moved(site: Site, fault: Fault) -> None:
    """The places of its groups are set to the beginning of all topics, or to their end, as by
    `kafka-consumer-groups --reset-offsets`."""
    to = OffsetSpec.earliest() if fault.amount < 0.5 else OffsetSpec.latest()  # type: ignore[no-untyped-call]
    await _while_away(site, fault, partial(_set, to))


async def _while_away(site: Site, fault: Fault, change: Callable[[AdminClient, str], None]) -> None:
    """Kafka refuses both while somebody is in the group: a service that was killed counts as in it
    for some seconds more."""
    # Whoever is killed meanwhile stays away: the supervisor stands still while a part is down.
    async with site.alone(fault.target, "kafka", "bus wire", "postgresql"):
        await cluster.answers(site)
        await site.stores_answer()
        async with site.down(fault.target):
            await asyncio.to_thread(patiently, partial(_changed, site, fault.target, change))


def _changed(site: Site, service: str, change: Callable[[AdminClient, str], None]) -> None:
    admin = cluster.admin(site)  # kept, or its answers go with it
    groups = admin.list_consumer_groups().result(cluster.ANSWERS_WITHIN).valid
    for group in [one.group_id for one in groups if one.group_id.split(".")[0] == service]:
        change(admin, group)


def _deleted(admin: AdminClient, group: str) -> None:
    admin.delete_consumer_groups([group])[group].result()


def _set(to: OffsetSpec, admin: AdminClient, group: str) -> None:
    asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])
    known = asked[group].result().topic_partitions
    bounds = admin.list_offsets({TopicPartition(p.topic, p.partition): to for p in known})
    places = [TopicPartition(p.topic, p.partition, at.result().offset) for p, at in bounds.items()]
    request = ConsumerGroupTopicPartitions(group, places)
    for place in admin.alter_consumer_group_offsets([request])[group].result().topic_partitions:
        if place.error is not None:
            raise KafkaException(place.error)
