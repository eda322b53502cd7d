"""Makes a cluster what `topics.toml` says: topics, their settings, users, rights. Again and again.

Rights are exactly those of the file: those it does not name are taken away, of our services
anywhere and of anybody on our topics. Other topics, users and rights of a cluster that serves
others too are left alone, and so are settings of our topics that the file does not name: its owner
may have reasons for them. Partitions are added, never taken (Kafka cannot).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its names are not marked as its own
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ClusterMetadata,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewPartitions,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)

from vicinato.kafka.topics import Topic, Topics

TIMEOUT = 15.0

_ANY: Any = None  # the library's type says text, its documentation None for any
EVERY_RIGHT = AclBindingFilter(
    ResourceType.ANY,
    _ANY,
    ResourcePatternType.ANY,
    _ANY,
    _ANY,
    AclOperation.ANY,
    AclPermissionType.ANY,
)
"""All that there are, of whomever, on whatever."""


class ProvisioningError(Exception):
    """The cluster refused; one sentence, with Kafka's own reason."""


@dataclass
class Provisioned:
    """What was changed; empty when the cluster was as it should be."""

    topics_made: list[str] = field(default_factory=list)
    topics_changed: list[str] = field(default_factory=list)
    rights_given: int = 0
    rights_taken: int = 0

    def __bool__(self) -> bool:
        changed = self.topics_made or self.topics_changed
        return bool(changed or self.rights_given or self.rights_taken)


def admin_client(
    bootstrap: str, user: str, secret: str, protocol: str = "SASL_PLAINTEXT"
) -> AdminClient:
    return AdminClient(client_settings(bootstrap, user, secret, protocol))


def client_settings(
    bootstrap: str, user: str, secret: str, protocol: str = "SASL_PLAINTEXT"
) -> dict[str, Any]:
    """What any client of `confluent_kafka` needs to be this user."""
    return {
        "bootstrap.servers": bootstrap,
        "security.protocol": protocol,
        "sasl.mechanisms": "SCRAM-SHA-512",
        "sasl.username": user,
        "sasl.password": secret,
        "log_level": 0,  # its own lines on the terminal tell nothing that we do not raise
    }


def provision(
    admin: AdminClient, topics: Topics, secrets: Mapping[str, str], *, own: bool = False
) -> Provisioned:
    """`secrets`: the passwords; users without one are left to the cluster's owner. `own`: it has no
    other, and topics keep no setting that the file does not name."""
    done = Provisioned()
    with in_one_sentence():
        _topics(admin, topics, done, own=own)
        users = {user: secrets[user] for user in topics.services if user in secrets}
        _users(admin, users)
        _rights(admin, topics, done)
        _wait_until_in_force(admin, topics, users)
    return done


def add(admin: AdminClient, topics: Topics, secrets: Mapping[str, str]) -> None:
    """Topics, users and rights besides those that are there: nothing is taken away."""
    with in_one_sentence():
        _topics(admin, topics, Provisioned())
        _users(admin, secrets)
        settle(admin.create_acls(sorted(rights(topics))))
        _wait_until_in_force(admin, topics, secrets)


@contextmanager
def in_one_sentence() -> Iterator[None]:
    """What Kafka refuses is a ProvisioningError."""
    try:
        yield
    except KafkaException as error:
        raise ProvisioningError(f"Kafka refused: {error.args[0].str()}") from error


def addresses(cluster: ClusterMetadata) -> str:
    """Of all its brokers, for a client."""
    return ",".join(f"{broker.host}:{broker.port}" for broker in cluster.brokers.values())


def rights(topics: Iterable[Topic]) -> set[AclBinding]:
    """All rights of the file. Producing with idempotence needs no right of its own since 3.0."""
    wanted: set[AclBinding] = set()
    for topic in topics:
        for reader in topic.readers | {topic.writer}:
            wanted.add(_on_topic(topic.name, reader, AclOperation.READ))
            wanted.add(_on_topic(topic.name, reader, AclOperation.DESCRIBE))
            wanted.add(_on_groups(reader))
        wanted.add(_on_topic(topic.name, topic.writer, AclOperation.WRITE))
    return wanted


def _on_topic(name: str, user: str, operation: AclOperation) -> AclBinding:
    return _allow(ResourceType.TOPIC, name, ResourcePatternType.LITERAL, user, operation)


def _on_groups(user: str) -> AclBinding:
    return _allow(ResourceType.GROUP, user, ResourcePatternType.PREFIXED, user, AclOperation.READ)


def _allow(
    kind: ResourceType, name: str, pattern: ResourcePatternType, user: str, operation: AclOperation
) -> AclBinding:
    return AclBinding(kind, name, pattern, f"User:{user}", "*", operation, AclPermissionType.ALLOW)


def _topics(admin: AdminClient, topics: Topics, done: Provisioned, *, own: bool = False) -> None:
    there = admin.list_topics(timeout=TIMEOUT).topics
    new = [
        NewTopic(t.name, num_partitions=t.partitions, replication_factor=-1, config=dict(t.config))
        for t in topics
        if t.name not in there
    ]
    if new:
        settle(admin.create_topics(new, operation_timeout=TIMEOUT), KafkaError.TOPIC_ALREADY_EXISTS)
        done.topics_made += [topic.topic for topic in new]
    old = [topic for topic in topics if topic.name in there]
    grown = [t for t in old if t.partitions > len(there[t.name].partitions)]
    if grown:
        settle(admin.create_partitions([NewPartitions(t.name, t.partitions) for t in grown]))
    different = _different_settings(admin, old, own=own)
    if different:
        settle(admin.incremental_alter_configs(different))
    changed = {t.name for t in grown} | {resource.name for resource in different}
    done.topics_changed += sorted(changed)


def _different_settings(
    admin: AdminClient, topics: list[Topic], *, own: bool
) -> list[ConfigResource]:
    asked = [ConfigResource(ConfigResource.Type.TOPIC, topic.name) for topic in topics]
    if not asked:
        return []
    answers = admin.describe_configs(asked)
    found = {resource.name: future.result(TIMEOUT) for resource, future in answers.items()}
    different = []
    for topic in topics:
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
            for name, value in topic.config.items()
            if found[topic.name][name].value != value
        ]
        entries += [
            ConfigEntry(name, None, incremental_operation=AlterConfigOpType.DELETE)
            for name, entry in found[topic.name].items()
            if own and name not in topic.config and _is_of_the_topic(entry)
        ]
        if entries:
            kind = ConfigResource.Type.TOPIC
            different.append(ConfigResource(kind, topic.name, incremental_configs=entries))
    return different


def _is_of_the_topic(entry: ConfigEntry) -> bool:
    """Whether somebody set it there: not a default, and not of the whole cluster."""
    return ConfigSource(entry.source) is ConfigSource.DYNAMIC_TOPIC_CONFIG


def _users(admin: AdminClient, secrets: Mapping[str, str]) -> None:
    """Passwords cannot be read back, so they are set anew: sessions that are open go on."""
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    wanted: list[UserScramCredentialAlteration] = [
        UserScramCredentialUpsertion(user, info, secret.encode())
        for user, secret in secrets.items()
    ]
    if wanted:
        settle(admin.alter_user_scram_credentials(wanted))


def _rights(admin: AdminClient, topics: Topics, done: Provisioned) -> None:
    there = set(admin.describe_acls(EVERY_RIGHT, request_timeout=TIMEOUT).result(TIMEOUT))
    wanted = rights(topics)
    missing = wanted - there
    stale = {right for right in there - wanted if _is_ours(right, topics)}
    if missing:
        settle(admin.create_acls(sorted(missing)))
    if stale:
        settle(admin.delete_acls([_exactly(right) for right in sorted(stale)]))
    done.rights_given, done.rights_taken = len(missing), len(stale)


def _wait_until_in_force(admin: AdminClient, topics: Topics, secrets: Mapping[str, str]) -> None:
    """The controller's yes comes before the broker acts on it: a client that is faster is refused.
    Users and rights are changed as one each, so one user who sees its topics speaks for all."""
    for user in list(secrets)[-1:]:
        may_see = {t.name for t in topics if user in t.readers | {t.writer}}
        bootstrap = addresses(admin.list_topics(timeout=TIMEOUT))
        deadline = time.monotonic() + TIMEOUT
        while not may_see <= _seen_by(bootstrap, user, secrets[user]):
            if time.monotonic() > deadline:
                raise ProvisioningError(f"the rights of {user} are not in force yet")
            time.sleep(0.05)


def _seen_by(bootstrap: str, user: str, secret: str) -> set[str]:
    try:
        return set(admin_client(bootstrap, user, secret).list_topics(timeout=2.0).topics)
    except KafkaException:  # not even the password is known yet
        return set()


def _is_ours(right: AclBinding, topics: Topics) -> bool:
    on_ours = right.restype == ResourceType.TOPIC and right.name in topics.names
    return on_ours or right.principal.removeprefix("User:") in topics.services


def _exactly(right: AclBinding) -> AclBindingFilter:
    return AclBindingFilter(
        right.restype,
        right.name,
        right.resource_pattern_type,
        right.principal,
        right.host,
        right.operation,
        right.permission_type,
    )


def settle(futures: Mapping[Any, Future[Any]], *fine: int) -> None:
    """Waits until all is done. Raises the first refusal whose code is not `fine`."""
    for future in futures.values():
        try:
            future.result(TIMEOUT)
        except KafkaException as error:
            if error.args[0].code() not in fine:
                raise
