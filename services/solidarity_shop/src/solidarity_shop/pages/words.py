"""Codes as words, for the reader; and the callers of pages."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path

from contracts.shop import StockReason
from runtime.refusals import N_
from solidarity_shop.access import LEADS, SELLERS
from solidarity_shop.api.models import ID
from solidarity_shop.domain.sale import State
from web.auth import allow
from web.call import Call

Seller = Annotated[Call, Depends(allow(*SELLERS))]
Lead = Annotated[Call, Depends(allow(*LEADS))]
RowId = Annotated[str, Path(pattern=ID)]

STATES = {
    State.WAITING: N_("Waiting for the points"),
    State.COMPLETED: N_("Paid"),
    State.CANCELLED: N_("Cancelled"),
}

CANCELLED = {
    "points.too_few": N_("There were too few points on the card."),
    "card.blocked": N_("The card was blocked."),
    "card.unknown": N_("This card is not known here."),
    "household.unknown": N_("The family of this card is not known."),
    "timed_out": N_("The points were not confirmed within 15 minutes."),
    "by_till": N_("The till gave it up."),
    "forgotten": N_("The shop was restored from a backup made before this sale."),
}
NOT_GIVEN = N_("The points were not given.")

MOVED = {
    StockReason.DELIVERY: N_("Delivery"),
    StockReason.SALE: N_("Sale"),
    StockReason.REFUND: N_("Refund"),
    StockReason.RETURN: N_("Return to the producer"),
    StockReason.ADJUSTMENT: N_("Adjustment"),
    StockReason.AUDIT: N_("Count"),
    StockReason.LOSS: N_("Loss"),
}
