"""Nothing happens by itself before its time in the true calendar, whatever the clock said.

Points of the centre of chaos expire weeks after a run, offers after two days, referrals are overdue
after days: so none of these may be there. A sale that waits for points may be given up by the shop
only after its fifteen minutes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import sqlalchemy as sa

from contracts import Event, activities, cards, network, shop

NEVER_IN_A_RUN: dict[str, tuple[type[Event], ...]] = {
    "cards": (cards.PointsExpired,),
    "activities": (activities.OfferExpired,),
    "network": (network.ReferralOverdue, network.ReferralExpired),
}


def nothing_early(stores: Mapping[str, sa.Connection]) -> Iterator[str]:
    """What came before its time, as sentences."""
    for name, kinds in NEVER_IN_A_RUN.items():
        for kind in kinds:
            for event_id, _ in _of(stores[name], kind):
                yield f"{kind.ce_type()} {event_id} came before its time"
    for _, body in _of(stores["cards"], cards.HoldReleased):
        if cards.HoldReleased.model_validate_json(body).timed_out:
            yield "a hold timed out before its time"
    for event_id, body in _of(stores["shop"], shop.SaleCancelled):
        event = shop.SaleCancelled.model_validate_json(body)
        if event.reason == "timed_out":
            yield f"sale {event.sale_id} was given up before its time ({event_id})"


def _of(store: sa.Connection, kind: type[Event]) -> list[tuple[str, bytes]]:
    found = store.execute(
        sa.text("SELECT id, body FROM outbox WHERE type = :type"), {"type": kind.ce_type()}
    )
    return [(row.id, row.body) for row in found]
