"""A replica of the hearer: a consumer as `messaging.consumer` has it, with the client library
played (`world`)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, cast

import sqlalchemy as sa

from messaging.attempt import Outcome
from messaging.bus import Reader
from messaging.envelope import decode
from messaging.follow import Follow
from messaging.settle import Settler
from messaging.turn import Turn
from runtime.clock import Clock
from runtime.ids import Ids
from runtime.store import Store

from .memory_bus import MemoryBus, MemoryLog
from .teller_and_hearer import HEARER


class Replica:
    """Where it reads, what it fetched and has not given yet."""

    def __init__(self, store: Store, log: MemoryLog, clock: Clock, ids: Ids) -> None:
        self._store = store
        self._log = log
        self.settler = Settler(HEARER, clock=clock, ids=ids)
        self.follow = Follow(self.settler, store, Turn())
        self.positions: dict[tuple[str, int], int] = {}
        self.fetched: list[Any] = []

    def assign(self, names: Collection[tuple[str, int]]) -> None:
        """What was fetched stays: the listener is no barrier."""
        self.settler.forget(set(self.positions) | set(names))
        self.positions = dict.fromkeys(sorted(names), 0)

    def fetch(self, count: int) -> None:
        """The next few records of every partition; where none can be (behind the end, or before the
        first that is there) from the beginning."""
        for name, position in self.positions.items():
            logs = self._log.topics[name[0]]
            if name[1] >= len(logs):
                continue
            begin, end = self._log.begin(*name), len(logs[name[1]])
            at = position if begin <= position <= end else begin
            fetched = self._log.there(*name, at, at + count)
            self.fetched += fetched
            self.positions[name] = at + len(fetched)

    def give(self) -> None:
        records, self.fetched = self.fetched, []
        items = [decode(record) for record in records]
        self._seek(self.settler.settle_all(self._write, items))

    def _seek(self, seeks: dict[tuple[str, int], int]) -> None:
        for name, offset in seeks.items():
            if name in self.positions:
                self.positions[name] = max(0, offset)

    def _write(self, work: Callable[[sa.Connection], Outcome]) -> Outcome:
        fuse = self._log.fuse

        def passing(connection: sa.Connection) -> Outcome:
            outcome = work(connection)
            fuse.pass_by()
            return outcome

        outcome = self._store.write_now(passing)
        fuse.pass_by()
        return outcome

    async def look(self) -> None:
        async with MemoryBus(self._log).reader() as reader:
            there = [n for n in self.positions if n[1] < len(self._log.topics[n[0]])]
            looked = await self.follow.look(cast("Reader", reader), there)
        self._seek(looked.seeks)
