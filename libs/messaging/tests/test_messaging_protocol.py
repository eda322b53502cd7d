"""The way of a fact under everything that can happen to it, as a state machine (MESSAGING).

`World` holds the real parts and the model. Here are the rules that hypothesis plays with it, and
the controls: with any one part of the protocol switched off, days of mishaps made from a seed go
wrong. The short run is for every change; the long one (`-m chaos`) plays a thousand examples.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from typing import Any, ClassVar, NamedTuple

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from messaging import reconcile
from messaging.attempt import Attempt
from messaging.envelope import Item, Received
from messaging.follow import Follow, Looked
from messaging.gaps import Gaps
from messaging.outcome import Place
from messaging.tables import inbox
from runtime.store import Store
from runtime.testing import postgresql_database

from .teller_and_hearer import ANSWERS, FACTS, HEARER, HEARING, SAYING, TELLER
from .world import KEYS, World, Wrong

Stores = tuple[Store, Store]
Step = tuple[Any, ...]

LONG = 1_000


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    folder = tmp_path_factory.mktemp("protocol")
    yield from _open(f"sqlite:///{folder}/teller.db", f"sqlite:///{folder}/hearer.db")


@pytest.fixture(scope="module")
def on_postgresql() -> Iterator[Stores]:
    with ExitStack() as stack:
        teller, hearer = (stack.enter_context(postgresql_database()) for _ in range(2))
        yield from _open(teller, hearer)


def _open(teller: str, hearer: str) -> Iterator[Stores]:
    made = Store(teller), Store(hearer)
    made[0].write_now(SAYING.create_all)
    made[1].write_now(HEARING.create_all)
    yield made
    for store in made:
        store.close_now()


# the machine

services = st.sampled_from([TELLER.name, TELLER.name, HEARER.name])
topics = st.sampled_from([FACTS, FACTS, ANSWERS])
replicas = st.integers(0, 1)
points = st.integers(0, 24)
crashes = st.none() | points
kept = st.integers(0, 4)
RELAYING = ("reconcile", "relay", "compare")


class Protocol(RuleBasedStateMachine):
    """Rules are what can happen; at the end everything comes to rest and is counted."""

    stores: ClassVar[Stores]

    def __init__(self) -> None:
        super().__init__()
        self.world = World(*self.stores)

    def teardown(self) -> None:
        try:
            self.world.come_to_rest()
            self.world.check()
        finally:
            self.world.close()

    @rule(keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=3))
    def say(self, keys: list[str]) -> None:
        self.world.say(keys)

    @rule(name=services, crash=crashes)
    def relay(self, name: str, crash: int | None) -> None:
        self.world.relay(name, crash)

    @rule(name=services, crash=crashes)
    def reconcile(self, name: str, crash: int | None) -> None:
        self.world.reconcile(name, crash)

    @rule(name=services, crash=crashes)
    def compare(self, name: str, crash: int | None) -> None:
        self.world.compare(name, crash)

    @rule(name=services, step=st.sampled_from(RELAYING), at=points, keep=kept)
    def shortened_under(self, name: str, step: str, at: int, keep: int) -> None:
        self.world.shortened_under(name, step, at, keep)

    @rule(name=services, at=points, keep=kept)
    def seen_beside(self, name: str, at: int, keep: int) -> None:
        self.world.seen_beside(name, at, keep)

    @rule(at=points, keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=3), crash=crashes)
    def said_beside(self, at: int, keys: list[str], crash: int | None) -> None:
        self.world.said_beside(at, keys, crash)

    @rule(key=st.sampled_from(KEYS))
    def replay(self, key: str) -> None:
        self.world.replay(key)

    @rule(number=replicas, count=st.integers(1, 4))
    def fetch(self, number: int, count: int) -> None:
        self.world.fetch(number, count)

    @rule(number=replicas, crash=st.none() | st.integers(0, 2))
    def give(self, number: int, crash: int | None) -> None:
        self.world.give(number, crash)

    @rule(number=replicas, count=st.integers(1, 4), crash=st.none() | st.integers(0, 2))
    def consume(self, number: int, count: int, crash: int | None) -> None:
        self.world.fetch(number, count)
        self.world.give(number, crash)

    @rule(number=replicas)
    def drop(self, number: int) -> None:
        self.world.drop(number)

    @rule(number=replicas, back=st.integers(1, 4))
    def redeliver(self, number: int, back: int) -> None:
        self.world.redeliver(number, back)

    @rule(number=replicas, at=crashes, keep=st.none() | kept)
    def look(self, number: int, at: int | None, keep: int | None) -> None:
        self.world.look(number, at, keep)

    @rule()
    def reread(self) -> None:
        self.world.reread()

    @rule()
    def retry(self) -> None:
        self.world.retry()

    @rule(at=crashes, keep=st.none() | kept)
    def rebuild(self, at: int | None, keep: int | None) -> None:
        self.world.rebuild(at, keep)

    @rule(owners=st.lists(replicas, min_size=3, max_size=3))
    def assign(self, owners: list[int]) -> None:
        self.world.assign(owners)

    @rule(topic=topics, partition=st.integers(0, 2), keep=st.integers(0, 5))
    def cut(self, topic: str, partition: int, keep: int) -> None:
        self.world.cut(topic, partition, keep)

    @rule(topic=topics, partition=st.integers(0, 2), first=st.integers(1, 8))
    def behead(self, topic: str, partition: int, first: int) -> None:
        self.world.behead(topic, partition, first)

    @rule()
    def wipe(self) -> None:
        self.world.wipe()

    @rule(topic=topics, partitions=st.integers(1, 3))
    def remake(self, topic: str, partitions: int) -> None:
        self.world.remake(topic, partitions)

    @rule(topic=topics)
    def add_partition(self, topic: str) -> None:
        self.world.add_partition(topic)

    @rule(name=services)
    def backup(self, name: str) -> None:
        self.world.backup(name)

    @rule(name=services, crash=crashes, kept=st.booleans())
    def restore(self, name: str, crash: int | None, kept: bool) -> None:
        self.world.restore(name, crash, kept)


def _try(stores: Stores, examples: int, steps: int = 30) -> None:
    machine = type("Machine", (Protocol,), {"stores": stores})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
        ),
    )


def test_nothing_is_lost_nothing_comes_twice_and_keys_keep_their_order(on_sqlite: Stores) -> None:
    _try(on_sqlite, 15)


def test_the_same_on_postgresql(on_postgresql: Stores) -> None:
    _try(on_postgresql, 4)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_a_thousand_examples(on_sqlite: Stores) -> None:
    _try(on_sqlite, LONG, 50)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_a_thousand_examples_on_postgresql(on_postgresql: Stores) -> None:
    _try(on_postgresql, LONG, 50)


# days from a seed


def plan(seed: int, steps: int = 40, among: Collection[str] = ()) -> list[Step]:
    """A day of mishaps (`among` those named): the same for the same seed."""
    dice = random.Random(seed)
    return [_any_step(dice, among) for _ in range(steps)]


def _any_step(dice: random.Random, among: Collection[str]) -> Step:
    at = dice.randrange(25)
    crash = dice.choice([None, None, at])
    name = dice.choice([TELLER.name, TELLER.name, HEARER.name])
    topic = dice.choice([FACTS, FACTS, ANSWERS])
    number = dice.randrange(2)
    keep = dice.choice([0, 0, dice.randrange(5)])
    choices: list[tuple[int, Step]] = [
        (8, ("say", dice.choices(KEYS, k=dice.randrange(1, 4)))),
        (8, ("relay", name, crash)),
        (2, ("reconcile", name, crash)),
        (1, ("compare", name, crash)),
        (2, ("shortened_under", name, dice.choice(RELAYING), at, keep)),
        (1, ("seen_beside", name, at, keep)),
        (6, ("fetch", number, dice.randrange(1, 5))),
        (8, ("give", number, dice.choice([None, None, dice.randrange(3)]))),
        (1, ("redeliver", number, dice.randrange(1, 5))),
        (1, ("drop", number)),
        (1, ("look", number, crash, dice.choice([None, keep]))),
        (2, ("retry",)),
        (1, ("replay", dice.choice(KEYS))),
        (1, ("reread",)),
        (1, ("rebuild", crash, dice.choice([None, keep]))),
        (2, ("assign", [dice.randrange(2) for _ in range(3)])),
        (1, ("cut", topic, dice.randrange(3), dice.randrange(6))),
        (1, ("behead", topic, dice.randrange(3), dice.randrange(1, 9))),
        (1, ("wipe",)),
        (1, ("remake", topic, dice.randrange(1, 4))),
        (1, ("add_partition", topic)),
        (2, ("backup", name)),
        (1, ("restore", name, crash, dice.random() < 0.5)),
    ]
    choices = [(weight, step) for weight, step in choices if not among or step[0] in among]
    (chosen,) = dice.choices([c for _, c in choices], weights=[w for w, _ in choices])
    return chosen


def play(stores: Stores, steps: list[Step]) -> None:
    """Raises Wrong when something does not hold at rest."""
    world = World(*stores)
    try:
        for name, *arguments in steps:
            getattr(world, name)(*arguments)
        world.come_to_rest()
        world.check()
    finally:
        world.close()


# controls: each part of the protocol, switched off


def _no_era(patch: pytest.MonkeyPatch) -> None:
    """Readers do not look at the era of a record."""
    begins = Attempt.begins

    def blind(self: Attempt, item: Item) -> bool:
        content = item.content._replace(era=0)
        return begins(self, item._replace(content=content))

    patch.setattr(Attempt, "begins", blind)


def _no_gap(patch: pytest.MonkeyPatch) -> None:
    """Whatever offset comes next is taken."""
    begins = Attempt.begins

    def blind(self: Attempt, item: Item) -> bool:
        record = item.record
        self.gaps = {(record.topic, record.partition): record.offset}
        return begins(self, item)

    patch.setattr(Attempt, "begins", blind)


def _no_place(patch: pytest.MonkeyPatch) -> None:
    """A replica goes on wherever it is, whatever place the store says, and does not ask either when
    nothing comes: that look would find the place again."""
    _no_look(patch)
    lock_places = Attempt.lock_places

    def blind(self: Attempt, items: list[Item]) -> None:
        lock_places(self, items)
        for name in self.stopped:
            del self.outcome.seeks[name], self.outcome.places[name]
            self.places[name] = Place(-1, "", 0, 0)
        self.stopped.clear()

    patch.setattr(Attempt, "lock_places", blind)


def _no_waiting(patch: pytest.MonkeyPatch) -> None:
    """An event is applied whether or not the one before it is known."""
    one = Attempt.one

    def blind(self: Attempt, index: int, item: Item, refused: str) -> None:
        if isinstance(item.content, Received):
            item = item._replace(content=item.content._replace(previous=None))
        one(self, index, item, refused)

    patch.setattr(Attempt, "one", blind)


def _no_look_again(patch: pytest.MonkeyPatch) -> None:
    """A new era is announced in whatever log there is by then."""

    async def blind(*_: object, **__: object) -> None:
        """Everything is as it was."""

    patch.setattr(reconcile.Reconcile, "_see_again", blind)
    patch.setattr(Gaps, "_lacks_some", _sees_nothing)  # it would be seen there, later


def _no_reconcile(patch: pytest.MonkeyPatch) -> None:
    """The relay takes any log for the one that it knows."""
    _no_look_again(patch)
    patch.setattr(reconcile, "_same", lambda *_: True)


def _no_look_at_heads(patch: pytest.MonkeyPatch) -> None:
    """Whether the first records of a log are there is nobody's concern."""
    patch.setattr(Gaps, "_first_records_gone", _sees_nothing)


async def _sees_nothing(*_: object) -> bool:
    return False


def _no_inbox(patch: pytest.MonkeyPatch) -> None:
    """What was settled is not remembered but for those who wait for it."""
    look_up, close = Attempt.look_up, Attempt.close

    def blind(self: Attempt, items: list[Item], *, prefetch: bool = True) -> None:
        look_up(self, items, prefetch=prefetch)
        self.known -= {item.id for item in items}

    def forgetful(self: Attempt) -> None:
        ids = [row["event_id"] for row in self.inbox_rows]
        there = set(
            self.connection.scalars(sa.select(inbox.c.event_id).where(inbox.c.event_id.in_(ids)))
        )
        self.inbox_rows = [row for row in self.inbox_rows if row["event_id"] not in there]
        close(self)

    patch.setattr(Attempt, "look_up", blind)
    patch.setattr(Attempt, "close", forgetful)


def _no_look(patch: pytest.MonkeyPatch) -> None:
    """A reader to which nothing comes does not ask whether it still is where it was."""

    async def blind(*_: object) -> Looked:
        return Looked()

    patch.setattr(Follow, "look", blind)


CALM = ("say", "relay", "fetch", "give")


class Control(NamedTuple):
    """What is switched off, what happens on such days, the first seed that is tried, and with what
    each day ends."""

    switch_off: Callable[[pytest.MonkeyPatch], None]
    among: tuple[str, ...]
    first: int = 0
    ending: tuple[Step, ...] = ()


TOLD: tuple[Step, ...] = (("say", list(KEYS)), ("relay", TELLER.name, None))
READ: tuple[Step, ...] = tuple(
    step for n in (0, 1, 0, 1) for step in (("fetch", n, 99), ("give", n, None))
)
DROPPED = (*TOLD, *READ, *TOLD, ("fetch", 0, 99), ("drop", 0), ("fetch", 1, 99), ("drop", 1), *TOLD)
"""All was read; of the next facts nobody has more than the positions behind them; more come."""

CONTROLS = {
    "era": Control(_no_era, (*CALM, "wipe"), 51),
    "gap": Control(_no_gap, CALM, ending=DROPPED),
    "place": Control(_no_place, (*CALM, "backup", "restore"), 203),
    "look": Control(_no_look, (*CALM, "backup"), 6, ending=(("restore", HEARER.name, None, True),)),
    "waiting": Control(_no_waiting, (*CALM, "add_partition", "assign")),
    "reconcile": Control(_no_reconcile, (*CALM, "remake")),
    "look again": Control(_no_look_again, (*CALM, "wipe", "shortened_under"), 117),
    "heads": Control(_no_look_at_heads, (*CALM, "behead")),
    "inbox": Control(_no_inbox, (*CALM, "replay")),
}

DAYS = 300


@pytest.mark.timeout(400)
@pytest.mark.parametrize("part", CONTROLS)
def test_without_any_one_part_it_goes_wrong(
    part: str, on_sqlite: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = CONTROLS[part]
    for seed in range(control.first, control.first + DAYS):
        steps = [*plan(seed, 30, control.among), *control.ending]
        with monkeypatch.context() as patch:
            control.switch_off(patch)
            try:
                play(on_sqlite, steps)
            except Wrong:
                break
    else:
        pytest.fail(f"{DAYS} days without {part}, and nothing went wrong")
    play(on_sqlite, steps)
