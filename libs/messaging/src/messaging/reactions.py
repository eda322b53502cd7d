"""How a service says what it does with events: policies change the truth, projections remember.

The two are told apart by type (DESIGN §3.6). A policy gets a `Transaction`, may emit, acts from its
first deployment on and is never replayed. A projection gets a `ProjectionTransaction`, which has no
outbox, no clock and no ids: what it writes follows from the events alone, so it can be rebuilt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar, cast

import sqlalchemy as sa

from contracts import Event
from messaging.envelope import Received
from runtime.rows import add
from runtime.store import upsert

if TYPE_CHECKING:
    from messaging.transaction import Transaction

E = TypeVar("E", bound=Event)

PolicyFunction = Callable[["Transaction", Received[E]], None]
Prefetch = Callable[["Transaction", Sequence[Received[E]]], None]
ProjectionFunction = Callable[["ProjectionTransaction", Received[E]], None]


class NotYet(Exception):  # noqa: N818 - it is no error
    """A policy met a reference that is not known *yet*: it is tried again after 1, 10 and 60
    minutes, while later events of its key wait. The text must hold no personal data."""


class Policies:
    """The policies of a service, by event type."""

    def __init__(self) -> None:
        self._functions: dict[type[Event], list[PolicyFunction[Any]]] = {}
        self._prefetches: dict[type[Event], list[Prefetch[Any]]] = {}

    def on(
        self, event: type[E], *, prefetch: Prefetch[E] | None = None
    ) -> Callable[[PolicyFunction[E]], PolicyFunction[E]]:
        """React to `event`. `prefetch` is called once for a batch, before its first event, to load
        and lock in id order what the batch names (into ``tx.memo``)."""

        def register(function: PolicyFunction[E]) -> PolicyFunction[E]:
            self._functions.setdefault(event, []).append(function)
            if prefetch is not None:
                known = self._prefetches.setdefault(event, [])
                if prefetch not in known:
                    known.append(prefetch)
            return function

        return register

    def of(self, event: type[Event]) -> Sequence[PolicyFunction[Any]]:
        """The policies that react to an event type."""
        return self._functions.get(event, ())

    def prefetch(self, tx: Transaction, batch: Sequence[Received[Event]]) -> None:
        """Let every prefetch load what the events of its type name."""
        if not self._prefetches:
            return
        by_type: dict[type[Event], list[Received[Event]]] = {}
        for received in batch:
            by_type.setdefault(type(received.event), []).append(received)
        for event, prefetches in self._prefetches.items():
            if chosen := by_type.get(event):
                for prefetch in prefetches:
                    prefetch(tx, chosen)

    @property
    def events(self) -> frozenset[type[Event]]:
        """All event types that some policy reacts to."""
        return frozenset(self._functions)


class ReadModelFailed(Exception):  # noqa: N818 - it names what happened
    """Rows that were collected for a projection could not be written."""

    def __init__(self, read_model: Projection | None, error: Exception) -> None:
        super().__init__(read_model)
        self.read_model = read_model
        self.error = error


class ProjectionTransaction:
    """What a projection may touch: its own tables, live or in the shadow of a rebuild.

    Rows are collected and written set by set: a batch of 500 events costs a statement for each
    table, not one for each row. Whoever reads `connection` finds them written.
    """

    def __init__(self, connection: sa.Connection, shadows: Mapping[str, sa.Table]) -> None:
        self._connection = connection
        self._shadows = shadows
        self._filling: Projection | None = None
        self._sets: dict[sa.Table, _Set] = {}

    def table(self, table: sa.Table) -> sa.Table:
        """The table to write to: the live one, or its shadow while a rebuild runs."""
        return self._shadows.get(table.name, table)

    @property
    def connection(self) -> sa.Connection:
        """The connection, with everything that was collected so far written to it."""
        self.flush()
        return self._connection

    def upsert(
        self,
        table: sa.Table,
        row: Mapping[str, Any],
        *,
        key: Sequence[str],
        newer: str | None = None,
    ) -> None:
        """Insert or update one row, together with others of its table; with `newer` only when that
        column grows (what comes late must not undo what is newer)."""
        collected = self._sets.get(table)
        if collected is not None and (
            collected.adds or (collected.key, collected.newer) != (key, newer)
        ):
            self.flush()
            collected = None
        if collected is None:
            collected = self._sets[table] = _Set(self._filling, key, newer, [])
        collected.rows.append(row)

    def add(self, table: sa.Table, row: Mapping[str, Any], *, key: Sequence[str]) -> None:
        """Add the figures of a row to those of the same key, together with others of its table:
        a count of events costs a row for each batch, not one for each event."""
        collected = self._sets.get(table)
        if collected is not None and not (collected.adds and collected.key == key):
            self.flush()
            collected = None
        if collected is None:
            collected = self._sets[table] = _Set(self._filling, key, None, [], adds=True)
        identity = collected.identity_of(row)
        known = collected.sums.get(identity)
        if known is None:
            known = collected.sums[identity] = dict(row)
            collected.rows.append(known)
            return
        for name, figure in row.items():
            if name not in key:
                known[name] = known.get(name, 0) + figure

    def apply(self, read_model: Projection, received: Received[Event]) -> None:
        """Let a projection remember an event, if it wants to (the boundary calls it)."""
        function = read_model.of(type(received.event))
        if function is not None:
            self._filling = read_model
            function(self, received)

    def flush(self) -> None:
        """Write what was collected. Tables and rows in one order, whatever the events': two
        replicas that meet on two rows wait, and do not deadlock.

        Raises:
            ReadModelFailed: a set could not be written.
        """
        if not self._sets:
            return
        sets, self._sets = self._sets, {}
        for table, one in sorted(sets.items(), key=lambda item: item[0].name):
            rows = sorted(one.rows, key=one.identity_of)
            try:
                if one.adds:
                    add(self._connection, table, rows, key=one.key)
                else:
                    upsert(self._connection, table, rows, key=one.key, newer=one.newer)
            except Exception as error:
                raise ReadModelFailed(one.read_model, error) from error

    def forget(self) -> None:
        """Throw away what was collected: its savepoint is gone."""
        self._sets.clear()


@dataclass(slots=True)
class _Set:
    """Rows for one table, in the order of their events."""

    read_model: Projection | None
    key: Sequence[str]
    newer: str | None
    rows: list[Mapping[str, Any]]
    adds: bool = False
    sums: dict[Any, dict[str, Any]] = field(default_factory=dict)
    """Of one that adds: the row of each key."""
    identity_of: Callable[[Mapping[str, Any]], Any] = field(init=False)

    def __post_init__(self) -> None:
        self.identity_of = itemgetter(*self.key)


class Projection:
    """A read model: filled from events by these functions and by nothing else.

    It has a name and a version; raising the version has it rebuilt from the log. It needs order
    within a key only, and must not read other projections.
    """

    def __init__(self, name: str, *, version: int, tables: Sequence[sa.Table]) -> None:
        if any(table.foreign_keys for table in tables):
            raise ValueError(
                f"{name}: a read model is dropped and renamed, so it has no references"
            )
        self.name = name
        self.version = version
        self.tables = tuple(tables)
        self._functions: dict[type[Event], ProjectionFunction[Any]] = {}

    def __repr__(self) -> str:
        return f"<projection {self.name}@{self.version}>"

    @property
    def side(self) -> str:
        """Its name in the table of places."""
        return f"{self.name}@{self.version}"

    def on(self, *events: type[E]) -> Callable[[ProjectionFunction[E]], ProjectionFunction[E]]:
        """Remember something of these events."""

        def register(function: ProjectionFunction[E]) -> ProjectionFunction[E]:
            for event in events:
                if event in self._functions:
                    raise ValueError(f"{self!r} handles {event.__name__} twice")
                self._functions[event] = cast("ProjectionFunction[Any]", function)
            return function

        return register

    def of(self, event: type[Event]) -> ProjectionFunction[Any] | None:
        """The function for an event type, if this projection wants it."""
        return self._functions.get(event)

    @property
    def events(self) -> Set[type[Event]]:
        """All event types that this projection is filled from."""
        return self._functions.keys()
