"""Services forked from one process: nothing is shared that must differ, and none outlives us."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from runtime.testing import eventually, migrated
from vicinato import first_start, settings
from vicinato.folder import Folder
from vicinato.ports import free_block
from web.serve import service_named

LOADS = """
import json, os, sys, threading
from vicinato.programs import preloaded
open_files = [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
              if os.path.exists(f"/proc/self/fd/{n}")]
read, write = os.pipe()
for _ in range(2):
    if os.fork() == 0:
        import random, uuid, secrets, uuid_utils
        from runtime.clock import SystemClock
        from runtime.ids import SystemIds
        drawn = [random.random(), uuid.uuid4().hex, secrets.token_hex(8), uuid_utils.uuid4().hex,
                 SystemIds(SystemClock()).new()[-12:]]
        os.write(write, (json.dumps(drawn) + "\\n").encode())
        os._exit(0)
for _ in range(2):
    os.wait()
os.close(write)
drawn = [json.loads(line) for line in os.fdopen(read)]
print(json.dumps({"threads": threading.active_count(), "files": open_files, "drawn": drawn}))
"""

SUPERVISES = """
import asyncio, pathlib, sys
from vicinato.child import Child, Program
from vicinato.programs import nursery

async def main():
    log = pathlib.Path(sys.argv[1]) / "nobody.log"
    program = Program("nobody", lambda: [], log, spawn=nursery.fork)
    child = Child(program)
    child.start()
    while not child.restarts:
        await asyncio.sleep(0.05)
    print(child.reason, flush=True)
    await child.stop()

if __name__ == "__main__":
    asyncio.run(main())
"""

OUTLIVES = """
import asyncio, multiprocessing, os, sys, threading
from vicinato.programs import nursery

def sleep():
    threading.Thread(target=nursery._die_with_the_supervisor, daemon=True).start()
    threading.Event().wait(600)

if __name__ == "__main__":
    child = multiprocessing.get_context("forkserver").Process(target=sleep, daemon=True)
    child.start()
    print(child.pid, flush=True)
    threading.Event().wait(600)
"""


WRITES_INTO_A_FULL_LOG = """
import asyncio, dataclasses, pathlib
from vicinato import ask, programs, settings
from vicinato.child import Child
from vicinato.folder import Folder

async def main():
    wanted = settings.load()
    service = programs.service("identity", wanted, Folder(wanted.data))
    child = Child(dataclasses.replace(service, log=pathlib.Path("/dev/full")))
    child.start()
    ready = asyncio.create_task(child.ready())
    while not (ready.done() or child.restarts):
        await asyncio.sleep(0.05)
    print(child.state, child.reason, ask.get(service.port, "/livez"), flush=True)
    await child.stop()

if __name__ == "__main__":
    asyncio.run(main())
"""

WORKS = """
import asyncio, json, pathlib, sys
from vicinato import steps

async def tried(url, within=60.0):
    order = {"server": "", "urls": {"cards": url}}
    try:
        return await steps.run("stores", order, pathlib.Path(sys.argv[1]) / "steps.log", within)
    except steps.StepError as error:
        return [str(error), error.kind]

async def main():
    store = f"sqlite:///{sys.argv[1]}/cards.db"
    print(json.dumps([
        await tried(store),
        await tried(store),
        await tried("sqlite:////dev/null/cards.db"),
        await tried(store, within=0),
        sorted({"alembic", "sqlalchemy"} & set(sys.modules)),
    ]))

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_the_stores_are_brought_up_where_the_services_are_loaded(tmp_path: Path) -> None:
    """By a child of the fork server: what it answers comes back, what it says is in the log."""
    script = tmp_path / "works.py"
    script.write_text(WORKS)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    made, again, (failed, kind), (late, _), imported = json.loads(done.stdout)
    assert (made, again) == ({"fresh": True}, {"fresh": False})
    assert "Not a directory" in failed
    assert kind == "NotADirectoryError"
    assert late == "stores took longer than 0 s"
    assert imported == [], "the supervisor stays small"
    assert "Traceback" in (tmp_path / "steps.log").read_text()
    assert done.stderr == ""


def test_what_is_loaded_before_the_fork_has_no_thread_and_draws_nothing_twice() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADS], capture_output=True, text=True, timeout=100, check=True
    )
    seen = json.loads(done.stdout)
    assert seen["threads"] == 1
    assert not [name for name in seen["files"] if name.endswith(".db") or "socket:" in name]
    first, second = seen["drawn"]
    assert not set(map(str, first)) & set(map(str, second))


def test_a_service_that_nobody_knows_says_so_in_its_log_and_is_tried_again(tmp_path: Path) -> None:
    script = tmp_path / "supervises.py"
    script.write_text(SUPERVISES)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert done.stdout.startswith("ended with code 2; again in")
    assert "there is no service 'nobody'" in (tmp_path / "nobody.log").read_text()


def test_a_service_whose_log_has_no_room_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PORT", str(free_block()))
    wanted = settings.load()
    folder = Folder(wanted.data)
    folder.open()
    first_start.administrator(wanted, folder)
    service = service_named("identity")
    url = f"sqlite:///{folder.stores / 'identity'}.db"
    migrated(url, service.package, service.metadata)
    script = tmp_path / "writes.py"
    script.write_text(WRITES_INTO_A_FULL_LOG)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stdout.startswith("ready  (200,"), done


def test_a_forked_child_dies_with_a_killed_supervisor(tmp_path: Path) -> None:
    script = tmp_path / "outlives.py"
    script.write_text(OUTLIVES)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as one:
        assert one.stdout is not None
        pid = int(one.stdout.readline())
        assert psutil.pid_exists(pid)
        one.kill()
    eventually(lambda: _is_gone(pid), within=20, why="the child outlived its supervisor")


def _is_gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
