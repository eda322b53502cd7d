"""What was done when: told on the terminal and kept, and put together when a run has failed."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from chaos.record import Record
from vicinato.folder import Folder
from vicinato.settings import SERVICES

AROUND = 4000
"""Log lines of a service that are taken into the timeline, the latest."""


class Timeline:
    """Says a line with its time, at once, and remembers it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.began = time.time()
        self._said: list[tuple[float, str]] = []
        self._file = (folder / "run.log").open("a", encoding="utf-8")

    def say(self, text: str) -> None:
        at = time.time()
        self._said.append((at, text))
        line = f"{at - self.began:7.1f} s  {text}"
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
        self._file.write(line + "\n")
        self._file.flush()

    def write(self, house: Folder, record: Record) -> Path:
        """Everything in the order of time: faults, deaths of processes, requests, log lines."""
        rows = [(at, "chaos", text) for at, text in self._said]
        rows += list(_requests(record))
        rows += list(_processes(house))
        for name in SERVICES:
            rows += list(_log(house, name))
        rows.sort(key=lambda row: row[0])
        path = self.folder / "timeline.txt"
        with path.open("w", encoding="utf-8") as file:
            for at, who, text in rows:
                clock = datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3]
                file.write(f"{clock} {at - self.began:8.2f}  {who:<14} {text}\n")
        return path

    def close(self) -> None:
        self._file.close()


def _requests(record: Record) -> Iterator[tuple[float, str, str]]:
    for line in record.lines():
        rest = {k: v for k, v in line.items() if k not in ("at", "step", "kind", "op")}
        yield line["at"], "client", f"{line['step']} {line['kind']} {line['op']} {rest or ''}"


def _processes(house: Folder) -> Iterator[tuple[float, str, str]]:
    with house.log("supervisor").open(encoding="utf-8", errors="replace") as file:
        for line in file:
            moment, _, text = line.rstrip().partition(" ")
            try:
                yield datetime.fromisoformat(moment).timestamp(), "supervisor", text
            except ValueError:
                continue


def _log(house: Folder, name: str) -> Iterator[tuple[float, str, str]]:
    """The lines of a service that are no routine. Their times are real, not played ones."""
    path = house.log(name)
    if not path.exists():
        return
    for line in path.read_text("utf-8", "replace").splitlines()[-AROUND:]:
        try:
            told = json.loads(line)
            at = datetime.fromisoformat(told["timestamp"]).timestamp()
        except (ValueError, KeyError, TypeError):
            continue
        if told.get("level") in ("warning", "error", "critical"):
            shown = {k: v for k, v in told.items() if k not in ("timestamp", "level", "service")}
            yield at, name, f"{told['level']}: {json.dumps(shown)[:400]}"
