"""The waiting list of the real commands, step by step beside a simple model of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from activities.domain.waiting_list import Policy
from contracts.activities import SignUpOffered
from runtime.refusals import Refusal
from runtime.testing import examples

SINGLES = ["anna", "bruno", "carla", "dario", "elena"]
SIBLINGS = {"h1": ["ada", "ida"], "h2": ["ugo", "leo", "pia"]}
HOLD = timedelta(hours=48)


@dataclass
class Place:
    """What the model knows of one sign-up."""

    id: str
    person: str
    party: tuple[str, ...]
    rank: tuple[int, int]
    state: str = "waiting"
    until: datetime | None = None


class Model:
    """The rules told in the simplest way: one item at a time gets its places, or nobody."""

    def __init__(self, capacity: int, policy: Policy, begins: datetime) -> None:
        self.capacity, self.policy, self.begins = capacity, policy, begins
        self.places: list[Place] = []
        self.entered = 0

    def standing(self, *states: str) -> list[Place]:
        return [place for place in self.places if place.state in states]

    def free(self) -> int:
        return self.capacity - len(self.standing("confirmed", "offered"))

    def parties(self) -> list[list[Place]]:
        waiting = sorted(self.standing("waiting"), key=lambda place: place.rank)
        made: list[list[Place]] = []
        for place in waiting:
            if made and made[-1][0].rank == place.rank:
                made[-1].append(place)
            else:
                made.append([place])
        return made

    def next_party(self) -> list[Place] | None:
        for party in self.parties():
            if len(party) <= self.free():
                return party
            if self.policy is Policy.KEEP_FOR_GROUP:
                return None
        return None

    def give(self, now: datetime, newcomers: list[Place] | None = None) -> None:
        while now < self.begins and (party := self.next_party()):
            for place in party:
                if newcomers and place in newcomers:
                    place.state = "confirmed"
                else:
                    place.state = "offered"
                    place.until = min(now + HOLD, self.begins)

    def enter(
        self, ids: list[str], people: list[str], priority: int, now: datetime, *, together: bool
    ) -> None:
        new = []
        for number, (id_, person) in enumerate(zip(ids, people, strict=True)):
            if not together or number == 0:
                self.entered += 1
            party = tuple(people) if together else (person,)
            new.append(Place(id_, person, party, (-priority, self.entered)))
        self.places.extend(new)
        self.give(now, new)

    def pass_time(self, now: datetime) -> None:
        for place in self.standing("offered"):
            assert place.until is not None
            if place.until <= now:
                place.state = "expired"
        self.give(now)
        if now >= self.begins:
            for place in self.standing("waiting"):
                place.state = "not_placed"

    def party_of(self, place: Place) -> list[Place]:
        return [p for p in self.places if p.rank == place.rank and p.state == place.state]


parties = st.one_of(
    st.sampled_from([([person], False) for person in SINGLES]),
    st.sampled_from(
        [(people, together) for people in SIBLINGS.values() for together in (True, True, False)]
    ),
)
"""Who signs up in one request, and whether together."""
priorities = st.sampled_from([0, 0, 0, 1, 2])


def who(asked: tuple[tuple[list[str], bool], int]) -> str:
    return asked[0][0][0]


def machine(world: Any) -> type[RuleBasedStateMachine]:
    class WaitingList(RuleBasedStateMachine):
        @initialize(
            capacity=st.integers(1, 3),
            policy=st.sampled_from(Policy),
            days=st.integers(3, 14),
            crowd=st.lists(st.tuples(parties, priorities), min_size=2, max_size=7, unique_by=who),
        )
        def begin(
            self, capacity: int, policy: Policy, days: int, crowd: list[tuple[Any, int]]
        ) -> None:
            """A session that is full, or nearly so: there the rules begin to matter."""
            world.bench.tick()
            self.session_id = world.session(capacity, policy=policy, starts_in=timedelta(days=days))
            self.model = Model(capacity, policy, world.clock.now() + timedelta(days=days))
            for (people, together), priority in crowd:
                self.sign_up(people, priority, together=together)

        @property
        def now(self) -> datetime:
            return world.clock.now()  # type: ignore[no-any-return]

        def refuses(self, reason: str, ask: Callable[[], Any]) -> None:
            with pytest.raises(Refusal, match=f"^{reason}:"):
                ask()

        def sign_up(self, people: list[str], priority: int, *, together: bool) -> None:
            def ask() -> Any:
                return world.sign_up(self.session_id, *people, together=together, priority=priority)

            world.advance(minutes=1)
            self.model.pass_time(self.now)
            live = {p.person for p in self.model.standing("confirmed", "offered", "waiting")}
            if self.now >= self.model.begins:
                self.refuses("session.begun", ask)
            elif together and len(people) > self.model.capacity:
                self.refuses("signup.group_too_large", ask)
            elif live & set(people):
                self.refuses("signup.already", ask)
            else:
                ids = [one.id for one in ask()]
                self.model.enter(ids, people, priority, self.now, together=together)

        @rule(party=parties, priority=priorities)
        def somebody_signs_up(self, party: tuple[list[str], bool], priority: int) -> None:
            people, together = party
            self.sign_up(people, priority, together=together)

        @precondition(lambda self: self.model.places)
        @rule(data=st.data())
        def accept(self, data: st.DataObject) -> None:
            place = data.draw(st.sampled_from(self.model.places))
            if place.state == "confirmed":
                assert world.accept(place.id).state == "confirmed"
            elif place.state == "expired":
                self.refuses("offer.expired", lambda: world.accept(place.id))
            elif self.now >= self.model.begins:
                self.refuses("session.begun", lambda: world.accept(place.id))
            elif place.state != "offered":
                self.refuses("offer.none", lambda: world.accept(place.id))
            else:
                world.accept(place.id)
                for one in self.model.party_of(place):
                    one.state = "confirmed"

        @precondition(lambda self: self.model.standing("offered"))
        @rule(data=st.data())
        def decline(self, data: st.DataObject) -> None:
            place = data.draw(st.sampled_from(self.model.standing("offered")))
            world.decline(place.id)
            for one in self.model.party_of(place):
                one.state = "cancelled"
            self.model.give(self.now)

        @precondition(lambda self: self.model.standing("confirmed", "offered", "waiting"))
        @rule(data=st.data())
        def cannot_come(self, data: st.DataObject) -> None:
            live = self.model.standing("confirmed", "offered", "waiting")
            place = data.draw(st.sampled_from(live))
            if self.now >= self.model.begins:
                self.refuses("session.begun", lambda: world.cancel(place.id))
            else:
                world.cancel(place.id)
                place.state = "cancelled"
                self.model.give(self.now)

        @rule(hours=st.sampled_from([1, 24, 47, 48]))
        def time_passes(self, hours: int) -> None:
            world.advance(hours=hours)
            self.model.pass_time(self.now)

        @rule(capacity=st.integers(1, 6))
        def places_change(self, capacity: int) -> None:
            taken = len(self.model.standing("confirmed", "offered"))
            largest = max((len(party) for party in self.model.parties()), default=0)
            change = partial(world.capacity, self.session_id, capacity)
            if capacity < taken:
                self.refuses("session.capacity_taken", change)
            elif capacity < largest:
                self.refuses("session.capacity_group", change)
            else:
                change()
                self.model.capacity = capacity
                self.model.give(self.now)

        @invariant()
        def the_service_and_the_model_agree(self) -> None:
            seen = world.sign_ups(self.session_id)
            assert {one.id: str(one.state) for one in seen} == {
                place.id: place.state for place in self.model.places
            }
            offers = {one.id: one.answer_by for one in seen if one.state == "offered"}
            assert offers == {p.id: p.until for p in self.model.standing("offered")}

        @invariant()
        def capacity_is_never_exceeded(self) -> None:
            assert self.model.free() >= 0

        def teardown(self) -> None:
            assert world.faults() == []
            offered = [
                e.signup_id
                for e in world.bench.emitted(SignUpOffered)
                if e.session_id == self.session_id
            ]
            assert len(offered) == len(set(offered)), "nobody is offered the same place twice"

    return WaitingList


@pytest.mark.properties
def test_the_waiting_list_is_that_of_the_model(world: Any) -> None:
    for person in SINGLES:
        world.person(person)
    for household_id, people in SIBLINGS.items():
        world.people(*people, household_id=household_id)
    run_state_machine_as_test(
        machine(world),
        settings=settings(
            max_examples=examples(20 if world.bench.store.dialect == "sqlite" else 10),
            stateful_step_count=15,
            suppress_health_check=list(HealthCheck),
        ),
    )
