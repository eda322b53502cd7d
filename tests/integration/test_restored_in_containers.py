"""A whole house, backed up and put back by the scripts, as with Docker: its services recover, are
verified and opened by `vicinato restored open`."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from house import STAFF, House, open_house

from runtime.testing import eventually
from vicinato import first_start

sys.path.insert(0, str(Path(__file__).parents[2]))

from deploy.compose.tests.host import Host, postgresql

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.chaos,
    pytest.mark.timeout(900),
]


@pytest.fixture
def server() -> Iterator[str]:
    with postgresql() as url:
        yield url


@pytest.fixture
def house(server: str) -> Iterator[House]:
    """Its PostgreSQL stays when it stops, as the container does."""
    root = Path(tempfile.mkdtemp(prefix="vicinato-containers-"))
    try:
        with open_house(server, root=root, more={"READY_WITHIN": "300"}) as made:
            yield made
    finally:
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def host(house: House, server: str, tmp_path: Path) -> Host:
    """Where the house's stores are, with the secrets of its parts."""
    made = Host(tmp_path / "host", server, run=["migrate", "verify"])
    made.job |= house.starting.environment
    for path in (house.folder.secrets.folder).glob("store-*"):
        shutil.copy(path, made.secrets / path.name)
    return made


def test_a_house_that_was_put_back_opens_with_what_the_bus_knows(
    house: House, host: Host, tmp_path: Path
) -> None:
    product = house.product(1000, 100)
    family = house.household()
    house.sell(product, card=family["card"], cash=1000)
    house.quiet()
    done = host.script("backup.sh", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (backup,) = tmp_path.glob("vicinato-*")

    late = house.household()
    for one in (family, late):
        house.sell(product, card=one["card"], cash=1000)
    house.quiet()
    house.stop()
    lost = host.tell("cards")  # acknowledged, and never on the bus
    wanted, started = tmp_path / "wanted", tmp_path / "started"
    host.up = [str(wanted), str(started)]
    with ThreadPoolExecutor(1) as pool:
        restore = pool.submit(host.script, "restore.sh", str(backup))
        eventually(lambda: wanted.exists() or restore.done(), within=120, why="stores are back")
        assert not restore.done(), restore.result().stderr
        house.start()
        closed = house.get("/shop/api/tills", by="till", status=503)
        assert closed["reason"] == "service.restoring"
        started.touch()
        told = restore.result(300)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "cards: 1 cards.household.registered.v1" in told.stdout
    assert f"cards: t {lost}" in told.stdout
    assert "0 differences" in told.stdout

    who = first_start.administrator(house.settings, house.folder)
    house.tokens["administrator"] = house.token(who["email"], who["password"])
    for name in STAFF:
        house.tokens[name] = house.token(f"{name}@test.example", "tre-parole-insieme")
    for household, points in ((family["id"], 20), (late["id"], 10)):
        eventually(
            lambda h=household, p=points: house.points(h) == (p, 0),  # type: ignore[misc]
            within=60,
            why=f"{points} points",
        )
    house.quiet()
    done = house.command("restored", "open")
    assert "No store is marked" in done.stdout
    done = house.command("verify")
    assert done.returncode == 0, done.stdout + done.stderr
