"""What a service is, said in one place: name, topics, reactions, jobs, checks."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from contracts import Event, events
from messaging.auth import AUTH
from messaging.envelope import Received
from messaging.reactions import Policies, Projection
from messaging.transaction import Transaction
from runtime.scheduler import Jobs
from runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that does not hold: what, of which thing, and the two values. No personal data."""

    check: str
    subject: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.check}: {self.subject}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True, slots=True)
class Check:
    """Recomputes an invariant from the store alone; gives what differs, nothing when it holds."""

    name: str
    run: Callable[[sa.Connection], Sequence[Difference]]


Recover = Callable[[Transaction, Received[Any]], None]
Worker = Callable[[Any], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Service:
    """A service.

    `topics` are those that it alone writes. `recover` gives the state back to a restored store
    from an own event that the store has forgotten. `workers` are coroutines that run while the
    application does (sending mail, …); they get it as their argument. `on_restore` is called in a
    store that came from a backup, once all that the bus knows is there again. `routers` are import
    paths ``module:name`` of FastAPI routers, imported only where HTTP is served. `settings` is the
    class that reads the service's settings.
    """

    name: str
    prefix: str
    package: str
    metadata: sa.MetaData
    topics: tuple[str, ...]
    policies: Policies = field(default_factory=Policies)
    projections: tuple[Projection, ...] = ()
    jobs: Jobs = field(default_factory=Jobs)
    workers: tuple[Worker, ...] = ()
    recover: Mapping[type[Event], Recover] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    gauges: Mapping[str, Callable[[sa.Connection], float]] = field(default_factory=dict)
    routers: tuple[str, ...] = ()
    settings: type[Settings] = Settings
    on_start: Callable[[Transaction, Settings], None] | None = None
    on_restore: Callable[[Transaction, Settings], None] | None = None

    @cached_property
    def all_projections(self) -> tuple[Projection, ...]:
        """Its own and the one that every service has: keys and revocations."""
        return (AUTH, *self.projections)

    @cached_property
    def produced(self) -> tuple[type[Event], ...]:
        """Every event type that it may write."""
        return tuple(e for topic in self.topics for e in events(topic))

    @cached_property
    def consumed(self) -> tuple[type[Event], ...]:
        """Every event type that it does something with, in the order of their names."""
        wanted = set(self.policies.events)
        for projection in self.all_projections:
            wanted |= projection.events
        return tuple(sorted(wanted, key=lambda e: e.ce_type()))

    @cached_property
    def reads(self) -> tuple[str, ...]:
        """The topics that its one subscriber reads."""
        return tuple(sorted({e.TOPIC for e in self.consumed}))
