"""Stores that have grown, filled set by set in seconds.

Rows are those that years of work leave: households with a person, words to find it by and a card;
transfers with their entries, buckets, the sale and the timeline in cards; sales with their line and
movement in the shop; inboxes and sent outboxes in both. Ids have the order that real ones have:
those of events and transfers that of time, those of movements, which follow from sales, none. Sizes
at scale 1: 100,000 households, 5,000,000 ledger entries and 1,000,000 sales.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import psycopg
import sqlalchemy as sa

from benchmarks import facts
from runtime.store import Store

FAMILY_NAMES = 2_000
GIVEN_NAMES = 60
MONTHS = 6
"""Buckets of a household."""


@dataclass(frozen=True)
class Size:
    """How much there is."""

    households: int
    entries: int
    sales: int

    @classmethod
    def of(cls, share: float) -> Size:
        """This share of 100,000 households, 5,000,000 entries and 1,000,000 sales."""
        return cls(*(max(100, int(n * share)) for n in (100_000, 5_000_000, 1_000_000)))

    @property
    def transfers_each(self) -> int:
        """Transfers of each household; every one has two entries."""
        return max(1, self.entries // 2 // self.households)

    def __str__(self) -> str:
        return f"{self.households:,} households, {self.entries:,} entries, {self.sales:,} sales"


class _Runs(Protocol):
    def execute(self, query: str) -> Any: ...


def fill_cards(url: str, size: Size) -> None:
    """A store of cards of this size."""
    store = Store(url)
    facts.fill_cards(store, size.households)
    store.close_now()
    with _fast(url) as (connection, sql):
        for statement in _cards(size, sql):
            connection.execute(statement)


def fill_shop(url: str, size: Size) -> None:
    """A store of the shop of this size."""
    store = Store(url)
    facts.fill_shop(store, size.households)
    store.close_now()
    with _fast(url) as (connection, sql):
        for statement in _shop(size, sql):
            connection.execute(statement)


class _Words:
    """What the two engines say differently."""

    def __init__(self, engine: str) -> None:
        self.sqlite = engine == "sqlite"

    def numbers(self, count: int) -> str:
        """A table ``t`` with the column ``n`` from 0 up to ``count``."""
        if self.sqlite:
            return (
                f"(WITH RECURSIVE c(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM c"
                f" WHERE n < {count - 1}) SELECT n FROM c) AS t"
            )
        return f"(SELECT n::bigint AS n FROM generate_series(0, {count - 1}) AS n) AS t"

    def name(self, prefix: str, number: str, width: int) -> str:
        """An id: the prefix and the number with leading zeros."""
        if self.sqlite:
            return f"'{prefix}' || printf('%0{width}d', {number})"
        return f"'{prefix}' || lpad(({number})::text, {width}, '0')"

    def no_order(self) -> str:
        """An id as one that follows from others: 36 characters anywhere among them."""
        if self.sqlite:
            return "lower(hex(randomblob(18)))"
        return "gen_random_uuid()::text"

    def moment(self, seconds: str, since: str = "2026-01-01") -> str:
        """A time so many seconds after a day."""
        if self.sqlite:
            return (
                f"strftime('%Y-%m-%dT%H:%M:%S', '{since}', '+' || ({seconds}) || ' seconds')"
                " || '.000000Z'"
            )
        return f"(timestamptz '{since} 00:00+00' + ({seconds}) * interval '1 second')"

    def body(self, text: str) -> str:
        """Bytes."""
        return f"CAST('{text}' AS BLOB)" if self.sqlite else f"convert_to('{text}', 'UTF8')"

    def json(self, text: str) -> str:
        return f"'{text}'" if self.sqlite else f"'{text}'::jsonb"

    @property
    def row(self) -> str:
        return "row" if self.sqlite else '"row"'


@contextmanager
def _fast(url: str) -> Iterator[tuple[_Runs, _Words]]:
    """A connection that gives safety up for speed, in one transaction."""
    address = sa.make_url(url)
    words = _Words(address.get_backend_name())
    if words.sqlite:
        connection = sqlite3.connect(str(address.database), isolation_level=None)
        for pragma in ("synchronous=OFF", "cache_size=-400000", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN")
        yield connection, words
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        return
    with psycopg.connect(url) as server:
        server.execute("SET LOCAL synchronous_commit = off")
        yield server, words
    with psycopg.connect(url, autocommit=True) as server:
        server.execute("VACUUM ANALYZE")


def _outbox(sql: _Words, topic: str, kind: str, key: str, count: int, event_id: str) -> str:
    """Events that were sent long ago, as large as real ones."""
    headers = '{"ce_type": "' + kind + '", "ce_specversion": "1.0", "ce_source": "/grown"}'
    body = '{"household_id": "household-0000000", "points": 3, "available": 30, "held": 0}'
    return (
        "INSERT INTO outbox (id, topic, key, type, headers, body, at)"
        f" SELECT {event_id}, '{topic}', {key}, '{kind}',"
        f" {sql.json(headers)}, {sql.body(body)}, {sql.moment('n')}"
        f" FROM {sql.numbers(count)} ORDER BY n"
    )


_SENT = (
    'INSERT INTO outbox_sent ("row", "partition", record_offset, stamp)'
    ' SELECT "row", 0, "row", 0 FROM outbox_unsent ORDER BY "row"',
    "DELETE FROM outbox_unsent",
)


def _cards(size: Size, sql: _Words) -> Sequence[str]:
    homes, each = size.households, size.transfers_each
    moved = homes * each
    home = sql.name("household-", f"n % {homes}", 7)
    expires = sql.moment(f"86400 * 30 * ((n / {homes}) % {MONTHS})", "2027-01-01")
    mine = sql.name("household-", "n", 7)
    # PostgreSQL sorts words by code point as SQLite does; both want them unique in a household.
    return [
        "INSERT INTO person (id, household_id, position, given_name, family_name, birth_date,"
        " language, email, phone, stage, stage_at, revision)"
        f" SELECT {sql.name('person-', 'n', 7)}, {mine}, 0,"
        f" {sql.name('Nome', f'n % {GIVEN_NAMES}', 2)},"
        f" {sql.name('Famiglia', f'n % {FAMILY_NAMES}', 4)}, NULL, 'it', '', '', 'welcome',"
        f" {sql.moment('n')}, 1 FROM {sql.numbers(homes)}",
        *(
            "INSERT INTO search_word (centre_id, word, household_id, source_id)"
            f" SELECT '{facts.CENTRE}', {word}, {mine}, {sql.name('person-', 'n', 7)}"
            f" FROM {sql.numbers(homes)}"
            for word in (
                sql.name("nome", f"n % {GIVEN_NAMES}", 2),
                sql.name("famiglia", f"n % {FAMILY_NAMES}", 4),
            )
        ),
        "INSERT INTO consent (household_id, purpose, given_at)"
        f" SELECT {mine}, 'registration', {sql.moment('n')} FROM {sql.numbers(homes)}",
        "INSERT INTO card (id, household_id, number, token_digest, state, issued_at, block_reason)"
        f" SELECT {sql.name('card-', 'n', 7)}, {mine}, {sql.name('', 'n', 10)},"
        f" {sql.name('digest-', 'n', 10)}, 'active', {sql.moment('n')}, ''"
        f" FROM {sql.numbers(homes)}",
        "INSERT INTO transfer (id, household_id, centre_id, kind, cause, origin, note, actor, at)"
        f" SELECT {sql.name('00000000-grown-', 'n', 12)}, {home}, '{facts.CENTRE}', 'sale',"
        f" {sql.name('credit:sale:grown-', 'n', 12)}, {sql.name('grown-', 'n', 12)}, '',"
        f" 'system', {sql.moment('n')} FROM {sql.numbers(moved)} ORDER BY n",
        "INSERT INTO entry (transfer_id, line, account, expires_at, points)"
        f" SELECT {sql.name('00000000-grown-', 'n', 12)}, line, account,"
        f" CASE line WHEN 0 THEN {expires} END, CASE line WHEN 0 THEN 3 ELSE -3 END"
        f" FROM {sql.numbers(moved)}, (SELECT 0 AS line, 'household' AS account"
        " UNION ALL SELECT 1, 'shop') AS side",
        "INSERT INTO bucket (household_id, expires_at, balance, held)"
        f" SELECT {sql.name('household-', f'n / {MONTHS}', 7)},"
        f" {sql.moment(f'86400 * 30 * (n % {MONTHS})', '2027-01-01')},"
        f" 3 * (({each} - n % {MONTHS} + {MONTHS - 1}) / {MONTHS}), 0"
        f" FROM {sql.numbers(homes * MONTHS)} WHERE n % {MONTHS} < {each}",
        "INSERT INTO sale (id, household_id, state, money_cents, refunded_cents, per_euro,"
        f" uncovered, ended_at) SELECT {sql.name('grown-', 'n', 12)}, {home}, 'completed', 350, 0,"
        f" 1, 0, {sql.moment('n')} FROM {sql.numbers(size.sales)} ORDER BY n",
        "INSERT INTO inbox (event_id, source)"
        f" SELECT {sql.name('00000000-told-', 'n', 12)}, 'shop.events'"
        f" FROM {sql.numbers(2 * size.sales)} ORDER BY n",
        "INSERT INTO timeline (event_id, household_id, at, kind, facts)"
        f" SELECT {sql.name('00000000-told-', 'n', 12)}, {home}, {sql.moment('n')},"
        f" 'shop.sale.completed', {sql.json(_FACTS)} FROM {sql.numbers(moved)} ORDER BY n",
        _outbox(
            sql,
            *("cards.events", "cards.points.credited.v1", home, moved),
            sql.name("00000000-told-8", "n", 12),
        ),
        *_SENT,
    ]


_FACTS = '{"sale_id": "grown", "total_cents": 350, "money_cents": 350, "points": 0}'


def _shop(size: Size, sql: _Words) -> Sequence[str]:
    homes = size.households
    home = sql.name("household-", f"n % {homes}", 7)
    product = sql.name("product-", f"n % {facts.PRODUCTS}", 5)
    return [
        "INSERT INTO balance_seen (household_id, available, held, changed_at)"
        f" SELECT {sql.name('household-', 'n', 7)}, 30, 0, {sql.moment('n')}"
        f" FROM {sql.numbers(homes)}",
        "INSERT INTO sale (id, till_id, centre_id, digest, state, points_state, reason,"
        " household_id, card_id, payment_id, total_cents, money_cents, points, point_value,"
        " override_reason, actor, opened_at, ended_at, closing_id)"
        f" SELECT {sql.name('grown-', 'n', 12)}, '{facts.TILL}', '{facts.CENTRE}', '',"
        f" 'completed', 'none', '', {home}, '', '', 350, 350, 0, 10, '', 'system',"
        f" {sql.moment('n')}, {sql.moment('n')},"
        f" CASE WHEN n < {max(0, size.sales - 200)} THEN 'closing-1' END"
        f" FROM {sql.numbers(size.sales)} ORDER BY n",
        "INSERT INTO sale_line (sale_id, product_id, place, producer_id, fee_percent, name,"
        " category, quantity, price_cents, amount_cents, sold_at)"
        f" SELECT {sql.name('grown-', 'n', 12)}, {product}, 0, '', 0, 'Pane', 'food', 1, 350, 350,"
        f" {sql.moment('n')} FROM {sql.numbers(size.sales)} ORDER BY n",
        "INSERT INTO movement (id, product_id, reason, quantity, on_hand, origin, note,"
        " override_reason, actor, at)"
        f" SELECT {sql.no_order()}, {product}, 'sale', -1, 1000,"
        f" {sql.name('grown-', 'n', 12)}, '', '', 'system', {sql.moment('n')}"
        f" FROM {sql.numbers(size.sales)} ORDER BY n",
        "UPDATE product SET on_hand ="
        " (SELECT sum(quantity) FROM movement WHERE movement.product_id = product.id)",
        "INSERT INTO inbox (event_id, source)"
        f" SELECT {sql.name('00000000-told-', 'n', 12)}, 'cards.events'"
        f" FROM {sql.numbers(size.sales)} ORDER BY n",
        _outbox(
            sql,
            "shop.events",
            "shop.sale.completed.v1",
            sql.name("grown-", "n", 12),
            size.sales,
            sql.name("00000000-sold-", "n", 12),
        ),
        _outbox(
            sql,
            "shop.events",
            "shop.stock.moved.v1",
            product,
            size.sales,
            sql.name("00000000-stock-", "n", 12),
        ),
        *_SENT,
    ]
