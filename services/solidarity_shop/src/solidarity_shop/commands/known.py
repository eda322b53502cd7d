"""Refusals that several commands share: what does not exist, or not for this caller."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from runtime.refusals import N_, Invalid, NotFound
from solidarity_shop import store

_ELSEWHERE = N_("Look for it in the list.")


def of_centre(row: store.Row | None, centre: str) -> bool:
    """True when the row exists and the caller may know of it."""
    return row is not None and centre in ("", row["centre_id"])


def till(connection: sa.Connection, till_id: str, centre: str) -> store.Row:
    """The till, or "till.unknown"."""
    return found_till(store.row_of(connection, store.till, till_id), centre)


def found_till(row: store.Row | None, centre: str) -> store.Row:
    """The till that was looked for, or "till.unknown"."""
    if row is None or not of_centre(row, centre):
        raise NotFound(
            "till.unknown", N_("This till does not exist."), N_("Choose a till of your centre.")
        )
    return row


def locked_product(connection: sa.Connection, product_id: str, centre: str) -> store.Row:
    """The product, locked, or "product.unknown"."""
    row = store.locked_row(connection, store.product, product_id)
    if row is None or not of_centre(row, centre):
        raise NotFound("product.unknown", N_("This product does not exist."), _ELSEWHERE)
    return row


def producer(connection: sa.Connection, producer_id: str, centre: str) -> store.Row:
    """The producer of this centre, or "producer.unknown" at the field of a product."""
    row = store.row_of(connection, store.producer, producer_id)
    if row is None or row["centre_id"] != centre:
        raise Invalid(
            "producer.unknown",
            N_("This producer does not exist."),
            N_("Choose a producer of your centre, or register it first."),
            field="producer_id",
        )
    return row


def sale(row: store.Row | None, centre: str) -> store.Row:
    """The sale, or "sale.unknown"."""
    if row is None or not of_centre(row, centre):
        raise NotFound(
            "sale.unknown", N_("This sale does not exist."), N_("Look in the recent sales.")
        )
    return row


def other_content(reason: str, **values: Any) -> Invalid:
    """An id that was used already, for something else."""
    return Invalid(
        reason,
        N_("This id was used already, with other content."),
        N_("Look at what is there, or use a new id."),
        field="id",
        **values,
    )
