"""The checks of chaos can fail: a small history that holds, and one deliberate fault at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa

from chaos.checks import facts
from chaos.checks.calendar import nothing_early
from chaos.checks.told import read
from messaging.catalogue import services
from runtime.testing import ENGINES, fresh_store
from vicinato.verify.snapshot import snapshot

SCHEMA = {
    "shop": """
        CREATE TABLE sale (id, state, money_cents, points, household_id);
        CREATE TABLE movement (origin, quantity);
        CREATE TABLE refund (id, sale_id);
        CREATE TABLE outbox (id, type, body);
        INSERT INTO sale VALUES ('cash', 'completed', 250, 0, 'h'),
            ('mixed', 'completed', 100, 15, 'h'), ('given-up', 'cancelled', 0, 25, 'h');
        INSERT INTO movement VALUES ('cash', -1), ('mixed', -1), ('given-up', -1),
            ('given-up', 1), ('back', 1);
        INSERT INTO refund VALUES ('back', 'cash')""",
    "cards": """
        CREATE TABLE transfer (id, kind, origin, note, household_id);
        CREATE TABLE entry (transfer_id, account, points);
        CREATE TABLE hold (id, sale_id, state, captured, uncovered);
        CREATE TABLE refund (id);
        CREATE TABLE attendance (session_id, person_id, present, revision, credited);
        CREATE TABLE outbox (id, type, body);
        INSERT INTO transfer VALUES ('t1', 'sale', 'cash', '', 'h'),
            ('t2', 'sale', 'mixed', '', 'h'), ('t3', 'adjustment', 'o', 'gift', 'h'),
            ('t4', 'attendance', 's:p:1', '', 'h');
        INSERT INTO entry VALUES ('t1', 'household', 2), ('t1', 'shop', -2), ('t2', 'household', 1),
            ('t3', 'household', 30), ('t4', 'household', 5), ('t4', 'activities', -5);
        INSERT INTO hold VALUES ('p1', 'mixed', 'captured', 15, 0),
            ('p2', 'given-up', 'released', 0, 0);
        INSERT INTO refund VALUES ('back');
        INSERT INTO attendance VALUES ('s', 'p', 1, 1, 5)""",
    "activities": """
        CREATE TABLE sign_up (id, session_id, person_id, state);
        CREATE TABLE attendance (session_id, person_id, present, revision);
        CREATE TABLE outbox (id, type, body);
        INSERT INTO sign_up VALUES ('u1', 's', 'p', 'confirmed'), ('u2', 's', 'q', 'cancelled');
        INSERT INTO attendance VALUES ('s', 'p', 1, 1)""",
    "network": """
        CREATE TABLE referral (id, state);
        CREATE TABLE outbox (id, type, body);
        INSERT INTO referral VALUES ('r', 'completed')""",
}


def _told(
    kind: str, op: str, answer: dict[str, object], **asked: object
) -> list[dict[str, object]]:
    head = {"kind": kind, "op": op, "at": 0.0}
    return [{"step": "asked", **head, **asked}, {"step": "told", **head, **asked, **answer}]


def _sale(op: str, cash: int, points: int, state: str) -> list[dict[str, object]]:
    asked = {"household": "h", "product": "x", "quantity": 1, "cash": cash, "points": points}
    return _told("sale", op, {"state": state}, **asked)


RECORD = [
    *_sale("cash", 250, 0, "completed"),
    *_sale("mixed", 100, 15, "waiting_for_points"),
    {"step": "told", "kind": "sale-ended", "op": "mixed", "at": 0.0, "state": "completed"},
    *_sale("given-up", 0, 25, "waiting_for_points"),
    *_told("refund", "back", {}, sale="cash", product="x"),
    *_told("credit", "gift", {}, household="h", points=30),
    *_told("sign-up", "op1", {"sign_ups": ["u1"]}, session="s", person="p"),
    *_told("sign-up", "op2", {"sign_ups": ["u2"]}, session="s", person="q"),
    *_told("sign-up-cancelled", "op3", {}, sign_up="u2"),
    *_told("register", "op4", {"revision": 1}, session="s", present={"p": True, "w": False}),
    *_told("referral", "r", {"state": "requested"}, referral="r", to="requested"),
    *_told("referral", "op5", {"state": "completed"}, referral="r", to="completed"),
]


@pytest.fixture
def stores() -> Iterator[dict[str, sa.Connection]]:
    """Stores with just what the checks ask for."""
    with ExitStack() as stack:
        made = {}
        for name, schema in SCHEMA.items():
            engine = sa.create_engine("sqlite://")
            stack.callback(engine.dispose)
            made[name] = stack.enter_context(engine.connect())
            for statement in schema.split(";"):
                made[name].exec_driver_sql(statement)
        yield made


def wrong(stores: dict[str, sa.Connection]) -> list[str]:
    found = list(facts.all_facts(read(RECORD), stores, set(), {}))
    return found + list(nothing_early(stores))


def test_a_history_that_holds_is_without_findings(stores: dict[str, sa.Connection]) -> None:
    assert wrong(stores) == []


@pytest.mark.parametrize(
    ("where", "fault", "said"),
    [
        ("shop", "DELETE FROM sale WHERE id = 'cash'", "sale cash was acknowledged and is lost"),
        ("shop", "INSERT INTO sale VALUES ('x', 'completed', 0, 0, 'h')", "nobody asked for it"),
        ("shop", "UPDATE sale SET money_cents = 1 WHERE id = 'cash'", "not as it was asked"),
        ("shop", "UPDATE sale SET state = 'cancelled' WHERE id = 'mixed'", "was told completed"),
        ("shop", "UPDATE sale SET state = 'waiting_for_points'", "still waits for points"),
        ("shop", "INSERT INTO movement VALUES ('cash', -1)", "moved -2 pieces, not -1"),
        ("shop", "DELETE FROM refund", "refund back was acknowledged and is lost"),
        ("cards", "INSERT INTO entry VALUES ('t1', 'household', 2)", "earned 4 points, not 2"),
        ("cards", "DELETE FROM transfer WHERE id = 't2'", "earned 0 points, not 1"),
        ("cards", "UPDATE hold SET captured = 0", "15 points) took 0"),
        ("cards", "UPDATE hold SET state = 'placed' WHERE id = 'p2'", "has not ended"),
        ("cards", "INSERT INTO refund VALUES ('back')", "was booked 2 times"),
        ("cards", "DELETE FROM transfer WHERE id = 't3'", "credit gift was acknowledged and is"),
        (
            "cards",
            "INSERT INTO transfer VALUES ('t5', 'adjustment', 'o2', '', 'h');"
            "INSERT INTO entry VALUES ('t5', 'household', 30)",
            "30 points were given to household h 1 times without a note, and 0 times",
        ),
        ("cards", "UPDATE attendance SET credited = 0", "not (True, 1, 5)"),
        ("cards", "INSERT INTO entry VALUES ('t4', 'household', 5)", "10 points were moved"),
        ("activities", "DELETE FROM sign_up WHERE id = 'u1'", "sign-up u1 (op1) was acknowledged"),
        ("activities", "UPDATE sign_up SET state = 'waiting'", "was cancelled and is waiting"),
        ("activities", "UPDATE attendance SET present = 0", "p was told True, is False"),
        ("network", "DELETE FROM referral", "referral r was acknowledged and is lost"),
        ("network", "UPDATE referral SET state = 'accepted'", "told completed and is accepted"),
        (
            "cards",
            "INSERT INTO outbox VALUES ('e', 'cards.points.expired.v1', '{}')",
            "came before its time",
        ),
    ],
)
def test_one_deliberate_fault_is_found(
    stores: dict[str, sa.Connection], where: str, fault: str, said: str
) -> None:
    for statement in fault.split(";"):
        stores[where].exec_driver_sql(statement)
    assert any(said in sentence for sentence in wrong(stores)), wrong(stores)


def test_a_credit_that_came_back_without_its_note_is_the_one_that_was_told(
    stores: dict[str, sa.Connection],
) -> None:
    stores["cards"].exec_driver_sql("UPDATE transfer SET note = '' WHERE id = 't3'")
    assert wrong(stores) == []


def test_a_credit_that_a_restore_forgot_excuses_its_absence_and_no_second_one(
    stores: dict[str, sa.Connection],
) -> None:
    forgotten = {("h", 30): 1}
    stores["cards"].exec_driver_sql("UPDATE transfer SET note = '' WHERE id = 't3'")
    stores["cards"].exec_driver_sql("INSERT INTO transfer VALUES ('t5', 'adjustment', '', '', 'h')")
    stores["cards"].exec_driver_sql("INSERT INTO entry VALUES ('t5', 'household', 30)")
    assert list(facts.credits(read(RECORD), stores["cards"], forgotten)) != []
    stores["cards"].exec_driver_sql("DELETE FROM transfer WHERE id IN ('t3', 't5')")
    assert list(facts.credits(read(RECORD), stores["cards"], forgotten)) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_every_question_can_be_asked_of_the_real_stores(engine: str, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    with ExitStack() as stack:
        made = {}
        for service in services():
            url = stack.enter_context(
                fresh_store(engine, service.package, service.metadata, tmp_path)
            )
            made[service.name] = stack.enter_context(snapshot(url, tmp_path / "scratch"))
        assert list(facts.all_facts(read([]), made, set(), {})) == []
        assert list(nothing_early(made)) == []
