"""The process: what it says when it cannot start, and that it stops in time."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from messaging import Transaction
from runtime import migrations
from runtime.settings import Settings
from runtime.store import Store
from runtime.testing import eventually, eventually_async
from web import Role, app, serve
from web.serve import configuration
from web.testing import Client, publish_key, token


def test_a_wrong_call_or_service_is_one_sentence_and_two(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert serve.main([]) == 2
    assert "usage" in capsys.readouterr().err
    assert serve.main(["baker"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("there is no service 'baker'")
    assert len(told.splitlines()) == 1


def test_data_that_was_not_migrated_and_a_database_that_is_away_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from web_sample.app import SERVICE

    monkeypatch.setattr(serve, "service_named", lambda name: SERVICE)
    monkeypatch.setattr(migrations, "heads", lambda package: ["0001"])
    for url, code, said in (
        (f"sqlite:///{tmp_path / 'empty.db'}", 2, "migrate first"),
        ("postgresql://nobody@127.0.0.1:1/none", 1, "does not answer"),
    ):
        monkeypatch.setenv("VICINATO_DATABASE_URL", url)
        assert serve.main(["sample"]) == code
        told = capsys.readouterr().err
        assert said in told
        assert len(told.splitlines()) == 1
    monkeypatch.setenv("VICINATO_PORT", "none")
    assert serve.main(["sample"]) == 2
    assert "VICINATO_PORT" in capsys.readouterr().err


def test_forwarded_headers_are_believed_from_the_front_door_only(tmp_path: Path) -> None:
    from web_sample.app import SERVICE

    settings = SERVICE.settings(service="sample", database_url=f"sqlite:///{tmp_path / 'a.db'}")
    made = configuration(SERVICE, settings)
    assert made.forwarded_allow_ips == "127.0.0.1,::1"
    assert made.access_log is False
    elsewhere = settings.model_copy(update={"front_door": "10.77.0.0/24"})
    assert configuration(SERVICE, elsewhere).forwarded_allow_ips == "10.77.0.0/24"


async def test_what_a_service_does_at_its_start_is_done_before_it_answers(tmp_path: Path) -> None:
    from web_sample.app import SERVICE, make, thing

    def begin(tx: Transaction, settings: Settings) -> None:
        make(tx, settings.service, 1)

    beginning = dataclasses.replace(SERVICE, on_start=begin)
    async with Client(beginning, f"sqlite:///{tmp_path / 'first.db'}") as client:
        assert await client.read(lambda c: c.scalar(sa.select(thing.c.name))) == "sample"


async def test_a_worker_that_fails_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from web_sample.app import SERVICE

    monkeypatch.setattr(app, "RESTART_PAUSE", 0)
    lives = []

    async def worker(_app: object) -> None:
        lives.append(1)
        if len(lives) < 3:
            raise RuntimeError("broken")

    working = dataclasses.replace(SERVICE, workers=(worker,))
    async with Client(working, f"sqlite:///{tmp_path / 'worker.db'}"):
        await eventually_async(lambda: len(lives) == 3, why="the third life")


RUN = """
import sys
from web import serve
from web_sample.app import SERVICE
serve.service_named = lambda name: SERVICE
serve.migrations.check = lambda url, package: None  # the sample has no history
sys.exit(serve.main(["sample"]))
"""


def alive(base: str) -> bool:
    try:
        return httpx.get(f"{base}/readyz").status_code == 200
    except httpx.HTTPError:
        return False


@contextmanager
def running(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The sample as a process of its own, and its port."""
    from web_sample.app import SERVICE

    url = f"sqlite:///{folder / 'served.db'}"
    store = Store(url)
    store.write_now(SERVICE.metadata.create_all)
    store.write_now(publish_key)
    store.close_now()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-c", RUN],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(__file__).parent / "sample"),
            "VICINATO_DATABASE_URL": url,
            "VICINATO_PORT": str(port),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        eventually(
            lambda: alive(f"http://127.0.0.1:{port}"), within=30, why="the service to answer"
        )
        yield process, port
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_it_serves_and_ends_in_time_though_somebody_listens(tmp_path: Path) -> None:
    with running(tmp_path) as (process, port):
        base = f"http://127.0.0.1:{port}"
        cookie = {"Cookie": f"token={token(Role.TILL, centre='c1')}"}
        with httpx.Client(base_url=base, headers=cookie, timeout=20) as client:
            client.get("/sample/hello?q=maria.rossi@example.org", headers={"Accept-Language": "it"})
            with client.stream("GET", "/sample/live/things.c1") as stream:
                lines = stream.iter_lines()
                assert next(lines) == "event: open"
                process.send_signal(signal.SIGTERM)
                assert process.wait(timeout=10) == 0
        said = process.stdout.read() if process.stdout else ""
        assert '"route":"/sample/hello"' in said
        assert "maria.rossi" not in said
        assert "Traceback" not in said


AMBIGUOUS = [
    ["Content-Length: 5", "Content-Length: 6"],
    ["Content-Length: 5", "Transfer-Encoding: chunked"],
    ["Transfer-Encoding: chunked", "Content-Length: 5"],
    ["Content-Length: +5"],
    ["Content-Length: 5, 6"],
    ["Transfer-Encoding: chunked, identity"],
    ["Transfer-Encoding : chunked"],
]
"""What one program may take for a short request and the next for a long one, in whose rest another
request is hidden (RFC 9112, 6.3 and 11.2)."""


def test_a_request_whose_end_is_not_certain_is_refused(tmp_path: Path) -> None:
    hidden = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    with running(tmp_path) as (_, port):
        for headers in AMBIGUOUS:
            head = "\r\n".join(["POST /sample/things HTTP/1.1", "Host: a", *headers])
            with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
                line.sendall(f"{head}\r\n\r\n0\r\n\r\n{hidden}".encode())
                answer = b""
                while part := line.recv(65536):
                    answer += part
            assert answer.startswith(b"HTTP/1.1 400 "), (headers, answer[:80])
            assert answer.count(b"HTTP/1.1") == 1, (headers, answer)
