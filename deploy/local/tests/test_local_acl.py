"""Who may write and read what, seen from clients of the real broker."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    InvalidTimestampError,
    MessageSizeTooLargeError,
    NotCoordinatorForGroupError,
    TopicAuthorizationFailedError,
)
from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from messaging.bus import Bus
from messaging.envelope import MAX_BODY
from runtime.testing import eventually_async
from vicinato.kafka.broker import ADMIN
from vicinato.kafka.provision import admin_client, provision
from vicinato.kafka.topics import Topics
from vicinato.testing import OwnKafka, TestKafka

pytestmark = pytest.mark.kafka

REFUSED = (TopicAuthorizationFailedError, ClusterAuthorizationFailedError)

# What a broker answers until its topic of groups is there: it makes it when first asked for one.
NO_COORDINATOR_YET = (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)


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
        await consumer.getmany(timeout_ms=1500)  # or as soon as there is something
    except (*REFUSED, GroupAuthorizationFailedError):
        return False
    finally:
        await consumer.stop()
    return True


@pytest.mark.parametrize("user", Topics.read().services)
async def test_a_service_writes_its_own_topics_and_no_other(kafka: TestKafka, user: str) -> None:
    allowed = {t.name for t in Topics.read() if await may_write(kafka, user, t.name)}
    assert allowed == {t.name for t in Topics.read() if t.writer == user}


@pytest.fixture
async def filled(kafka: TestKafka) -> None:
    """Something to read on each topic."""
    for topic in Topics.read():
        assert await may_write(kafka, ADMIN, topic.name)


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("user", Topics.read().services)
async def test_a_service_reads_its_own_and_the_declared_topics_and_no_other(
    kafka: TestKafka, user: str
) -> None:
    allowed = {t.name for t in Topics.read() if await may_read(kafka, user, t.name)}
    assert allowed == {t.name for t in Topics.read() if user in t.readers | {t.writer}}


async def test_a_service_counts_the_members_of_its_own_group(kafka: TestKafka) -> None:
    for user in Topics.read().services:
        bus = Bus(kafka.bootstrap, user, kafka.secret(user))

        async def none_yet(bus: Bus = bus, group: str = user) -> bool:
            try:
                return await bus.members(group) == 0
            except NO_COORDINATOR_YET:
                return False

        await eventually_async(none_yet, within=60, why=f"{user} is told of its own group")
        with pytest.raises(GroupAuthorizationFailedError):
            await bus.members("notifications" if user != "notifications" else "cards")


DENIED = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError._NOENT,  # of the client: the topic is not even shown to it
    }
)


def refused(ask: Callable[[], Mapping[Any, Future[Any]] | Future[Any]]) -> bool:
    """Whether the broker says that this is not the user's to do."""
    try:
        asked = ask()
        for future in asked.values() if isinstance(asked, Mapping) else [asked]:
            future.result(15)
    except KafkaException as error:
        return error.args[0].code() in DENIED
    return False


def as_user(kafka: TestKafka, user: str) -> AdminClient:
    return admin_client(kafka.bootstrap, user, kafka.secret(user))


def on_topic(admin: AdminClient, topic: str) -> dict[str, Callable[[], Any]]:
    """Everything but reading and writing that can be asked of a topic."""
    settings = ConfigResource(ConfigResource.Type.TOPIC, topic)
    change = ConfigEntry("retention.ms", "1", incremental_operation=AlterConfigOpType.SET)
    changed = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[change])
    place = TopicPartition(topic, 0)
    return {
        "describe": lambda: admin.list_offsets({place: OffsetSpec.latest()}),
        "create": lambda: admin.create_topics([NewTopic(topic, 1, 1)]),
        "delete": lambda: admin.delete_topics([topic]),
        "delete records": lambda: admin.delete_records([TopicPartition(topic, 0, 0)]),
        "add partitions": lambda: admin.create_partitions([NewPartitions(topic, 9)]),
        "read settings": lambda: admin.describe_configs([settings]),
        "change settings": lambda: admin.incremental_alter_configs([changed]),
    }


@pytest.mark.parametrize("user", Topics.read().services)
def test_a_service_may_do_nothing_else_to_any_topic(kafka: TestKafka, user: str) -> None:
    admin = as_user(kafka, user)
    for topic in Topics.read():
        mine = user in topic.readers | {topic.writer}
        allowed = {what for what, ask in on_topic(admin, topic.name).items() if not refused(ask)}
        assert allowed == ({"describe"} if mine else set()), topic.name
        seen = admin.list_topics(topic.name, timeout=10).topics[topic.name]
        assert (seen.error is None) == mine, topic.name
    seen_at_all = set(admin.list_topics(timeout=10).topics)
    assert seen_at_all == {t.name for t in Topics.read() if user in t.readers | {t.writer}}
    assert refused(lambda: admin.create_topics([NewTopic(f"{user}.of-its-own", 1, 1)]))


@pytest.mark.parametrize("user", Topics.read().services)
def test_a_service_may_do_nothing_to_the_cluster_or_to_rights(kafka: TestKafka, user: str) -> None:
    admin = as_user(kafka, user)
    give = AclBinding(
        ResourceType.TOPIC,
        "cards.people",
        ResourcePatternType.LITERAL,
        f"User:{user}",
        "*",
        AclOperation.ALL,
        AclPermissionType.ALLOW,
    )
    anything: Any = None
    every = AclBindingFilter(
        ResourceType.ANY,
        anything,
        ResourcePatternType.ANY,
        anything,
        anything,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    broker = ConfigResource(ConfigResource.Type.BROKER, "1")
    change = ConfigEntry("log.retention.ms", "1", incremental_operation=AlterConfigOpType.SET)
    changed = ConfigResource(ConfigResource.Type.BROKER, "1", incremental_configs=[change])
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    asked: dict[str, Callable[[], Any]] = {
        "give itself a right": lambda: admin.create_acls([give]),
        "take rights": lambda: admin.delete_acls([every]),
        "see the broker's settings": lambda: admin.describe_configs([broker]),
        "change the broker's settings": lambda: admin.incremental_alter_configs([changed]),
        "set the administrator's password": lambda: admin.alter_user_scram_credentials(
            [UserScramCredentialUpsertion(ADMIN, info, b"taken")]
        ),
        "remove the administrator": lambda: admin.alter_user_scram_credentials(
            [UserScramCredentialDeletion(ADMIN, ScramMechanism.SCRAM_SHA_512)]
        ),
    }
    allowed = {what for what, ask in asked.items() if not refused(ask)}
    assert allowed == set()
    assert admin.describe_acls(every).result(15) == [], "rights are not shown to it"
    assert kafka.admin().list_topics(timeout=5).topics, "the administrator is who it was"


async def places_of(kafka: TestKafka, user: str, group: str) -> Mapping[Any, Any]:
    """What a group has noted. Not asked of librdkafka, which reads a null pointer (a crash of the
    whole process) when a young broker answers that it does not coordinate the group yet:
    confluent-kafka-javascript #374."""
    admin = AIOKafkaAdminClient(**kafka.client(user))
    await admin.start()
    try:
        found: Mapping[Any, Any] = await admin.list_consumer_group_offsets(group)
        return found
    finally:
        await admin.close()


@pytest.mark.parametrize("user", Topics.read().services)
async def test_a_service_has_no_group_but_its_own(kafka: TestKafka, user: str) -> None:
    admin = as_user(kafka, user)
    others = [one for one in Topics.read().services if not one.startswith(user)]
    for group in (*others, "nobodys"):
        topic = next(t.name for t in Topics.read() if user in t.readers)
        place = TopicPartition(topic, 0, 0)
        asked: dict[str, Callable[[], Any]] = {
            "describe": lambda g=group: admin.describe_consumer_groups([g]),
            "set places": lambda g=group, p=place: admin.alter_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(g, [p])]
            ),
            "delete": lambda g=group: admin.delete_consumer_groups([g]),
        }
        assert {what for what, ask in asked.items() if not refused(ask)} == set(), group
        with pytest.raises(GroupAuthorizationFailedError):
            await places_of(kafka, user, group)

    async def its_own() -> bool:
        try:
            return await places_of(kafka, user, f"{user}.looked-at") == {}
        except NO_COORDINATOR_YET:
            return False

    await eventually_async(its_own, within=60, why="the control: its own group is shown to it")


async def test_a_service_joins_groups_of_its_own_name_only(kafka: TestKafka) -> None:
    assert await may_read(kafka, "shop", "shop.events", group="shop.identity")
    for group in (*(set(Topics.read().services) - {"shop"}), "nobodys"):
        assert not await may_read(kafka, "shop", "shop.events", group=group)


@pytest.mark.parametrize("user", Topics.read().services)
def test_a_service_has_no_transactions(kafka: TestKafka, user: str) -> None:
    """Whoever took a transactional id could fence its owner off."""
    for name in (user, "cards", "nobodys"):
        producer = Producer(
            {
                "bootstrap.servers": kafka.bootstrap,
                "security.protocol": "SASL_PLAINTEXT",
                "sasl.mechanism": "SCRAM-SHA-512",
                "sasl.username": user,
                "sasl.password": kafka.secret(user),
                "transactional.id": name,
                "log_level": 0,
            }
        )
        with pytest.raises(KafkaException) as found:
            producer.init_transactions(10)
        assert found.value.args[0].code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED


@pytest.mark.xdist_group("acl")
async def test_without_its_right_a_service_cannot_write(empty_kafka: OwnKafka) -> None:
    """The control: the same probe says no once the right is gone from the file, yes with it."""
    text = '[topics."shop.events"]\nwriter = "{}"\nreaders = ["shop"]\n'
    empty_kafka.provision(Topics.parse(text.format("shop")))
    assert await may_write(empty_kafka, "shop", "shop.events")

    taken = empty_kafka.provision(Topics.parse(text.format("cards")))

    assert taken.rights_taken == 1
    assert not await may_write(empty_kafka, "shop", "shop.events")


@pytest.mark.xdist_group("acl")
def test_provisioning_twice_changes_nothing(empty_kafka: OwnKafka) -> None:
    first = empty_kafka.provision()
    assert set(first.topics_made) == set(Topics.read().names)
    assert not empty_kafka.provision()


@pytest.mark.xdist_group("acl")
def test_partitions_and_settings_follow_the_file(empty_kafka: OwnKafka) -> None:
    text = '[topics.t]\nwriter = "a"\nreaders = []\npartitions = {}\nconfig."retention.ms" = "{}"'
    empty_kafka.provision(Topics.parse(text.format(1, 1000)))
    assert empty_kafka.provision(Topics.parse(text.format(3, -1))).topics_changed == ["t"]
    assert len(empty_kafka.admin().list_topics(timeout=5).topics["t"].partitions) == 3
    assert not empty_kafka.provision(Topics.parse(text.format(3, -1)))


@pytest.mark.xdist_group("acl")
def test_settings_that_somebody_added_are_taken_away_where_there_is_no_other_owner(
    empty_kafka: OwnKafka,
) -> None:
    topics = Topics.parse('[topics.t]\nwriter = "a"\nreaders = []\nconfig."retention.ms" = "-1"')
    empty_kafka.provision(topics)
    resource = ConfigResource(ConfigResource.Type.TOPIC, "t")
    added = ConfigEntry("min.insync.replicas", "2", incremental_operation=AlterConfigOpType.SET)
    admin = empty_kafka.admin()

    def asked_for() -> str:
        (answer,) = admin.describe_configs([resource]).values()
        return str(answer.result(20)["min.insync.replicas"].value)

    changed = ConfigResource(ConfigResource.Type.TOPIC, "t", incremental_configs=[added])
    for future in admin.incremental_alter_configs([changed]).values():
        future.result(20)
    assert not empty_kafka.provision(topics)
    assert asked_for() == "2", "the owner of a cluster may have reasons"
    assert provision(admin, topics, {}, own=True).topics_changed == ["t"]
    assert asked_for() == "1"
    assert not provision(admin, topics, {}, own=True)


async def test_topics_take_every_event_whatever_the_cluster_has_for_others(
    own_kafka: OwnKafka,
) -> None:
    """As large as the outbox takes one, and from a machine whose clock is a day ahead."""
    small = {"message.max.bytes": "1000", "log.message.timestamp.after.max.ms": "1000"}
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        for name, value in small.items()
    ]
    admin = own_kafka.admin()
    (broker,) = admin.list_topics(timeout=5).brokers
    of_all = ConfigResource(ConfigResource.Type.BROKER, str(broker), incremental_configs=entries)
    for future in admin.incremental_alter_configs([of_all]).values():
        future.result(20)
    own_kafka.create_topics(["others"])
    own_kafka.provision()
    ahead = int((time.time() + 86_400) * 1000)
    producer = AIOKafkaProducer(**own_kafka.client(), acks="all", max_request_size=2**21)
    await producer.start()
    try:
        with pytest.raises(MessageSizeTooLargeError):
            await producer.send_and_wait("others", bytes(MAX_BODY))
        with pytest.raises(InvalidTimestampError):
            await producer.send_and_wait("others", b"x", timestamp_ms=ahead)
        for topic in Topics.read():
            await producer.send_and_wait(topic.name, bytes(MAX_BODY), b"k", timestamp_ms=ahead)
    finally:
        await producer.stop()


@pytest.mark.xdist_group("acl")
def test_a_wiped_broker_is_another_cluster(empty_kafka: OwnKafka) -> None:
    before = empty_kafka.admin().list_topics(timeout=5).cluster_id
    empty_kafka.wipe()
    empty_kafka.restart()
    assert empty_kafka.admin().list_topics(timeout=5).cluster_id != before
