"""The supervisor's care for one child: tiny real processes, times of milliseconds."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from runtime.testing import eventually, eventually_async
from vicinato.child import Backoff, Child, NotReadyError, Program, State
from vicinato.folder import Folder
from vicinato.logs import rotate
from vicinato.supervisor import Supervisor

QUICK = Backoff(first=0.01, most=0.05, healthy=60)
SLEEPS = "import time; time.sleep(600)"
DIES = "raise SystemExit(3)"
DEAF = (
    "import signal, time; signal.signal(15, signal.SIG_IGN);"
    "print('deaf', flush=True); time.sleep(600)"
)


def program(folder: Path, code: str = SLEEPS, name: str = "part", **more: object) -> Program:
    command = [sys.executable, "-c", code]
    return Program(name, lambda: command, folder / f"{name}.log", **more)  # type: ignore[arg-type]


def heard() -> tuple[list[tuple[str, State, str]], Callable[[Child], None]]:
    said: list[tuple[str, State, str]] = []
    return said, lambda child: said.append((child.name, child.state, child.reason))


def test_the_wait_doubles_up_to_its_limit() -> None:
    backoff = Backoff()
    assert [backoff.delay(n) for n in range(1, 9)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


async def test_one_that_dies_is_started_again_ever_later_and_says_why(tmp_path: Path) -> None:
    said, tell = heard()
    child = Child(program(tmp_path, DIES), tell, QUICK)
    child.start()
    await eventually_async(lambda: child.restarts >= 4, within=20, why="it was not started again")
    await child.stop()

    reasons = [reason for _, state, reason in said if state is State.BACKING_OFF]
    assert reasons[:4] == [
        "ended with code 3; again in 0.01 s",
        "ended with code 3; again in 0.02 s",
        "ended with code 3; again in 0.04 s",
        "ended with code 3; again in 0.05 s",
    ]


async def test_who_can_help_hears_of_one_that_ends_before_it_is_ready(tmp_path: Path) -> None:
    async def probe() -> None:
        raise NotReadyError("not yet")

    async def failed(code: int) -> str:
        return f"{code} was looked after"

    said, tell = heard()
    child = Child(program(tmp_path, DIES, probe=probe, failed=failed), tell, QUICK)
    child.start()
    await eventually_async(lambda: child.restarts >= 1, within=20, why="it did not end")
    await child.stop()
    reasons = [reason for _, state, reason in said if state is State.BACKING_OFF]
    assert reasons[0] == "ended with code 3; 3 was looked after; again in 0.01 s"


async def test_a_healthy_life_forgets_the_deaths_before_it(tmp_path: Path) -> None:
    said, tell = heard()
    child = Child(program(tmp_path, DIES), tell, Backoff(first=0.01, most=9, healthy=0))
    child.start()
    await eventually_async(lambda: child.restarts >= 3, within=20, why="it was not started again")
    await child.stop()
    reasons = {reason for _, state, reason in said if state is State.BACKING_OFF}
    assert reasons == {"ended with code 3; again in 0.01 s"}


async def test_a_killed_one_comes_back_ready(tmp_path: Path) -> None:
    child = Child(program(tmp_path), backoff=QUICK)
    child.start()
    await child.ready()
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await eventually_async(
        lambda: child.state is State.READY and child.pid != first, within=20, why="not back"
    )
    await child.stop()
    assert child.state is State.STOPPED


async def test_one_that_never_gets_ready_is_ended_and_its_reason_kept(tmp_path: Path) -> None:
    async def probe() -> None:
        raise NotReadyError("the well is dry")

    said, tell = heard()
    child = Child(program(tmp_path, probe=probe, ready_within=0.3), tell, QUICK)
    child.start()
    await eventually_async(lambda: child.restarts >= 1, within=20, why="it was left waiting")
    await child.stop()
    assert any("the well is dry" in reason for _, s, reason in said if s is State.BACKING_OFF)


async def test_one_that_cannot_even_start_is_tried_again(tmp_path: Path) -> None:
    missing = Program("part", lambda: ["/nowhere/at/all"], tmp_path / "part.log")
    child = Child(missing, backoff=QUICK)
    child.start()
    await eventually_async(lambda: child.restarts >= 2, within=20, why="it was given up")
    assert "No such file" in child.reason
    await child.stop()


async def test_one_that_does_not_hear_is_killed_after_its_time(tmp_path: Path) -> None:
    child = Child(program(tmp_path, DEAF, stop_within=0.2), backoff=QUICK)
    child.start()
    log = tmp_path / "part.log"
    await eventually_async(
        lambda: log.exists() and "deaf" in log.read_text(), within=20, why="not started"
    )
    pid = child.pid
    await child.stop()
    assert pid is not None
    assert not psutil.pid_exists(pid)
    assert "was killed" in child.reason


async def test_a_frozen_one_stops_too(tmp_path: Path) -> None:
    child = Child(program(tmp_path), backoff=QUICK)
    child.start()
    await child.ready()
    assert child.pid is not None
    os.kill(child.pid, signal.SIGSTOP)
    await asyncio.wait_for(child.stop(), 10)


async def test_groups_stop_in_the_reverse_of_their_start(tmp_path: Path) -> None:
    said, tell = heard()
    folder = Folder(tmp_path / "data")
    folder.open()
    supervisor = Supervisor(folder, "http://localhost", tell, QUICK)
    started = supervisor.start(program(tmp_path, name="below"))
    started += supervisor.start(program(tmp_path, name="a"), program(tmp_path, name="b"))
    started += supervisor.start(program(tmp_path, name="door"))
    await asyncio.gather(*(child.ready() for child in started))
    shown = folder.read_state()["children"]
    assert isinstance(shown, list)
    assert [(c["name"], c["state"]) for c in shown] == [
        ("below", "ready"),
        ("a", "ready"),
        ("b", "ready"),
        ("door", "ready"),
    ]

    said.clear()
    await supervisor.stop()

    stopped = [name for name, state, _ in said if state is State.STOPPED]
    assert (stopped[0], set(stopped[1:3]), stopped[3]) == ("door", {"a", "b"}, "below")
    asked = [(name, state) for name, state, _ in said]
    assert asked.index(("below", State.STOPPING)) > asked.index(("b", State.STOPPED))
    assert not folder.read_state()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a gift of Linux")
def test_children_die_with_a_killed_supervisor(tmp_path: Path) -> None:
    code = (
        "import asyncio,sys,pathlib\n"
        "from vicinato.child import Child, Program\n"
        "async def main():\n"
        "    p = Program('x', lambda: [sys.executable, '-c', 'import time; time.sleep(600)'],\n"
        "                pathlib.Path(sys.argv[1]) / 'x.log')\n"
        "    c = Child(p); c.start(); await c.ready(); print(c.pid, flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as supervisor:
        assert supervisor.stdout is not None
        pid = int(supervisor.stdout.readline())
        assert psutil.pid_exists(pid)
        supervisor.kill()
    eventually(lambda: is_gone(pid), within=10, why="the child outlived its supervisor")


def is_gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_a_log_is_cut_and_the_writer_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    with path.open("a", buffering=1) as writer:
        for number in range(5):
            writer.write(f"{number}" * 100 + "\n")
            assert rotate(path, most=50, keep=3)
        writer.write("last\n")
    assert not rotate(path, most=50)
    assert path.read_text() == "last\n"
    kept = sorted(p.name for p in tmp_path.iterdir())
    assert kept == ["x.log", "x.log.1", "x.log.2", "x.log.3"]
    assert (tmp_path / "x.log.1").read_text().startswith("4")
