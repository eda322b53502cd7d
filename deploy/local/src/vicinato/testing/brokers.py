"""A broker as tests see it: where it is, who may sign in, how it is hurt."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # names not marked as its own
    AdminClient,
    OffsetSpec,
)

from runtime.testing import eventually
from vicinato.kafka.broker import ADMIN, Broker
from vicinato.kafka.provision import Provisioned, add, admin_client, provision
from vicinato.kafka.topics import Topic, Topics
from vicinato.ports import free_port
from vicinato.secrets import Secrets

START_WITHIN = 90.0  # two cores that are busy with other workers' imports


@dataclass
class TestKafka:
    """Somebody's running broker."""

    __test__ = False  # pytest would take it for a class of tests

    bootstrap: str
    secrets: Secrets

    def secret(self, user: str) -> str:
        return self.secrets.get(user)

    def secret_file(self, user: str) -> Path:
        """The file that a service's setting VICINATO_KAFKA_SECRET_FILE names."""
        return self.secrets.path(user)

    def client(self, user: str = ADMIN) -> dict[str, Any]:
        """What an aiokafka client needs to be `user`."""
        return {
            "bootstrap_servers": self.bootstrap,
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": user,
            "sasl_plain_password": self.secret(user),
        }

    def admin(self) -> AdminClient:
        return admin_client(self.bootstrap, ADMIN, self.secret(ADMIN))

    def provision(self, topics: Topics | None = None) -> Provisioned:
        topics = topics or Topics.read()
        secrets = {user: self.secret(user) for user in topics.services}
        return provision(self.admin(), topics, secrets)

    def create_topics(
        self,
        names: Iterable[str],
        *,
        partitions: int = 3,
        writer: str = ADMIN,
        readers: Collection[str] = (),
        config: dict[str, str] | None = None,
    ) -> None:
        """Makes topics that keep everything. The administrator may do all; anybody else gets the
        rights of `writer` and `readers`."""
        config = {"retention.ms": "-1", **(config or {})}
        topics = [Topic(name, writer, frozenset(readers), partitions, config) for name in names]
        users = {user: self.secret(user) for user in {writer, *readers} - {ADMIN}}
        # Not `provision`: the same user's rights on other topics are not ours to take.
        add(self.admin(), Topics(tuple(topics)), users)

    def delete_topics(self, names: Iterable[str]) -> None:
        """Gone when it returns: the broker answers before, and they could not be made anew."""
        names = set(names)
        admin = self.admin()  # kept, or its answers go with it
        for future in admin.delete_topics(list(names), operation_timeout=10).values():
            future.result(20)
        eventually(
            lambda: not names & set(admin.list_topics(timeout=10).topics),
            within=20,
            why="the topics are gone",
        )


def delete_first_records(admin: AdminClient, topic: str, share: float) -> None:
    """So much of every partition of a topic is gone, of all that ever was in it: 0 nothing, 1
    everything."""
    until = []
    for number in admin.list_topics(topic, timeout=10).topics[topic].partitions:
        (told,) = admin.list_offsets({TopicPartition(topic, number): OffsetSpec.latest()}).values()  # type: ignore[no-untyped-call]
        until.append(TopicPartition(topic, number, round(share * told.result().offset)))
    for deleting in admin.delete_records(until).values():
        deleting.result()


@dataclass
class OwnKafka(TestKafka):
    """A broker that this test may hurt. The port and the passwords stay the same through it all."""

    broker: Broker

    @classmethod
    def start(cls, folder: Path) -> OwnKafka:
        secrets = Secrets(folder / "secrets")
        broker = Broker(folder / "node", free_port(), free_port(), secrets)
        broker.start()
        broker.wait_ready(START_WITHIN)
        return cls(broker.bootstrap, secrets, broker)

    def kill(self) -> None:
        self.broker.kill()

    def stop(self) -> None:
        self.broker.stop()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def wipe(self) -> None:
        """Kills it and forgets all: the next start is another cluster with nothing in it."""
        self.kill()
        shutil.rmtree(self.broker.folder)

    def restart(self) -> None:
        """Starts it again, after `kill`, `stop` or `wipe`; returns when it answers."""
        self.broker.kill()
        self.broker.start()
        self.broker.wait_ready(START_WITHIN)

    def _signal(self, number: signal.Signals) -> None:
        if self.broker.process is None:
            raise RuntimeError("the broker is not running")
        self.broker.process.send_signal(number)
