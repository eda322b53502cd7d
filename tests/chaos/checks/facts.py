"""Each fact that a client was told of: is it there, once, and as it was told?

And the other way round: nothing is there that nobody asked for, or that was refused.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from chaos.checks.told import STEPS, Op, Told, state_told

PER_EURO, PER_ATTENDANCE = 1, 5
"""The earning rule of the house of tests."""

Stores = Mapping[str, sa.Connection]


def rows(store: sa.Connection, query: str) -> list[Any]:
    return list(store.execute(sa.text(query)).all())


def all_facts(
    told: Told,
    stores: Stores,
    excused: Collection[str],
    forgotten: Mapping[tuple[str, int], int],
) -> Iterator[str]:
    """Every difference, as a sentence. `excused` are ids that a restore may have forgotten,
    `forgotten` points given by hand that it may have, by household and number."""
    yield from sales(told, stores["shop"], excused)
    yield from stock(told, stores["shop"], excused)
    yield from payments(stores["shop"], stores["cards"], excused)
    yield from refunds(told, stores["shop"], stores["cards"], excused)
    yield from credits(told, stores["cards"], forgotten)
    yield from sign_ups(told, stores["activities"], excused)
    yield from registers(told, stores["activities"], stores["cards"], excused)
    yield from referrals(told, stores["network"], excused)


def _lost(
    ops: Mapping[str, Op], there: Collection[str], excused: Collection[str], what: str
) -> Iterator[str]:
    for op_id, op in ops.items():
        if op.told and op_id not in there and op_id not in excused:
            yield f"{what} {op_id} was acknowledged and is lost"
        if op.told is False and op_id in there:
            yield f"{what} {op_id} was refused ({op.answer.get('reason')}) and is there"
    for op_id in there:
        if op_id not in ops:
            yield f"{what} {op_id} is there and nobody asked for it"


def sales(told: Told, shop: sa.Connection, excused: Collection[str]) -> Iterator[str]:
    found = {
        r.id: r for r in rows(shop, "SELECT id, state, money_cents, points, household_id FROM sale")
    }
    asked = told.of("sale")
    yield from _lost(asked, found, excused, "sale")
    for sale, row in found.items():
        if sale not in asked or sale in excused:
            continue
        op = asked[sale].asked
        if (row.money_cents, row.points, row.household_id) != (
            op["cash"],
            op["points"],
            op["household"],
        ):
            yield f"sale {sale} is not as it was asked"
        known = state_told(told, sale, asked[sale])
        if known and row.state != known:
            yield f"sale {sale} was told {known} and is {row.state}"
        if row.state == "waiting_for_points":
            yield f"sale {sale} still waits for points"


def stock(told: Told, shop: sa.Connection, excused: Collection[str]) -> Iterator[str]:
    """A sale moves its goods once, and back once when it is cancelled; a refund once."""
    moved: dict[str, int] = defaultdict(int)
    for row in rows(shop, "SELECT origin, quantity FROM movement WHERE origin <> ''"):
        moved[row.origin] += row.quantity
    for row in rows(shop, "SELECT id, state FROM sale"):
        op = told.of("sale").get(row.id)
        if op is None or row.id in excused:
            continue
        expected = 0 if row.state == "cancelled" else -op.asked["quantity"]
        if moved[row.id] != expected:
            yield f"sale {row.id} ({row.state}) moved {moved[row.id]} pieces, not {expected}"
    for row in rows(shop, "SELECT id FROM refund"):
        if moved[row.id] != 1:
            yield f"refund {row.id} moved {moved[row.id]} pieces, not 1"


def payments(shop: sa.Connection, cards: sa.Connection, excused: Collection[str]) -> Iterator[str]:
    """Money earns once; points are held once and taken once or freed once."""
    earned = Counter(
        {
            row.origin: row.points
            for row in rows(
                cards,
                "SELECT t.origin, sum(e.points) AS points FROM transfer t JOIN entry e"
                " ON e.transfer_id = t.id WHERE t.kind = 'sale' AND e.account = 'household'"
                " GROUP BY t.origin",
            )
        }
    )
    holds: dict[str, list[Any]] = defaultdict(list)
    for row in rows(cards, "SELECT id, sale_id, state, captured, uncovered FROM hold"):
        holds[row.sale_id].append(row)
        if row.state == "placed":
            yield f"hold {row.id} of sale {row.sale_id} has not ended"
    known = set()
    for row in rows(shop, "SELECT id, state, money_cents, points FROM sale"):
        known.add(row.id)
        if row.id in excused:
            continue
        done = row.state == "completed"
        expected = row.money_cents // 100 * PER_EURO if done else 0
        if earned[row.id] != expected:
            yield f"sale {row.id} ({row.state}) earned {earned[row.id]} points, not {expected}"
        taken = sum(hold.captured + hold.uncovered for hold in holds[row.id])
        if taken != (row.points if done else 0):
            yield f"sale {row.id} ({row.state}, {row.points} points) took {taken}"
    for sale in set(holds) | set(earned):
        if sale not in known and sale not in excused:
            yield f"cards moved points for sale {sale} that the shop does not know"


def refunds(
    told: Told, shop: sa.Connection, cards: sa.Connection, excused: Collection[str]
) -> Iterator[str]:
    found = {row.id: row for row in rows(shop, "SELECT id, sale_id FROM refund")}
    yield from _lost(told.of("refund"), found, excused, "refund")
    booked = Counter(row.id for row in rows(cards, "SELECT id FROM refund"))
    for refund in found:
        if booked[refund] != 1:
            yield f"refund {refund} was booked {booked[refund]} times by cards"
    for refund in set(booked) - set(found) - set(excused):
        yield f"cards booked refund {refund} that the shop does not know"


def credits(
    told: Told, cards: sa.Connection, forgotten: Mapping[tuple[str, int], int]
) -> Iterator[str]:
    """Points given by hand. The note is the id of the operation, so that each is found again; those
    that came back from the bus have none and are found by household and number: as many as there
    are operations without a row of their own, and no more."""
    given = rows(
        cards,
        "SELECT t.note, t.household_id, sum(e.points) AS points FROM transfer t JOIN entry e"
        " ON e.transfer_id = t.id WHERE t.kind = 'adjustment' AND e.account = 'household'"
        " AND t.note <> 'dotazione' GROUP BY t.id, t.note, t.household_id",
    )
    noted: dict[str, list[int]] = defaultdict(list)
    nameless: Counter[tuple[str, int]] = Counter()
    for row in given:
        if row.note:
            noted[row.note].append(row.points)
        else:
            nameless[row.household_id, row.points] += 1
    acknowledged: dict[tuple[str, int], list[str]] = defaultdict(list)
    uncertain: Counter[tuple[str, int]] = Counter()
    for op_id, op in told.of("credit").items():
        household, points = op.asked["household"], op.asked["points"]
        found = noted.pop(op_id, [])
        if found and op.told is False:
            yield f"credit {op_id} was refused and is there"
        if found and found != [points]:
            yield f"credit {op_id} of {points} points gave {found}"
        if op.told and not found:
            acknowledged[household, points].append(op_id)
        uncertain[household, points] += op.told is None and not found
    for note in noted:
        yield f"credit {note} is there and nobody asked for it"
    for what, ops in acknowledged.items():
        missing = len(ops) - nameless[what] - forgotten.get(what, 0)
        for op_id in ops[: max(0, missing)]:
            yield f"credit {op_id} was acknowledged and is lost"
    for what, count in nameless.items():
        household, points = what
        asked = len(acknowledged[what]) + uncertain[what]
        if count > asked:
            yield (
                f"{points} points were given to household {household} {count} times without a note,"
                f" and {asked} times somebody asked for them"
            )


def sign_ups(told: Told, activities: sa.Connection, excused: Collection[str]) -> Iterator[str]:
    found = {
        row.id: row
        for row in rows(activities, "SELECT id, session_id, person_id, state FROM sign_up")
    }
    for op_id, op in told.of("sign-up").items():
        for sign_up in op.answer.get("sign_ups", []) if op.told else []:
            row = found.get(sign_up)
            if row is None:
                if sign_up not in excused:
                    yield f"sign-up {sign_up} ({op_id}) was acknowledged and is lost"
            elif (row.session_id, row.person_id) != (op.asked["session"], op.asked["person"]):
                yield f"sign-up {sign_up} is not as it was asked"
    for op in told.of("sign-up-cancelled").values():
        row = found.get(op.asked["sign_up"])
        state = "" if row is None else row.state
        live = state in ("confirmed", "waiting", "offered")
        if op.told and live and op.asked["sign_up"] not in excused:
            yield f"sign-up {op.asked['sign_up']} was cancelled and is {state}"


def registers(
    told: Told, activities: sa.Connection, cards: sa.Connection, excused: Collection[str]
) -> Iterator[str]:
    """The last register that was told stands, and cards has given points for just that."""
    marks = {
        (row.session_id, row.person_id): (bool(row.present), row.revision)
        for row in rows(
            activities, "SELECT session_id, person_id, present, revision FROM attendance"
        )
    }
    for session, ops in told.registers.items():
        at = max((k for k, op in enumerate(ops) if op.told), default=-1)
        unknown_after = any(op.told is None for op in ops[at + 1 :])
        if at < 0 or unknown_after or session in excused:
            continue
        for person, present in ops[at].asked["present"].items():
            mark, _ = marks.get((session, person), (False, 0))  # who walks in and is absent: none
            if mark != present:
                yield f"register of {session}: {person} was told {present}, is {mark}"
    rewarded = {
        (row.session_id, row.person_id): (bool(row.present), row.revision, row.credited)
        for row in rows(
            cards, "SELECT session_id, person_id, present, revision, credited FROM attendance"
        )
    }
    for who, (present, revision) in marks.items():
        expected = (present, revision, PER_ATTENDANCE if present else 0)
        if rewarded.get(who) != expected:
            yield f"attendance {who}: cards has {rewarded.get(who)}, not {expected}"
    net: Counter[tuple[str, str]] = Counter()
    for row in rows(
        cards,
        "SELECT t.origin, sum(e.points) AS points FROM transfer t JOIN entry e"
        " ON e.transfer_id = t.id WHERE t.kind IN ('attendance', 'attendance_corrected')"
        " GROUP BY t.origin, e.account HAVING e.account IN ('household', 'uncovered')",
    ):
        session, person, _revision = row.origin.split(":")
        net[session, person] += row.points
    for who, (_, _, credited) in rewarded.items():
        if net[who] != credited:
            yield f"attendance {who}: {net[who]} points were moved, {credited} stand credited"


def referrals(told: Told, network: sa.Connection, excused: Collection[str]) -> Iterator[str]:
    found = {row.id: row.state for row in rows(network, "SELECT id, state FROM referral")}
    asked = {op.asked["referral"] for op in told.of("referral").values()}
    for op in told.of("referral").values():
        referral, to = op.asked["referral"], op.asked["to"]
        if not op.told or referral in excused:
            continue
        state = found.get(referral)
        if state is None:
            yield f"referral {referral} was acknowledged and is lost"
        elif state not in STEPS or STEPS.index(state) < STEPS.index(to):
            yield f"referral {referral} was told {to} and is {state}"
    for referral in found.keys() - asked:
        yield f"referral {referral} is there and nobody asked for it"
