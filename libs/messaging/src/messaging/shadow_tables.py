"""The tables of a rebuild: copies of those of the projection, beside them until they take over."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa
from sqlalchemy.sql.elements import quoted_name

from messaging.outcome import Partition, Place
from messaging.reactions import Projection
from messaging.tables import place, projection, set_aside


class Shadow:
    """The tables of one rebuild: a copy of each table of the projection, the ids that it has seen,
    and those among them that were set aside at that time."""

    def __init__(self, read_model: Projection, suffix: str = "rebuild") -> None:
        self.of = read_model
        self.metadata = sa.MetaData()
        self.tables = {
            table.name: _copy(table, self.metadata, f"{table.name}_{suffix}")
            for table in read_model.tables
        }
        self.seen = sa.Table(
            f"{read_model.name}_{suffix}_seen",
            self.metadata,
            sa.Column("event_id", sa.String(160), primary_key=True),
            sqlite_with_rowid=False,
        )
        self.held = set_aside.to_metadata(self.metadata, name=f"{read_model.name}_{suffix}_held")
        self.held.indexes.clear()
        self.side = f"{read_model.side}/{suffix}"

    def create(self, connection: sa.Connection) -> None:
        """Make the tables unless they are there from a rebuild that was interrupted."""
        if connection.dialect.name == "postgresql":
            # Names of unique constraints are of the whole schema there.
            for table in self.tables.values():
                for constraint in table.constraints:
                    if isinstance(constraint, sa.UniqueConstraint) and constraint.name:
                        constraint.name = _other_name(str(constraint.name), table.name)
        self.metadata.create_all(connection)

    def drop(self, connection: sa.Connection) -> None:
        """Away with the tables and the places."""
        self.metadata.drop_all(connection)
        connection.execute(sa.delete(place).where(place.c.side == self.side))

    def places(self, connection: sa.Connection) -> dict[Partition, Place]:
        """Where the last slice ended after which nothing was kept in memory."""
        rows = connection.execute(sa.select(place).where(place.c.side == self.side))
        return {
            (r.topic, r.partition): Place(r.record_offset, r.event_id, r.stamp, r.era) for r in rows
        }


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


def swap(connection: sa.Connection, shadow: Shadow) -> None:
    """The shadow becomes the live model, in the caller's transaction. Afterwards the schema is what
    it was, to the last name: migrations go on from there."""
    sqlite = connection.dialect.name == "sqlite"
    for table in shadow.of.tables:
        copy = shadow.tables[table.name]
        table.drop(connection)
        connection.execute(sa.text(f'ALTER TABLE "{copy.name}" RENAME TO "{table.name}"'))
        for index in table.indexes:
            other = _other_name(str(index.name), copy.name)
            if sqlite:
                connection.execute(sa.text(f'DROP INDEX "{other}"'))
                index.create(connection)
            else:
                connection.execute(sa.text(f'ALTER INDEX "{other}" RENAME TO "{index.name}"'))
        if not sqlite:
            _rename_constraints(connection, table, copy)
    shadow.seen.drop(connection)
    shadow.held.drop(connection)
    connection.execute(sa.delete(place).where(place.c.side == shadow.side))
    connection.execute(sa.delete(projection).where(projection.c.name == shadow.of.name))
    connection.execute(
        sa.insert(projection).values(name=shadow.of.name, version=shadow.of.version, state="live")
    )


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
