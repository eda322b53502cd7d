"""A service with two read models that can be built anew, and the log of a bench."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial

import sqlalchemy as sa
from alembic import autogenerate
from alembic.migration import MigrationContext

from contracts.activities import ActivityCreated
from messaging import NotYet, Policies, Projection, ProjectionTransaction, Received, Service
from messaging.envelope import Record, decode
from messaging.put_away import empty_some
from messaging.rebuild import Progress, Rebuild
from messaging.tables import metadata_with_messaging
from messaging.testing import Bench
from messaging.transaction import Transaction
from runtime.clock import FixedClock
from runtime.migrations import OPTIONS

METADATA = metadata_with_messaging()
lines = sa.Table(
    "lines",
    METADATA,
    sa.Column("activity_id", sa.String(40), primary_key=True),
    sa.Column("titles", sa.String(200), nullable=False, index=True),
    sa.Column("first", sa.String(40), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.UniqueConstraint("activity_id", "number", name="one_number_of_a_line"),
    sa.UniqueConstraint("first", "activity_id"),
    sa.CheckConstraint("number > 0", name="something_was_heard"),
    sa.Index("lines_by_number", "number", "activity_id"),
    sa.Index(
        "lines_that_go_on_and_on_with_a_very_long_name_indeed",
        "number",
        unique=False,
        sqlite_where=sa.text("number > 1"),
        postgresql_where=sa.text("number > 1"),
    ),
)
tally = sa.Table(
    "tally",
    METADATA,
    sa.Column("activity_id", sa.String(40), primary_key=True),
    sa.Column("events", sa.Integer, nullable=False),
)
POLICIES = Policies()
TALLY = Projection("tally", version=1, tables=(tally,))
LINES = Projection("lines", version=2, tables=(lines,))


class World:
    known = True
    able = True


@POLICIES.on(ActivityCreated)
def refuse(tx: Transaction, received: Received[ActivityCreated]) -> None:
    if received.event.title == "later" and not World.known:
        raise NotYet("the time has not come")


@LINES.on(ActivityCreated)
def line(p: ProjectionTransaction, received: Received[ActivityCreated]) -> None:
    if not World.able:
        raise ZeroDivisionError
    table = p.table(lines)
    key = received.event.activity_id
    row = p.connection.execute(sa.select(table).where(table.c.activity_id == key)).first()
    p.upsert(
        table,
        {
            "activity_id": key,
            "titles": (row.titles if row else "") + received.event.title,
            "first": row.first if row else received.event.title,
            "number": (row.number if row else 0) + 1,
        },
        key=("activity_id",),
    )


@TALLY.on(ActivityCreated)
def counted(p: ProjectionTransaction, received: Received[ActivityCreated]) -> None:
    row = {"activity_id": received.event.activity_id, "events": 1}
    p.add(p.table(tally), row, key=("activity_id",))


SERVICE = Service(
    name="network",
    prefix="/network",
    package="network",
    metadata=METADATA,
    topics=("network.events",),
    policies=POLICIES,
    projections=(LINES, TALLY),
)


class BenchLog:
    """What the bench has appended, as a log."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    async def ends(self, topics: Sequence[str]) -> dict[tuple[str, int], int]:
        found: dict[tuple[str, int], int] = {}
        for record in self._bench.log:
            if record.topic in topics:
                found[record.topic, record.partition] = record.offset + 1
        return found

    async def read(
        self, starts: dict[tuple[str, int], int], ends: dict[tuple[str, int], int]
    ) -> AsyncIterator[Sequence[Record]]:
        for name, end in sorted(ends.items()):
            start = starts.get(name, 0)
            yield [
                r
                for r in self._bench.log
                if (r.topic, r.partition) == name and start <= r.offset < end
            ] or []


def created(clock: FixedClock, title: str, activity: str = "a") -> ActivityCreated:
    return ActivityCreated(activity_id=activity, centre_id="c", title=title, created_at=clock.now())


def titles(bench: Bench) -> dict[str, str]:
    return dict(
        map(tuple, bench.read(lambda c: c.execute(sa.select(lines.c.activity_id, lines.c.titles))))
    )


def schema(bench: Bench) -> tuple[list[str], object]:
    """What Alembic would change, and every name that there is when what was put away is gone."""
    while bench.store.write_now(partial(empty_some, store=bench.store)):
        pass

    def look(connection: sa.Connection) -> tuple[list[str], object]:
        context = MigrationContext.configure(connection, opts=OPTIONS)
        inspector = sa.inspect(connection)
        names = {
            table: (
                sorted(
                    (
                        str(i["name"]),
                        str(i["column_names"]),
                        bool(i["unique"]),
                        sorted(map(str, i.get("dialect_options", {}).values())),
                    )
                    for i in inspector.get_indexes(table)
                ),
                sorted(str(u["name"]) for u in inspector.get_unique_constraints(table)),
                sorted(str(k["name"]) for k in inspector.get_check_constraints(table)),
                str(inspector.get_pk_constraint(table)["name"]),
            )
            for table in sorted(inspector.get_table_names())
        }
        return [str(d) for d in autogenerate.compare_metadata(context, METADATA)], names

    return bench.store.write_now(look)


async def begun(bench: Bench, owner: str = "me", *read_models: Projection) -> Rebuild:
    wanted = {read_model: Progress() for read_model in read_models or (LINES,)}
    work = Rebuild(bench.store, wanted, BenchLog(bench), owner)
    await bench.store.write(work.begin)
    return work


def read(bench: Bench, work: Rebuild, *records: Record) -> None:
    """The rebuild goes on by these, in one transaction."""
    items = [decode(record) for record in records]
    bench.store.write_now(lambda c: work._filler.fill(c, items))


class ReadOnce(BenchLog):
    """Notes from where it is read."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.asked: list[dict[tuple[str, int], int]] = []

    async def read(
        self, starts: dict[tuple[str, int], int], ends: dict[tuple[str, int], int]
    ) -> AsyncIterator[Sequence[Record]]:
        self.asked.append(starts)
        async for batch in super().read(starts, ends):
            yield batch


def spoil(bench: Bench) -> None:
    bench.store.write_now(lambda c: c.execute(sa.update(lines).values(titles="spoilt")) and None)
    bench.store.write_now(lambda c: c.execute(sa.update(tally).values(events=-1)) and None)


def tallied(bench: Bench) -> dict[str, int]:
    return dict(map(tuple, bench.read(lambda c: c.execute(sa.select(tally)).all())))
