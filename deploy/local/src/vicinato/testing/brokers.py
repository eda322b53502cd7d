"""A broker as tests see it: where it is, who may sign in, how it is hurt."""

from __future__ import annotations

import hashlib
import re
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
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialDeletion,
)

from runtime.testing import eventually
from runtime.testing.databases import machine_folder, machine_lock
from vicinato.kafka import broker
from vicinato.kafka.broker import ADMIN, Broker, new_id
from vicinato.kafka.lock import Lock
from vicinato.kafka.provision import (
    EVERY_RIGHT,
    Provisioned,
    add,
    admin_client,
    provision,
    settle,
)
from vicinato.kafka.topics import Topic, Topics
from vicinato.ports import free_port
from vicinato.secrets import Secrets

START_WITHIN = 90.0  # two cores that are busy with other workers' imports


ADMINISTRATORS = "the-password-of-all-tests"
"""What the one who formats is told becomes part of what is written."""


@dataclass
class TestBroker(Broker):
    """A node whose storage is formatted once for a machine and copied from then on, which takes a
    JVM less for each. Each is a cluster of its own all the same."""

    __test__ = False

    def __post_init__(self) -> None:
        self.secrets.write(ADMIN, ADMINISTRATORS)

    def _format(self) -> None:
        written = hashlib.sha256(Path(broker.__file__).read_bytes())
        template = machine_folder() / f"kafka-{Lock.read().digest}-{written.hexdigest()[:16]}"
        with machine_lock("kafka"):
            if not template.exists():
                for old in machine_folder().glob("kafka-*-*"):
                    shutil.rmtree(old)
                super()._format()
                shutil.copytree(self.storage, template.with_suffix(".part"))
                template.with_suffix(".part").rename(template)
            shutil.copytree(template, self.storage, dirs_exist_ok=True)
        told = self.storage / "meta.properties"
        ours = re.sub(r"(?m)^((?:cluster|directory)\.id=).*$", _another, told.read_text("latin-1"))
        told.write_text(ours, "latin-1")


def _another(line: re.Match[str]) -> str:
    return f"{line[1]}{new_id()}"


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
        made = TestBroker(folder / "node", free_port(), free_port(), secrets)
        made.start()
        made.wait_ready(START_WITHIN)
        return cls(made.bootstrap, secrets, made)

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

    def empty(self) -> None:
        """No topic, user or right is left but the administrator's, as when it was made. What
        it keeps are its topics of groups and transactions, and settings of the broker itself."""
        admin = self.admin()
        admin.delete_acls([EVERY_RIGHT])[EVERY_RIGHT].result(20)
        there = admin.list_topics(timeout=10).topics
        if topics := [name for name in there if not name.startswith("__")]:
            self.delete_topics(topics)
        asked: Any = admin.describe_user_scram_credentials()
        gone: list[UserScramCredentialAlteration] = [
            UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_512)
            for user in asked.result(20)
            if user != ADMIN
        ]
        if gone:
            settle(admin.alter_user_scram_credentials(gone))

    def restart(self) -> None:
        """Starts it again, after `kill`, `stop` or `wipe`; returns when it answers."""
        self.broker.kill()
        self.broker.start()
        self.broker.wait_ready(START_WITHIN)

    def _signal(self, number: signal.Signals) -> None:
        if self.broker.process is None:
            raise RuntimeError("the broker is not running")
        self.broker.process.send_signal(number)
