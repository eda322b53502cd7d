"""Each fact that a client was told of: is it there, once, and as it was told?

And the other way round: nothing is there that nobody asked for, or that was refused.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from chaos.checks import heard, people, points
from chaos.checks.excused import Excused, What, step
from chaos.checks.rows import Stores, rows
from chaos.checks.told import STEPS, Op, Told, end_told


def all_facts(told: Told, stores: Stores, excused: Excused) -> Iterator[str]:
    """Every difference, as a sentence."""
    shop, cards, activities = stores["shop"], stores["cards"], stores["activities"]
    yield from sales(told, shop, excused)
    yield from stock(told, shop, excused)
    yield from refunds(told, shop, excused)
    yield from points.payments(shop, cards, excused)
    yield from points.refunds(shop, cards, excused)
    yield from points.credits(told, cards, excused.credits)
    yield from points.households(shop, cards, activities, excused)
    yield from points.shown(shop, cards, excused)
    yield from people.sign_ups(told, activities, excused)
    yield from people.registers(told, activities, cards, excused)
    yield from referrals(told, stores["network"], excused)
    yield from heard.messages(told, stores, excused)
    yield from heard.dead(stores)


def _lost(
    ops: Mapping[str, Op], there: Collection[str], forgotten: Callable[[str, Op], bool], what: str
) -> Iterator[str]:
    for op_id, op in ops.items():
        if op.told and op_id not in there and not forgotten(op_id, op):
            yield f"{what} {op_id} was acknowledged and is lost"
        if op.told is False and op_id in there:
            yield f"{what} {op_id} was refused ({op.answer.get('reason')}) and is there"
    for op_id in there:
        if op_id not in ops:
            yield f"{what} {op_id} is there and nobody asked for it"


def sales(told: Told, shop: sa.Connection, excused: Excused) -> Iterator[str]:
    found = {
        r.id: r for r in rows(shop, "SELECT id, state, money_cents, points, household_id FROM sale")
    }
    asked = told.of("sale")
    yield from _lost(asked, found, lambda i, op: excused.before(What.SALE, i, op.at), "sale")
    for sale, row in found.items():
        if sale not in asked:
            continue
        op = asked[sale].asked
        if (row.money_cents, row.points, row.household_id) != (
            op["cash"],
            op["points"],
            op["household"],
        ):
            yield f"sale {sale} is not as it was asked"
        known, since = end_told(told, sale, asked[sale])
        forgotten = any(excused.before(what, sale, since) for what in (What.SALE, What.END_OF_SALE))
        if known and row.state != known and not forgotten:
            yield f"sale {sale} was told {known} and is {row.state}"
        if row.state == "waiting_for_points":
            yield f"sale {sale} still waits for points"


def stock(told: Told, shop: sa.Connection, excused: Excused) -> Iterator[str]:
    """A sale moves its goods once, and back once when it is cancelled; a refund once."""
    moved: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows(shop, "SELECT origin, product_id, quantity FROM movement WHERE origin <> ''"):
        moved[row.origin][row.product_id] += row.quantity
    expected: dict[str, tuple[str, Op, int]] = {}
    for row in rows(shop, "SELECT id, state FROM sale"):
        if (op := told.of("sale").get(row.id)) is not None:
            quantity = 0 if row.state == "cancelled" else -op.asked["quantity"]
            expected[row.id] = f"sale {row.id} ({row.state})", op, quantity
    for row in rows(shop, "SELECT id FROM refund"):
        if (op := told.of("refund").get(row.id)) is not None:
            expected[row.id] = f"refund {row.id}", op, 1
    for origin, (name, op, quantity) in expected.items():
        pieces, product = sum(moved[origin].values()), op.asked["product"]
        if excused.before(What.GOODS, origin, op.at):
            continue
        if pieces != quantity:
            yield f"{name} moved {pieces} pieces, not {quantity}"
        elif moved[origin][product] != quantity:
            yield f"{name} moved another product than {product}"


def refunds(told: Told, shop: sa.Connection, excused: Excused) -> Iterator[str]:
    """Each is of the sale and the product that were asked, one piece, and never gives back more
    than was paid; all of it when all has come back."""
    found = {
        row.id: row for row in rows(shop, "SELECT id, sale_id, money_cents, points FROM refund")
    }
    asked = told.of("refund")
    yield from _lost(asked, found, lambda i, op: excused.before(What.REFUND, i, op.at), "refund")
    lines: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for row in rows(shop, "SELECT refund_id, product_id, quantity FROM refund_line"):
        lines[row.refund_id].append((row.product_id, row.quantity))
    back: dict[str, list[Any]] = defaultdict(list)
    for refund, row in found.items():
        back[row.sale_id].append(row)
        op = asked.get(refund)
        if op is None:
            continue
        if row.sale_id != op.asked["sale"]:
            yield f"refund {refund} is of sale {row.sale_id}, not of {op.asked['sale']}"
        if lines[refund] != [(op.asked["product"], 1)]:
            yield f"refund {refund} is of {lines[refund]}, not of one {op.asked['product']}"
    for sale, gone in back.items():
        op = told.of("sale").get(sale)
        if op is None:
            continue
        paid = op.asked["cash"], op.asked["points"]
        given = sum(row.money_cents for row in gone), sum(row.points for row in gone)
        whole = len(gone) == op.asked["quantity"]
        if given[0] > paid[0] or given[1] > paid[1] or (whole and given != paid):
            yield (
                f"sale {sale} of {op.asked['quantity']} pieces gave {given} (cents, points) back"
                f" for {len(gone)}, and {paid} were paid"
            )


def referrals(told: Told, network: sa.Connection, excused: Excused) -> Iterator[str]:
    found = {row.id: row.state for row in rows(network, "SELECT id, state FROM referral")}
    asked = {op.asked["referral"] for op in told.of("referral").values()}
    for op in told.of("referral").values():
        referral, to = op.asked["referral"], op.asked["to"]
        least = STEPS.index(to)
        while least and excused.before(What.STEP, step(referral, STEPS[least]), op.at):
            least -= 1
        if not op.told or not least:
            continue
        state = found.get(referral)
        if state is None:
            yield f"referral {referral} was acknowledged and is lost"
        elif state not in STEPS or STEPS.index(state) < least:
            yield f"referral {referral} was told {to} and is {state}"
    for referral in found.keys() - asked:
        yield f"referral {referral} is there and nobody asked for it"
