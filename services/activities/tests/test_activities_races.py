"""Two requests for the last place: the lock gives it to one. Each control shows the race."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from activities import commands, store
from activities.app import SERVICE
from activities.commands import SignUpMade
from contracts.activities import OfferExpired
from runtime.refusals import Refusal
from runtime.testing import fresh_store

PEOPLE = [f"person-{n}" for n in range(8)]


def at_once(*asked: Callable[[], Any]) -> list[Any]:
    """What these give, begun together; a refusal is an answer."""
    start = threading.Barrier(len(asked))

    def ask(one: Callable[[], Any]) -> Any:
        start.wait(10)
        try:
            return one()
        except Refusal as refusal:
            return refusal.reason

    with ThreadPoolExecutor(len(asked)) as pool:
        return list(pool.map(ask, asked))


@contextlib.contextmanager
def reading_before_either_writes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each transaction waits, after it has read, for the other to have read as well.

    Where a lock keeps the other out, nobody comes, and it goes on after a moment.
    """
    both = threading.Barrier(2)
    read = store.live_sign_ups

    def slowly(connection: Any, session_id: str) -> list[store.SignUp]:
        found = read(connection, session_id)
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(0.3)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(store, "live_sign_ups", slowly)
        yield


def confirmed(world: Any, session_id: str) -> list[str]:
    return [p for p, state in world.states(session_id).items() if state == "confirmed"]


def test_two_for_the_last_place(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world.people("anna", "bruno")
    session_id = world.session(1)
    with reading_before_either_writes(monkeypatch):
        answers = at_once(
            lambda: world.sign_up(session_id, "anna"), lambda: world.sign_up(session_id, "bruno")
        )
    assert sorted(one.state for (one,) in answers) == ["confirmed", "waiting"]
    assert len(confirmed(world, session_id)) == 1
    assert world.faults() == []


def test_control_without_the_lock_of_the_row_both_get_it(
    make_world: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On PostgreSQL, where two write at the same time."""
    with fresh_store("postgresql", SERVICE.package, SERVICE.metadata, tmp_path) as url:
        world = make_world(url)
        world.people("anna", "bruno")
        session_id = world.session(1)
        monkeypatch.setattr(store, "lock_rows", lambda *_: None)
        with reading_before_either_writes(monkeypatch):
            at_once(
                lambda: world.sign_up(session_id, "anna"),
                lambda: world.sign_up(session_id, "bruno"),
            )
        assert len(confirmed(world, session_id)) == 2, "the race is real: the test above sees it"
        assert any("activities.capacity" in fault for fault in world.faults())
        world.bench.close()


def test_control_deciding_on_what_was_read_before_the_transaction(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On SQLite too, where transactions come one after the other."""
    world.people("anna", "bruno")
    session_id = world.session(1)
    stale = world.bench.run(lambda tx: store.locked_session(tx.connection, session_id))
    monkeypatch.setattr(store, "locked_session", lambda *_: deepcopy(stale))
    at_once(lambda: world.sign_up(session_id, "anna"), lambda: world.sign_up(session_id, "bruno"))
    monkeypatch.undo()
    assert len(confirmed(world, session_id)) == 2, "the race is real: the test above sees it"
    assert any("activities.capacity" in fault for fault in world.faults())


def test_the_same_person_twice_at_once_is_signed_up_once(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.people("anna")
    session_id = world.session(2)
    with reading_before_either_writes(monkeypatch):
        answers = at_once(
            lambda: world.sign_up(session_id, "anna"), lambda: world.sign_up(session_id, "anna")
        )
    assert sorted(map(str, map(type, answers))) == sorted(map(str, (list, str)))
    assert "signup.already" in answers
    assert world.faults() == []


def test_many_at_two_replicas_leave_the_list_in_order(
    store_url: str, make_world: Callable[[str], Any]
) -> None:
    """Sign-ups, answers and withdrawals at once; two replicas where the engine has them."""
    one = make_world(store_url)
    two = make_world(store_url) if one.bench.store.dialect == "postgresql" else one
    one.people(*PEOPLE)
    session_id = one.session(3)

    def come_and_go(world: Any, person_id: str) -> Callable[[], Any]:
        def act() -> Any:
            (made,) = world.sign_up(session_id, person_id)
            if made.state == "confirmed":
                world.cancel(made.id)
            return made

        return act

    answers = at_once(
        *(come_and_go((one, two)[n % 2], person_id) for n, person_id in enumerate(PEOPLE))
    )
    assert all(isinstance(answer, SignUpMade) for answer in answers), answers
    assert one.faults() == []
    live = [s for s in one.sign_ups(session_id) if s.state in ("offered", "confirmed")]
    assert len(live) == 3
    at_once(
        *(lambda s=s: (one, two)[0].accept(s.id) for s in live),
        lambda: two.bench.run(lambda tx: commands.set_capacity(tx, two.staff, session_id, 4)),
    )
    assert one.faults() == []
    assert len(confirmed(one, session_id)) == 3


def test_an_answer_and_the_deadline_at_once_at_two_replicas(
    store_url: str, make_world: Callable[[str], Any]
) -> None:
    """The jobs of both replicas and late answers: each offer ends once, the place goes on once."""
    one = make_world(store_url)
    two = make_world(store_url) if one.bench.store.dialect == "postgresql" else one
    one.people(*PEOPLE)
    for _ in range(4):
        session_id = one.session(2)
        made = one.sign_up(session_id, *PEOPLE)
        for first in made[:2]:
            one.cancel(first.id)
        offered = [s for s in one.sign_ups(session_id) if s.state == "offered"]
        one.clock.advance(timedelta(hours=48))
        answers = at_once(
            one.bench.tick,
            two.bench.tick,
            *(lambda s=s: two.accept(s.id) for s in offered),
            *(lambda s=s: one.cancel(s.id) for s in made[4:6]),
        )
        assert answers[2:4] == ["offer.expired"] * 2
        states = [s.state for s in one.sign_ups(session_id)]
        assert states.count("expired") == 2
        assert states.count("offered") == 2
        assert one.faults() == []
    expired = [e.signup_id for e in one.bench.emitted(OfferExpired)]
    assert len(expired) == len(set(expired)), "each offer ran out once"
