"""All checks in one go, and what came of them."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from contracts import COMPACTED
from messaging import Difference, Record, Service
from messaging.bus import Bus, BusAway, Reader
from messaging.envelope import decode
from messaging.shadow import differences
from messaging.tables import place
from runtime import migrations
from vicinato.damage import damage_in
from vicinato.verify import crossing, sagas
from vicinato.verify.snapshot import StoreMissingError, file_of, snapshot


@dataclass(frozen=True)
class Finding:
    """One check: what it looked at and what does not hold."""

    what: str
    looked_at: int
    differences: Sequence[Difference]


@dataclass
class Report:
    """Everything that was checked."""

    findings: list[Finding] = field(default_factory=list)
    on_the_way: int = 0
    """Facts that a listener has yet to read or to try again."""
    notes: list[str] = field(default_factory=list)

    @property
    def differences(self) -> list[Difference]:
        return [d for finding in self.findings for d in finding.differences]

    @property
    def holds(self) -> bool:
        return not self.differences


def verify(
    services: Sequence[Service],
    urls: Mapping[str, str],
    bus: Bus | None,
    *,
    progress: Callable[[str], None] = lambda _what: None,
) -> Report:
    """Check every store alone, all against each other, and with the bus.

    `urls` are the addresses of the stores by service name. Without a bus, places and rebuilds are
    not compared, and the report says so.

    Raises StoreMissingError for a store that is not there, or is one of another version.
    """
    report = Report()
    with tempfile.TemporaryDirectory(prefix="vicinato-verify-") as scratch, ExitStack() as stack:
        stores = {
            s.name: stack.enter_context(snapshot(urls[s.name], Path(scratch))) for s in services
        }
        for service in services:
            progress(f"the file of {service.name}")
            report.findings += _whole(service, stores[service.name])
        if not report.holds:
            report.notes.append("Nothing else was looked at: what a damaged store says is no fact.")
            return report
        for service in services:
            _expect_this_version(service, stores[service.name])
        for service in services:
            progress(f"the rules of {service.name}")
            for check in service.checks:
                report.findings.append(
                    Finding(
                        f"{service.name}: {check.name}", 1, list(check.run(stores[service.name]))
                    )
                )
            astray = crossing.astray(stores[service.name])
            what = f"{service.name}: every fact is sent or to be sent"
            report.findings.append(Finding(what, 1, astray))
        progress("every fact is heard")
        _crossings(services, stores, report)
        if {"shop", "cards"} <= stores.keys():
            progress("payments in points")
            found = sagas.payments(stores["shop"], stores["cards"])
            report.findings.append(Finding("payments in points, both sides", 1, found))
        if bus is None:
            report.notes.append("Without the bus, places and rebuilds were not compared.")
        else:
            _with_bus(services, stores, bus, report, progress)
    return report


def _expect_this_version(service: Service, store: sa.Connection) -> None:
    if not sa.inspect(store).has_table("alembic_version"):  # stores of tests, made in one go
        return
    revision = store.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    if revision not in migrations.heads(service.package):
        raise StoreMissingError(
            f"the store of {service.name} is of another version (revision {revision});"
            " `make up` brings an earlier one to this version"
        )


def _whole(service: Service, store: sa.Connection) -> list[Finding]:
    """Of a file on SQLite; PostgreSQL looks after its own."""
    if store.dialect.name != "sqlite":
        return []
    found = damage_in(file_of(store))
    check = "its file is whole"
    damage = [Difference(check, f"{service.name}.db", "nothing damaged", found)] if found else []
    return [Finding(f"{service.name}: {check}", 1, damage)]


def _crossings(
    services: Sequence[Service], stores: Mapping[str, sa.Connection], report: Report
) -> None:
    for teller in services:
        for what in crossing.told(stores[teller.name], teller):
            for listener in services:
                if what.topic not in listener.reads:
                    continue
                result = crossing.heard(stores[listener.name], what)
                report.on_the_way += result.on_the_way
                if result.dead:
                    report.notes.append(crossing.given_up(listener, what, result.dead))
                report.findings.append(
                    Finding(
                        f"{what.topic} is heard by {listener.name}",
                        len(what.facts),
                        crossing.not_heard(listener, what, result.missing),
                    )
                )


def _with_bus(
    services: Sequence[Service],
    stores: Mapping[str, sa.Connection],
    bus: Bus,
    report: Report,
    progress: Callable[[str], None],
) -> None:
    with _Log(bus) as log:
        for service in services:
            for what in crossing.told(stores[service.name], service):
                progress(f"{what.topic} on the bus")
                there = {(r.partition, r.offset): decode(r).id for r in log.records([what.topic])}
                found = [] if what.topic in COMPACTED else crossing.not_in_log(what, there)
                report.findings.append(Finding(f"{what.topic} lies on the bus", len(there), found))
        for service in services:
            progress(f"the places of {service.name}")
            found = _places(stores[service.name], service, log)
            report.findings.append(
                Finding(f"{service.name} is where it says", len(service.reads), found)
            )
            progress(f"the read models of {service.name} against their rebuild")
            topics = sorted({e.TOPIC for p in service.all_projections for e in p.events})
            ends = _ends(stores[service.name], topics)
            rebuilt = differences(
                stores[service.name],
                service,
                service.all_projections,
                log.records(topics, ends),
            )
            report.findings += [
                Finding(f"{service.name}.{read_model.name} equals its rebuild", 1, differs)
                for read_model, differs in rebuilt.items()
            ]


def _ends(store: sa.Connection, topics: Sequence[str]) -> dict[tuple[str, int], int]:
    rows = store.execute(
        sa.select(place.c.topic, place.c.partition, place.c.record_offset).where(
            place.c.side == "in", place.c.topic.in_(topics)
        )
    )
    return {(topic, partition): offset + 1 for topic, partition, offset in rows}


def _places(store: sa.Connection, service: Service, log: _Log) -> list[Difference]:
    """The record at every place is the one that was settled last. A place in a partition that its
    topic has no more (a bus that was replaced by one with fewer) says nothing: what had been there
    lies elsewhere now, and ids are compared by themselves."""
    found = []
    settled = store.execute(
        sa.select(place).where(place.c.side.in_(("in", "out")), place.c.record_offset >= 0)
    ).all()
    partitions = log.partitions({row.topic for row in settled})
    rows = [row for row in settled if (row.topic, row.partition) in partitions]
    there_are = log.at({(row.topic, row.partition, row.record_offset) for row in rows})
    for row in rows:
        record = there_are[row.topic, row.partition, row.record_offset]
        gone = record is None or record.offset != row.record_offset
        if gone and row.topic in COMPACTED and record is not None:
            continue
        there = "nothing" if record is None or gone else decode(record).id[:64]
        if there == row.event_id and record is not None and record.stamp != row.stamp:
            there = f"{there} of another log"
        if there != row.event_id:
            found.append(
                Difference(
                    check="places",
                    subject=f"{service.name} {row.side} {row.topic}/{row.partition}"
                    f" at {row.record_offset}",
                    expected=row.event_id,
                    found=there,
                )
            )
    return found


class _Log:
    """The bus for synchronous readers: a loop of its own, a reader without a group."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._loop = asyncio.new_event_loop()
        self._opening = bus.reader()
        self._reader: Reader | None = None

    def __enter__(self) -> _Log:
        try:
            self._reader = self._loop.run_until_complete(self._opening.__aenter__())
        except Exception as error:
            self._loop.close()
            raise BusAway("the bus does not answer") from error
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.run_until_complete(self._opening.__aexit__(None, None, None))
        self._loop.close()

    def partitions(self, topics: Set[str]) -> set[tuple[str, int]]:
        """All partitions of these topics."""
        assert self._reader is not None
        ends = self._loop.run_until_complete(self._reader.ends(sorted(topics)))
        return set(ends)

    def at(self, places: Set[tuple[str, int, int]]) -> dict[tuple[str, int, int], Record | None]:
        """The records at places, or behind one that compaction took."""
        return self._loop.run_until_complete(self._at(places))

    async def _at(
        self, places: Set[tuple[str, int, int]]
    ) -> dict[tuple[str, int, int], Record | None]:
        assert self._reader is not None
        found: dict[tuple[str, int, int], Record | None] = {}
        left = set(places)
        while left:
            starts = {(topic, partition): offset for topic, partition, offset in left}
            there = await self._reader.exactly(starts)
            for name, offset in starts.items():
                behind = None if name in there else await self._reader.at(*name, offset)
                found[*name, offset] = there.get(name, behind)
                left.discard((*name, offset))
        return found

    def records(
        self, topics: Sequence[str], ends: Mapping[tuple[str, int], int] | None = None
    ) -> Iterator[Record]:
        """All records of topics, up to `ends` where given (a partition without one: none)."""
        assert self._reader is not None
        until = self._loop.run_until_complete(self._reader.ends(topics))
        if ends is not None:
            until = {name: min(end, ends.get(name, 0)) for name, end in until.items()}
        batches: AsyncIterator[Sequence[Record]] = self._reader.read({}, until)
        while True:
            try:
                batch = self._loop.run_until_complete(anext(batches))
            except StopAsyncIteration:
                return
            yield from batch
