"""What is taken away from Kafka in an open house is there again soon, and somebody is told."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from runtime.testing import eventually_async
from vicinato import settings, supervisor
from vicinato.ask import expect_ok, is_served_by_kafka
from vicinato.child import Child, Program
from vicinato.folder import Folder
from vicinato.kafka.broker import ADMIN
from vicinato.kafka.provision import admin_client
from vicinato.ports import free_block, free_port
from vicinato.supervisor import House
from vicinato.testing import OwnKafka

TOPIC = "shop.events"
SERVICE = """
import http.server, pathlib, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(pathlib.Path(sys.argv[2]).read_bytes())
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""
"""A service that says of itself what is in a file."""


@dataclass
class Tended:
    """A house of one service on somebody's Kafka; `said` is what it told."""

    house: House
    kafka: OwnKafka
    answer: Path
    said: list[str] = field(default_factory=list)

    def says(self, bus: str) -> None:
        """What the service answers from now on."""
        part = self.answer.with_suffix(".part")
        checks = {"bus": bus, "events": "ok", "restored": "ok"}
        part.write_text(json.dumps({"checks": checks}))
        part.replace(self.answer)

    async def sees(self) -> set[str]:
        """The topics that the shop may see."""
        secret = self.house.folder.kafka_secrets.get("shop")
        admin = admin_client(self.kafka.bootstrap, "shop", secret)
        found = await asyncio.to_thread(admin.list_topics, timeout=10)
        return set(found.topics)


@pytest.fixture
async def tended(
    own_kafka: OwnKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Tended]:
    """Open, and looked at twenty times as often as usual."""
    monkeypatch.setattr(supervisor, "TEND_EVERY", 0.25)
    monkeypatch.setenv("DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PORT", str(free_block()))
    monkeypatch.setenv("KAFKA", own_kafka.bootstrap)
    monkeypatch.setenv("KAFKA_ADMIN_USER", ADMIN)
    monkeypatch.setenv("KAFKA_ADMIN_SECRET_FILE", str(own_kafka.secret_file(ADMIN)))
    wanted = settings.load()
    folder = Folder(wanted.data)
    folder.open()
    made = Tended(House(wanted, folder, lambda _: None), own_kafka, tmp_path / "answer.json")
    made.says("ok")
    port = wanted.service_port("shop")
    words = [sys.executable, "-c", SERVICE, str(port), str(made.answer)]
    shop = Program("shop", lambda: words, folder.log("shop"), probe=lambda: expect_ok(port, "/"))
    await supervisor.provision(wanted, folder)
    (child,) = made.house.supervisor.start(shop)
    await asyncio.wait_for(child.ready(), 30)
    tending = asyncio.create_task(made.house.tend_kafka(lambda text, _: made.said.append(text)))
    yield made
    tending.cancel()
    await made.house.supervisor.stop()


@pytest.mark.kafka
async def test_a_topic_that_is_deleted_is_made_again_with_its_rights(tended: Tended) -> None:
    assert TOPIC in await tended.sees()
    await asyncio.to_thread(tended.kafka.delete_topics, [TOPIC])
    tended.says("failing")

    async def told() -> bool:
        return bool(tended.said)

    await eventually_async(told, within=30, why="it is tended")
    assert tended.said == [f"Kafka is as topics.toml says again: {TOPIC} was not there"]
    assert TOPIC in await tended.sees()
    assert not await asyncio.to_thread(tended.kafka.provision), "settings and rights are there too"


@pytest.mark.parametrize(
    ("said", "is_missed"),
    [
        ('{"checks": {"bus": "ok", "events": "ok", "restored": "ok"}}', False),
        ('{"checks": {"bus": "failing", "events": "ok", "restored": "ok"}}', True),
        ('{"checks": {"bus": "ok", "events": "failing", "restored": "ok"}}', True),
        ('{"checks": {"bus": "failing", "events": "ok", "restored": "failing"}}', False),
        ('{"checks": {"restored": "ok"}}', False),
        ("no JSON", False),
    ],
)
async def test_who_comes_from_a_backup_has_no_bus_or_says_nothing_is_not_missed(
    tmp_path: Path, said: str, is_missed: bool
) -> None:
    answer, port = tmp_path / "answer.json", free_port()
    answer.write_text(said)
    words = [sys.executable, "-c", SERVICE, str(port), str(answer)]
    log = tmp_path / "service.log"
    child = Child(Program("shop", lambda: words, log, probe=lambda: expect_ok(port, "/")))
    child.start()
    await asyncio.wait_for(child.ready(), 30)
    assert is_served_by_kafka(port) is not is_missed
    await child.stop()
    assert is_served_by_kafka(port)
