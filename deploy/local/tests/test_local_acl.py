"""Who may write and read what, seen from clients of the real broker."""

from __future__ import annotations

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
)

from vicinato.kafka.topics import Topics
from vicinato.testing import OwnKafka, TestKafka

pytestmark = pytest.mark.kafka

REFUSED = (TopicAuthorizationFailedError, ClusterAuthorizationFailedError)


async def may_write(kafka: TestKafka, user: str, topic: str) -> bool:
    producer = AIOKafkaProducer(**kafka.client(user), acks="all", enable_idempotence=True)
    try:
        await producer.start()
        await producer.send_and_wait(topic, b"x", key=b"k")
    except REFUSED:
        return False
    finally:
        await producer.stop()
    return True


async def may_read(kafka: TestKafka, user: str, topic: str, group: str | None = None) -> bool:
    consumer = AIOKafkaConsumer(
        topic,
        **kafka.client(user),
        group_id=group or user,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    try:
        await consumer.start()
        await consumer.getmany(timeout_ms=1500)
    except (*REFUSED, GroupAuthorizationFailedError):
        return False
    finally:
        await consumer.stop()
    return True


@pytest.mark.parametrize("user", Topics.read().services)
async def test_a_service_writes_its_own_topics_and_no_other(kafka: TestKafka, user: str) -> None:
    allowed = {t.name for t in Topics.read() if await may_write(kafka, user, t.name)}
    assert allowed == {t.name for t in Topics.read() if t.writer == user}


@pytest.mark.parametrize("user", Topics.read().services)
async def test_a_service_reads_its_own_and_the_declared_topics_and_no_other(
    kafka: TestKafka, user: str
) -> None:
    allowed = {t.name for t in Topics.read() if await may_read(kafka, user, t.name)}
    assert allowed == {t.name for t in Topics.read() if user in t.readers | {t.writer}}


async def test_a_service_joins_groups_of_its_own_name_only(kafka: TestKafka) -> None:
    assert await may_read(kafka, "shop", "shop.events", group="shop.identity")
    assert not await may_read(kafka, "shop", "shop.events", group="cards")


async def test_without_its_right_a_service_cannot_write(own_kafka: OwnKafka) -> None:
    """The control: the same probe says no once the right is gone from the file, yes with it."""
    text = '[topics."shop.events"]\nwriter = "{}"\nreaders = ["shop"]\n'
    own_kafka.provision(Topics.parse(text.format("shop")))
    assert await may_write(own_kafka, "shop", "shop.events")

    taken = own_kafka.provision(Topics.parse(text.format("cards")))

    assert taken.rights_taken == 1
    assert not await may_write(own_kafka, "shop", "shop.events")


def test_provisioning_twice_changes_nothing(own_kafka: OwnKafka) -> None:
    first = own_kafka.provision()
    assert set(first.topics_made) == set(Topics.read().names)
    assert not own_kafka.provision()


def test_partitions_and_settings_follow_the_file(own_kafka: OwnKafka) -> None:
    text = '[topics.t]\nwriter = "a"\nreaders = []\npartitions = {}\nconfig."retention.ms" = "{}"'
    own_kafka.provision(Topics.parse(text.format(1, 1000)))
    assert own_kafka.provision(Topics.parse(text.format(3, -1))).topics_changed == ["t"]
    assert len(own_kafka.admin().list_topics(timeout=5).topics["t"].partitions) == 3
    assert not own_kafka.provision(Topics.parse(text.format(3, -1)))


def test_a_wiped_broker_is_another_cluster(own_kafka: OwnKafka) -> None:
    before = own_kafka.admin().list_topics(timeout=5).cluster_id
    own_kafka.wipe()
    own_kafka.restart()
    assert own_kafka.admin().list_topics(timeout=5).cluster_id != before
