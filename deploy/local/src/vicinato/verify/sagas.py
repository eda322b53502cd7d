"""Payments in points as both sides tell them: asked once, answered once, ended once.

Compared are the facts in the outboxes of shop and cards, for those requests and ends that cards has
heard already.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

import sqlalchemy as sa

from contracts import Event, cards, shop
from messaging import Difference
from messaging.tables import inbox, outbox

_CHUNK = 900

E = TypeVar("E", bound=Event)


def payments(shop_store: sa.Connection, cards_store: sa.Connection) -> list[Difference]:
    """Every difference between what the shop asked and ended and what cards did about it."""
    asked = {e.payment_id: e for _, e in _settled(shop_store, cards_store, _Requested)}
    done = {
        e.payment_id: e for _, e in _settled(shop_store, cards_store, _Completed) if e.payment_id
    }
    given_up = {
        e.payment_id: e for _, e in _settled(shop_store, cards_store, _Cancelled) if e.payment_id
    }
    placed = Counter(e.hold_id for _, e in _of(cards_store, cards.HoldPlaced))
    declined = Counter(e.hold_id for _, e in _of(cards_store, cards.HoldDeclined))
    captured: dict[str, list[cards.HoldCaptured]] = defaultdict(list)
    for _, capture in _of(cards_store, cards.HoldCaptured):
        captured[capture.hold_id].append(capture)
    freed: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    for _, release in _of(cards_store, cards.HoldReleased):
        freed[release.timed_out][release.hold_id] += 1
    return [
        *_answers(asked, placed, declined, given_up),
        *_captures(done, captured),
        *_ends(placed, captured, freed[False], freed[True], done, given_up),
        *_twice("a sale is done or given up", set(done) & set(given_up)),
        *_credits(cards_store),
    ]


_Requested, _Completed, _Cancelled = (
    shop.PointsPaymentRequested,
    shop.SaleCompleted,
    shop.SaleCancelled,
)


def _answers(
    asked: Mapping[str, shop.PointsPaymentRequested],
    placed: Counter[str],
    declined: Counter[str],
    given_up: Mapping[str, object],
) -> Iterator[Difference]:
    for payment in asked:
        answers = placed[payment] + declined[payment]
        if answers != 1 and not (answers == 0 and payment in given_up):
            yield Difference("a payment is answered once", payment, "1 answer", f"{answers}")


def _captures(
    done: Mapping[str, shop.SaleCompleted], captured: Mapping[str, list[cards.HoldCaptured]]
) -> Iterator[Difference]:
    for payment, sale in done.items():
        captures = captured.get(payment, [])
        taken = sum(c.captured + c.uncovered for c in captures)
        if len(captures) != 1 or taken != sale.points:
            yield Difference(
                "a sale takes its points once",
                sale.sale_id,
                f"{sale.points} points in 1 capture",
                f"{taken} points in {len(captures)}",
            )


def _ends(
    placed: Counter[str],
    captured: Mapping[str, list[cards.HoldCaptured]],
    released: Counter[str],
    timed_out: Counter[str],
    done: Mapping[str, object],
    given_up: Mapping[str, object],
) -> Iterator[Difference]:
    """One whose time was over may still be captured: cards heard of the sale later than that."""
    for hold in placed:
        captures = len(captured.get(hold, []))
        late = 1 if captures and timed_out[hold] else 0
        ends = captures + released[hold] + timed_out[hold] - late
        ended = hold in done or hold in given_up
        if ends > 1 or (ended and ends != 1):
            yield Difference("a hold ends once", hold, "1 end", f"{ends}")


def _credits(store: sa.Connection) -> Iterator[Difference]:
    seen = Counter((e.reason, e.origin) for _, e in _of(store, cards.PointsCredited))
    for (reason, origin), times in seen.items():
        if times > 1:
            yield Difference("credited once", f"{reason} {origin}", "1", f"{times}")


def _twice(check: str, ids: Iterable[str]) -> Iterator[Difference]:
    for one in sorted(ids):
        yield Difference(check, one, "one of the two", "both")


def _of(store: sa.Connection, kind: type[E]) -> Iterator[tuple[str, E]]:
    rows = store.execute(
        sa.select(outbox.c.id, outbox.c.body).where(outbox.c.type == kind.ce_type())
    )
    for event_id, body in rows:
        yield event_id, kind.model_validate_json(body)


def _settled(teller: sa.Connection, listener: sa.Connection, kind: type[E]) -> list[tuple[str, E]]:
    facts = list(_of(teller, kind))
    known: set[str] = set()
    for start in range(0, len(facts), _CHUNK):
        part = [event_id for event_id, _ in facts[start : start + _CHUNK]]
        known.update(
            listener.scalars(sa.select(inbox.c.event_id).where(inbox.c.event_id.in_(part)))
        )
    return [(event_id, event) for event_id, event in facts if event_id in known]
