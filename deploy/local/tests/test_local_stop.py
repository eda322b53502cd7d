"""`vicinato stop` speaks to the process that holds the folder, and to nobody else."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from pathlib import Path

import pytest

from runtime.testing import eventually
from vicinato.commands import up
from vicinato.folder import Folder


def test_a_holder_that_has_not_named_itself_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds the lock before its number stands there. A signal to number 0 is one to all of our
    own group."""
    folder = Folder(tmp_path / "data")
    monkeypatch.setenv("DATA", str(folder.root))
    folder.run.mkdir(parents=True)
    signalled: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: signalled.append((pid, number)))
    looks: list[int] = []
    holder = Folder.holder

    def looked(self: Folder) -> int:
        looks.append(holder(self))
        return looks[-1]

    monkeypatch.setattr(Folder, "holder", looked)
    stopping = threading.Thread(target=up.stop)
    with (folder.run / "lock").open("a+", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stopping.start()
        eventually(lambda: looks[2:], within=20, why="it looks again")
        lock.write("12345")
        lock.flush()
        eventually(lambda: signalled, within=20, why="the holder is spoken to")
    stopping.join(20)
    assert not stopping.is_alive()
    assert set(looks) == {0, 12345}
    assert signalled == [(12345, signal.SIGTERM)]
