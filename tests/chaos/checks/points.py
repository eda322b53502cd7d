"""Points: each has its reason with another service, or was given by hand, and is moved once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from chaos.centre import POINTS
from chaos.checks.excused import Excused, What
from chaos.checks.rows import rows
from chaos.checks.told import Op, Told

PER_EURO, PER_ATTENDANCE = 1, 5
"""The earning rule of the house of tests."""

BEGINNING = "dotazione"
"""The note of the points with which every household begins."""


def moved(cards: sa.Connection, kind: str) -> Counter[str]:
    """What transfers of a kind gave (or took, below zero), by their origin: to the household, or to
    what it owes."""
    found = rows(
        cards,
        "SELECT t.origin, sum(e.points) AS points FROM transfer t JOIN entry e"
        " ON e.transfer_id = t.id WHERE t.kind = :kind AND e.account IN ('household', 'uncovered')"
        " GROUP BY t.origin",
        kind=kind,
    )
    return Counter({row.origin: int(row.points) for row in found})


def payments(shop: sa.Connection, cards: sa.Connection, excused: Excused) -> Iterator[str]:
    """Money earns once; points are held once and taken once or freed once."""
    earned = moved(cards, "sale")
    known = {row.id: row for row in rows(shop, "SELECT id, state, money_cents, points FROM sale")}
    holds: dict[str, list[Any]] = defaultdict(list)
    for row in rows(cards, "SELECT id, sale_id, state, captured, uncovered FROM hold"):
        holds[row.sale_id].append(row)
        gone = row.sale_id not in known and excused.ever(What.SALE, row.sale_id)
        if row.state == "placed" and not gone:
            yield f"hold {row.id} of sale {row.sale_id} has not ended"
    for row in known.values():
        done = row.state == "completed"
        expected = row.money_cents // 100 * PER_EURO if done else 0
        if earned[row.id] != expected:
            yield f"sale {row.id} ({row.state}) earned {earned[row.id]} points, not {expected}"
        taken = sum(hold.captured + hold.uncovered for hold in holds[row.id])
        if taken != (row.points if done else 0):
            yield f"sale {row.id} ({row.state}, {row.points} points) took {taken}"
    for sale in set(holds) | set(earned):
        if sale not in known and not excused.ever(What.SALE, sale):
            yield f"cards moved points for sale {sale} that the shop does not know"


def refunds(shop: sa.Connection, cards: sa.Connection, excused: Excused) -> Iterator[str]:
    """Each is booked once, gives back the points that were paid, and takes back those that the
    money had earned, counted on the money that stays paid."""
    known = {
        row.id: row for row in rows(shop, "SELECT id, sale_id, money_cents, points FROM refund")
    }
    booked = {row.id: row for row in rows(cards, "SELECT id, sale_id FROM refund")}
    given, taken = moved(cards, "refund"), moved(cards, "refund_earned")
    for refund, row in known.items():
        if refund not in booked:
            yield f"refund {refund} was not booked by cards"
        elif booked[refund].sale_id not in ("", row.sale_id):  # none where it came from the bus
            yield f"refund {refund} was booked by cards for sale {booked[refund].sale_id}"
        if given[refund] != row.points:
            yield f"refund {refund} gave {given[refund]} points back, not {row.points}"
    for refund in set(booked) | set(given) | set(taken):
        if refund not in known and not excused.ever(What.REFUND, refund):
            yield f"cards booked refund {refund} that the shop does not know"
    of_sale: dict[str, list[Any]] = defaultdict(list)
    for row in known.values():
        of_sale[row.sale_id].append(row)
    money = {row.id: row.money_cents for row in rows(shop, "SELECT id, money_cents FROM sale")}
    for sale, all_of_it in of_sale.items():
        back = sum(row.money_cents for row in all_of_it)
        least = most = lost(money.get(sale, 0), back)
        if "cards" in excused.restored:
            # What came back from the bus does not say of how much money it was: each by itself.
            least = sum(row.money_cents // 100 for row in all_of_it) * PER_EURO
            most = sum(-(-row.money_cents // 100) for row in all_of_it) * PER_EURO
        took = -sum(taken[row.id] for row in all_of_it)
        if not least <= took <= most:
            yield f"the refunds of sale {sale} took {took} earned points back, not {most}"


def lost(money_cents: int, refunded_cents: int) -> int:
    """Of the points that the money of a sale had earned, those that its refunds take back."""
    return (money_cents // 100 - (money_cents - refunded_cents) // 100) * PER_EURO


def credits(
    told: Told, cards: sa.Connection, forgotten: Mapping[tuple[str, int], Sequence[float]]
) -> Iterator[str]:
    """Points given by hand. The note is the id of the operation, so that each is found again; those
    that came back from the bus have none and are found by household and number: as many as there
    are operations without a row of their own, and no more. `forgotten`: when restores may have lost
    one of these, each of them one that was told before."""
    given = rows(
        cards,
        "SELECT t.note, t.household_id, sum(e.points) AS points FROM transfer t JOIN entry e"
        " ON e.transfer_id = t.id WHERE t.kind = 'adjustment' AND e.account = 'household'"
        " AND t.note <> :beginning GROUP BY t.id, t.note, t.household_id",
        beginning=BEGINNING,
    )
    noted: dict[str, list[int]] = defaultdict(list)
    nameless: Counter[tuple[str, int]] = Counter()
    for row in given:
        if row.note:
            noted[row.note].append(row.points)
        else:
            nameless[row.household_id, row.points] += 1
    acknowledged: dict[tuple[str, int], list[Op]] = defaultdict(list)
    uncertain: Counter[tuple[str, int]] = Counter()
    for op_id, op in told.of("credit").items():
        household, points = op.asked["household"], op.asked["points"]
        found = noted.pop(op_id, [])
        if found and op.told is False:
            yield f"credit {op_id} was refused and is there"
        if found and found != [points]:
            yield f"credit {op_id} of {points} points gave {found}"
        if op.told and not found:
            acknowledged[household, points].append(op)
        uncertain[household, points] += op.told is None and not found
    for note in noted:
        yield f"credit {note} is there and nobody asked for it"
    for what, ops in acknowledged.items():
        restores = forgotten.get(what, ())
        before = sum(op.at <= max(restores, default=-1.0) for op in ops)
        missing = len(ops) - nameless[what] - min(before, len(restores))
        for op in ops[len(ops) - max(0, missing) :]:
            yield f"credit {op.asked['op']} was acknowledged and is lost"
    for what, count in nameless.items():
        household, points = what
        asked = len(acknowledged[what]) + uncertain[what]
        if count > asked:
            yield (
                f"{points} points were given to household {household} {count} times without a note,"
                f" and {asked} times somebody asked for them"
            )


def households(
    shop: sa.Connection, cards: sa.Connection, activities: sa.Connection, excused: Excused
) -> Iterator[str]:
    """What a household has is what it began with and was given by hand, plus what its sales and
    attendances earned, less what its sales took, and what refunds moved: nothing besides."""
    expected = Counter({row.id: POINTS for row in rows(cards, "SELECT id FROM household")})
    forgotten = _forgotten(shop, excused)
    for household, points in _reasons(shop, cards, activities, excused):
        expected[household] += points
    has: Counter[str] = Counter()
    for row in rows(
        cards,
        "SELECT t.kind, t.origin, t.note, t.household_id, sum(e.points) AS points FROM transfer t"
        " JOIN entry e ON e.transfer_id = t.id WHERE e.account IN ('household', 'uncovered')"
        " GROUP BY t.id, t.kind, t.origin, t.note, t.household_id",
    ):
        has[row.household_id] += int(row.points)
        by_hand = row.kind == "adjustment" and row.note != BEGINNING
        if by_hand or (row.kind, row.origin) in forgotten or _revised(row, excused):
            expected[row.household_id] += int(row.points)
    for household in set(has) | set(expected):
        if has[household] != expected[household]:
            yield f"household {household} has {has[household]} points, not {expected[household]}"


def shown(shop: sa.Connection, cards: sa.Connection, excused: Excused) -> Iterator[str]:
    """What a till shows of a household is what cards has, whatever the clocks were meanwhile. A
    restore of cards may settle otherwise what was uncovered, without a new word of it."""
    if "cards" in excused.restored:
        return
    free = "SELECT household_id, sum(balance - held) AS points FROM bucket GROUP BY household_id"
    has = {row.household_id: int(row.points) for row in rows(cards, free)}
    for row in rows(shop, "SELECT household_id, available FROM balance_seen"):
        if row.available != has.get(row.household_id, 0):
            yield f"household {row.household_id} is shown {row.available} points at the till"


def _reasons(
    shop: sa.Connection, cards: sa.Connection, activities: sa.Connection, excused: Excused
) -> Iterator[tuple[str, int]]:
    """Households and points, by what the shop and activities say."""
    sales = {
        row.id: row
        for row in rows(shop, "SELECT id, state, money_cents, points, household_id FROM sale")
    }
    for sale in sales.values():
        if sale.state == "completed":
            yield sale.household_id, sale.money_cents // 100 * PER_EURO - sale.points
    taken = moved(cards, "refund_earned")
    back: Counter[str] = Counter()
    for row in rows(shop, "SELECT id, sale_id, money_cents, points FROM refund"):
        back[row.sale_id] += row.money_cents
        if row.sale_id in sales:
            of_money = taken[row.id] if "cards" in excused.restored else 0
            yield sales[row.sale_id].household_id, row.points + of_money
    for sale_id, cents in back.items():
        if sale_id in sales and "cards" not in excused.restored:
            sale = sales[sale_id]
            yield sale.household_id, -lost(sale.money_cents, cents)
    revised = {tuple(subject.split(":")[:2]) for subject in excused.of(What.ATTENDANCE)}
    for row in rows(
        activities, "SELECT session_id, person_id, household_id, present FROM attendance"
    ):
        if row.present and (row.session_id, row.person_id) not in revised:
            yield row.household_id, PER_ATTENDANCE


def _forgotten(shop: sa.Connection, excused: Excused) -> set[tuple[str, str]]:
    """Kinds and origins of transfers for what cards has heard and the shop has forgotten."""
    found = set()
    for what, query, kinds in (
        (What.SALE, "SELECT id FROM sale", ("sale", "redemption")),
        (What.REFUND, "SELECT id FROM refund", ("refund", "refund_earned")),
    ):
        known = {row.id for row in rows(shop, query)}
        found |= {(kind, origin) for origin in excused.of(what) - known for kind in kinds}
    return found


def _revised(row: Any, excused: Excused) -> bool:
    """Whether activities may have forgotten a revision that moved these points."""
    if row.kind not in ("attendance", "attendance_corrected"):
        return False
    session, person, _revision = row.origin.split(":")
    return any(
        subject.startswith(f"{session}:{person}:") for subject in excused.of(What.ATTENDANCE)
    )
