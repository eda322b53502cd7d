"""A cluster that exists is provisioned by the installation that it belongs to, and by no other."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from vicinato.folder import Folder
from vicinato.kafka.broker import ADMIN
from vicinato.kafka.provision import admin_client
from vicinato.kafka.topics import Topics
from vicinato.kafka.whose import MARK, NotOursError, claim
from vicinato.ports import free_block
from vicinato.refusals import Exit
from vicinato.settings import SERVICES
from vicinato.testing import OwnKafka

from .test_local_refusals import refused, vicinato

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("whose")]


@dataclass
class Installation:
    """A data folder, and the cluster of `kafka` in its settings."""

    folder: Folder
    kafka: OwnKafka

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        return vicinato(
            *words,
            DATA=str(self.folder.root),
            PORT=str(free_block()),
            DEMO="no",
            KAFKA=self.kafka.bootstrap,
            KAFKA_ADMIN_USER=ADMIN,
            KAFKA_ADMIN_SECRET_FILE=str(self.kafka.secret_file(ADMIN)),
        )

    def provision(self, *words: str) -> None:
        done = self.command("provision", *words)
        assert done.returncode == 0, done.stderr

    @property
    def mark(self) -> str:
        return f"{MARK}{self.folder.installation()}"

    @property
    def secrets(self) -> dict[str, str]:
        return {name: self.folder.kafka_secrets.get(name) for name in SERVICES}

    def use_passwords_of(self, other: OwnKafka, *users: str) -> None:
        for user in users:
            self.folder.kafka_secrets.write(user, other.secret(user))


def installation(root: Path, kafka: OwnKafka) -> Installation:
    folder = Folder(root)
    folder.open()
    return Installation(folder, kafka)


@pytest.fixture
def first(empty_kafka: OwnKafka, tmp_path: Path) -> Installation:
    return installation(tmp_path / "first", empty_kafka)


@pytest.fixture
def second(empty_kafka: OwnKafka, tmp_path: Path) -> Installation:
    return installation(tmp_path / "second", empty_kafka)


def topics_on(kafka: OwnKafka) -> set[str]:
    return set(kafka.admin().list_topics(timeout=10).topics)


def opens(kafka: OwnKafka, secrets: dict[str, str]) -> bool:
    """Whether every service sees its topics with these passwords."""
    return all(
        admin_client(kafka.bootstrap, user, secret).list_topics(timeout=10).topics
        for user, secret in secrets.items()
    )


def test_a_test_house_on_the_cluster_of_another_one_changes_nothing_there(
    first: Installation, second: Installation, empty_kafka: OwnKafka
) -> None:
    first.provision()
    before = topics_on(empty_kafka)

    refused(second.command("up"), Exit.OTHER_INSTALLATION, empty_kafka.bootstrap, first.mark)
    refused(second.command("provision"), Exit.OTHER_INSTALLATION, "--take-over")

    assert topics_on(empty_kafka) == before == {first.mark, *Topics.read().names}
    assert opens(empty_kafka, first.secrets)
    first.provision()


def test_who_takes_a_cluster_over_has_it_alone(
    first: Installation, second: Installation, empty_kafka: OwnKafka
) -> None:
    first.provision()
    second.provision("--take-over")
    assert topics_on(empty_kafka) == {second.mark, *Topics.read().names}
    assert opens(empty_kafka, second.secrets)

    refused(first.command("provision"), Exit.OTHER_INSTALLATION, second.mark)
    second.provision()


def test_a_cluster_without_a_mark_belongs_to_whom_it_lets_in(
    first: Installation, second: Installation, empty_kafka: OwnKafka
) -> None:
    """As an earlier version, and containers, leave it."""
    empty_kafka.provision()
    refused(second.command("provision"), Exit.OTHER_INSTALLATION, "no password from here opens it")
    assert topics_on(empty_kafka) == set(Topics.read().names)
    assert opens(empty_kafka, {name: empty_kafka.secret(name) for name in SERVICES})

    first.use_passwords_of(empty_kafka, "network")  # the others' were made anew
    first.provision()
    assert first.mark in topics_on(empty_kafka)


def test_a_restored_installation_is_the_same_with_whatever_passwords(
    first: Installation, second: Installation, empty_kafka: OwnKafka
) -> None:
    first.provision()
    second.folder.become(first.folder.installation(), second.folder.machine())
    second.provision()
    assert opens(empty_kafka, second.secrets)


def test_a_cluster_that_was_emptied_is_marked_anew(
    first: Installation, empty_kafka: OwnKafka
) -> None:
    first.provision()
    empty_kafka.wipe()
    empty_kafka.restart()
    first.provision()
    assert topics_on(empty_kafka) == {first.mark, *Topics.read().names}


def test_a_container_has_no_mark_and_is_told_by_its_passwords(empty_kafka: OwnKafka) -> None:
    topics = Topics.read()
    mine = {name: empty_kafka.secret(name) for name in SERVICES}
    claim(empty_kafka.admin(), topics, mine, "")
    empty_kafka.provision()
    claim(empty_kafka.admin(), topics, mine, "")
    assert topics_on(empty_kafka) == set(topics.names)
    with pytest.raises(NotOursError):
        claim(empty_kafka.admin(), topics, dict.fromkeys(SERVICES, "another"), "")
