"""A backup is taken while people sell, and put back: all stores, a source's, a consumer's, and on a
machine where nothing is. What clients were told is kept here, outside."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from house import STAFF, House, open_house

from runtime.testing import eventually
from vicinato import first_start
from vicinato.settings import SERVICES

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.timeout(1500)]

NAME = "Zuzzurellona"


@dataclass
class Record:
    """What clients were told."""

    households: dict[str, dict[str, Any]] = field(default_factory=dict)
    points: dict[str, int] = field(default_factory=dict)
    sales: list[str] = field(default_factory=list)

    def family(self, house: House, name: str = "Amina") -> str:
        made = house.household({"given_name": name, "family_name": "Prova", "language": "it"})
        self.households[made["id"]] = made
        self.points[made["id"]] = 0
        return str(made["id"])

    def sell(self, house: House, product: str, family: str) -> None:
        """10 € in cash are 10 points."""
        sale = house.sell(product, card=self.households[family]["card"], cash=1000)
        self.sales.append(sale["id"])
        self.points[family] += 10

    def agrees(self, house: House) -> None:
        """With what the house says now."""
        for sale in self.sales:
            found = house.get(f"/shop/api/sales/{sale}", by="till")
            assert found["state"] == "completed", sale
        for family, points in self.points.items():
            eventually(
                lambda f=family, p=points: house.points(f) == (p, 0),  # type: ignore[misc]
                within=60,
                why=f"{points} points of {family}",
            )


@pytest.fixture(params=["sqlite", "postgres"])
def house(request: pytest.FixtureRequest) -> Iterator[House]:
    root = Path(tempfile.mkdtemp(prefix="vicinato-restored-"))
    root.chmod(0o711)  # PostgreSQL has a user of its own where everything else is root
    try:
        with open_house(request.param, root=root, more={"READY_WITHIN": "300"}) as made:
            yield made
    finally:
        shutil.rmtree(root, ignore_errors=True)


def restored(house: House, *words: str, code: int = 0) -> str:
    """Stop, restore, start, sign in anew."""
    house.stop()
    done = house.command("restore", *words)
    assert done.returncode == code, done.stdout + done.stderr
    house.start()
    sign_in(house)
    return done.stdout


def sign_in(house: House) -> None:
    """Tokens ended with the restore."""
    who = first_start.administrator(house.settings, house.folder)
    house.tokens["administrator"] = house.token(who["email"], who["password"])
    for name in STAFF:
        house.tokens[name] = house.token(f"{name}@test.example", "tre-parole-insieme")


def verified(house: House) -> None:
    house.quiet()
    done = house.command("verify")
    assert done.returncode == 0, done.stdout + done.stderr


def backup_under_load(house: House, path: Path, record: Record, product: str) -> list[float]:
    """Sales go on while the backup is taken; the seconds of each."""
    stop, took = threading.Event(), list[float]()
    family = next(iter(record.households))

    def sell() -> None:
        while not stop.is_set():
            began = time.monotonic()
            record.sell(house, product, family)
            took.append(time.monotonic() - began)

    thread = threading.Thread(target=sell)
    thread.start()
    try:
        done = house.command("backup", str(path))
        assert done.returncode == 0, done.stderr
    finally:
        stop.set()
        thread.join()
    return took


def test_all_that_had_reached_the_bus_comes_back(house: House, tmp_path: Path) -> None:
    record = Record()
    product = house.product(1000, 10_000)
    early, gone = record.family(house), record.family(house, NAME)
    record.sell(house, product, early)
    house.quiet()
    path = tmp_path / "b"
    assert backup_under_load(house, path, record, product)

    late = record.family(house)
    for family in (early, late, early):
        record.sell(house, product, family)
    house.ask("DELETE", f"/cards/api/households/{gone}", by="coordinator")
    del record.points[gone]
    house.quiet()

    told = restored(house, str(path))
    assert "0 differences" in told
    assert "cards.household.registered" in told
    record.agrees(house)
    verified(house)
    if house.settings.engine == "sqlite":
        traces(house)


def test_one_store_of_many_comes_back(house: House, tmp_path: Path) -> None:
    """A source's and a consumer's, with more on the same keys before and after."""
    record = Record()
    product = house.product(1000, 1_000)
    early = record.family(house)
    record.sell(house, product, early)
    house.quiet()
    path = tmp_path / "b"
    done = house.command("backup", str(path))
    assert done.returncode == 0, done.stderr
    late = record.family(house)
    record.sell(house, product, early)
    house.quiet()
    for only in ("shop", "cards", "notifications"):
        told = restored(house, str(path), "--only", only)
        assert "0 differences" in told, told
        record.sell(house, product, late)
        record.agrees(house)
        verified(house)


def traces(house: House) -> None:
    """Nowhere in the data folder, once the house is stopped, is the name of who was erased: but on
    the bus, until its cleaner has passed."""
    house.stop()
    needle = NAME.encode()
    found = [
        str(file.relative_to(house.folder.root))
        for file in house.folder.root.rglob("*")
        if file.is_file() and needle in file.read_bytes()
    ]
    assert [one for one in found if not one.startswith("kafka/log/cards.people")] == []
    house.start()
    sign_in(house)


def test_a_machine_where_nothing_is(house: House, tmp_path: Path) -> None:
    record = Record()
    product = house.product(1000, 100)
    family = record.family(house)
    record.sell(house, product, family)
    house.quiet()
    path = tmp_path / "b"
    done = house.command("backup", str(path))
    assert done.returncode == 0, done.stderr
    house.stop()
    house.folder.root.rename(tmp_path / "the old machine")

    told = restored(house, str(path))
    assert "0 differences" in told
    record.agrees(house)
    record.sell(house, product, family)
    record.agrees(house)
    verified(house)
    assert all(house.child(name) for name in SERVICES)


def test_killed_in_the_middle_it_goes_on(house: House, tmp_path: Path) -> None:
    record = Record()
    product = house.product(1000, 100)
    family = record.family(house)
    house.quiet()
    path = tmp_path / "b"
    assert house.command("backup", str(path)).returncode == 0
    record.sell(house, product, family)
    house.quiet()
    house.stop()
    words = [*house.starting.words[:-1], "restore", str(path)]
    killed = type(house.starting)(words, house.starting.environment, tmp_path / "killed.log")
    process = killed.begin()
    journal = house.folder.restore / "journal.json"
    eventually(journal.exists, within=120, why="the exchange has begun")
    process.kill()
    process.wait()
    house.start()
    eventually(lambda: not journal.exists(), within=120, why="up ends the restore")
    sign_in(house)
    record.agrees(house)
    verified(house)
