"""The rebuilds of a running service: which read models are built anew, and how far each is.

`messaging.rebuild` builds; here it is begun, tried again while store or bus are away, and given up
when a read model is at fault itself. The old model answers meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

from aiokafka.errors import KafkaError

from messaging import put_away, rebuild
from messaging.bus import Bus, BusAway
from messaging.outcome import live_projections
from messaging.reactions import Projection
from messaging.rebuild import Progress, TakenOver
from messaging.service import Service
from runtime.failures import StoreClosed, is_transient
from runtime.ids import Ids
from runtime.logging import get_logger
from runtime.refusals import N_, NotFound, Refusal
from runtime.store import Store

log = get_logger()


class Rebuilds:
    """Begins them, beside what the service does; `progress` has one entry for each read model that
    was built anew since the start, by its name."""

    def __init__(
        self,
        service: Service,
        store: Store,
        ids: Ids,
        spawn: Callable[[Callable[[], Coroutine[Any, Any, None]], str], None],
    ) -> None:
        self._service = service
        self._store = store
        self._ids = ids
        self._spawn = spawn
        self.progress: dict[str, Progress] = {}

    def begin(self, name: str, bus: Bus | None) -> Progress:
        """Begin (or look at) the rebuild of one read model.

        Raises:
            NotFound: there is no such projection.
            Refusal: there is no bus to read from.
        """
        chosen = [p for p in self._service.all_projections if p.name == name]
        if not chosen:
            raise NotFound("projection.unknown", N_("There is no such read model."))
        self._begin(chosen, bus)
        return self.progress[name]

    def begin_all(self, bus: Bus | None) -> None:
        """Begin the rebuild of all, from one reading of the log; those that are being rebuilt go
        on by themselves.

        Raises:
            Refusal: there is no bus to read from.
        """
        self._begin(self._service.all_projections, bus)

    def _begin(self, chosen: Sequence[Projection], bus: Bus | None) -> None:
        if bus is None:
            raise Refusal(
                "bus.away",
                N_("The message bus is not connected."),
                N_("Connect it and try again."),
            )
        running = {name for name, progress in self.progress.items() if not progress.done}
        wanted = {p: Progress() for p in chosen if p.name not in running}
        if wanted:
            self.progress |= {p.name: progress for p, progress in wanted.items()}
            names = " ".join(p.name for p in wanted)
            self._spawn(partial(self._together, bus, wanted), f"rebuild {names}")

    async def what_must(self, bus: Bus) -> None:
        """Build what this build of the service wants anew, or what was broken; until it is done.
        What an earlier process has put away and left goes first."""
        await self._empty()
        live = await self._store.read(partial(live_projections, service=self._service))
        wanted: dict[Projection, Progress] = {}
        for read_model in self._service.all_projections:
            if read_model not in live:
                progress = self.progress.get(read_model.name)
                if progress is None or progress.done:  # one that was done before broke since
                    progress = self.progress[read_model.name] = Progress()
                wanted[read_model] = progress
        await self._together(bus, wanted)

    async def _together(self, bus: Bus, wanted: Mapping[Projection, Progress]) -> None:
        """From one reading of the log; where one of them is at fault, each by itself."""
        if len(wanted) > 1:
            await self._build(bus, wanted)
        for read_model, progress in wanted.items():
            if not progress.done:
                await self._build(bus, {read_model: progress})
        await self._empty()

    async def _empty(self) -> None:
        """Until nothing of what was put away is left: it may be of people who are erased later."""
        failures = 0
        while True:
            try:
                await put_away.empty(self._store)
            except StoreClosed:
                return
            except Exception as error:
                failures += 1
                log.warning("projection.leftover_waits", error=error)
                await asyncio.sleep(min(60.0, float(failures)))
            else:
                return

    async def _build(self, bus: Bus, wanted: Mapping[Projection, Progress]) -> None:
        """Until they are done, others do it, or it is in vain. Several are tried together until
        one is at fault."""
        owner, failures = self._ids.new(), 0
        while left := {p: progress for p, progress in wanted.items() if not progress.done}:
            try:
                async with bus.reader() as reader:
                    await rebuild.rebuild(self._store, left, reader, owner=owner)
            except TakenOver:
                continue
            except Exception as error:
                failures += 1
                names = [p.name for p in left]
                log.warning("projection.rebuild_waits", projection=names, error=error)
                if not _passes(error):
                    if len(left) > 1:
                        break
                    if failures > rebuild.GIVE_UP:
                        log.exception("projection.rebuild_failed", projection=names)
                        for progress in left.values():
                            progress.is_given_up(error)
                await asyncio.sleep(min(5.0, 0.5 * failures))
        for read_model, progress in wanted.items():
            if progress.done and not progress.failed:
                log.info("projection.rebuilt", projection=read_model.name, count=progress.records)
            elif progress.failed == TakenOver.__name__:
                log.info("projection.rebuilt_elsewhere", projection=read_model.name)


def _passes(error: Exception) -> bool:
    """Whether store or bus are at fault, so that it is tried again for ever."""
    return is_transient(error) or isinstance(error, BusAway | KafkaError | TimeoutError)
