"""The process: what it says when it cannot start, and that it stops in time."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from runtime.store import Store
from runtime.testing import eventually
from web import Role, serve
from web.serve import configuration
from web.testing import publish_key, token


def test_a_wrong_call_or_service_is_one_sentence_and_two(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert serve.main([]) == 2
    assert "usage" in capsys.readouterr().err
    assert serve.main(["baker"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("there is no service 'baker'")
    assert len(told.splitlines()) == 1


def test_forwarded_headers_are_believed_from_this_machine_only(tmp_path: Path) -> None:
    from web_sample.app import SERVICE

    settings = SERVICE.settings(service="sample", database_url=f"sqlite:///{tmp_path / 'a.db'}")
    made = configuration(SERVICE, settings)
    assert made.forwarded_allow_ips == "127.0.0.1,::1"
    assert made.access_log is False


RUN = """
import sys
from web import serve
from web_sample.app import SERVICE
serve.service_named = lambda name: SERVICE
sys.exit(serve.main(["sample"]))
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_it_serves_and_ends_in_time_though_somebody_listens(tmp_path: Path) -> None:
    from web_sample.app import SERVICE

    url = f"sqlite:///{tmp_path / 'served.db'}"
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
    base = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: alive(base), within=30, why="the service to answer")
        cookie = {"Cookie": f"token={token(Role.TILL, centre='c1')}"}
        with httpx.Client(base_url=base, headers=cookie, timeout=20) as client:
            client.get("/sample/hello?q=maria.rossi@example.org", headers={"Accept-Language": "it"})
            with client.stream("GET", "/sample/live/things.c1") as stream:
                lines = stream.iter_lines()
                assert next(lines) == "event: open"
                process.send_signal(signal.SIGTERM)
                assert process.wait(timeout=10) == 0
        said = process.stdout.read() if process.stdout else ""
        assert '"route": "/sample/hello"' in said
        assert "maria.rossi" not in said
        assert "Traceback" not in said
    finally:
        process.kill()
        process.wait()


def alive(base: str) -> bool:
    try:
        return httpx.get(f"{base}/readyz").status_code == 200
    except httpx.HTTPError:
        return False
