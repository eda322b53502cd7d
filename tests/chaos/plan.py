"""Which faults come when: made from a seed alone, printed before the first of them.

A plan is rounds. In a round faults fall on a house at work, some of them upon each other; at its
end traffic stops, the house has its time to come right, and everything is compared. The last fault
of a round may fall when traffic has stopped already: then nothing that happens later can help.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from vicinato.settings import SERVICES

SQLITE, POSTGRES = "sqlite", "postgres"
BOTH = (SQLITE, POSTGRES)
ROUND = 20
"""Faults in a round."""

HEALS_WITHIN = 60
"""Seconds without traffic after which all must have come right."""

SELLERS = ("shop", "cards", "activities", "network")
"""Services that clients talk to, and so the ones with most to lose."""

EVENT_TOPICS = ("shop.events", "cards.events", "activities.events", "network.events")


@dataclass(frozen=True)
class Kind:
    """A kind of fault: how often it comes, on what, and for how long (seconds, from and to)."""

    name: str
    weight: int
    targets: tuple[str, ...]
    lasts: tuple[float, float] = (0.0, 0.0)
    engines: tuple[str, ...] = BOTH
    ends_rounds: bool = False
    """May be the last of a round, on a house that has become silent."""


KINDS: tuple[Kind, ...] = (
    Kind("kill", 26, (*SERVICES, *SELLERS, *SELLERS, "front-door")),
    Kind("all-killed", 3, ("machine",), ends_rounds=True),
    Kind("kill-unmarked", 10, SELLERS, (0.1, 1.5)),
    Kind("kill-unpublished", 6, SELLERS, (0.1, 3.0)),
    Kind("freeze", 7, (*SERVICES, *SELLERS, "front-door"), (1.0, 8.0)),
    Kind("all-frozen", 2, ("machine",), (5.0, 40.0), ends_rounds=True),
    Kind("restart", 5, (*SERVICES, *SELLERS, "front-door")),
    Kind("all-restarted", 2, ("machine",), (1.0, 4.0), ends_rounds=True),
    Kind("twice", 4, SELLERS, (4.0, 10.0)),
    Kind("supervisor-killed", 2, ("machine",), ends_rounds=True),
    Kind("house-restarted", 2, ("machine",), ends_rounds=True),
    Kind("nursery-killed", 2, ("machine",), ends_rounds=True),
    Kind("work-killed", 4, SELLERS, (0.0, 2.0), ends_rounds=True),
    Kind("backup-killed", 2, ("machine",), (0.5, 6.0)),
    Kind("port-taken", 3, (*SERVICES, "front-door", "kafka"), (1.0, 8.0)),
    Kind("memory-exhausted", 4, (*SERVICES, *SELLERS, "kafka", "front-door"), (4.0, 15.0)),
    Kind("processor-taken", 2, ("machine",), (3.0, 9.0)),
    Kind("disk-slow", 3, ("machine",), (3.0, 12.0)),
    Kind("kafka-killed", 6, ("kafka",), ends_rounds=True),
    Kind("kafka-frozen", 4, ("kafka",), (2.0, 15.0)),
    Kind("kafka-wiped", 3, ("kafka",), ends_rounds=True),
    Kind("kafka-restored", 3, ("kafka",), (2.0, 12.0), ends_rounds=True),
    Kind("partition-lost", 2, EVENT_TOPICS, ends_rounds=True),
    Kind("log-damaged", 2, EVENT_TOPICS, ends_rounds=True),
    Kind("log-rotting", 2, EVENT_TOPICS),
    Kind("kafka-unreadable", 2, EVENT_TOPICS, ends_rounds=True),
    Kind("topic-anew", 3, EVENT_TOPICS, ends_rounds=True),
    Kind("partitions-added", 3, EVENT_TOPICS, ends_rounds=True),
    Kind("records-deleted", 3, EVENT_TOPICS, ends_rounds=True),
    Kind("records-repeated", 3, EVENT_TOPICS),
    Kind("records-foreign", 2, EVENT_TOPICS),
    Kind("records-flood", 1, EVENT_TOPICS),
    Kind("records-refused", 2, EVENT_TOPICS, (1.0, 8.0)),
    Kind("settings-changed", 3, EVENT_TOPICS, (1.0, 8.0)),
    Kind("topic-compacted", 2, EVENT_TOPICS, (18.0, 30.0)),
    Kind("throttled", 2, SELLERS, (3.0, 12.0)),
    Kind("rights-withdrawn", 2, EVENT_TOPICS, (1.0, 8.0)),
    Kind("reader-shut-out", 2, EVENT_TOPICS, (1.0, 8.0)),
    Kind("user-removed", 2, SELLERS, (1.0, 8.0)),
    Kind("group-forgotten", 2, SELLERS, ends_rounds=True),
    Kind("group-moved", 2, SELLERS, ends_rounds=True),
    Kind("topic-deleted", 3, EVENT_TOPICS, ends_rounds=True),
    Kind("kafka-disk-full", 1, ("kafka",), (1.0, 3.0)),
    Kind("wire-cut", 6, ("kafka",), (0.0, 4.0), (SQLITE,)),
    Kind("wire-cut", 6, ("kafka", "postgresql"), (0.0, 4.0), (POSTGRES,)),
    Kind("wire-slow", 4, ("kafka",), (3.0, 10.0), (SQLITE,)),
    Kind("wire-slow", 4, ("kafka", "postgresql"), (3.0, 10.0), (POSTGRES,)),
    Kind("wire-stopped", 4, ("kafka",), (1.0, 8.0), (SQLITE,)),
    Kind("wire-stopped", 4, ("kafka", "postgresql"), (1.0, 8.0), (POSTGRES,)),
    Kind("clients-gone", 3, ("clients",), (2.0, 9.0)),
    Kind("store-locked", 5, SERVICES, (1.0, 9.0)),
    Kind("store-vacuumed", 2, SERVICES),
    Kind("disk-full", 3, SELLERS, (1.0, 5.0)),
    Kind("files-exhausted", 4, (*SERVICES, "kafka", "front-door"), (2.0, 9.0)),
    Kind("postgresql-killed", 4, ("postgresql",), engines=(POSTGRES,)),
    Kind("postgresql-frozen", 3, ("postgresql",), (2.0, 15.0), engines=(POSTGRES,)),
    Kind("connections-taken", 2, ("postgresql",), (2.0, 9.0), engines=(POSTGRES,)),
    Kind("store-read-only", 2, SERVICES, (1.0, 9.0), engines=(POSTGRES,)),
    Kind("sessions-ended", 4, SERVICES, engines=(POSTGRES,)),
    Kind("restore", 4, SELLERS, (3.0, 12.0), ends_rounds=True),
    Kind("clock", 4, ("machine",), (3.0, 8.0)),
)


@dataclass(frozen=True)
class Fault:
    """`at`: seconds from the beginning of its round; `amount`: how much of it, 0 to 1."""

    number: int
    kind: str
    target: str
    at: float
    seconds: float
    amount: float

    def __str__(self) -> str:
        lasting = f" for {self.seconds:.1f} s" if self.seconds else ""
        return f"{self.number:4} at {self.at:6.1f} s  {self.kind} {self.target}{lasting}"


@dataclass(frozen=True)
class Round:
    """`silent`: traffic stops before the last fault. `quiet`: seconds before the first look."""

    number: int
    faults: tuple[Fault, ...]
    silent: bool
    quiet: float

    def __str__(self) -> str:
        end = "traffic stops before the last, " if self.silent else ""
        head = f"round {self.number}: {end}{self.quiet:.0f} s without traffic before the check"
        return "\n".join([head, *(str(fault) for fault in self.faults)])


def unknown_kinds(wanted: Iterable[str], engine: str) -> list[str]:
    """Names of which there is no kind on this engine."""
    known = {kind.name for kind in KINDS if engine in kind.engines}
    return [name for name in wanted if name not in known]


def make(
    seed: int, faults: int, minutes: float, engine: str, wanted: Sequence[str] = ()
) -> list[Round]:
    """The rounds of a seed. The same arguments give the same plan, on every machine."""
    chance = random.Random(seed)
    kinds = [k for k in KINDS if engine in k.engines and (not wanted or k.name in wanted)]
    return list(_rounds(chance, kinds, faults, minutes * 60))


def _rounds(
    chance: random.Random, kinds: Sequence[Kind], faults: int, seconds: float
) -> Iterator[Round]:
    count = max(1, round(faults / ROUND))
    enders = [kind for kind in kinds if kind.ends_rounds]
    chance.shuffle(enders)
    slot = seconds / faults
    number = 0
    for k in range(count):
        size = faults // count + (k < faults % count)
        silent = bool(enders) and k % 2 == 1
        found = []
        for place in range(size):
            number += 1
            last = place == size - 1
            ender = enders[k // 2 % len(enders)] if last and silent else None
            found.append(_fault(chance, number, ender or _any(chance, kinds), place, slot))
        # The full time once for each of the first that fall on a silent house; else a few seconds.
        strict = silent and k in (1, 3)
        quiet = HEALS_WITHIN if strict else chance.uniform(3, 10)
        yield Round(k + 1, tuple(found), silent, quiet)


def _any(chance: random.Random, kinds: Sequence[Kind]) -> Kind:
    return chance.choices(kinds, [kind.weight for kind in kinds])[0]


def _fault(chance: random.Random, number: int, kind: Kind, place: int, slot: float) -> Fault:
    return Fault(
        number,
        kind.name,
        chance.choice(kind.targets),
        at=place * slot + chance.uniform(0.1, 0.9) * slot,
        seconds=chance.uniform(*kind.lasts),
        amount=chance.random(),
    )
