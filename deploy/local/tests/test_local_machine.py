"""The commands that act on a running service by its API: on the real identity, without a bus."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import select
import subprocess
import sys
import termios
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import uvicorn

from contracts.identity import SessionRevoked
from identity import store
from identity.hashing import HASHER
from messaging import tables
from messaging.engine import Engine
from messaging.envelope import Record, decode, wire_headers
from messaging.testing import count_as_sent
from runtime.clock import SteadyClock
from runtime.testing import eventually, migrated
from vicinato import cli, first_start, settings
from vicinato.commands import machine, status
from vicinato.commands.up import Screen
from vicinato.day import client
from vicinato.folder import Folder
from vicinato.ports import free_block, free_port
from vicinato.programs.service import store_url
from vicinato.refusals import CommandError, Exit
from web.app import build
from web.serve import service_named


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """Identity as the only service of an installation, with its first administrator."""
    monkeypatch.setenv("DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PORT", str(free_block()))
    monkeypatch.setattr(settings, "SERVICES", ("identity",))
    wanted = settings.load()
    folder = Folder(wanted.data)
    folder.open()
    first_start.administrator(wanted, folder)
    service = service_named("identity")
    url = store_url("identity", wanted, folder)
    migrated(url, service.package, service.metadata)
    app = build(
        service,
        service.settings(
            service="identity",
            database_url=url,
            public_url=wanted.address,
            data=wanted.data,
            identity_key_file=folder.secrets.path("identity-key"),
            first_admin_file=folder.secrets.folder / first_start.ADMINISTRATOR,
        ),
        bus=False,
    )
    port = wanted.service_port("identity")
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None))
    thread = threading.Thread(target=server.run)
    with folder.locked():
        thread.start()
        try:
            eventually(lambda: server.started, within=30, why="identity")
            yield app.state.parts.engine
        finally:
            server.should_exit = True
            thread.join()


def run(*words: str) -> int:
    """A command line; its exit code."""
    with pytest.raises(SystemExit) as ended:
        cli.run(list(words))
    return int(ended.value.code or 0)


def refused(*words: str) -> CommandError:
    with pytest.raises(CommandError) as refusal:
        cli.run(list(words))
    return refusal.value


def test_events_are_sent_again(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    count = engine.store.write_now(count_as_sent)
    assert count
    assert run("replay", "identity", "--topic", "identity.events", "--since", "2026-01-01") == 0
    told, *shown = capsys.readouterr().out.splitlines()
    assert shown[-1].startswith("The bus is away")
    assert int(told.split()[0]) >= count  # making the token told something as well
    assert run("replay", "identity", "--topic", "identity.events", "--since", "2999-01-01") == 0
    assert capsys.readouterr().out.startswith("0 events")
    refusal = refused("replay", "identity", "--topic", "cards.events")
    assert refusal.code is Exit.REFUSED
    assert "topic.unknown" in refusal.english


def test_on_any_terminal_an_id_stands_whole(
    engine: Engine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is what `show`, `send-again` and `discard` are given."""
    monkeypatch.setenv("COLUMNS", "80")
    event_id = "82958969-44bd-4512-89c2-8cef06ac7a1c"
    row = {
        "event_id": event_id,
        "topic": "cards.events",
        "partition": 0,
        "record_offset": 1,
        "key": "k",
        "type": "cards.household.registered.v9",
        "state": "dead",
        "reason": "version.newer: this build knows cards.household.registered up to v1",
        "tries": 0,
        "headers": [],
        "stamp": 0,
        "at": datetime.now(UTC),
    }
    engine.store.write_now(lambda c: c.execute(sa.insert(tables.set_aside), [row]))
    assert run("set-aside", "list", "--state", "dead") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.split()[:2] == ["identity", event_id]
    assert row["reason"] in second
    assert run("set-aside", "list", "--state", "waiting") == 0
    assert capsys.readouterr().out == "Nothing is set aside.\n"


def test_a_service_that_is_not_on_kafka_is_named(engine: Engine) -> None:
    port = settings.load().service_port("identity")
    known = {"name": "identity", "pid": os.getpid(), "port": port, "state": "ready"}
    rows = status.rows_of({"pid": os.getpid(), "children": [known]})
    assert {row.name: row.reason for row in rows} == {
        "supervisor": "",
        "identity": "is not on Kafka",
    }


def test_the_state_of_all_parts_fits_eighty_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    counts = {"waiting": 12, "dead": 1, "discarded": 1, "retrying": 0}
    row = status.Row("notifications", 1234567, 18085, "backing off", 12, "", 5 << 20)
    row.outbox_age_seconds, row.lag, row.set_aside = 86400.0, 12345, counts
    state = {"address": "http://localhost:18080", "began": time.time()}
    status._show(state, [row])
    shown = capsys.readouterr().out
    for word in ("notifications", "backing off", "1234567", "86400 s", "12345", "1 discarded"):
        assert word in shown
    assert "…" not in shown


def test_what_is_wrong_in_a_request_is_named(engine: Engine) -> None:
    refusal = refused("set-aside", "list", "identity", "--state", "asleep")
    assert refusal.code is Exit.REFUSED
    assert "state: " in refusal.english


def test_the_token_ends_with_the_command(engine: Engine) -> None:
    assert run("reread", "identity") == 0
    revoked = sa.select(sa.func.count()).where(tables.outbox.c.type == SessionRevoked.ce_type())
    assert engine.store.read_now(lambda c: c.scalar(revoked)) == 1


def test_a_comparison_and_a_rebuild_need_the_bus_and_a_service_that_there_is(
    engine: Engine,
) -> None:
    assert "bus.away" in refused("compare", "identity").english
    assert "bus.away" in refused("rebuild", "identity", "auth").english
    assert refused("compare", "baker").code is Exit.SETTING


class OwnLog:
    """As much of a bus as a rebuild needs: what the service itself told."""

    def __init__(self, engine: Engine) -> None:
        rows = engine.store.read_now(lambda c: c.execute(sa.select(tables.outbox)).all())
        self.records = [
            Record(r.topic, 0, n, 1, r.key.encode(), r.body, headers_of(r))
            for n, r in enumerate(rows)
        ]

    def settled(self, engine: Engine) -> None:
        """The live side has read it to its end: a rebuild reads what that has passed."""
        last = self.records[-1]
        row = {
            "side": "in",
            "topic": last.topic,
            "partition": last.partition,
            "record_offset": last.offset,
            "event_id": decode(last).id,
            "stamp": last.stamp,
            "era": 0,
        }
        engine.store.write_now(lambda c: c.execute(sa.insert(tables.place).values(**row)))

    @contextlib.asynccontextmanager
    async def reader(self) -> AsyncIterator[OwnLog]:
        yield self

    async def ends(self, topics: Sequence[str]) -> dict[tuple[str, int], int]:
        return {("identity.events", 0): len(self.records)} if "identity.events" in topics else {}

    async def read(
        self, starts: dict[tuple[str, int], int], ends: dict[tuple[str, int], int]
    ) -> AsyncIterator[Sequence[Record]]:
        if left := self.records[starts.get(("identity.events", 0), 0) :]:
            yield left


def headers_of(row: Any) -> Any:
    return wire_headers(row.headers, previous=row.previous, cause=row.cause, era=0)


def test_a_rebuild_is_waited_for(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    log = OwnLog(engine)
    log.settled(engine)
    engine.bus = log  # type: ignore[assignment]
    assert run("rebuild", "identity", "auth") == 0
    told = capsys.readouterr().out
    assert f"{len(engine.bus.records)}/" in told  # type: ignore[union-attr]
    assert "auth: built anew, and answering." in told
    assert "projection.unknown" in refused("rebuild", "identity", "none").english


def test_all_are_built_anew_by_one_word(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    log = OwnLog(engine)
    log.settled(engine)
    engine.bus = log  # type: ignore[assignment]
    assert run("rebuild", "identity") == 0
    told = capsys.readouterr().out
    assert all(p.name in told for p in engine.service.all_projections)
    assert "built anew, and answering." in told


class Draining:
    """A service whose backlog goes down with every look; None: it was not seen yet."""

    def __init__(self, *backlog: int) -> None:
        self.backlog = list(backlog)

    def page(self, _port: int, _path: str, within: float) -> tuple[int, str]:
        left = self.backlog.pop(0) if len(self.backlog) > 1 else self.backlog[0]
        first = left // 2
        return 200, (
            f'vicinato_consumer_lag{{partition="0"}} {first}.0\n'
            f'vicinato_consumer_lag{{partition="1"}} {left - first}.0\n'
            "vicinato_bus_connected 1.0\n"
        )


def test_reading_again_is_shown_until_it_is_done(
    engine: Engine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    draining = Draining(0, 70, 40, 0)
    monkeypatch.setattr(machine, "get", draining.page)
    assert run("reread", "identity") == 0
    assert "70/70" in capsys.readouterr().out
    assert draining.backlog == [0]


class LateClock:
    """A machine whose clock was set forward."""

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(minutes=6)


def test_a_doubted_date_is_shown_and_confirmed(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("clock") == 0
    assert isinstance(engine.clock, SteadyClock)
    engine.guard._clock = engine.clock.under = LateClock()
    assert run("clock") == 1
    told = capsys.readouterr().out
    assert "jumped" in told
    assert "--confirm" in told
    assert run("clock", "--confirm") == 0
    assert not engine.guard.suspicious
    assert run("clock") == 0


CHOSEN = "quattro parole scelte insieme"


def change_password(engine: Engine) -> None:
    """As the home page of identity asks for: the first administrator chooses another one."""
    chosen = sa.update(store.account).values(password_hash=HASHER.hash(CHOSEN))
    engine.store.write_now(lambda c: c.execute(chosen))


def tries(engine: Engine) -> int:
    """How many wrong sign-ins are counted."""
    counted = sa.select(sa.func.count()).select_from(store.attempt)
    counted = counted.where(store.attempt.c.known_until.is_(None))
    return engine.store.read_now(lambda c: c.scalar(counted)) or 0


def typed(email: str, password: str) -> subprocess.CompletedProcess[str]:
    """`vicinato set-aside list identity` on a terminal of its own, on which these are typed as it
    asks for them. What stood on the terminal is its standard error."""
    ours, theirs = pty.openpty()
    told = b""

    def stands_there(word: bytes) -> bool:
        nonlocal told
        if select.select([ours], [], [], 0)[0]:
            told += os.read(ours, 1000)
        return word in told

    with subprocess.Popen(
        [sys.executable, "-m", "vicinato.cli", "set-aside", "list", "identity"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        start_new_session=True,
        text=True,
    ) as process:
        try:
            eventually(lambda: stands_there(b"E-mail"), within=30, why="the address is asked for")
            os.write(ours, f"{email}\n".encode())
            # What is typed before the echo ends is thrown away.
            eventually(
                lambda: stands_there(b"Password") and not termios.tcgetattr(ours)[3] & termios.ECHO,
                within=30,
                why="the password is asked for, and not shown",
            )
            os.write(ours, f"{password}\n".encode())
            out, _ = process.communicate(timeout=60)
            stands_there(b"")
        finally:
            process.kill()
            os.close(theirs)
            os.close(ours)
    return subprocess.CompletedProcess(process.args, process.returncode, out, told.decode())


def test_a_changed_password_is_asked_for_on_the_terminal(engine: Engine) -> None:
    change_password(engine)
    done = typed("", CHOSEN)  # the address that is proposed is right
    assert done.returncode == 0
    assert done.stdout == "Nothing is set aside.\n"
    assert "it was changed" in done.stderr
    assert CHOSEN not in done.stderr


def test_a_changed_password_is_told_where_nobody_can_be_asked_and_is_no_guess(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_password(engine)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    refusal = refused("set-aside", "list", "identity")
    assert refusal.code is Exit.REFUSED
    assert "first-admin.json" in refusal.english
    assert "SIGN_IN_FILE" in refusal.english
    assert tries(engine) == 0


def test_a_file_or_a_pipe_says_who_asks(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_password(engine)
    who = json.dumps({"email": settings.load().admin_email, "password": CHOSEN})
    file = tmp_path / "sign-in.json"
    file.write_text(who)
    monkeypatch.setenv("SIGN_IN_FILE", str(file))
    assert run("set-aside", "list", "identity") == 0
    monkeypatch.setenv("SIGN_IN_FILE", "/dev/stdin")
    words = [sys.executable, "-m", "vicinato.cli", "set-aside", "list", "identity"]
    done = subprocess.run(words, input=who, capture_output=True, text=True, check=False)
    assert done.stdout == "Nothing is set aside.\n", done.stderr


@pytest.mark.parametrize("text", ["", "[]", '{"email": "a@b.example"}'])
def test_a_file_that_does_not_say_who_asks_is_named(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    file = tmp_path / "sign-in.json"
    file.write_text(text)
    monkeypatch.setenv("SIGN_IN_FILE", str(file))
    refusal = refused("set-aside", "list", "identity")
    assert refusal.code is Exit.SETTING
    assert str(file) in refusal.english


async def test_a_start_shows_the_passwords_that_hold_and_no_other(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = settings.load()
    folder = Folder(wanted.data)
    known = first_start.sign_ins(wanted, folder)
    screen = Screen(io.StringIO())
    screen.sign_ins(known, await first_start.holding(wanted, folder))
    assert known[0]["password"] in capsys.readouterr().out
    change_password(engine)
    screen.sign_ins(known, await first_start.holding(wanted, folder))
    told = capsys.readouterr().out
    assert known[0]["password"] not in told
    assert known[0]["email"] in told


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names a proxy for everything, and nobody is there."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)


@pytest.mark.usefixtures("proxy")
def test_a_command_asks_past_a_proxy(engine: Engine) -> None:
    assert run("set-aside", "list", "identity") == 0


@pytest.mark.usefixtures("proxy")
async def test_a_day_is_played_past_a_proxy(engine: Engine) -> None:
    wanted = settings.load()
    api = client.Api(f"http://127.0.0.1:{wanted.service_port('identity')}")
    try:
        who = first_start.administrator(wanted, Folder(wanted.data))
        await api.sign_in("administrator", who["email"], who["password"])
    finally:
        await api.close()
    assert api.tokens["administrator"]
