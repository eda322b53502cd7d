"""The tables of the shop, and how rows are found and locked.

Whoever needs several locks takes them in one order: basket, sale, then products in the order of
their ids, then till. ``*_seen`` are projections of what others told; all else is the shop's own
truth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import sqlalchemy as sa

from contracts.shop import PointValueSet
from messaging.tables import metadata_with_messaging
from runtime import rows
from runtime.named import among
from runtime.prepared import Prepared
from runtime.store import upsert
from runtime.types import UtcDateTime

metadata = metadata_with_messaging()

Row = Mapping[Any, Any]
"""A row by the names of its columns, read or about to be written."""

Id = sa.String(64)
"""Ids of sales, refunds and products may be made by clients, and are as long as contracts allow."""
NAME = sa.String(120)
RECOVERED = "system"
"""Who wrote what a restored store took from its events: these do not say it, nor any note. By hand
only people write."""
TEXT = sa.String(500)

producer = sa.Table(
    "producer",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("centre_id", Id, nullable=False),
    sa.Column("name", NAME, nullable=False),
    sa.Column("name_key", NAME, nullable=False),
    sa.Column("fee_percent", sa.Integer, nullable=False),
    sa.Column("registered_at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("centre_id", "name_key", name="producer_by_name"),
)

product = sa.Table(
    "product",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("centre_id", Id, nullable=False),
    sa.Column("producer_id", Id),
    sa.Column("name", NAME, nullable=False),
    sa.Column("name_key", NAME, nullable=False),
    sa.Column("barcode", sa.String(64)),
    sa.Column("category", sa.String(60), nullable=False),
    sa.Column("price_cents", sa.BigInteger, nullable=False),
    sa.Column("minimum", sa.Integer, nullable=False),
    sa.Column("sellable", sa.Boolean, nullable=False),
    sa.Column("on_hand", sa.BigInteger, nullable=False),
    sa.Column("changed_at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("centre_id", "barcode", name="product_by_barcode"),
    sa.Index("product_by_name", "centre_id", "name_key", "id"),
    sa.Index("product_by_producer", "producer_id"),
)

movement = sa.Table(
    "movement",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("product_id", Id, sa.ForeignKey("product.id"), nullable=False),
    sa.Column("reason", sa.String(20), nullable=False),
    sa.Column("quantity", sa.BigInteger, nullable=False),
    sa.Column("on_hand", sa.BigInteger, nullable=False),
    sa.Column("origin", Id, nullable=False),
    sa.Column("note", TEXT, nullable=False),
    sa.Column("override_reason", TEXT, nullable=False),
    sa.Column("actor", Id, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Index("movement_by_product", "product_id", "at", "id"),
    sa.Index("movement_by_origin", "origin"),
)

till = sa.Table(
    "till",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("centre_id", Id, nullable=False),
    sa.Column("name", NAME, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index("till_by_centre", "centre_id", "name", "id"),
)

point_value = sa.Table(
    "point_value",
    metadata,
    sa.Column("centre_id", Id, primary_key=True),
    sa.Column("from_time", UtcDateTime, primary_key=True),
    sa.Column("cents", sa.Integer, nullable=False),
    sa.Column("set_at", UtcDateTime, nullable=False),
)

sale = sa.Table(
    "sale",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("till_id", Id, nullable=False),
    sa.Column("centre_id", Id, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("points_state", sa.String(12), nullable=False),
    sa.Column("reason", sa.String(100), nullable=False),
    sa.Column("household_id", Id, nullable=False),
    sa.Column("card_id", Id, nullable=False),
    sa.Column("payment_id", Id, nullable=False),
    sa.Column("total_cents", sa.BigInteger, nullable=False),
    sa.Column("money_cents", sa.BigInteger, nullable=False),
    sa.Column("points", sa.BigInteger, nullable=False),
    sa.Column("point_value", sa.Integer, nullable=False),
    sa.Column("tendered_cents", sa.BigInteger),
    sa.Column("override_reason", TEXT, nullable=False),
    sa.Column("actor", Id, nullable=False),
    sa.Column("opened_at", UtcDateTime, nullable=False),
    sa.Column("ended_at", UtcDateTime),
    sa.Column("closing_id", Id),
    sa.Index("sale_by_till", "till_id", "opened_at", "id"),
    sa.Index("sale_by_centre", "centre_id", "opened_at", "id"),
    sa.Index("sale_by_household", "household_id", "state"),
    sa.Index("sale_by_closing", "till_id", "closing_id", "state"),
    sa.Index("sale_by_state", "state", "opened_at"),
)

sale_line = sa.Table(
    "sale_line",
    metadata,
    sa.Column("sale_id", Id, sa.ForeignKey("sale.id"), primary_key=True),
    sa.Column("product_id", Id, primary_key=True),
    sa.Column("place", sa.Integer, nullable=False),
    sa.Column("producer_id", Id, nullable=False),
    sa.Column("fee_percent", sa.Integer, nullable=False),
    sa.Column("name", NAME, nullable=False),
    sa.Column("category", sa.String(60), nullable=False),
    sa.Column("quantity", sa.Integer, nullable=False),
    sa.Column("price_cents", sa.BigInteger, nullable=False),
    sa.Column("amount_cents", sa.BigInteger, nullable=False),
    sa.Column("sold_at", UtcDateTime),
    sa.Index("sale_line_by_producer", "producer_id", "sold_at"),
)

refund = sa.Table(
    "refund",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("sale_id", Id, sa.ForeignKey("sale.id"), nullable=False, index=True),
    sa.Column("till_id", Id, nullable=False),
    sa.Column("centre_id", Id, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("total_cents", sa.BigInteger, nullable=False),
    sa.Column("money_cents", sa.BigInteger, nullable=False),
    sa.Column("points", sa.BigInteger, nullable=False),
    sa.Column("reason", TEXT, nullable=False),
    sa.Column("goods_returned", sa.Boolean, nullable=False),
    sa.Column("actor", Id, nullable=False),
    sa.Column("refunded_at", UtcDateTime, nullable=False),
    sa.Column("closing_id", Id),
    sa.Index("refund_by_closing", "till_id", "closing_id"),
)

refund_line = sa.Table(
    "refund_line",
    metadata,
    sa.Column("refund_id", Id, sa.ForeignKey("refund.id"), primary_key=True),
    sa.Column("product_id", Id, primary_key=True),
    sa.Column("producer_id", Id, nullable=False),
    sa.Column("quantity", sa.Integer, nullable=False),
    sa.Column("amount_cents", sa.BigInteger, nullable=False),
    sa.Column("refunded_at", UtcDateTime, nullable=False),
    sa.Index("refund_line_by_producer", "producer_id", "refunded_at"),
)

closing = sa.Table(
    "closing",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("till_id", Id, nullable=False),
    sa.Column("centre_id", Id, nullable=False),
    sa.Column("day", sa.Date, nullable=False),
    sa.Column("sales", sa.Integer, nullable=False),
    sa.Column("refunds", sa.Integer, nullable=False),
    sa.Column("money_cents", sa.BigInteger, nullable=False),
    sa.Column("counted_cents", sa.BigInteger, nullable=False),
    sa.Column("points", sa.BigInteger, nullable=False),
    sa.Column("actor", Id, nullable=False),
    sa.Column("closed_at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("till_id", "day", name="closing_once_a_day"),
)

basket = sa.Table(
    "basket",
    metadata,
    sa.Column("till_id", Id, primary_key=True),
    sa.Column("account_id", Id, primary_key=True),
    sa.Column("sale_id", Id, nullable=False),
    sa.Column("card_id", Id, nullable=False),
    sa.Column("changed_at", UtcDateTime, nullable=False),
)

basket_line = sa.Table(
    "basket_line",
    metadata,
    sa.Column("till_id", Id, primary_key=True),
    sa.Column("account_id", Id, primary_key=True),
    sa.Column("product_id", Id, primary_key=True),
    sa.Column("place", sa.Integer, nullable=False),
    sa.Column("quantity", sa.Integer, nullable=False),
    sa.ForeignKeyConstraint(
        ["till_id", "account_id"], ["basket.till_id", "basket.account_id"], ondelete="CASCADE"
    ),
)

centre_seen = sa.Table(
    "centre_seen",
    metadata,
    sa.Column("centre_id", Id, primary_key=True),
    sa.Column("time_zone", sa.String(64), nullable=False),
)

household_seen = sa.Table(
    "household_seen",
    metadata,
    sa.Column("household_id", Id, primary_key=True),
    sa.Column("centre_id", Id, nullable=False),
    sa.Column("erased", sa.Boolean, nullable=False, default=False),
    sa.Column("changed_at", UtcDateTime, nullable=False),
)

balance_seen = sa.Table(
    "balance_seen",
    metadata,
    sa.Column("household_id", Id, primary_key=True),
    sa.Column("available", sa.BigInteger, nullable=False),
    sa.Column("held", sa.BigInteger, nullable=False, default=0),
    sa.Column("changed_at", UtcDateTime, nullable=False),
)

card_seen = sa.Table(
    "card_seen",
    metadata,
    sa.Column("card_id", Id, primary_key=True),
    sa.Column("household_id", Id, nullable=False),
    sa.Column("number", sa.String(64), nullable=False, default=""),
    sa.Column("token_digest", sa.String(128), nullable=False, default=""),
    sa.Column("blocked", sa.Boolean, nullable=False, default=False),
    sa.Column("blocked_reason", sa.String(60), nullable=False, default=""),
    sa.Index("card_by_number", "number"),
    sa.Index("card_by_token", "token_digest"),
)


def insert_once(connection: sa.Connection, table: sa.Table, row: Mapping[str, Any]) -> bool:
    """`runtime.rows.insert_once` of one row."""
    return rows.insert_once(connection, table, [row])


def row_of(connection: sa.Connection, table: sa.Table, row_id: str) -> Row | None:
    """The row of a table with one id, as it is now."""
    return _row_of(table).first(connection, wanted=row_id)


@cache
def _row_of(table: sa.Table, *, locked: bool = False) -> Prepared:
    (key,) = table.primary_key.columns
    found = sa.select(table).where(key == sa.bindparam("wanted"))
    return Prepared(found.with_for_update() if locked else found)


def locked_row(connection: sa.Connection, table: sa.Table, row_id: str) -> Row | None:
    """The row, locked for the rest of the transaction and read after the lock."""
    return _row_of(table, locked=True).first(connection, wanted=row_id)


def locked_products(connection: sa.Connection, product_ids: Iterable[str]) -> dict[str, Row]:
    """The products that exist among these, locked in id order and read after the lock."""
    found = _PRODUCTS.all(connection, wanted=sorted(set(product_ids)))
    return {row["id"]: row for row in found}


_PRODUCTS = Prepared(
    lambda dialect: (
        sa.select(product)
        .where(among(dialect, product.c.id))
        .order_by(product.c.id)
        .with_for_update()
    )
)


def name_key(name: str) -> str:
    """How names are sorted and compared: without the difference of capitals and spaces."""
    return " ".join(name.casefold().split())[:120]


def put_point_value(connection: sa.Connection, event: PointValueSet) -> None:
    """From a moment on a point is worth this in a centre; said again, the later word holds."""
    upsert(
        connection,
        point_value,
        [
            {
                "centre_id": event.centre_id,
                "from_time": event.from_time,
                "cents": event.cents,
                "set_at": event.set_at,
            }
        ],
        key=("centre_id", "from_time"),
        newer="set_at",
    )
