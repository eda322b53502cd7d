"""Whether a log still holds what was sent to it: its first records, and some of the others.

The last place says that it is the same log, not that all of it is there. Somebody who lets a topic
keep its records for an hour, or the last of each key alone, takes what a new reader or one that was
away has not seen yet; a disk damages what everybody here has read long ago. So each look of the
relay reads a few records elsewhere: the offsets of a log that is not compacted have no gaps.

What is found here is made good by the comparison of the whole log with the outbox.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from contracts import COMPACTED
from messaging import marks
from messaging.bus import LogDamaged, Reader, Silent
from messaging.outcome import Partition, Place
from runtime.logging import get_logger
from runtime.store import Store

log = get_logger()

AT_A_LOOK = 200
"""Records, at most."""

STEP = (5**0.5 - 1) / 2
"""Of the whole, from each look to the next: however many there were, they lie evenly."""

Bounds = Mapping[Partition, tuple[int, int]]
"""Of each partition the first offset that is there and the one after the last."""


class Gaps:
    """What is known of the logs of one relay."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._bounds: Bounds = {}
        self._compared_from: dict[Partition, int] = {}
        self._compared_to: dict[Partition, tuple[int, int]] = {}
        """The era and the end that a log had then: the gaps before it stay."""
        self._eras: dict[Partition, int] = {}
        self._looks = 0
        self.owed = False
        """Something is missing or damaged, and all was not compared since."""
        self.found = False
        """Nor was it looked since: as long as whoever tends Kafka needs to hear of it."""

    async def look(self, reader: Reader, bounds: Bounds, places: Mapping[Partition, Place]) -> None:
        """Look once. Raises BusAway."""
        self._bounds = bounds
        self._eras = {name: place.era for name, place in places.items()}
        gone = await self._first_records_gone()
        if await self._lacks_some(reader) or gone:
            self.doubt()
        self.found = self.owed

    def doubt(self) -> None:
        """Not all can be there that should."""
        self.found = self.owed = True

    def now(self) -> tuple[Bounds, Mapping[Partition, int]]:
        """What is there, for who begins to compare it."""
        return self._bounds, self._eras

    def compared(self, bounds: Bounds, eras: Mapping[Partition, int]) -> None:
        """All that was there then was compared, and what was missing is sent again."""
        self._compared_from = {name: begin for name, (begin, _) in bounds.items()}
        self._compared_to = {name: (eras.get(name, 0), end) for name, (_, end) in bounds.items()}
        self.owed = False

    async def _first_records_gone(self) -> bool:
        begins = {name: begin for name, (begin, _) in self._bounds.items()}
        known = {n: at for n, at in self._compared_from.items() if begins.get(n, -1) >= at}
        self._compared_from = known  # a log that was made anew begins further back
        moved = {n: at for n, at in begins.items() if at > known.get(n, 0)}
        if not moved:
            return False
        if not await self._store.read(partial(marks.any_before, begins=moved)):
            known |= moved
            return False
        for (topic, partition), at in moved.items():
            log.error("relay.first_records_gone", topic=topic, partition=partition, offset=at)
        return True

    async def _lacks_some(self, reader: Reader) -> bool:
        """One partition at a time: the broker gives more than is asked for, and facts wait."""
        names = sorted(name for name, (begin, end) in self._bounds.items() if begin < end)
        if not names:
            return False
        name = names[self._looks % len(names)]
        begin, end = self._bounds[name]
        at = begin + int(self._looks * STEP % 1 * (end - begin))
        until = min(at + AT_A_LOOK, end)
        known = self._gaps_are_known_until(name)
        self._looks += 1
        try:
            async for batch in reader.read({name: at}, {name: until}):
                for record in batch:
                    if max(at, known) < record.offset:
                        return self._lacks(name, at)
                    at = record.offset + 1
        except (LogDamaged, Silent) as error:
            log.error("relay.log_damaged", error=error)
            return True
        return max(at, known) < until and self._lacks(name, at)

    def _gaps_are_known_until(self, name: Partition) -> int:
        """Compaction makes them as it should; others stay when what they took is sent again."""
        if name[0] in COMPACTED:
            return self._bounds[name][1]
        era, compared_to = self._compared_to.get(name, (0, 0))
        return compared_to if era == self._eras.get(name, 0) else 0

    def _lacks(self, name: Partition, at: int) -> bool:
        log.error("relay.records_gone", topic=name[0], partition=name[1], offset=at)
        return True
