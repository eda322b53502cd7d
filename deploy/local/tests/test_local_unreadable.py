"""A storage with which Kafka does not start makes room for an empty one; for no other reason."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from vicinato.kafka.broker import Broker
from vicinato.kafka.unreadable import FATAL, TIMES, Unreadable
from vicinato.ports import free_port
from vicinato.secrets import Secrets

STARTED = "started"
"""In a list of codes: Kafka became ready."""


@pytest.fixture
def broker(tmp_path: Path) -> Broker:
    """One that has something on its disk and does not run."""
    made = Broker(tmp_path / "kafka", free_port(), free_port(), Secrets(tmp_path / "secrets"))
    storage(made).mkdir(parents=True)
    (storage(made) / "old").touch()
    (made.folder / "formatted").touch()
    return made


def storage(broker: Broker) -> Path:
    return broker.folder / "log"


def has(broker: Broker) -> list[str]:
    """What is in its storage."""
    return sorted(one.name for one in broker.folder.glob("log/*"))


def unreadable(broker: Broker, *, kept: bool = False) -> Unreadable:
    return Unreadable(broker, broker.folder.with_name("aside"), lambda: kept)


def hears(one: Unreadable, *codes: int | str) -> list[str]:
    """What it says to these ends of starts, but for nothing."""
    said = []
    for code in codes:
        if isinstance(code, int):
            said.append(one.failed(code))
        else:
            one.started()
    return [text for text in said if text]


def test_after_some_starts_in_vain_it_begins_with_nothing_and_the_old_is_kept(
    broker: Broker, tmp_path: Path
) -> None:
    one = unreadable(broker)
    assert hears(one, *[FATAL] * (TIMES - 1)) == []
    assert has(broker) == ["old"]
    (said,) = hears(one, FATAL)
    (kept,) = tmp_path.glob("aside/*/kafka")
    assert str(kept) in said
    assert [path.name for path in kept.iterdir()] == ["old"]
    assert has(broker) == []
    assert not (broker.folder / "formatted").exists()


def test_where_it_does_not_start_with_nothing_either_it_gets_back_what_it_had(
    broker: Broker, tmp_path: Path
) -> None:
    one = unreadable(broker)
    hears(one, *[FATAL] * TIMES)
    storage(broker).mkdir()
    (storage(broker) / "new").touch()
    (said,) = hears(one, *[FATAL] * TIMES)
    assert "put back" in said
    assert has(broker) == ["old"]
    assert (broker.folder / "formatted").exists()
    assert list(tmp_path.glob("aside/*")) == []
    assert hears(one, *[FATAL] * 3 * TIMES) == []  # it was not the storage, and still is not
    assert has(broker) == ["old"]
    assert len(hears(one, STARTED, *[FATAL] * TIMES)) == 1


@pytest.mark.parametrize(
    "codes",
    [
        [3] * 3 * TIMES,  # without memory
        [-9] * 3 * TIMES,  # killed
        [FATAL] * (TIMES - 1) + [STARTED] + [FATAL] * (TIMES - 1),
    ],
)
def test_what_ends_it_otherwise_is_not_its_storage(broker: Broker, codes: list[int | str]) -> None:
    assert hears(unreadable(broker), *codes) == []
    assert has(broker) == ["old"]


def test_nor_is_a_port_that_another_program_has(broker: Broker) -> None:
    with socket.create_server(("127.0.0.1", broker.port)):
        assert hears(unreadable(broker), *[FATAL] * TIMES) == []
    assert has(broker) == ["old"]


def test_nothing_is_exchanged_while_a_restore_takes_back_what_is_on_the_bus(broker: Broker) -> None:
    assert hears(unreadable(broker, kept=True), *[FATAL] * TIMES) == []
    assert has(broker) == ["old"]


@pytest.mark.kafka
def test_kafka_ends_so_with_a_file_full_of_zeros(tmp_path: Path) -> None:
    broker = Broker(tmp_path / "kafka", free_port(), free_port(), Secrets(tmp_path / "secrets"))
    broker.prepare()
    of_the_node = storage(broker) / "meta.properties"
    of_the_node.write_bytes(bytes(of_the_node.stat().st_size))
    broker.start()
    try:
        assert broker.process is not None
        assert broker.process.wait(30) == FATAL
    finally:
        broker.kill()
