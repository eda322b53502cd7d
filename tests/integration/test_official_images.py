"""The suites of the store and of the bus once more, on the images that a cluster runs.

Everything else is tried on the same software without a container: PostgreSQL from a wheel, Kafka
from its jars. Where no Docker answers this is one skip: there is nothing here to run it on.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import psycopg
import pytest
import sqlalchemy as sa
from confluent_kafka.admin import AdminClient, NewTopic
from docker.errors import DockerException

from messaging import Service
from runtime.settings import Settings
from vicinato.kafka.topics import Topics
from vicinato.ports import free_port

# By the names that pytest gives them, which their own imports go by.
SUITES = (
    "libs.runtime.tests.test_runtime_store",
    "libs.runtime.tests.test_runtime_rows",
    "libs.messaging.tests.test_messaging_bus",
)
sys.path.insert(0, str(Path(__file__).parents[2]))
pytest.register_assert_rewrite(*SUITES)

# Before the question for Docker, so that a test which was renamed is missed on every machine.
from libs.messaging.tests.pair import House  # noqa: E402
from libs.messaging.tests.test_messaging_bus import (  # noqa: E402
    test_a_fact_arrives_and_a_reaction_goes_back_on_the_bus,
    test_a_rebuild_equals_what_was_there,
    test_a_replay_and_a_reread_change_nothing,
    test_a_restored_source_adopts_what_the_bus_knows,
)
from libs.runtime.tests.test_runtime_rows import (  # noqa: E402
    test_insert_ignore_leaves_what_is_there,
    test_rows_locked_in_id_order_do_not_deadlock,
    test_times_come_back_in_utc_and_sort,
    test_upsert_takes_many_rows_of_one_key_in_order,
    test_what_comes_late_does_not_undo_what_is_newer,
    visitors,
)
from libs.runtime.tests.test_runtime_store import (  # noqa: E402
    people,
    test_a_lost_connection_is_replaced,
    test_a_read_cannot_write,
    test_a_read_sees_one_snapshot,
    test_a_write_is_kept_when_its_work_returns,
    test_a_write_that_raises_keeps_nothing,
)

__all__ = [
    "people",
    "test_a_fact_arrives_and_a_reaction_goes_back_on_the_bus",
    "test_a_lost_connection_is_replaced",
    "test_a_read_cannot_write",
    "test_a_read_sees_one_snapshot",
    "test_a_rebuild_equals_what_was_there",
    "test_a_replay_and_a_reread_change_nothing",
    "test_a_restored_source_adopts_what_the_bus_knows",
    "test_a_write_is_kept_when_its_work_returns",
    "test_a_write_that_raises_keeps_nothing",
    "test_insert_ignore_leaves_what_is_there",
    "test_rows_locked_in_id_order_do_not_deadlock",
    "test_times_come_back_in_utc_and_sort",
    "test_upsert_takes_many_rows_of_one_key_in_order",
    "test_what_comes_late_does_not_undo_what_is_newer",
    "visitors",
]

pytestmark = [pytest.mark.xdist_group("official-images"), pytest.mark.timeout(600)]

POSTGRESQL = "postgres:18"
KAFKA = "apache/kafka:4.3.0"

try:
    docker.from_env(timeout=5).ping()
except (DockerException, OSError) as error:
    # Not a skip that VICINATO_NO_SKIPS forbids: no setting of this machine could let it run.
    pytest.skip(f"{POSTGRESQL} and {KAFKA} need Docker: {error}", allow_module_level=True)

from testcontainers.community.postgres import PostgresContainer  # noqa: E402
from testcontainers.core.container import DockerContainer  # noqa: E402


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a PostgreSQL server."""
    with PostgresContainer(POSTGRESQL, driver=None) as container:
        yield container.get_connection_url()


@pytest.fixture
def store_url(server: str) -> str:
    """A fresh database; it goes with the container."""
    name = f"official_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return sa.make_url(server).set(database=name).render_as_string(hide_password=False)


class PlainHouse(House):
    """The two services of the suite, on a broker that asks nobody who he is."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        super().__init__(None, folder)  # type: ignore[arg-type]
        self.bootstrap = bootstrap

    def settings(self, service: Service) -> Settings:
        return Settings(
            service=service.name,
            database_url=f"sqlite:///{self.folder / service.name}.db",
            kafka=self.bootstrap,
        )


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A broker of the test's own: what another told would be adopted. One node, no sign-in."""
    port = free_port()
    container = DockerContainer(KAFKA).with_bind_ports(port, port)
    for name, value in {
        "NODE_ID": "1",
        "PROCESS_ROLES": "broker,controller",
        "LISTENERS": f"PLAINTEXT://:{port},CONTROLLER://localhost:9093",
        "ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{port}",
        "LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "AUTO_CREATE_TOPICS_ENABLE": "false",
    }.items():
        container.with_env(f"KAFKA_{name}", value)
    with container:
        bootstrap = f"127.0.0.1:{port}"
        admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        make_topics(admin)
        yield PlainHouse(bootstrap, tmp_path)


def make_topics(admin: AdminClient) -> None:
    """The topics of `topics.toml`, once the broker answers."""
    admin.list_topics(timeout=60)
    topics = [
        NewTopic(t.name, t.partitions, replication_factor=1, config=t.config) for t in Topics.read()
    ]
    for made in admin.create_topics(topics, operation_timeout=30).values():
        made.result(60)
