"""One broker for all workers of a test run, without a leader among them.

Whoever comes first starts a keeper process, which owns the broker. Every worker holds a shared lock
on the file `users` as long as it may need the broker; the keeper waits for the exclusive lock, gets
it when the last worker is gone (the kernel frees the locks of the killed), and ends the broker.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vicinato.kafka.broker import BrokerError
from vicinato.kafka.provision import provision
from vicinato.kafka.topics import Topics
from vicinato.ports import free_port
from vicinato.processes import environment
from vicinato.secrets import Secrets
from vicinato.testing.brokers import START_WITHIN, TestBroker, TestKafka


@contextmanager
def shared_kafka(folder: Path) -> Iterator[TestKafka]:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "users").open("a") as users, (folder / "starting").open("a") as starting:
        fcntl.flock(users, fcntl.LOCK_SH)
        fcntl.flock(starting, fcntl.LOCK_EX)
        state = folder / "state.json"
        if not state.exists():
            _start_keeper(folder, state)
        fcntl.flock(starting, fcntl.LOCK_UN)
        found = json.loads(state.read_text())
        if "error" in found:
            raise BrokerError(found["error"])
        yield TestKafka(found["bootstrap"], Secrets(folder / "secrets"))


def _start_keeper(folder: Path, state: Path) -> None:
    with (folder / "keeper.log").open("ab") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "vicinato.testing.shared", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C of the run is not for it
            env=environment({}),
        )
    deadline = time.monotonic() + START_WITHIN
    while not state.exists():
        if keeper.poll() is not None or time.monotonic() > deadline:
            raise BrokerError(f"no broker for the tests; see {folder / 'keeper.log'}")
        time.sleep(0.05)


def keep(folder: Path) -> None:
    """The keeper's life: start, tell where, wait until nobody needs it, stop, clean up."""
    secrets = Secrets(folder / "secrets")
    broker = TestBroker(folder / "node", free_port(), free_port(), secrets)
    draft = folder / f"state.{os.getpid()}"
    try:
        try:
            topics = Topics.read()
            users = {user: secrets.get(user) for user in topics.services}
            broker.start()
            broker.wait_ready(START_WITHIN)
            provision(broker.admin(), topics, users)
            draft.write_text(json.dumps({"bootstrap": broker.bootstrap}))
        except Exception as error:
            draft.write_text(json.dumps({"error": f"{type(error).__name__}: {error}"}))
            raise
        finally:
            draft.replace(folder / "state.json")
        with (folder / "users").open("a") as users_file:
            fcntl.flock(users_file, fcntl.LOCK_EX)
    finally:
        broker.kill()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
