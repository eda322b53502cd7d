"""The scripts that back up and restore with Docker: on a real PostgreSQL, with its own tools, and
the real jobs; Docker itself is stood in for."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import yaml

from messaging import restoring
from messaging.tables import write_meta
from runtime.store import Store
from vicinato.backup import finish
from vicinato.commands import restored
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
    each = len(SERVICES)
    assert verbs == ["ps", "pause", *["exec"] * each, *["unpause"] * each, "exec"]
    (pause,) = (words for words in backup.calls if words[0] == "pause")
    assert set(pause[1:]) == gone_on(backup.calls) == set(SERVICES)


def gone_on(calls: list[list[str]]) -> set[str]:
    """The services that Docker was asked to let go on."""
    return {name for words in calls if words[0] == "unpause" for name in words[1:]}


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
    host: Host, backup: Taken, tmp_path: Path
) -> None:
    """Also when Docker does not let one of them go on."""
    host.do("ALTER DATABASE vicinato_shop RENAME TO away")
    try:
        done = host.script("backup.sh", str(tmp_path), failing=[["unpause", "cards"]])
    finally:
        host.do("ALTER DATABASE away RENAME TO vicinato_shop")
    assert done.returncode != 0
    assert "vicinato_shop" in done.stderr
    assert list(tmp_path.iterdir()) == []
    assert gone_on(host.calls) == set(SERVICES)


def test_a_backup_that_is_broken_off_while_it_pauses_leaves_nothing_and_everybody_goes_on(
    host: Host, backup: Taken, tmp_path: Path
) -> None:
    not_yet = [["unpause", name] for name in ("shop", "network")]
    done = host.script("backup.sh", str(tmp_path), last=["pause"], failing=not_yet)
    assert done.returncode == 1
    assert list(tmp_path.iterdir()) == []
    assert gone_on(host.calls) == set(SERVICES)


def test_a_backup_after_which_somebody_does_not_go_on_is_there_and_says_so(
    host: Host, backup: Taken, tmp_path: Path
) -> None:
    done = host.script("backup.sh", str(tmp_path), failing=[["unpause", "cards"]])
    assert done.returncode == 1
    (folder,) = tmp_path.iterdir()
    assert (folder / "sums").exists()
    assert gone_on(host.calls) == set(SERVICES)


OPEN = ["run", "--rm", "verify", "vicinato", "restored", "open"]
START = ["up", "-d", "--wait"]
READY = {f"vicinato_{name}_restoring" for name in ("cards", "shop")}


@pytest.fixture
def killed(host: Host, backup: Taken, tmp_path: Path) -> Iterator[Path]:
    """What a backup and a restore that were killed have left: a draft on the disk, and databases
    that were ready."""
    (tmp_path / "vicinato-2026-01-01-033000.part").mkdir()
    for name in READY:
        host.do(f"CREATE DATABASE {name}")
    yield tmp_path
    for name in READY:
        host.do(f"DROP DATABASE IF EXISTS {name}")


def ready(host: Host) -> set[str]:
    """The databases that are made ready beside the old ones."""
    return host.databases("vicinato\\_%\\_restoring")


def test_what_was_left_by_a_kill_goes_with_the_next_backup(host: Host, killed: Path) -> None:
    assert ready(host) == READY
    done = host.script("backup.sh", str(killed))
    assert done.returncode == 0, done.stderr
    (folder,) = killed.iterdir()
    assert (folder / "sums").exists()
    assert ready(host) == set()


def test_while_one_script_is_at_work_another_changes_nothing(
    host: Host, backup: Taken, killed: Path
) -> None:
    at_work = os.open(FOLDER, os.O_RDONLY)
    try:
        fcntl.flock(at_work, fcntl.LOCK_EX)
        for words in (["backup.sh", str(killed)], ["restore.sh", str(backup.folder)]):
            done = host.script(*words)
            assert done.returncode == 1
            assert "is at work here" in done.stderr
            assert host.calls == []
    finally:
        os.close(at_work)
    assert ready(host) == READY
    assert len(list(killed.iterdir())) == 1


def test_what_was_told_since_the_backup_lies_aside_and_the_stores_are_marked(
    host: Host, backup: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where databases and roles are there, the job that makes them changes nothing."""
    monkeypatch.setattr(host, "run", ["provision", "migrate"])
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
    assert ready(host) == set()
    assert ["run", "--rm", "provision"] in host.calls
    assert host.calls[-1] == OPEN
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


def test_a_restore_that_fails_leaves_nothing_and_changes_nothing(
    host: Host, backup: Taken, tmp_path: Path
) -> None:
    """One database was ready then."""
    damaged = shutil.copytree(backup.folder, tmp_path / "damaged")
    dump = damaged / "cards.pgdump"
    dump.write_bytes(dump.read_bytes()[:1000])
    sums(damaged)
    before = host.databases("%")
    done = host.script("restore.sh", str(damaged))
    assert done.returncode != 0
    assert "docker compose up -d --wait" in done.stderr
    assert host.databases("%") == before
    assert len([words for words in host.calls if "vicinato_identity" in words]) == 2


def sums(folder: Path) -> None:
    """Those of the files as they are now."""
    lines = (folder / "sums").read_text().splitlines()
    names = [line.split()[-1] for line in lines]
    made = [f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}\n" for n in names]
    (folder / "sums").write_text("".join(made))


def test_a_restore_that_is_broken_off_leaves_nothing_and_changes_nothing(
    host: Host, backup: Taken
) -> None:
    """All databases are ready and about to be exchanged then."""
    before = host.databases("%")
    done = host.script("restore.sh", str(backup.folder), last=["run", "--rm", "migrate"])
    assert done.returncode == 1
    assert "docker compose up -d --wait" in done.stderr
    assert host.databases("%") == before


def test_a_restore_whose_services_do_not_start_has_said_how_it_goes_on(
    host: Host, backup: Taken
) -> None:
    done = host.script("restore.sh", str(backup.folder), "shop", failing=[START])
    assert done.returncode != 0
    assert host.calls[-1] == START
    verify = f"docker compose {' '.join(OPEN)}\n"
    assert f"docker compose up -d --wait\n{verify}" in done.stdout


def test_what_did_not_come_back_is_told_also_when_a_restore_is_repeated(
    host: Host, backup: Taken
) -> None:
    """Of two databases, then of one: neither's services have opened before the next, and the
    report is of all three."""
    opened(host)
    both = ["shop", "cards"]
    lost = {name: host.tell(name) for name in both}
    for chosen in (both, both, ["shop"]):
        host.script("restore.sh", str(backup.folder), *chosen, failing=[START])
    text = opened(host)
    for name, fact in lost.items():
        assert f"{name}: t {fact}" in text
    assert "cannot be read" not in text
    host.script("restore.sh", str(backup.folder), *both)
    assert lost["cards"] not in opened(host), "it was told once"


def opened(host: Host) -> str:
    """The report, once the services have recovered."""
    marks = restored._marks(host.target.urls)
    for name in marks:
        store = Store(host.url(name), readers=1)
        store.write_now(lambda c: write_meta(c, restoring.READY, "yes"))
        store.close_now()
    if not marks:
        return ""
    lines: list[str] = []
    journal = restored._journal(host.target, marks)
    done = finish.opened(host.target, journal, None, tell=lines.extend, stopped=lambda: True)
    assert done is not None, "they have not recovered"
    return "\n".join(lines)


@pytest.fixture
def another(host: Host, backup: Taken, tmp_path: Path) -> Iterator[Host]:
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
    (named,) = re.findall(r'^services="(.*)"$', (FOLDER / "databases.sh").read_text(), re.MULTILINE)
    assert sorted(named.split()) == sorted(SERVICES)
    for script in ("databases.sh", "backup.sh", "restore.sh"):
        text = (FOLDER / script).read_text()
        for name in re.findall(r"docker compose (?:run --rm|exec -T) (\w+)", text):
            assert name in COMPOSE["services"]
        for secret in re.findall(r"/run/secrets/([\w-]+)", text):
            assert secret in COMPOSE["services"]["postgresql"]["secrets"]
