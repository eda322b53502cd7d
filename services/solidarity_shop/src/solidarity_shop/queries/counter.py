"""What a sale begins with."""

from __future__ import annotations

from datetime import datetime
from functools import cache

import sqlalchemy as sa

from runtime.prepared import Prepared
from solidarity_shop import store
from solidarity_shop.domain.amounts import DEFAULT_POINT_VALUE
from solidarity_shop.queries.cards import BLOCKED, CARD, HOUSEHOLD
from solidarity_shop.queries.days import value_begun

TILL, SALE = store.till, store.sale


def opening(
    connection: sa.Connection,
    till_id: str,
    sale_id: str,
    card: tuple[sa.Column[str], str] | None,
    now: datetime,
) -> store.Row | None:
    """A till, and what is asked of its centre before anything is sold there, in one query: it is a
    way to the server and back where there were four. None when there is no such till.

    ``point_value`` is what a point is worth now, in cents. ``sale_id`` is there when a sale of this
    id is. ``household_id``, ``card_id`` and ``blocked`` are of the card that is looked for
    (`queries.card_key`), empty when it is not known or of another centre's household, and not there
    when none is looked for: the same that `queries.find_card` finds.
    """
    column, wanted = (None, {}) if card is None else (card[0], {"wanted": card[1]})
    found = _opening(column).first(connection, till=till_id, sale=sale_id, at=now, **wanted)
    if found is None:
        return None
    value = DEFAULT_POINT_VALUE if found["point_value"] is None else int(found["point_value"])
    return {**found, "point_value": value}


@cache
def _opening(column: sa.Column[str] | None) -> Prepared:
    value = value_begun(TILL.c.centre_id).correlate(TILL).scalar_subquery()
    asked = (
        sa.select(
            TILL.c.id,
            TILL.c.centre_id,
            SALE.c.id.label("sale_id"),
            value.label("point_value"),
        )
        .select_from(TILL)
        .outerjoin(SALE, SALE.c.id == sa.bindparam("sale"))
        .where(TILL.c.id == sa.bindparam("till"))
    )
    if column is None:
        return Prepared(asked)
    return Prepared(
        asked.add_columns(CARD.c.card_id, HOUSEHOLD.c.household_id, BLOCKED.label("blocked"))
        .outerjoin(CARD, sa.and_(column == sa.bindparam("wanted"), CARD.c.number != ""))
        .outerjoin(
            HOUSEHOLD,
            sa.and_(
                HOUSEHOLD.c.household_id == CARD.c.household_id,
                HOUSEHOLD.c.centre_id == TILL.c.centre_id,
            ),
        )
        .order_by(HOUSEHOLD.c.household_id.is_(None), "blocked", CARD.c.card_id)
        .limit(1)
    )
