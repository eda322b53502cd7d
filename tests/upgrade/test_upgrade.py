"""What an earlier version left is taken over and goes on; what a newer one left is refused.

The fixtures are data folders (see `keep.py`) without a bus: it is made anew from the outboxes.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest
from house import rests_by

from runtime import migrations
from runtime.testing import eventually
from vicinato.backup.archive import Backup
from vicinato.databases import migrate
from vicinato.ports import free_block
from vicinato.processes import die_with_parent
from vicinato.refusals import Exit
from vicinato.settings import SERVICES
from web.serve import service_named

KEPT = sorted(Path(__file__).parent.glob("data-*.zip"))

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("upgrade"), pytest.mark.timeout(600)]


@pytest.fixture(params=KEPT, ids=lambda path: path.stem)
def data(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A data folder as an earlier version left it."""
    folder = tmp_path / "data"
    with zipfile.ZipFile(request.param) as archive:
        archive.extractall(folder)
    return folder


def urls(data: Path) -> dict[str, str]:
    return {name: f"sqlite:///{data / 'stores' / name}.db" for name in SERVICES}


def counts(data: Path) -> dict[str, int]:
    """How many events each service has told."""
    found = {}
    for name in SERVICES:
        with closing(sqlite3.connect(data / "stores" / f"{name}.db")) as connection:
            (found[name],) = connection.execute("SELECT count(*) FROM outbox").fetchone()
    return found


def vicinato(data: Path, *words: str, port: int = 0) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "DATA": str(data), "PORT": str(port or free_block())}
    command = [sys.executable, "-m", "vicinato.cli", *words]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


@contextmanager
def opened(data: Path) -> Iterator[tuple[httpx.Client, int]]:
    """The house on that folder, and its port; stopped in order at the end."""
    port = free_block()
    environ = {**os.environ, "DATA": str(data), "PORT": str(port), "READY_WITHIN": "300"}
    with (data / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "vicinato.cli", "up"],
            env=environ,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent(),
        )

    def is_open() -> bool:
        told = (data / "up.log").read_text()
        assert process.poll() is None, told
        return "is open at" in told

    try:
        eventually(is_open, within=400, why="the house opens")
        with httpx.Client(base_url=f"http://localhost:{port}", timeout=60) as http:
            yield http, port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def test_data_of_an_earlier_version_is_migrated_and_goes_on(data: Path) -> None:
    before = counts(data)
    assert all(before.values())
    sign_ins = json.loads((data / "secrets" / "demonstration-sign-ins.json").read_text())
    (reception,) = (one for one in sign_ins if one["role"] == "reception")
    with opened(data) as (http, port):
        for name, url in urls(data).items():
            package = service_named(name).package
            assert [migrations.current(url)] == list(migrations.heads(package))
        asked = {"email": reception["email"], "password": reception["password"], "days": 1}
        token = http.post("/identity/api/tokens", json=asked).json()["token"]
        http.headers["Authorization"] = f"Bearer {token}"

        def registers() -> bool:
            """As soon as the new token is known there."""
            household = {
                "zone": "Satta",
                "consents": ["registration"],
                "members": [{"given_name": "Nadia", "family_name": "Nuova", "language": "fr"}],
            }
            answer = http.post(
                "/cards/api/households",
                json=household,
                headers={"Idempotency-Key": "after the upgrade"},
            )
            return answer.status_code == 201

        eventually(registers, within=60, why="reception registers a household")

        def knows_the_zone() -> bool:
            """What this version asks for and the earlier one did not, learnt from the bus."""
            with closing(sqlite3.connect(data / "stores" / "activities.db")) as connection:
                return bool(connection.execute("SELECT time_zone FROM centre_seen").fetchall())

        eventually(knows_the_zone, within=120, why="activities knows the zone of the centre")

        def rests() -> bool:
            """Looked at before `verify`, which is not asked while there is work to be done."""
            pages = [http.get(f"http://127.0.0.1:{port + n}/metrics").text for n in range(1, 7)]
            return all(map(rests_by, pages))

        eventually(rests, within=240, why="the bus is made anew, and nothing is on its way")

        def holds() -> bool:
            return vicinato(data, "verify", port=port).returncode == 0

        eventually(holds, within=60, why="every invariant holds")
    after = counts(data)
    assert after["cards"] > before["cards"]
    assert all(after[name] >= before[name] for name in SERVICES)


def test_data_of_an_earlier_version_can_be_saved_before_it_is_brought_to_this_one(
    data: Path, tmp_path: Path
) -> None:
    """Who fetched the new version first, and thinks of the backup then."""
    done = vicinato(data, "verify", "--without-bus")
    assert done.returncode == Exit.NOT_RUNNING, done.stdout + done.stderr
    assert "is of another version" in done.stderr
    assert "Traceback" not in done.stderr
    backup = tmp_path / "before.backup"
    done = vicinato(data, "backup", str(backup))
    assert done.returncode == 0, done.stderr
    migrate(urls(data))
    saved = Backup(backup)
    saved.check()
    for name, facts in saved.manifest.stores.items():
        with closing(sqlite3.connect(data / "stores" / f"{name}.db")) as connection:
            (last,) = connection.execute("SELECT max(row) FROM outbox").fetchone()
            assert facts.last_row == last
            assert facts.revision != migrations.current(urls(data)[name])


def test_data_of_a_newer_version_is_refused_and_left_alone(data: Path) -> None:
    migrate(urls(data))
    store = data / "stores" / "cards.db"
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    left = store.read_bytes()
    done = vicinato(data, "up")
    assert done.returncode == Exit.NEWER_DATA, done.stdout + done.stderr
    assert "was written by a newer version" in done.stderr
    assert "Traceback" not in done.stderr
    assert store.read_bytes() == left


def test_the_fixtures_are_small_and_hold_invented_people_only() -> None:
    assert KEPT
    for path in KEPT:
        assert path.stat().st_size < 1_000_000
        with zipfile.ZipFile(path) as archive:
            assert json.loads(archive.read("first-start.json")) == {"demonstration": "loaded"}
