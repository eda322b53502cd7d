"""The tables of a rebuild: copies of those of the projections, beside them until they take over."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable

import sqlalchemy as sa
from sqlalchemy.sql.elements import quoted_name

from messaging.outcome import Partition, Place
from messaging.put_away import put_away, rename_index
from messaging.reactions import Projection
from messaging.tables import meta, place, projection, read_meta, set_aside, write_meta

LOCK_WITHIN = "500ms"
"""How long a swap waits on PostgreSQL for those who read the live tables: everybody who comes
behind it waits as well. Shorter than the server takes to look for deadlocks (1 s): a reader of two
of the tables is never the one who is broken off."""


class Shadow:
    """The tables of one rebuild: a copy of each table of its projections, the ids that it has seen,
    and those among them that were set aside at that time.

    Its name says which projections and versions are rebuilt together: another set, and another
    version, begins with tables of its own.
    """

    def __init__(self, read_models: Collection[Projection], suffix: str = "rebuild") -> None:
        self.of = tuple(sorted(read_models, key=lambda p: p.name))
        self.name = _named(suffix, ",".join(p.side for p in self.of))
        self.side_of_first = _side_of_first(self.name)
        self.metadata = sa.MetaData()
        self.tables = {
            table.name: _copy(table, self.metadata, f"{table.name}_{suffix}")
            for read_model in self.of
            for table in read_model.tables
        }
        self.seen, self.held = _notes(self.name, self.metadata)

    def take_over(self, connection: sa.Connection) -> None:
        """Make the tables unless they are there from a rebuild of the same projections that was
        interrupted. What another set of projections has left of these is thrown away."""
        left = {p: read_meta(connection, _note(p)) for p in self.of}
        if set(left.values()) != {self.name}:
            for table in self.metadata.tables:
                put_away(connection, table)
            _drop_places(connection, self.name)
            for read_model in self.of:
                write_meta(connection, _note(read_model), self.name)
            for other in sorted({name for name in left.values() if name} - {self.name}):
                _drop_notes_unless_used(connection, other)
        self.create(connection)

    def create(self, connection: sa.Connection) -> None:
        """Make the tables that are not there, and what an earlier build has left out of them."""
        if connection.dialect.name == "postgresql":
            # Names of unique constraints are of the whole schema there.
            for table in self.tables.values():
                for constraint in table.constraints:
                    if isinstance(constraint, sa.UniqueConstraint) and constraint.name:
                        constraint.name = _other_name(str(constraint.name), table.name)
        self.metadata.create_all(connection)
        for table in self.tables.values():
            for index in table.indexes:
                index.create(connection, checkfirst=True)

    def drop(self, connection: sa.Connection) -> None:
        """Away with the tables and the places."""
        self.metadata.drop_all(connection)
        _drop_places(connection, self.name)

    def places(self, connection: sa.Connection) -> dict[Partition, Place]:
        """Where the last slice ended after which nothing was kept in memory."""
        return self._places(connection, self.name)

    def first_places(self, connection: sa.Connection) -> dict[Partition, Place]:
        """A record of each of those logs that was seen there before what led to `places`."""
        return self._places(connection, self.side_of_first)

    def _places(self, connection: sa.Connection, side: str) -> dict[Partition, Place]:
        rows = connection.execute(sa.select(place).where(place.c.side == side))
        return {
            (r.topic, r.partition): Place(r.record_offset, r.event_id, r.stamp, r.era) for r in rows
        }


def _named(suffix: str, what: str) -> str:
    return f"{suffix}_{hashlib.blake2b(what.encode(), digest_size=6).hexdigest()}"


def _note(read_model: Projection) -> str:
    """Where it is written down which shadow a projection is rebuilt in."""
    return f"rebuild.{read_model.name}.shadow"


def _side_of_first(name: str) -> str:
    return f"{name}.first"


def _drop_places(connection: sa.Connection, name: str) -> None:
    connection.execute(sa.delete(place).where(place.c.side.in_([name, _side_of_first(name)])))


def _notes(name: str, metadata: sa.MetaData) -> tuple[sa.Table, sa.Table]:
    """What a shadow remembers of the log: the ids it has seen, and what is held."""
    seen = sa.Table(
        f"{name}_seen",
        metadata,
        sa.Column("event_id", sa.String(160), primary_key=True),
        sqlite_with_rowid=False,
    )
    held = set_aside.to_metadata(metadata, name=f"{name}_held")
    held.indexes.clear()
    return seen, held


def _drop_notes_unless_used(connection: sa.Connection, name: str) -> None:
    """Away with what a shadow remembers when no projection is rebuilt in it any more."""
    used = sa.exists().where(
        meta.c.name.like("rebuild.%.shadow"), meta.c.value == sa.bindparam("wanted")
    )
    if not connection.scalar(sa.select(used), {"wanted": name}):
        for table in _notes(name, sa.MetaData()):
            put_away(connection, table.name)
        _drop_places(connection, name)


def _copy(table: sa.Table, metadata: sa.MetaData, name: str) -> sa.Table:
    """With all that its indexes are: columns, order, conditions. Only their names differ."""
    copy = table.to_metadata(metadata, name=name)
    for index in copy.indexes:
        index.name = quoted_name(_other_name(str(_original(table, index).name), name), quote=None)
    return copy


def _original(table: sa.Table, copied: sa.Index) -> sa.Index:
    """The live index of a copied one: by its name, or by its column where it has none of its own
    (``index=True`` is named after the table)."""
    columns = [column.name for column in copied.columns]
    for index in table.indexes:
        if index.name == copied.name:
            return index
    return next(i for i in table.indexes if [c.name for c in i.columns] == columns)


def _other_name(name: str, table: str) -> str:
    """Short enough for PostgreSQL whatever the names are, and the same in every process."""
    return "shadow_" + hashlib.blake2b(f"{table}.{name}".encode(), digest_size=12).hexdigest()


def swap(connection: sa.Connection, shadow: Shadow, read_models: Iterable[Projection]) -> None:
    """The shadow becomes the live model of these, in the caller's transaction. Afterwards the
    schema is what it was, to the last name: migrations go on from there.

    Raises OperationalError, which is transient, when readers of the live tables are in the way on
    PostgreSQL.
    """
    read_models = list(read_models)
    if connection.dialect.name == "postgresql":
        _lock(connection, [table for p in read_models for table in p.tables])
    for read_model in read_models:
        for table in read_model.tables:
            _swap_table(connection, table, shadow.tables[table.name])
        connection.execute(sa.delete(projection).where(projection.c.name == read_model.name))
        connection.execute(
            sa.insert(projection).values(
                name=read_model.name, version=read_model.version, state="live"
            )
        )
        connection.execute(sa.delete(meta).where(meta.c.name == _note(read_model)))
    _drop_notes_unless_used(connection, shadow.name)


def keep_vacuum_away(
    connection: sa.Connection, shadow: Shadow, read_models: Iterable[Projection]
) -> None:
    """Until the end of the transaction nobody vacuums or analyses what a swap of these changes.

    PostgreSQL's autovacuum leaves a table to whoever wants it, but only when that one has waited
    for a second (`deadlock_timeout`; "Routine Vacuuming" of its documentation). It likes tables
    that have grown as fast as a shadow, and the swap waited for it table by table while all who
    read the live ones waited behind the swap. To be called before anything is locked that others
    want: this waits beside readers and writers.
    """
    if connection.dialect.name == "postgresql":
        live = [table for p in read_models for table in p.tables]
        names = _quoted([*live, *shadow.metadata.tables.values()])
        connection.execute(sa.text(f"LOCK TABLE {names} IN SHARE UPDATE EXCLUSIVE MODE"))


def _lock(connection: sa.Connection, tables: Iterable[sa.Table]) -> None:
    connection.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_WITHIN}'"))
    connection.execute(sa.text(f"LOCK TABLE {_quoted(tables)} IN ACCESS EXCLUSIVE MODE"))
    connection.execute(sa.text("SET LOCAL lock_timeout TO DEFAULT"))


def _quoted(tables: Iterable[sa.Table]) -> str:
    return ", ".join(sorted(f'"{table.name}"' for table in tables))


def _swap_table(connection: sa.Connection, table: sa.Table, copy: sa.Table) -> None:
    put_away(connection, table.name)
    connection.execute(sa.text(f'ALTER TABLE "{copy.name}" RENAME TO "{table.name}"'))
    for index in table.indexes:
        rename_index(connection, _other_name(str(index.name), copy.name), str(index.name))
    if connection.dialect.name == "postgresql":
        _rename_constraints(connection, table, copy)


def _rename_constraints(connection: sa.Connection, table: sa.Table, copy: sa.Table) -> None:
    """Those that have the name of the copy in theirs, and those that were given another."""
    given = {_other_name(str(c.name), copy.name): str(c.name) for c in table.constraints if c.name}
    found = connection.scalars(
        sa.text("SELECT conname FROM pg_constraint WHERE conrelid = CAST(:name AS regclass)"),
        {"name": f'"{table.name}"'},
    )
    for name in list(found):
        wanted = given.get(name) or name.replace(copy.name, table.name)
        if wanted != name:
            connection.execute(
                sa.text(f'ALTER TABLE "{table.name}" RENAME CONSTRAINT "{name}" TO "{wanted}"')
            )
