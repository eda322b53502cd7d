"""A storage with which our own Kafka does not start: it is put aside, for a new one.

Beside its logs Kafka has small files on the disk, which it writes anew every few seconds and does
not mistrust: where one is full of zeros after a loss of power, it ends at every start. Nothing is
lost with a storage: each service has all that it told in its outbox, and sends it to the new one.

That it does not start may have other reasons, so the new one is on trial: when Kafka does not start
with it either, the old one is put back, and stays until Kafka has started once.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from vicinato.kafka.broker import Broker
from vicinato.ports import answers

TIMES = 3
"""Starts in succession that Kafka must end by itself."""

FATAL = 1
"""The code with which it does; without memory it ends with another, and when it is killed."""

ROOM = 256 * 1024 * 1024
"""Bytes: on a disk with less the storage is not what is wrong."""


class Unreadable:
    """Counts starts that fail and exchanges the storage of `broker`; old ones go into folders of
    `aside` that bear their date. Not while `kept` says so."""

    def __init__(self, broker: Broker, aside: Path, kept: Callable[[], bool]) -> None:
        self._broker = broker
        self._aside = aside
        self._kept = kept
        self._failures = 0
        self._old: Path | None = None
        self._in_vain = False

    def started(self) -> None:
        """Kafka is ready: what it has is good."""
        self._failures, self._old, self._in_vain = 0, None, False

    def failed(self, code: int) -> str:
        """Kafka ended by itself with this code while it started; what was done about it, "" when
        nothing was. Raises OSError."""
        if code != FATAL or self._is_other():
            return ""
        self._failures += 1
        if self._failures < TIMES:
            return ""
        self._failures = 0
        if self._old is not None:
            self._broker.put_back(self._old)
            self._old.parent.rmdir()
            self._old, self._in_vain = None, True
            return "nor does it start with an empty storage: what it had is put back"
        if self._in_vain or self._kept():
            return ""
        self._old = self._put_aside()
        return f"what it had on the disk is put aside in {self._old}, for an empty storage"

    def _put_aside(self) -> Path:
        old = self._aside / f"{datetime.now(UTC):%Y%m%d%H%M%S}" / "kafka"
        old.parent.mkdir(parents=True, mode=0o700)
        self._aside.chmod(0o700)
        try:
            self._broker.put_aside(old)
        except OSError:
            old.parent.rmdir()
            raise
        return old

    def _is_other(self) -> bool:
        """Whether it cannot start for something else: a full disk, or another's port."""
        full = shutil.disk_usage(self._broker.folder).free < ROOM
        return full or answers(self._broker.port) or answers(self._broker.controller_port)
