"""What the relay writes down: which rows were sent where, and how far each partition is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from messaging.outcome import Partition, Place, row_of
from messaging.tables import outbox, outbox_sent, outbox_unsent, place
from runtime.named import among
from runtime.prepared import Prepared, run
from runtime.rows import set_by_set
from runtime.store import insert_ignore, upsert
from runtime.types import Json, json_text

SLICE = 5_000
"""Rows that are marked in one transaction: a whole log at once would hold the store for seconds."""

LOOKED_AT = 20_000
"""Rows that are looked at in one transaction for some that are to be marked."""


class Sent(NamedTuple):
    """An acknowledged row."""

    row: int
    event_id: str
    topic: str
    partition: int
    offset: int
    stamp: int


class Unsent(NamedTuple):
    """A row of the outbox that is to be sent."""

    row: int
    id: str
    topic: str
    key: str
    previous: str | None
    cause: str | None
    type: str
    headers: dict[str, Any]
    body: bytes | None


def unsent(
    connection: sa.Connection,
    blocked: Iterable[tuple[str, str]],
    limit: int,
    *,
    underway: Sequence[int] = (),
    backlog: bool = False,
) -> Sequence[Unsent]:
    """The oldest rows that were not sent, in the order of their commits, without blocked keys and
    without those that are underway: sent, and not marked yet. `backlog`: there are many more."""
    if backlog:
        _in_order(connection)
    names = [_name(topic, key) for topic, key in blocked]
    query, more = (_FREE, {"blocked": names}) if names else (_UNSENT, {})
    rows = query.tuples(connection, most=limit, rows=list(underway), **more)
    return list(map(Unsent._make, rows))


def _in_order(connection: sa.Connection) -> None:
    """For this transaction: what is asked in the order of its rows is read in it. PostgreSQL
    believes that next to nothing is unsent, as is nearly always so, or knows nothing of the table
    yet; of very many rows it would fetch and sort all for the first thousand, each time."""
    if connection.dialect.name == "postgresql":
        _DO_NOT_SORT.run(connection)


_DO_NOT_SORT = Prepared(sa.text("SELECT set_config('enable_sort', 'off', true)"))


def _name(topic: str, key: str) -> str:
    return f"{topic}\n{key}"


def _oldest(dialect: str, *where: sa.ColumnElement[bool]) -> sa.Select[*tuple[Any, ...]]:
    """Named one by one: a row with a lower number may be committed later, by another replica."""
    return (
        _in_the_order_of(outbox_unsent, dialect, Unsent._fields, *where)
        .where(sa.not_(_those(dialect, outbox_unsent.c.row)))
        .limit(sa.bindparam("most", type_=sa.Integer))
    )


def _of_free_keys(dialect: str) -> sa.Select[*tuple[Any, ...]]:
    """However many keys are blocked, they are one parameter: SQLite refuses a statement that names
    a thousand, and everybody would wait for them."""
    name = outbox.c.topic + "\n" + outbox.c.key
    return _oldest(dialect, sa.not_(among(dialect, name, "blocked")))


_UNSENT, _FREE = Prepared(_oldest), Prepared(_of_free_keys)


def _in_the_order_of(
    marked: sa.Table, dialect: str, columns: Iterable[str], *where: sa.ColumnElement[bool]
) -> sa.Select[*tuple[Any, ...]]:
    """Events of which a row in `marked` speaks, in the order of these rows.

    Both engines are made to begin there. Else they may go through the whole outbox, or through all
    events of a topic, for the first few of them: PostgreSQL while it knows nothing of the tables,
    SQLite by the index of topics. SQLite has no index for a sum; PostgreSQL takes a subquery with
    OFFSET for itself, once for each row.
    """
    if dialect == "postgresql":
        mine = sa.select(outbox).where(outbox.c.row == marked.c.row, *where).correlate(marked)
        told: sa.FromClause = mine.offset(_ZERO).lateral("told")
        found = sa.select(*(told.c[name] for name in columns))
        return found.select_from(marked.join(told, sa.true())).order_by(marked.c.row)
    both = marked.join(outbox, outbox.c.row == marked.c.row + _ZERO)
    found = sa.select(*(outbox.c[name] for name in columns))
    return found.select_from(both).where(*where).order_by(marked.c.row)


_ZERO: sa.ColumnElement[int] = sa.literal_column("0")


def sent(
    connection: sa.Connection, rows: Sequence[Sent], places: Mapping[Partition, Place]
) -> None:
    """Mark acknowledged rows and move the places, in the caller's transaction; on PostgreSQL by one
    statement."""
    if not rows:
        return
    last = {r.row: r for r in rows}  # what was sent twice lies in the log twice
    marked = [(r.row, r.partition, r.offset, r.stamp) for r in last.values()]
    if connection.dialect.name == "postgresql":
        moved = [row_of("out", name, at) for name, at in places.items()]
        parameters = [json_text(moved), *map(_array, zip(*marked, strict=True))]
        run(connection, _SENT, parameters, number=len(marked))
        return
    set_by_set(connection, _sent, marked)
    _FORGET_UNSENT.run(connection, rows=list(last))
    move(connection, places)


_MARK = 'INSERT INTO outbox_sent ("row", "partition", record_offset, stamp)'
_ANEW = (
    ' ON CONFLICT ("row") DO UPDATE SET "partition" = excluded."partition",'
    " record_offset = excluded.record_offset, stamp = excluded.stamp"
)
_PLACED = ("record_offset", "event_id", "stamp", "era")
_SENT = (
    "WITH v AS (SELECT * FROM unnest(CAST($2 AS bigint[]), CAST($3 AS int[]),"  # noqa: S608 - marks
    " CAST($4 AS bigint[]), CAST($5 AS bigint[])) AS v(r, p, o, s)),"
    ' gone AS (DELETE FROM outbox_unsent USING v WHERE "row" = v.r),'
    f' moved AS (INSERT INTO place (side, topic, "partition", {", ".join(_PLACED)})'
    f' SELECT side, topic, "partition", {", ".join(_PLACED)}'
    " FROM json_populate_recordset(CAST(NULL AS place), CAST($1 AS json))"
    ' ON CONFLICT (side, topic, "partition") DO UPDATE SET'
    f" {', '.join(f'{name} = excluded.{name}' for name in _PLACED)})"
    f" {_MARK} SELECT r, p, o, s FROM v{_ANEW}"
)


def _array(numbers: Iterable[int]) -> str:
    """As PostgreSQL writes them: a tenth faster there than as rows of JSON."""
    return f"{{{','.join(map(str, numbers))}}}"


@cache
def _sent(size: int) -> str:
    """The same on SQLite, for so many rows: as values, which need not be read out of JSON."""
    return f"{_MARK} VALUES {', '.join(['(?, ?, ?, ?)'] * size)}{_ANEW}"


def move(connection: sa.Connection, places: Mapping[Partition, Place]) -> None:
    """Write the places of the own topics."""
    upsert(
        connection,
        place,
        [row_of("out", name, at) for name, at in places.items()],
        key=("side", "topic", "partition"),
    )


def out_places(connection: sa.Connection) -> dict[Partition, Place]:
    """How far the own topics are written."""
    rows = connection.execute(sa.select(place).where(place.c.side == "out"))
    return {
        (r.topic, r.partition): Place(r.record_offset, r.event_id, r.stamp, r.era) for r in rows
    }


def in_partition(name: Partition) -> sa.ColumnElement[bool]:
    """Rows that were sent to a partition."""
    return sa.and_(outbox.c.topic == name[0], outbox_sent.c.partition == name[1])


def any_before(connection: sa.Connection, begins: Mapping[Partition, int]) -> bool:
    """Whether a row counts as sent to an offset before the first one that is there."""
    return any(
        connection.scalar(
            sa.select(
                sa.exists()
                .select_from(outbox.join(outbox_sent, outbox.c.row == outbox_sent.c.row))
                .where(in_partition(name), outbox_sent.c.record_offset < begin)
            )
        )
        for name, begin in begins.items()
    )


def sent_after(
    connection: sa.Connection,
    chosen: sa.ColumnElement[bool],
    after: int,
    most: int,
    *,
    until: int = 2**62,
) -> list[int]:
    """The first of the sent rows that are `chosen`, behind a row and up to another, in order."""
    _in_order(connection)
    rows = (
        _in_the_order_of(outbox_sent, connection.dialect.name, ["row"], chosen)
        .where(outbox_sent.c.row > after, outbox_sent.c.row <= until)
        .limit(most)
    )
    return list(connection.scalars(rows))


def of_topic(topic: str, *, key: str = "", since: datetime | None = None) -> sa.ColumnElement[bool]:
    """Rows of a topic (of one key, of a time on)."""
    chosen = outbox.c.topic == topic
    if key:
        chosen = sa.and_(chosen, outbox.c.key == key)
    if since is not None:
        chosen = sa.and_(chosen, outbox.c.at >= since)
    return chosen


def has_told(connection: sa.Connection, *, topic: str, key: str) -> bool:
    """Whether there is any row of this topic and key, sent or not."""
    return bool(connection.scalar(sa.select(sa.exists().where(of_topic(topic, key=key)))))


def unsend(
    connection: sa.Connection, chosen: sa.ColumnElement[bool], after: int, *, until: int = 2**62
) -> tuple[int, int]:
    """A slice of the sent rows that are `chosen` counts as unsent from now on.

    Gives how far it has looked, to go on behind it (0: there were no more), and how many they are.
    """
    some = (
        sa.select(outbox_sent.c.row)
        .where(outbox_sent.c.row > after, outbox_sent.c.row <= until)
        .order_by(outbox_sent.c.row)
        .limit(LOOKED_AT)
        .subquery()
    )
    end = connection.scalar(sa.select(sa.func.max(some.c.row)))
    if end is None:
        return 0, 0
    rows = sent_after(connection, chosen, after, SLICE, until=end)
    forget(connection, rows)
    return (rows[-1] if len(rows) == SLICE else end), len(rows)


def forget(connection: sa.Connection, rows: Sequence[int]) -> None:
    """These rows count as unsent from now on."""
    if not rows:
        return
    _FORGET_SENT.run(connection, rows=rows)
    insert_ignore(connection, outbox_unsent, [{"row": row} for row in rows])


def _those(dialect: str, column: sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
    """The column is one of ``rows``, one parameter."""
    if dialect == "postgresql":
        return column == sa.any_(sa.bindparam("rows", type_=postgresql.ARRAY(sa.BigInteger)))
    each = sa.func.json_each(sa.bindparam("rows", type_=Json)).table_valued("value")
    return column.in_(sa.select(each.c.value))


def _forgetting(table: sa.Table) -> Prepared:
    return Prepared(lambda dialect: sa.delete(table).where(_those(dialect, table.c.row)))


_FORGET_SENT = _forgetting(outbox_sent)
_FORGET_UNSENT = _forgetting(outbox_unsent)


def astray(connection: sa.Connection) -> Sequence[str]:
    """Ids of events that are neither unsent nor sent, or both: there must be none."""
    marked = outbox.outerjoin(outbox_unsent, outbox.c.row == outbox_unsent.c.row)
    marked = marked.outerjoin(outbox_sent, outbox.c.row == outbox_sent.c.row)
    both_or_neither = outbox_unsent.c.row.is_(None) == outbox_sent.c.row.is_(None)
    return connection.scalars(
        sa.select(outbox.c.id).select_from(marked).where(both_or_neither).order_by(outbox.c.row)
    ).all()


def last_row(connection: sa.Connection) -> int:
    """The number of the newest row."""
    return connection.scalar(sa.select(sa.func.max(outbox.c.row))) or 0


def rows_of(connection: sa.Connection, ids: Sequence[str]) -> dict[str, int]:
    """The rows of those of these ids that are in the outbox."""
    return {event_id: row for event_id, (row, *_) in sent_as(connection, ids).items()}


def sent_as(
    connection: sa.Connection, ids: Sequence[str]
) -> dict[str, tuple[int, int | None, int | None]]:
    """Row, partition and offset of those of these ids that are in the outbox; None where one does
    not count as sent."""
    found: dict[str, tuple[int, int | None, int | None]] = {}
    marked = outbox.outerjoin(outbox_sent, outbox.c.row == outbox_sent.c.row)
    asked = sa.select(
        outbox.c.id, outbox.c.row, outbox_sent.c.partition, outbox_sent.c.record_offset
    ).select_from(marked)
    for start in range(0, len(ids), 1_000):
        part = ids[start : start + 1_000]
        for event_id, row, partition, offset in connection.execute(
            asked.where(outbox.c.id.in_(part))
        ):
            found[event_id] = row, partition, offset
    return found


def sent_behind(
    connection: sa.Connection, rows: Sequence[int], ends: Mapping[Partition, int]
) -> list[int]:
    """Those of these rows, all of one topic, that count as sent behind where its log ended."""
    until = {partition: end for (_, partition), end in ends.items()}
    asked = sa.select(
        outbox_sent.c.row, outbox_sent.c.partition, outbox_sent.c.record_offset
    ).where(outbox_sent.c.row.in_(rows))
    return [
        row
        for row, partition, offset in connection.execute(asked)
        if offset >= until.get(partition, offset + 1)
    ]


def oldest_unsent(connection: sa.Connection) -> datetime | None:
    """When the oldest row that was not sent was written."""
    first = sa.select(sa.func.min(outbox_unsent.c.row)).scalar_subquery()
    return connection.scalar(sa.select(outbox.c.at).where(outbox.c.row == first))


def count_unsent(connection: sa.Connection) -> int:
    """How many rows were not sent."""
    return connection.scalar(sa.select(sa.func.count()).select_from(outbox_unsent)) or 0
