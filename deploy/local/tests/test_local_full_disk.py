"""What is written for people to look at does not end what keeps the house alive.

No file of this process may grow, as on a full disk; deleting and cutting go on.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from runtime.testing import eventually_async
from vicinato import settings, steps, supervisor
from vicinato.child import Backoff, Child, Program, State
from vicinato.commands.up import Screen
from vicinato.folder import Folder
from vicinato.logs import rotate
from vicinato.ports import free_block
from vicinato.supervisor import House, Supervisor

QUICK = Backoff(first=0.01, most=0.05, healthy=60)


@contextmanager
def full_disk() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "data")
    made.open()
    return made


def program(folder: Folder, name: str) -> Program:
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    return Program(name, lambda: command, folder.log(name))


def pid_shown(folder: Folder) -> Any:
    children = folder.read_state()["children"]
    assert isinstance(children, list)
    return children[0]["pid"]


async def test_what_dies_is_started_again_and_the_state_is_written_when_there_is_room(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "KEEP_FILES_EVERY", 0.02)
    with folder.log("supervisor").open("a", encoding="utf-8") as log:
        house = Supervisor(folder, "http://localhost", Screen(log), QUICK)
        (child,) = house.start(program(folder, "part"))
        await child.ready()
        first = child.pid
        assert first is not None
        keeping = asyncio.create_task(house.keep_files())
        with full_disk():
            os.kill(first, signal.SIGKILL)
            await eventually_async(
                lambda: child.state is State.READY and child.pid != first,
                within=20,
                why="it is started again",
            )
            assert pid_shown(folder) == first
            assert not keeping.done()
        await eventually_async(
            lambda: pid_shown(folder) == child.pid, within=20, why="the state is written"
        )
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
        await house.stop()


async def test_it_stops_in_order_on_a_full_disk(folder: Folder) -> None:
    said: list[tuple[str, State]] = []

    with folder.log("supervisor").open("a", encoding="utf-8") as log:
        screen = Screen(log)

        def tell(child: Child) -> None:
            screen(child)
            said.append((child.name, child.state))

        house = Supervisor(folder, "http://localhost", tell, QUICK)
        started = house.start(program(folder, "below"))
        started += house.start(program(folder, "a"), program(folder, "b"))
        await asyncio.gather(*(child.ready() for child in started))
        said.clear()
        with full_disk():
            screen.say("stopping")
            await house.stop()
    stopped = [name for name, state in said if state is State.STOPPED]
    assert (set(stopped[:2]), stopped[2:]) == ({"a", "b"}, ["below"])
    assert not folder.read_state()


async def test_a_large_log_waits_for_room_and_the_older_ones_stay(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "KEEP_FILES_EVERY", 0.02)
    looks: list[Path] = []

    def looked(path: Path) -> bool:
        looks.append(path)
        return rotate(path)

    monkeypatch.setattr(supervisor, "rotate", looked)
    house = Supervisor(folder, "http://localhost", backoff=QUICK)
    (child,) = house.start(program(folder, "part"))
    await child.ready()
    log, older = folder.log("part"), folder.logs / "part.log.1"
    log.write_bytes(b"older" * 2_000_000)
    assert rotate(log)
    log.write_bytes(b"newer" * 2_000_000)
    with full_disk():
        with pytest.raises(OSError, match="too large"):
            rotate(log)
        keeping = asyncio.create_task(house.keep_files())
        await eventually_async(lambda: looks[2:], within=20, why="it looks again and again")
        assert {p.name for p in folder.logs.iterdir()} == {log.name, older.name}
        assert older.read_bytes().startswith(b"older")
    await eventually_async(lambda: log.stat().st_size == 0, within=20, why="it is cut")
    assert older.read_bytes().startswith(b"newer")
    assert (folder.logs / "part.log.2").read_bytes().startswith(b"older")
    keeping.cancel()
    await house.stop()


def test_the_lines_of_a_full_disk_come_into_the_log_later(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    with folder.log("supervisor").open("a", encoding="utf-8") as log:
        screen = Screen(log)
        with full_disk():
            screen.say("the disk is full")
        screen.say("there is room")
    lines = folder.log("supervisor").read_text(encoding="utf-8").splitlines()
    assert [line.partition(" ")[2] for line in lines] == ["the disk is full", "there is room"]
    assert capsys.readouterr().out == "  the disk is full\n  there is room\n"


SPEAKS = (
    "import sys; from pathlib import Path; from vicinato.commands.up import Screen\n"
    "with Path(sys.argv[1]).open('a') as log:\n"
    "    screen = Screen(log); screen.say('one'); screen.say('two')\n"
)


@pytest.mark.parametrize("where", ["a full disk", "nobody"])
def test_a_terminal_that_takes_nothing_does_not_end_who_speaks(tmp_path: Path, where: str) -> None:
    log = tmp_path / "log"
    if where == "nobody":
        reader, writer = os.pipe()
        os.close(reader)
    else:
        writer = os.open("/dev/full", os.O_WRONLY)
    try:
        # Unbuffered: nothing of it is left to be written when it ends.
        words = [sys.executable, "-u", "-c", SPEAKS, str(log)]
        done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")
    assert [line.split()[-1] for line in log.read_text().splitlines()] == ["one", "two"]


async def test_the_second_copy_goes_on_being_tried(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA", str(folder.root))
    monkeypatch.setenv("PORT", str(free_block()))
    monkeypatch.setattr(supervisor, "COPY_EVERY", 0.02)
    said: list[str] = []
    say: Callable[[str, str], None] = lambda text, _: said.append(text)  # noqa: E731
    house = House(settings.load(), folder, lambda _: None)
    with full_disk():
        copying = asyncio.create_task(house.keep_a_copy(tmp_path / "usb", say))
        await eventually_async(lambda: said, within=30, why="it says what failed")
        assert not copying.done()
        assert not folder.read_state()
    await eventually_async(
        lambda: "outbox_copy" in folder.read_state(), within=30, why="the state is written"
    )
    copying.cancel()
    with suppress(asyncio.CancelledError):
        await copying
    assert "usb is not there" in said[0]


async def test_a_step_that_cannot_even_begin_says_so(tmp_path: Path) -> None:
    with pytest.raises(steps.StepError, match="provision could not be run"):
        await steps.run("provision", {}, tmp_path / "nowhere" / "log")
