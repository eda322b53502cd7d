"""The files that the front door serves itself, and for how long a browser keeps them."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from runtime.testing import eventually
from vicinato.folder import Folder
from vicinato.ports import free_port
from vicinato.processes import die_with_parent
from vicinato.programs import front_door
from vicinato.settings import Settings

MINUTES = "public, max-age=300"
YEAR = "public, max-age=31536000, immutable"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the front door of this module has to serve."""
    made = tmp_path_factory.mktemp("static")
    (made / "fonts").mkdir()
    (made / "fonts" / "latin.woff2").write_text("letters")
    return made


@pytest.fixture(scope="module")
def door(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = Folder(tmp_path_factory.mktemp("installation"))
    folder.open()
    port = free_port()
    program = front_door(Settings(port=port), folder)
    with program.log.open("wb") as log:
        process = subprocess.Popen(
            program.command(),
            env={**program.env, "STATIC": str(files)},
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent(),
        )

    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:

        def answers() -> bool:
            assert process.poll() is None, program.log.read_text("utf-8", "replace")
            with contextlib.suppress(httpx.TransportError):
                return client.get("/front-door").is_success
            return False

        try:
            eventually(answers, within=30, why="the front door answers")
            yield client
        finally:
            process.terminate()
            process.wait(10)


def test_what_an_older_front_door_answers_is_not_kept(door: httpx.Client, files: Path) -> None:
    """A new service names a new content, and this door has the old one still."""
    script = files / "house.js"
    script.write_text("old")
    early = door.get("/static/house.js?v=new")
    assert (early.text, early.headers["cache-control"]) == ("old", MINUTES)
    script.write_text("changed")
    known = {"if-none-match": early.headers["etag"]}
    late = door.get("/static/house.js?v=new", headers=known)
    assert (late.status_code, late.text) == (200, "changed")


def test_what_did_not_change_is_not_sent_again(door: httpx.Client, files: Path) -> None:
    (files / "type.css").write_text("same")
    first = door.get("/static/type.css?v=1")
    again = door.get("/static/type.css?v=1", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.text) == (304, "")


def test_letters_are_kept_for_a_year(door: httpx.Client) -> None:
    assert door.get("/static/fonts/latin.woff2").headers["cache-control"] == YEAR


def test_a_file_that_is_not_there_is_not_kept(door: httpx.Client) -> None:
    for path in ("/static/fonts/nowhere.woff2", "/static/nowhere.js?v=1"):
        answer = door.get(path)
        assert (answer.status_code, answer.headers["cache-control"]) == (404, "no-store")
