"""A real Kafka for tests: `pytest_plugins = ["vicinato.testing"]`.

`kafka` is one broker for the whole run, shared by the workers of pytest-xdist, with the topics,
users and rights of `topics.toml`; `own_kafka` is a broker of the test's own, to be killed, frozen
and wiped; `empty_kafka` one of the module, with nothing on it when a test begins, to be provisioned
and wiped: what uses it belongs on one worker. All are thrown away at the end, also when the run is
killed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from vicinato.kafka.jars import JarError, fetch
from vicinato.kafka.topics import Topics
from vicinato.testing.brokers import OwnKafka, TestKafka
from vicinato.testing.shared import shared_kafka

__all__ = ["OwnKafka", "TestKafka", "unavailable"]


def unavailable(why: str) -> NoReturn:
    """Skips, visibly; where nothing may be skipped (VICINATO_NO_SKIPS) it is a failure."""
    if os.environ.get("VICINATO_NO_SKIPS"):
        pytest.fail(why)
    pytest.skip(why)


def _jars() -> None:
    try:
        fetch()
    except JarError as error:
        unavailable(str(error))


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestKafka]:
    """The run's broker. Topics that a test makes need a name of their own."""
    _jars()
    base = tmp_path_factory.getbasetemp()
    run = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with shared_kafka(run / "kafka") as broker:
        yield broker


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[OwnKafka]:
    """One test's own, started, with its administrator only; `provision()` brings the rest."""
    with _started(tmp_path / "own-kafka") as broker:
        yield broker


@contextmanager
def _started(folder: Path) -> Iterator[OwnKafka]:
    _jars()
    broker = OwnKafka.start(folder)
    try:
        yield broker
    finally:
        broker.kill()


@pytest.fixture(scope="module")
def module_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnKafka]:
    """The one of `empty_kafka`, as the test before left it."""
    with _started(tmp_path_factory.mktemp("module-kafka")) as broker:
        yield broker


@pytest.fixture
def empty_kafka(module_kafka: OwnKafka) -> OwnKafka:
    """With its administrator only."""
    module_kafka.empty()
    return module_kafka


@pytest.fixture(scope="session")
def topics() -> Topics:
    return Topics.read()
