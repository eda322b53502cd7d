"""The scripts that back up and restore with Docker: on a real PostgreSQL, with its own tools, and
the real jobs; Docker itself is stood in for."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import yaml

from vicinato.databases import create
from vicinato.paths import deploy_folder
from vicinato.settings import SERVICES

from .host import Host

FOLDER = deploy_folder() / "compose"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())

pytestmark = [pytest.mark.xdist_group("compose-postgresql"), pytest.mark.timeout(240)]


@dataclass
class Taken:
    """A backup, the facts that were told before, what Docker was asked for to take it, and which
    old databases lay aside afterwards."""

    folder: Path
    facts: dict[str, set[str]]
    at: datetime
    calls: list[list[str]]
    aside: set[str]


OLD, YOUNG = (
    f"vicinato_cards_aside_{datetime.now(UTC) - timedelta(days=days):%Y%m%d%H%M%S}"
    for days in (8, 6)
)


@pytest.fixture(scope="module")
def backup(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Taken:
    """Taken once, a week after one restore and a day before another is a week old."""
    host.anew()
    facts = {name: {host.tell(name)} for name in SERVICES}
    for name in (OLD, YOUNG):
        host.do(f"CREATE DATABASE {name}")
    disk, at = tmp_path_factory.mktemp("disk"), datetime.now(UTC)
    done = host.script("backup.sh", str(disk))
    assert done.returncode == 0, done.stderr
    (folder,) = disk.iterdir()
    return Taken(folder, facts, at, host.calls, host.databases("%\\_aside\\_%"))


def test_nobody_writes_while_a_backup_is_taken(backup: Taken) -> None:
    verbs = [words[0] for words in backup.calls]
    assert verbs == ["ps", "pause", *["exec"] * len(SERVICES), "unpause", "exec"]
    for verb in ("pause", "unpause"):
        (words,) = (one for one in backup.calls if one[0] == verb)
        assert set(words[1:]) == set(SERVICES)


def test_a_backup_is_whole_and_its_owners_alone(backup: Taken) -> None:
    assert re.fullmatch(r"vicinato-\d{4}-\d\d-\d\d-\d{6}", backup.folder.name)
    wanted = {"sums", "taken-at", *(f"{name}.pgdump" for name in SERVICES)}
    assert {path.name for path in backup.folder.iterdir()} == wanted
    for path in (backup.folder, *backup.folder.iterdir()):
        assert path.stat().st_mode & 0o077 == 0


def test_old_databases_go_a_week_after_a_restore(backup: Taken) -> None:
    assert YOUNG in backup.aside
    assert OLD not in backup.aside


def test_a_backup_that_fails_leaves_nothing_and_everybody_goes_on(
    host: Host, tmp_path: Path
) -> None:
    host.do("ALTER DATABASE vicinato_shop RENAME TO away")
    try:
        done = host.script("backup.sh", str(tmp_path))
    finally:
        host.do("ALTER DATABASE away RENAME TO vicinato_shop")
    assert done.returncode != 0
    assert "vicinato_shop" in done.stderr
    assert list(tmp_path.iterdir()) == []
    assert host.calls[-1][0] == "unpause"


def test_what_was_told_since_the_backup_lies_aside_and_the_stores_are_marked(
    host: Host, backup: Taken
) -> None:
    late = {name: host.tell(name) for name in SERVICES}
    before = host.databases("%\\_aside\\_%")
    done = host.script("restore.sh", str(backup.folder))
    assert done.returncode == 0, done.stderr
    (stamp,) = {n.rpartition("_")[2] for n in host.databases("%\\_aside\\_%") - before}
    for name in SERVICES:
        assert host.facts(name) == backup.facts[name]
        assert host.facts(name, f"_aside_{stamp}") >= {late[name], *backup.facts[name]}
        mark = host.mark(name)
        assert mark is not None
        assert abs(mark.taken_at - backup.at) < timedelta(seconds=60)
        assert mark.last_row == 1
        assert not mark.new_machine
    assert host.databases("vicinato\\_%\\_restoring") == set()
    assert host.calls[-1] == [
        *("run", "--rm", "verify", "vicinato", "restored", "open", "--aside", stamp),
    ]
    _marked_before_their_services_can_find_them(host.calls)
    _nobody_elses(host)


def _marked_before_their_services_can_find_them(calls: list[list[str]]) -> None:
    (stop,) = (k for k, words in enumerate(calls) if words[0] == "stop")
    (mark,) = (k for k, words in enumerate(calls) if words[:3] == ["run", "--rm", "migrate"])
    exchange = max(k for k, words in enumerate(calls) if words[0] == "exec")
    start = max(k for k, words in enumerate(calls) if words[0] == "up")
    assert set(calls[stop][1:]) == set(SERVICES)
    assert stop < mark < exchange < start


def _nobody_elses(host: Host) -> None:
    """No service may connect to the restored database of another."""
    strange = host.url("cards").replace("/vicinato_cards", "/vicinato_shop")
    strange = strange.replace("//vicinato_shop", "//vicinato_cards")
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(strange)


def test_one_database_alone_is_put_back_also_after_a_restore_that_was_broken_off(
    host: Host, backup: Taken
) -> None:
    host.do("CREATE DATABASE vicinato_shop_restoring")
    marks = {name: host.mark(name) for name in SERVICES}
    late = {name: host.tell(name) for name in ("shop", "cards")}
    done = host.script("restore.sh", str(backup.folder), "shop")
    assert done.returncode == 0, done.stderr
    assert host.facts("shop") == backup.facts["shop"]
    assert host.mark("shop") is not None
    assert late["cards"] in host.facts("cards")
    assert host.mark("cards") == marks["cards"]


@pytest.fixture
def another(host: Host, tmp_path: Path) -> Iterator[Host]:
    """A host where nothing is, with secrets of its own; on the same server, to spare one."""
    for name in SERVICES:
        host.do(f"DROP DATABASE vicinato_{name} WITH (FORCE)")
    for name in host.databases("%\\_aside\\_%"):
        host.do(f"DROP DATABASE {name} WITH (FORCE)")
    for name in SERVICES:
        host.do(f"DROP ROLE vicinato_{name}")
    yield Host(tmp_path / "another", host.server)
    create(host.server, {name: host.url(name) for name in SERVICES})


def test_a_new_host_takes_it_and_gives_the_administrator_a_password_of_its_own(
    another: Host, backup: Taken
) -> None:
    done = another.script("restore.sh", "--new-secrets", str(backup.folder))
    assert done.returncode == 0, done.stderr
    for name in SERVICES:
        assert another.facts(name) == backup.facts[name]
    mark = another.mark("identity")
    assert mark is not None
    assert mark.new_machine


def test_a_damaged_backup_changes_nothing(host: Host, backup: Taken, tmp_path: Path) -> None:
    damaged = shutil.copytree(backup.folder, tmp_path / "damaged")
    with (damaged / "cards.pgdump").open("ab") as file:
        file.write(b"x")
    done = host.script("restore.sh", str(damaged))
    assert done.returncode != 0
    assert "cards.pgdump" in done.stdout + done.stderr
    assert host.calls == []


def test_a_service_that_is_not_in_it_is_refused(host: Host, backup: Taken) -> None:
    done = host.script("restore.sh", str(backup.folder), "till")
    assert done.returncode == 2
    assert "no database of till" in done.stderr
    assert host.calls == []


def test_the_scripts_name_the_services_jobs_and_secrets_that_there_are() -> None:
    for script in ("backup.sh", "restore.sh"):
        text = (FOLDER / script).read_text()
        (named,) = re.findall(r'^services="(.*)"$', text, re.MULTILINE)
        assert sorted(named.split()) == sorted(SERVICES)
        for name in re.findall(r"docker compose (?:run --rm|exec -T) (\w+)", text):
            assert name in COMPOSE["services"]
        for secret in re.findall(r"/run/secrets/([\w-]+)", text):
            assert secret in COMPOSE["services"]["postgresql"]["secrets"]
