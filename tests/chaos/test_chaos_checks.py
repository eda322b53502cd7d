"""The checks of chaos can fail: a small history that holds, and one deliberate fault at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from chaos.checks import Excused, facts, people, points
from chaos.checks.calendar import nothing_early
from chaos.checks.told import read
from contracts import Event, activities, cards, network, shop
from messaging import Difference
from messaging.catalogue import services
from runtime.testing import ENGINES, fresh_store
from vicinato.verify.snapshot import snapshot

EVERY = """
    CREATE TABLE outbox (id, type, body);
    CREATE TABLE set_aside (event_id, type, state, reason)"""

SCHEMA = {
    "shop": """
        CREATE TABLE sale (id, state, money_cents, points, household_id);
        CREATE TABLE movement (origin, product_id, quantity);
        CREATE TABLE refund (id, sale_id, money_cents, points);
        CREATE TABLE refund_line (refund_id, product_id, quantity);
        CREATE TABLE balance_seen (household_id, available);
        INSERT INTO balance_seen VALUES ('h', 3036);
        INSERT INTO sale VALUES ('cash', 'completed', 250, 0, 'h'),
            ('mixed', 'completed', 100, 15, 'h'), ('given-up', 'cancelled', 0, 25, 'h');
        INSERT INTO movement VALUES ('cash', 'x', -1), ('mixed', 'x', -1), ('given-up', 'x', -1),
            ('given-up', 'x', 1), ('back', 'x', 1), ('some', 'x', 1);
        INSERT INTO refund VALUES ('back', 'cash', 250, 0), ('some', 'mixed', 100, 15);
        INSERT INTO refund_line VALUES ('back', 'x', 1), ('some', 'x', 1)""",
    "cards": """
        CREATE TABLE transfer (id, kind, origin, note, household_id);
        CREATE TABLE entry (transfer_id, account, points);
        CREATE TABLE hold (id, sale_id, state, captured, uncovered);
        CREATE TABLE refund (id, sale_id);
        CREATE TABLE attendance (session_id, person_id, present, revision, credited);
        CREATE TABLE household (id);
        CREATE TABLE bucket (household_id, balance, held);
        INSERT INTO bucket VALUES ('h', 3000, 14), ('h', 50, 0);
        INSERT INTO household VALUES ('h');
        INSERT INTO transfer VALUES ('t0', 'adjustment', 'b', 'dotazione', 'h'),
            ('t1', 'sale', 'cash', '', 'h'), ('t2', 'sale', 'mixed', '', 'h'),
            ('t3', 'adjustment', 'o', 'gift', 'h'), ('t4', 'attendance', 's:p:1', '', 'h'),
            ('t5', 'redemption', 'mixed', '', 'h'), ('t6', 'refund_earned', 'back', '', 'h'),
            ('t7', 'refund_earned', 'some', '', 'h'), ('t8', 'refund', 'some', '', 'h');
        INSERT INTO entry VALUES ('t0', 'household', 3000), ('t1', 'household', 2),
            ('t1', 'shop', -2), ('t2', 'household', 1), ('t3', 'household', 30),
            ('t4', 'household', 5), ('t4', 'activities', -5), ('t5', 'household', -15),
            ('t6', 'household', -1), ('t6', 'uncovered', -1), ('t7', 'household', -1),
            ('t8', 'household', 15);
        INSERT INTO hold VALUES ('p1', 'mixed', 'captured', 15, 0),
            ('p2', 'given-up', 'released', 0, 0);
        INSERT INTO refund VALUES ('back', 'cash'), ('some', '');
        INSERT INTO attendance VALUES ('s', 'p', 1, 1, 5)""",
    "activities": """
        CREATE TABLE sign_up (id, session_id, person_id, state, reason);
        CREATE TABLE attendance (session_id, person_id, household_id, present, revision);
        INSERT INTO sign_up VALUES ('u1', 's', 'p', 'confirmed', ''),
            ('u2', 's', 'q', 'cancelled', 'by_staff');
        INSERT INTO outbox VALUES
            ('e1', 'activities.signup.confirmed.v1', '{"signup_id": "u1", "person_id": "p"}'),
            ('e2', 'activities.signup.waitlisted.v1', '{"signup_id": "u2", "person_id": "q"}'),
            ('e3', 'activities.signup.cancelled.v1',
                '{"signup_id": "u2", "person_id": "q", "reason": "by_staff"}');
        INSERT INTO attendance VALUES ('s', 'p', 'h', 1, 1)""",
    "notifications": """
        CREATE TABLE message (intent, person_id);
        INSERT INTO message VALUES ('e1', 'p'), ('e2', 'q'), ('e3', 'q')""",
    "network": """
        CREATE TABLE referral (id, state);
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
    *_told("refund", "some", {}, sale="mixed", product="x"),
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
            for statement in [*EVERY.split(";"), *schema.split(";")]:
                made[name].exec_driver_sql(statement)
        yield made


def wrong(stores: dict[str, sa.Connection], excused: Excused | None = None) -> list[str]:
    found = list(facts.all_facts(read(RECORD), stores, excused or Excused()))
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
        ("shop", "INSERT INTO movement VALUES ('cash', 'x', -1)", "moved -2 pieces, not -1"),
        ("shop", "DELETE FROM refund", "refund back was acknowledged and is lost"),
        ("cards", "INSERT INTO entry VALUES ('t1', 'household', 2)", "earned 4 points, not 2"),
        ("cards", "DELETE FROM transfer WHERE id = 't2'", "earned 0 points, not 1"),
        ("cards", "UPDATE hold SET captured = 0", "15 points) took 0"),
        ("cards", "UPDATE hold SET state = 'placed' WHERE id = 'p2'", "has not ended"),
        (
            "shop",
            "UPDATE refund SET sale_id = 'mixed' WHERE id = 'back'",
            "refund back is of sale mixed, not of cash",
        ),
        ("shop", "UPDATE refund_line SET quantity = 2", "is of [('x', 2)], not of one x"),
        ("shop", "UPDATE refund_line SET product_id = 'y'", "is of [('y', 1)], not of one x"),
        (
            "shop",
            "UPDATE movement SET product_id = 'y' WHERE origin = 'some'",
            "refund some moved another product than x",
        ),
        ("shop", "UPDATE refund SET points = 14 WHERE id = 'some'", "and (100, 15) were paid"),
        ("cards", "DELETE FROM refund WHERE id = 'back'", "refund back was not booked by cards"),
        (
            "cards",
            "UPDATE refund SET sale_id = 'mixed' WHERE id = 'back'",
            "refund back was booked by cards for sale mixed",
        ),
        ("cards", "UPDATE entry SET points = 30 WHERE transfer_id = 't8'", "gave 30 points back"),
        (
            "cards",
            "DELETE FROM transfer WHERE id = 't6'",
            "the refunds of sale cash took 0 earned points back, not 2",
        ),
        (
            "cards",
            "INSERT INTO transfer VALUES ('t9', 'refund', 'nobody', '', 'h');"
            "INSERT INTO entry VALUES ('t9', 'household', -500)",
            "cards booked refund nobody that the shop does not know",
        ),
        (
            "cards",
            "INSERT INTO transfer VALUES ('t9', 'allowance', 'nobody', '', 'h');"
            "INSERT INTO entry VALUES ('t9', 'household', -500)",
            "household h has 2535 points, not 3035",
        ),
        (
            "cards",
            "UPDATE transfer SET household_id = 'k' WHERE id = 't2'",
            "household k has 1 points, not 0",
        ),
        (
            "shop",
            "UPDATE balance_seen SET available = 3006",
            "household h is shown 3006 points at the till",
        ),
        ("cards", "DELETE FROM transfer WHERE id = 't3'", "credit gift was acknowledged and is"),
        (
            "cards",
            "INSERT INTO transfer VALUES ('t9', 'adjustment', 'o2', '', 'h');"
            "INSERT INTO entry VALUES ('t9', 'household', 30)",
            "30 points were given to household h 1 times without a note, and 0 times",
        ),
        ("cards", "UPDATE attendance SET credited = 0", "not (True, 1, 5)"),
        ("cards", "INSERT INTO entry VALUES ('t4', 'household', 5)", "10 points were moved"),
        ("activities", "DELETE FROM sign_up WHERE id = 'u1'", "sign-up u1 (op1) was acknowledged"),
        ("activities", "UPDATE sign_up SET state = 'waiting'", "was cancelled and is waiting"),
        (
            "activities",
            "UPDATE sign_up SET state = 'cancelled', reason = 'by_staff' WHERE id = 'u1'",
            "sign-up u1 is cancelled (by_staff) and nobody asked for it",
        ),
        (
            "activities",
            "INSERT INTO sign_up VALUES ('u3', 's', 'p', 'waiting', '')",
            "p is signed up 2 times for session s",
        ),
        (
            "activities",
            "INSERT INTO sign_up VALUES ('u3', 's2', 'p', 'waiting', '')",
            "p has 1 sign-ups for session s2, and 0 were asked for",
        ),
        ("activities", "UPDATE outbox SET type = 'x' WHERE id = 'e1'", "no fact tells of it"),
        ("notifications", "DELETE FROM message WHERE intent = 'e1'", "made 0 messages for p, not"),
        ("notifications", "INSERT INTO message VALUES ('e3', 'q')", "made 2 messages for q, not"),
        ("notifications", "INSERT INTO message VALUES ('e9', 'q')", "of which no outbox knows"),
        (
            "notifications",
            "INSERT INTO set_aside VALUES ('e1', 'activities.signup.confirmed.v1', 'dead', 'x.y')",
            "activities.signup.confirmed.v1 e1 is dead in notifications: x.y",
        ),
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
    forgotten = {("h", 30): [1.0]}
    stores["cards"].exec_driver_sql("UPDATE transfer SET note = '' WHERE id = 't3'")
    stores["cards"].exec_driver_sql("INSERT INTO transfer VALUES ('t9', 'adjustment', '', '', 'h')")
    stores["cards"].exec_driver_sql("INSERT INTO entry VALUES ('t9', 'household', 30)")
    assert list(points.credits(read(RECORD), stores["cards"], forgotten)) != []
    stores["cards"].exec_driver_sql("DELETE FROM transfer WHERE id IN ('t3', 't9')")
    assert list(points.credits(read(RECORD), stores["cards"], forgotten)) == []
    before_it_was_told = {("h", 30): [-1.0]}
    assert list(points.credits(read(RECORD), stores["cards"], before_it_was_told)) == [
        "credit gift was acknowledged and is lost"
    ]


def forgotten(kind: type[Event], at: float = 1.0, **body: object) -> Excused:
    """A restore that may have forgotten an event, a moment after all was told."""
    excused = Excused()
    excused.add("e", kind.ce_type(), body, at)
    return excused


SESSION: dict[str, Any] = {"session_id": "s", "person_id": "p", "household_id": "h", "revision": 1}
HOLD: dict[str, Any] = {"household_id": "h", "hold_id": "p1", "sale_id": "cash", "points": 15}


@pytest.mark.parametrize(
    ("where", "fault", "excused", "said"),
    [
        (
            "shop",
            "DELETE FROM sale WHERE id = 'cash'",
            forgotten(shop.SaleCompleted, sale_id="cash", payment_id=""),
            "sale cash was acknowledged and is lost",
        ),
        (
            "shop",
            "UPDATE sale SET state = 'cancelled' WHERE id = 'mixed'",
            forgotten(shop.SaleCompleted, sale_id="mixed", payment_id="p1"),
            "sale mixed was told completed and is cancelled",
        ),
        (
            "shop",
            "DELETE FROM movement WHERE origin = 'cash'",
            forgotten(shop.StockMoved, product_id="x", origin="cash"),
            "sale cash (completed) moved 0 pieces, not -1",
        ),
        (
            "shop",
            "DELETE FROM refund WHERE id = 'back'",
            forgotten(shop.SaleRefunded, sale_id="cash", refund_id="back"),
            "refund back was acknowledged and is lost",
        ),
        (
            "activities",
            "DELETE FROM sign_up WHERE id = 'u1'",
            forgotten(activities.SignUpConfirmed, signup_id="u1", session_id="s", person_id="p"),
            "sign-up u1 (op1) was acknowledged and is lost",
        ),
        (
            "activities",
            "UPDATE sign_up SET state = 'waiting' WHERE id = 'u2'",
            forgotten(activities.SignUpCancelled, signup_id="u2", session_id="s", person_id="q"),
            "sign-up u2 was cancelled and is waiting",
        ),
        (
            "activities",
            "UPDATE attendance SET present = 0",
            forgotten(activities.RegisterTaken, **SESSION),
            "register of s: p was told True, is False",
        ),
        (
            "network",
            "UPDATE referral SET state = 'accepted'",
            forgotten(network.ReferralCompleted, referral_id="r"),
            "referral r was told completed and is accepted",
        ),
    ],
)
def test_an_excuse_covers_what_was_told_before_the_restore_and_nothing_told_later(
    stores: dict[str, sa.Connection], where: str, fault: str, excused: Excused, said: str
) -> None:
    stores[where].exec_driver_sql(fault)
    assert said in wrong(stores)
    assert said not in wrong(stores, excused)
    assert said in wrong(stores, replace(excused, facts=dict.fromkeys(excused.facts, -1.0)))


@pytest.mark.parametrize(
    ("where", "fault", "excused", "said"),
    [
        (
            "shop",
            "DELETE FROM sale WHERE id = 'cash'",
            forgotten(cards.HoldPlaced, **HOLD),
            "sale cash was acknowledged and is lost",
        ),
        (
            "shop",
            "UPDATE movement SET quantity = -2 WHERE origin = 'cash'",
            forgotten(cards.HoldPlaced, **HOLD),
            "sale cash (completed) moved -2 pieces, not -1",
        ),
        (
            "cards",
            "DELETE FROM transfer WHERE id = 't1'",
            forgotten(cards.PointsCredited, household_id="h", points=2, reason="sale"),
            "sale cash (completed) earned 0 points, not 2",
        ),
        (
            "shop",
            "DELETE FROM sale WHERE id = 'cash'",
            forgotten(shop.SaleRefunded, sale_id="cash", refund_id="back"),
            "sale cash was acknowledged and is lost",
        ),
        (
            "shop",
            "DELETE FROM sale WHERE id = 'mixed'",
            forgotten(shop.SaleCompleted, sale_id="mixed", payment_id="p1"),
            "sale mixed was acknowledged and is lost",
        ),
        (
            "shop",
            "UPDATE sale SET money_cents = 1 WHERE id = 'cash'",
            forgotten(shop.SaleCompleted, sale_id="cash", payment_id=""),
            "sale cash is not as it was asked",
        ),
        (
            "activities",
            "DELETE FROM sign_up WHERE id = 'u1'",
            forgotten(activities.RegisterTaken, **SESSION),
            "sign-up u1 (op1) was acknowledged and is lost",
        ),
        (
            "network",
            "UPDATE referral SET state = 'requested'",
            forgotten(network.ReferralCompleted, referral_id="r"),
            "referral r was told completed and is requested",
        ),
    ],
)
def test_an_excuse_is_of_one_store_and_one_kind_of_fact(
    stores: dict[str, sa.Connection], where: str, fault: str, excused: Excused, said: str
) -> None:
    stores[where].exec_driver_sql(fault)
    assert said in wrong(stores, excused)


def test_goods_without_their_sale_are_excused_where_a_restore_has_forgotten_just_that() -> None:
    excused = forgotten(shop.SaleCompleted, sale_id="cash", payment_id="")
    excused.add("f", shop.SaleRefunded.ce_type(), {"refund_id": "back"}, 1.0)
    excused.add("g", shop.SaleCompleted.ce_type(), {"sale_id": "mixed", "payment_id": "p1"}, 1.0)

    def named(check: str, subject: str) -> Difference:
        return Difference(check, subject, "its sale", "-1 of x without it")

    assert excused.difference(named("stock.origin", "cash"))
    assert excused.difference(named("stock.origin", "back"))
    assert not excused.difference(named("stock.origin", "other"))
    assert not excused.difference(named("stock.origin", "mixed")), "cards was asked: it is known"
    assert not excused.difference(named("sale.stock", "cash"))


def test_a_sign_up_that_was_refused_is_there_only_where_a_restore_has_forgotten_the_first_answer(
    stores: dict[str, sa.Connection],
) -> None:
    head = {"kind": "sign-up", "op": "op9", "at": 0.0, "session": "s2", "person": "p"}
    refused = {**head, "step": "refused", "status": 409, "reason": "signup.already"}
    told = read([*RECORD, {**head, "step": "asked"}, refused])
    there = "INSERT INTO sign_up VALUES ('u3', 's2', 'p', 'waiting', '')"
    stores["activities"].exec_driver_sql(there)
    assert list(people.sign_ups(told, stores["activities"], Excused())) == [
        "p has 1 sign-ups for session s2, and 0 were asked for"
    ]
    restored = Excused(restored={"activities"})
    assert list(people.sign_ups(told, stores["activities"], restored)) == []


def test_after_a_restore_of_cards_each_refund_may_count_its_earned_points_by_itself(
    stores: dict[str, sa.Connection],
) -> None:
    of_the_money = "WHERE transfer_id = 't6' AND account = 'household'"
    stores["cards"].exec_driver_sql(f"UPDATE entry SET points = -2 {of_the_money}")
    assert wrong(stores) != []
    assert wrong(stores, Excused(restored={"cards"})) == []
    stores["cards"].exec_driver_sql(f"UPDATE entry SET points = -3 {of_the_money}")
    assert wrong(stores, Excused(restored={"cards"})) != []


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
        assert list(facts.all_facts(read([]), made, Excused())) == []
        assert list(nothing_early(made)) == []
