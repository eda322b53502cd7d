"""The tables of cards.

Households, people, consents and cards; the ledger (transfers with their entries never change;
buckets and holds say how things stand); what a sale or an attendance has moved already, so that
nothing happens twice; and the read models (timeline, sign-ups, referrals, centres, a centre's
figures and open matters), which only projections fill. ``sale_id``, ``payment_id``, … come from
others and may be longer than ours.
"""

from __future__ import annotations

import sqlalchemy as sa

from messaging import tables
from runtime.types import Json, UtcDateTime

metadata = tables.metadata_with_messaging()

ForeignId = sa.String(64)
"""An id that another service or its client made (contract ``Id``)."""

Word = sa.String(64, collation="C").with_variant(sa.String(64), "sqlite")
"""Compared by code point on both engines, so that a beginning is a range of the index."""

household = sa.Table(
    "household",
    metadata,
    sa.Column("id", ForeignId, primary_key=True),
    sa.Column("centre_id", ForeignId, nullable=False),
    sa.Column("holder_id", ForeignId, nullable=False),
    sa.Column("zone", sa.String(100), nullable=False),
    sa.Column("registered_at", UtcDateTime, nullable=False),
    sa.Column("changed_at", UtcDateTime, nullable=False),
    sa.Column("erased_at", UtcDateTime),
    sa.Index("household_by_centre", "centre_id", "id"),
)

person = sa.Table(
    "person",
    metadata,
    sa.Column("id", ForeignId, primary_key=True),
    sa.Column("household_id", ForeignId, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("given_name", sa.String(100), nullable=False),
    sa.Column("family_name", sa.String(100), nullable=False),
    sa.Column("birth_date", sa.Date),
    sa.Column("language", sa.String(35), nullable=False),
    sa.Column("email", sa.String(254), nullable=False),
    sa.Column("phone", sa.String(16), nullable=False),
    sa.Column("stage", sa.String(20), nullable=False),
    sa.Column("stage_at", UtcDateTime, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("erased_at", UtcDateTime),
    sa.Index("person_by_household", "household_id", "position", "id"),
)

search_word = sa.Table(
    "search_word",
    metadata,
    sa.Column("centre_id", ForeignId, primary_key=True),
    sa.Column("word", Word, primary_key=True),
    sa.Column("household_id", ForeignId, primary_key=True),
    sa.Column("source_id", ForeignId, primary_key=True),
    sa.Index("search_word_by_household", "household_id", "word"),
    sqlite_with_rowid=False,
)
"""The words by which a household is found; ``source_id`` is the person or card they are of."""

consent = sa.Table(
    "consent",
    metadata,
    sa.Column("household_id", ForeignId, sa.ForeignKey("household.id"), primary_key=True),
    sa.Column("purpose", sa.String(30), primary_key=True),
    sa.Column("given_at", UtcDateTime, nullable=False),
    sa.Column("withdrawn_at", UtcDateTime),
)

card = sa.Table(
    "card",
    metadata,
    sa.Column("id", ForeignId, primary_key=True),
    sa.Column("household_id", ForeignId, sa.ForeignKey("household.id"), nullable=False),
    sa.Column("number", sa.String(12), nullable=False, unique=True),
    sa.Column("token_digest", sa.String(64), nullable=False, unique=True),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("issued_at", UtcDateTime, nullable=False),
    sa.Column("blocked_at", UtcDateTime),
    sa.Column("block_reason", sa.String(20), nullable=False),
    sa.Column("replaced_by", ForeignId),
    sa.Index("card_by_household", "household_id", "id"),
)

bucket = sa.Table(
    "bucket",
    metadata,
    sa.Column("household_id", ForeignId, primary_key=True),
    sa.Column("expires_at", UtcDateTime, primary_key=True),
    sa.Column("balance", sa.BigInteger, nullable=False),
    sa.Column("held", sa.BigInteger, nullable=False),
    sa.CheckConstraint("balance >= held AND held >= 0", name="bucket_never_below_zero"),
    sa.Index("bucket_by_expiry", "expires_at"),
    sqlite_with_rowid=False,
)

transfer = sa.Table(
    "transfer",
    metadata,
    sa.Column("id", ForeignId, primary_key=True),
    sa.Column("household_id", ForeignId, nullable=False),
    sa.Column("centre_id", ForeignId, nullable=False),
    sa.Column("kind", sa.String(30), nullable=False),
    sa.Column("cause", sa.String(200), nullable=False, unique=True),
    sa.Column("origin", sa.String(160), nullable=False),
    sa.Column("note", sa.String(500), nullable=False),
    sa.Column("actor", ForeignId, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Index("transfer_by_household", "household_id", "at", "id"),
)

entry = sa.Table(
    "entry",
    metadata,
    sa.Column("transfer_id", ForeignId, primary_key=True),
    sa.Column("line", sa.Integer, primary_key=True),
    sa.Column("account", sa.String(20), nullable=False),
    sa.Column("expires_at", UtcDateTime),
    sa.Column("points", sa.BigInteger, nullable=False),
    sa.Index(
        "entry_uncovered",
        "transfer_id",
        sqlite_where=sa.text("account = 'uncovered'"),
        postgresql_where=sa.text("account = 'uncovered'"),
    ),
    sqlite_with_rowid=False,
)

hold = sa.Table(
    "hold",
    metadata,
    sa.Column("id", ForeignId, primary_key=True),
    sa.Column("household_id", ForeignId, nullable=False),
    sa.Column("sale_id", ForeignId, nullable=False),
    sa.Column("points", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("reason", sa.String(40), nullable=False),
    sa.Column("placed_at", UtcDateTime, nullable=False),
    sa.Column("ended_at", UtcDateTime),
    sa.Column("captured", sa.BigInteger, nullable=False),
    sa.Column("uncovered", sa.BigInteger, nullable=False),
    sa.Index("hold_by_sale", "sale_id"),
    sa.Index("hold_by_household", "household_id", "state"),
)

hold_part = sa.Table(
    "hold_part",
    metadata,
    sa.Column("hold_id", ForeignId, primary_key=True),
    sa.Column("expires_at", UtcDateTime, primary_key=True),
    sa.Column("points", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

sale = sa.Table(
    "sale",
    metadata,
    sa.Column("id", ForeignId, primary_key=True),
    sa.Column("household_id", ForeignId, nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("money_cents", sa.BigInteger, nullable=False),
    sa.Column("refunded_cents", sa.BigInteger, nullable=False),
    sa.Column("per_euro", sa.Integer, nullable=False),
    sa.Column("uncovered", sa.BigInteger, nullable=False),
    sa.Column("ended_at", UtcDateTime, nullable=False),
)
"""How a sale ended and what its refunds need to know. ``uncovered`` is what nobody has paid yet."""

refund = sa.Table(
    "refund",
    metadata,
    sa.Column("id", ForeignId, primary_key=True),
    sa.Column("sale_id", ForeignId, nullable=False),
    sa.Column("household_id", ForeignId, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
)
"""Refunds that were booked, also those that moved no points: each counts once."""

attendance = sa.Table(
    "attendance",
    metadata,
    sa.Column("session_id", ForeignId, primary_key=True),
    sa.Column("person_id", ForeignId, primary_key=True),
    sa.Column("household_id", ForeignId, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("present", sa.Boolean, nullable=False),
    sa.Column("credited", sa.BigInteger, nullable=False),
    sa.Column("uncovered", sa.BigInteger, nullable=False, server_default="0"),
    sqlite_with_rowid=False,
)
"""The newest revision seen of each attendance, and the points that stand credited for it.
``uncovered`` is what corrections could not take back."""

earning_rule = sa.Table(
    "earning_rule",
    metadata,
    sa.Column("id", ForeignId, primary_key=True),
    sa.Column("centre_id", ForeignId, nullable=False),
    sa.Column("from_time", UtcDateTime, nullable=False),
    sa.Column("per_euro", sa.Integer, nullable=False),
    sa.Column("per_attendance", sa.Integer, nullable=False),
    sa.Column("valid_days", sa.Integer, nullable=False),
    sa.Column("set_at", UtcDateTime, nullable=False),
    sa.Index("earning_rule_by_centre", "centre_id", "from_time", "id"),
)

timeline = sa.Table(
    "timeline",
    metadata,
    sa.Column("event_id", ForeignId, primary_key=True),
    sa.Column("household_id", ForeignId, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("kind", sa.String(60), nullable=False),
    sa.Column("facts", Json, nullable=False),
    sa.Index("timeline_by_household", "household_id", "at", "event_id"),
)

signup_seen = sa.Table(
    "signup_seen",
    metadata,
    sa.Column("signup_id", ForeignId, primary_key=True),
    sa.Column("household_id", ForeignId, nullable=False),
    sa.Column("session_id", ForeignId, nullable=False),
    sa.Column("title", sa.String(300), nullable=False),
    sa.Column("starts_at", UtcDateTime, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("seen_at", UtcDateTime, nullable=False),
    sa.Index("signup_seen_by_household", "household_id", "starts_at", "signup_id"),
)

referral_seen = sa.Table(
    "referral_seen",
    metadata,
    sa.Column("referral_id", ForeignId, primary_key=True),
    sa.Column("household_id", ForeignId, nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("seen_at", UtcDateTime, nullable=False),
    sa.Index("referral_seen_by_household", "household_id", "referral_id"),
)

centre_seen = sa.Table(
    "centre_seen",
    metadata,
    sa.Column("centre_id", ForeignId, primary_key=True),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("time_zone", sa.String(60), nullable=False),
    sa.Column("opened_at", UtcDateTime, nullable=False),
)

day_figure = sa.Table(
    "day_figure",
    metadata,
    sa.Column("centre_id", ForeignId, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("kind", sa.String(20), primary_key=True),
    sa.Column("figure", sa.BigInteger, nullable=False),
)

register_seen = sa.Table(
    "register_seen",
    metadata,
    sa.Column("session_id", ForeignId, primary_key=True),
    sa.Column("centre_id", ForeignId, nullable=False),
    sa.Column("day", sa.Date, nullable=False),
    sa.Column("present", sa.Integer, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Index("register_seen_by_centre", "centre_id", "day"),
)

product_seen = sa.Table(
    "product_seen",
    metadata,
    sa.Column("product_id", ForeignId, primary_key=True),
    sa.Column("centre_id", ForeignId, nullable=False),
    sa.Column("minimum", sa.Integer, nullable=False),
    sa.Column("sellable", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("changed_at", UtcDateTime, nullable=False),
    sa.Index("product_seen_by_centre", "centre_id"),
)

stock_seen = sa.Table(
    "stock_seen",
    metadata,
    sa.Column("product_id", ForeignId, primary_key=True),
    sa.Column("on_hand", sa.BigInteger, nullable=False),
    sa.Column("moved_at", UtcDateTime, nullable=False),
)

matter = sa.Table(
    "matter",
    metadata,
    sa.Column("kind", sa.String(20), primary_key=True),
    sa.Column("item_id", ForeignId, primary_key=True),
    sa.Column("centre_id", ForeignId, nullable=False),
    sa.Column("is_open", sa.Boolean, nullable=False),
    # From when on somebody has to see to it; in the past: now.
    sa.Column("due", UtcDateTime, nullable=False),
    sa.Column("seen_at", UtcDateTime, nullable=False),
    sa.Index("matter_by_centre", "centre_id", "is_open", "kind", "due"),
)

till_day_seen = sa.Table(
    "till_day_seen",
    metadata,
    sa.Column("till_id", ForeignId, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("centre_id", ForeignId, nullable=False),
    sa.Column("sold_at", UtcDateTime, nullable=False),
    sa.Index("till_day_seen_by_centre", "centre_id", "sold_at"),
)
"""The last sale of each day of a till."""

till_closed_seen = sa.Table(
    "till_closed_seen",
    metadata,
    sa.Column("till_id", ForeignId, primary_key=True),
    sa.Column("closed_at", UtcDateTime, nullable=False),
)
"""When a till was counted last."""
