"""Where our Kafka keeps its log: in its own folder, whatever that is called."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.testing import eventually_async
from vicinato import programs, settings
from vicinato.child import Child, State
from vicinato.folder import Folder
from vicinato.kafka.broker import Broker
from vicinato.kafka.jars import JarError, fetch
from vicinato.ports import free_block, free_port
from vicinato.secrets import Secrets
from vicinato.testing import unavailable
from vicinato.testing.brokers import TestBroker

pytestmark = pytest.mark.kafka

ACCENTS = "Unità di Niccolò"
READ_BY_JAVA = ACCENTS.encode().decode("latin-1")
"""What earlier versions made of it."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A disk with nothing on it; work goes on elsewhere, in an empty folder as well."""
    try:
        fetch()
    except JarError as error:
        unavailable(str(error))
    for name in ("disk", "elsewhere"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "disk"


def node(folder: Path, kind: type[Broker] = TestBroker) -> Broker:
    return kind(folder, free_port(), free_port(), Secrets(folder.parent / "secrets"))


def inside(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def identity(log: Path) -> str:
    """Of the cluster and of the folder."""
    return (log / "meta.properties").read_text()


@pytest.mark.parametrize("name", [ACCENTS, "Casa 🏠 su C:\\ due", "Rossi, Mario"])
def test_its_log_lies_in_its_folder(
    place: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Also where the machine speaks no language in which the name could be written."""
    monkeypatch.setenv("LC_ALL", "C")
    broker = node(place / name / "data" / "kafka", Broker)
    broker.prepare()
    assert identity(broker.folder / "log")
    assert inside(place) == [name]
    assert inside(Path()) == []


async def test_it_is_ready_in_a_house_with_accents(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA", str(place / ACCENTS / "data"))
    monkeypatch.setenv("PORT", str(free_block()))
    wanted = settings.load()
    folder = Folder(wanted.data)
    folder.open()
    child = Child(programs.kafka(wanted, folder))
    child.start()
    try:
        await eventually_async(
            lambda: child.state is State.READY, within=90, why=f"it is ready ({child.reason})"
        )
    finally:
        await child.stop()
    assert (folder.kafka / "log" / "cards.people-0").is_dir()
    assert inside(place) == [ACCENTS]
    assert inside(Path()) == []


def of_an_earlier_version(place: Path) -> Broker:
    """Its log lies where Java read that it should."""
    broker = node(place / ACCENTS / "data" / "kafka")
    broker.prepare()
    strayed = place / READ_BY_JAVA / "data" / "kafka"
    strayed.mkdir(parents=True)
    (broker.folder / "log").rename(strayed / "log")
    return broker


def test_a_log_that_lay_elsewhere_comes_home(place: Path) -> None:
    broker = of_an_earlier_version(place)
    known = identity(place / READ_BY_JAVA / "data" / "kafka" / "log")
    broker.prepare()
    assert identity(broker.folder / "log") == known
    assert inside(place) == [ACCENTS]


def test_a_log_that_lay_elsewhere_goes_with_the_folder_that_was_thrown_away(place: Path) -> None:
    broker = of_an_earlier_version(place)
    known = identity(place / READ_BY_JAVA / "data" / "kafka" / "log")
    (place / READ_BY_JAVA / "letters").write_text("mine")
    shutil.rmtree(broker.folder)
    broker.prepare()
    assert identity(broker.folder / "log") != known
    assert inside(place / READ_BY_JAVA) == ["letters"]


@pytest.fixture
def other_disk() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as made:
        yield Path(made)


def test_a_log_that_lay_on_another_disk_is_made_anew(place: Path, other_disk: Path) -> None:
    broker = of_an_earlier_version(place)
    strayed = place / READ_BY_JAVA
    known = identity(strayed / "data" / "kafka" / "log")
    shutil.copytree(strayed / "data", other_disk / "data")
    shutil.rmtree(strayed)
    strayed.symlink_to(other_disk)
    broker.prepare()
    assert identity(broker.folder / "log") != known
    assert inside(other_disk) == []


def test_another_node_in_a_folder_of_that_name_is_left_alone(place: Path) -> None:
    other = node(place / READ_BY_JAVA / "data" / "kafka")
    other.prepare()
    known = identity(other.folder / "log")
    node(place / ACCENTS / "data" / "kafka").prepare()
    assert identity(other.folder / "log") == known


def test_a_log_that_is_lost_is_made_anew(place: Path) -> None:
    broker = node(place / "kafka")
    broker.prepare()
    shutil.rmtree(broker.folder / "log")
    broker.prepare()
    assert identity(broker.folder / "log")
