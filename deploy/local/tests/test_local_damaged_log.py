"""What a disk damages of Kafka's log, with a real broker that does not notice it."""

from __future__ import annotations

import asyncio

import pytest
from confluent_kafka import Producer

from messaging.bus import Bus, LogDamaged
from runtime.testing import eventually
from vicinato.kafka.broker import ADMIN
from vicinato.kafka.damaged import delete_damaged
from vicinato.kafka.provision import client_settings
from vicinato.testing import OwnKafka

DAMAGED, WHOLE, EMPTY, FRAME = ((f"t.{name}", 0) for name in ("damaged", "whole", "empty", "frame"))
TOPICS = {name for name, _ in (DAMAGED, WHOLE, EMPTY, FRAME)}
RECORDS = 20
TENTH = 9
"""Records before the tenth."""

LENGTH = 60
"""Bytes before a record's value where the length of its batch lies."""


def written(kafka: OwnKafka, *topics: str) -> None:
    """Records, each in a batch of its own."""
    producer = Producer(
        client_settings(kafka.bootstrap, ADMIN, kafka.secret(ADMIN)) | {"batch.num.messages": 1}
    )
    for number in range(RECORDS):
        for topic in topics:
            producer.produce(topic, b"%d" % number * 50, b"k", partition=0)
        producer.flush(20)


async def read(bus: Bus, name: tuple[str, int]) -> int:
    """How many records are there."""
    async with bus.reader() as reader:
        ends = await reader.ends([name[0]])
        return sum([len(batch) async for batch in reader.read({}, ends)])


def there(kafka: OwnKafka) -> set[str]:
    """Topics of this test."""
    return {name for name in kafka.admin().list_topics(timeout=10).topics if name in TOPICS}


def damage(kafka: OwnKafka, topic: str, back: int = 0) -> None:
    """One byte of the tenth record is another, or one that lies so far before it."""
    (log,) = (kafka.broker.folder / "log").glob(f"{topic}-0/*.log")
    there = log.read_bytes()
    at = there.index(b"9" * 50) - back
    with log.open("r+b") as file:
        file.seek(at)
        file.write(bytes([there[at] ^ 0x80]))


@pytest.mark.kafka
def test_a_damaged_topic_goes_to_be_made_anew_and_no_other(own_kafka: OwnKafka) -> None:
    topics = [DAMAGED[0], WHOLE[0], EMPTY[0], FRAME[0]]
    own_kafka.create_topics(topics, partitions=1)
    written(own_kafka, DAMAGED[0], WHOLE[0], FRAME[0])
    bus = Bus(own_kafka.bootstrap, ADMIN, own_kafka.secret(ADMIN))
    assert delete_damaged(bus, own_kafka.admin(), topics) == []
    damage(own_kafka, DAMAGED[0])
    damage(own_kafka, FRAME[0], back=LENGTH)
    with pytest.raises(LogDamaged, match=DAMAGED[0]):
        asyncio.run(read(bus, DAMAGED))

    assert sorted(delete_damaged(bus, own_kafka.admin(), topics)) == [DAMAGED, FRAME]
    eventually(
        lambda: there(own_kafka) == {EMPTY[0], WHOLE[0]},
        within=20,
        why="the damaged go, to be made anew",
    )
    assert asyncio.run(read(bus, WHOLE)) == RECORDS
    own_kafka.create_topics([DAMAGED[0], FRAME[0]], partitions=1)
    written(own_kafka, DAMAGED[0], FRAME[0])
    assert asyncio.run(read(bus, DAMAGED)) == asyncio.run(read(bus, FRAME)) == RECORDS
    assert delete_damaged(bus, own_kafka.admin(), topics) == []

    # A start cuts what is damaged, also after an end in order, and also a length.
    own_kafka.stop()
    damage(own_kafka, WHOLE[0])
    damage(own_kafka, FRAME[0], back=LENGTH)
    own_kafka.restart()
    assert asyncio.run(read(bus, WHOLE)) == asyncio.run(read(bus, FRAME)) == TENTH
    assert delete_damaged(bus, own_kafka.admin(), topics) == []
