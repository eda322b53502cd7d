"""A machine against a model: whatever happens in whatever order, nothing is handed over twice."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from messaging.testing import Bench
from notifications import commands, store
from notifications.app import SERVICE
from notifications.commands.hand_over import HandOver
from notifications.domain.delivery import Answer
from notifications.domain.quiet_hours import Hours, leaves_at, time_zone
from runtime.clock import FixedClock
from runtime.ids import SequenceIds
from runtime.refusals import Refusal
from runtime.testing import MONDAY, examples

from .conftest import World

LEASE = timedelta(minutes=4)
PEOPLE = ("maria", "ali")
ROME = time_zone("Europe/Rome")


class Deliveries(RuleBasedStateMachine):
    """Facts come (also again), time passes, processes lease, answer late or die."""

    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = FixedClock(MONDAY)
        url = f"sqlite:///{Path(self.folder.name) / 'store.db'}"
        self.bench = Bench(SERVICE, url, clock=self.clock, ids=SequenceIds())
        self.world = World(self.bench, self.clock)
        self.records: list[Any] = []
        for person in PEOPLE:
            self.world.household(f"house-{person}", person)
        self.handed_over: dict[str, int] = {}

    def teardown(self) -> None:
        self.bench.close()
        self.folder.cleanup()

    @rule(person=st.sampled_from(PEOPLE), always=st.booleans())
    def fact(self, person: str, always: bool) -> None:
        make = self.world.offered if always else self.world.confirmed
        event = make(person, household_id=f"house-{person}", session_id=f"s-{len(self.records)}")
        self.records.append(self.bench.record(event))
        self.bench.settle([self.records[-1]])

    @rule(pick=st.integers(0, 100))
    def again(self, pick: int) -> None:
        if self.records:
            self.bench.settle([self.records[pick % len(self.records)]])

    @rule(minutes=st.sampled_from([1, 5, 60, 9 * 60]))
    def passes(self, minutes: int) -> None:
        self.clock.advance(timedelta(minutes=minutes))

    @rule(target=leases)
    def lease(self) -> Any:
        taken = self.bench.run(lambda tx: commands.take(tx, lease_for=LEASE))
        if isinstance(taken, HandOver):
            (message,) = self.world.rows(store.message, id=taken.message_id)
            now, until = self.clock.now(), message.useful_until
            assert leaves_at(now, Hours(), ROME, "IT-MI", useful_until=until) == now
            assert until is None or now < until
        return taken

    @rule(lease=consumes(leases), answer=st.sampled_from([Answer.TAKEN, Answer.LATER]))
    def answers(self, lease: Any, answer: Answer) -> None:
        """The mail server took it or not; the process lives to tell."""
        if isinstance(lease, HandOver):
            self._reached_the_server(lease, answer)
            self.bench.run(lambda tx: commands.finish(tx, lease, answer))

    @rule(lease=consumes(leases), answer=st.sampled_from([Answer.TAKEN, Answer.NEVER]))
    def dies(self, lease: Any, answer: Answer) -> None:
        """The mail server took it or not; nobody lives to tell."""
        if isinstance(lease, HandOver):
            self._reached_the_server(lease, answer)

    def _reached_the_server(self, lease: HandOver, answer: Answer) -> None:
        if answer is Answer.TAKEN:
            self.handed_over[lease.message_id] = self.handed_over.get(lease.message_id, 0) + 1

    @rule()
    def watch(self) -> None:
        self.bench.run(commands.lose_expired)

    @rule(pick=st.integers(0, 100))
    def coordinator_sends_again(self, pick: int) -> None:
        messages = self.world.messages()
        if messages:
            one = messages[pick % len(messages)]
            with suppress(Refusal):
                self.bench.run(lambda tx: commands.send_again(tx, one.id))

    @invariant()
    def nothing_is_handed_over_twice(self) -> None:
        assert all(times == 1 for times in self.handed_over.values())

    @invariant()
    def what_must_hold_holds(self) -> None:
        assert self.world.faults() == []
        assert len(self.world.messages()) == len(self.records)
        assert len(self.world.rows(store.delivery, channel="email")) == len(self.records)


TestDeliveries = Deliveries.TestCase
TestDeliveries.settings = settings(
    max_examples=examples(6),
    stateful_step_count=20,
    suppress_health_check=[HealthCheck.too_slow],
)
