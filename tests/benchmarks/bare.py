"""The floor under (b): the rows that the consumer writes, made before, written set by set.

For every 500 events one transaction of the bare driver, with the reads that cannot be left out (is
it known, the household, its buckets, the last event of each key) and one statement per table:
``executemany`` on SQLite, COPY and ``json_to_recordset`` on PostgreSQL. Nothing is decoded, decided
or checked.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg.types.json import Jsonb

from benchmarks import facts

AT_ONCE = 500
TABLES = ("inbox", "transfer", "entry", "sale", "timeline", "outbox")
"""Insert-only; buckets, jobs, figures, matters and places are upserted."""

Rows = list[dict[str, list[tuple[Any, ...]]]]

_OUTBOX = "id, topic, key, previous, cause, type, headers, body, at"
_COLUMNS = {"outbox": _OUTBOX}
_BY_EVENT = {
    "inbox": "SELECT event_id, event_id, source FROM inbox",
    "timeline": "SELECT event_id, event_id, household_id, at, kind, facts FROM timeline",
    "outbox": f"SELECT cause, {_OUTBOX} FROM outbox",
    "transfer": (
        "SELECT o.cause, t.id, t.household_id, t.centre_id, t.kind, t.cause, t.origin, t.note,"
        " t.actor, t.at FROM transfer t JOIN sale_cause o ON o.sale = t.origin"
    ),
    "sale": (
        "SELECT o.cause, s.id, s.household_id, s.state, s.money_cents, s.refunded_cents,"
        " s.per_euro, s.uncovered, s.ended_at FROM sale s JOIN sale_cause o ON o.sale = s.id"
    ),
    "entry": (
        "SELECT o.cause, e.transfer_id, e.line, e.account, e.expires_at, e.points FROM entry e"
        " JOIN transfer t ON t.id = e.transfer_id JOIN sale_cause o ON o.sale = t.origin"
    ),
}


def rows_of(url: str) -> Rows:
    """What a run of the consumer left in its store, by batches of events in their order."""
    address = sa.make_url(url)
    if address.get_backend_name() == "sqlite":
        with sqlite3.connect(str(address.database)) as connection:
            connection.execute(
                "CREATE TEMP TABLE sale_cause AS SELECT json_extract(facts, '$.sale_id') AS sale,"
                " event_id AS cause FROM timeline"
            )
            found = {t: connection.execute(q).fetchall() for t, q in _BY_EVENT.items()}
        connection.close()
    else:
        with psycopg.connect(url) as server:
            server.execute(
                "CREATE TEMP TABLE sale_cause AS SELECT facts->>'sale_id' AS sale,"
                " event_id AS cause FROM timeline"
            )
            found = {t: server.execute(q).fetchall() for t, q in _BY_EVENT.items()}
    by_event: dict[str, dict[str, list[tuple[Any, ...]]]] = defaultdict(lambda: defaultdict(list))
    order: dict[str, None] = {}
    for table, rows in found.items():
        for event, *row in rows:
            by_event[event][table].append(tuple(row))
    for event, *_ in found["outbox"]:
        order[event] = None
    batches: Rows = []
    balances: dict[tuple[Any, Any], int] = defaultdict(int)
    events = list(order)
    for start in range(0, len(events), AT_ONCE):
        batch: dict[str, list[tuple[Any, ...]]] = {table: [] for table in TABLES}
        touched: dict[tuple[Any, Any], int] = {}
        for event in events[start : start + AT_ONCE]:
            for table, rows in by_event[event].items():
                batch[table] += rows
            for _, _, account, expires, points in by_event[event]["entry"]:
                if account == "household":
                    home = (by_event[event]["transfer"][0][1], expires)
                    balances[home] += points
                    touched[home] = balances[home]
        batch["inbox"].sort()
        batch["bucket"] = [(*home, balance, 0) for home, balance in sorted(touched.items())]
        batch["home"] = [(home,) for home in sorted({home for home, _ in touched})]
        batch["job"] = [(when,) for when in {when for _, when in touched}]
        cents = sum(row[3] for row in batch["sale"])
        batch["figure"] = [("sales", len(batch["sale"])), ("sales_cents", cents)]
        batches.append(batch)
    return batches


def applied(url: str, batches: Rows) -> float:
    """Events per second."""
    address = sa.make_url(url)
    count = sum(len(batch["inbox"]) for batch in batches)
    if address.get_backend_name() == "sqlite":
        seconds = _sqlite(str(address.database), batches)
    else:
        seconds = _postgresql(url, batches)
    return count / seconds


def _sqlite(path: str, batches: Rows) -> float:
    connection = sqlite3.connect(path, isolation_level=None, cached_statements=256)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")

    def ask(query: str, values: Sequence[Any]) -> None:
        connection.execute(query.format(",".join("?" * len(values))), values).fetchall()

    begun = time.perf_counter()
    for number, batch in enumerate(batches):
        homes = [home for (home,) in batch["home"]]
        connection.execute("BEGIN IMMEDIATE")
        ask("SELECT event_id FROM inbox WHERE event_id IN ({})", [r[0] for r in batch["inbox"]])
        ask("SELECT id, centre_id, erased_at FROM household WHERE id IN ({})", homes)
        ask("SELECT * FROM bucket WHERE household_id IN ({})", homes)
        ask("SELECT * FROM sale WHERE id IN ({})", [row[0] for row in batch["sale"]])
        ask(
            "SELECT key, id FROM outbox WHERE row IN (SELECT max(row) FROM outbox"
            " WHERE topic = 'cards.events' AND key IN ({}) GROUP BY key)",
            homes,
        )
        for table in TABLES:
            rows = batch[table]
            columns = _COLUMNS.get(table)
            marks = ",".join("?" * len(rows[0]))
            into = f"{table} ({columns})" if columns else table
            connection.executemany(f"INSERT INTO {into} VALUES ({marks})", rows)
        connection.executemany(
            "INSERT INTO bucket VALUES (?, ?, ?, ?) ON CONFLICT (household_id, expires_at)"
            " DO UPDATE SET balance = excluded.balance, held = excluded.held",
            batch["bucket"],
        )
        connection.executemany(
            "INSERT INTO job (name, period, subject, due, state, tries, data, error)"
            " VALUES ('cards.points_expiry', '', ?1, ?1, 'waiting', 0, '{}', NULL)"
            " ON CONFLICT DO NOTHING",
            batch["job"],
        )
        connection.executemany(
            f"INSERT INTO day_figure (centre_id, day, kind, figure) VALUES ('{facts.CENTRE}',"
            " '2026-01-01', ?, ?) ON CONFLICT (centre_id, day, kind)"
            " DO UPDATE SET figure = figure + excluded.figure",
            batch["figure"],
        )
        connection.execute(
            "INSERT INTO matter (kind, item_id, centre_id, is_open, due, seen_at)"
            f" VALUES ('till', '{facts.TILL}', '{facts.CENTRE}', 1, ?1, ?1) ON CONFLICT"
            " (kind, item_id) DO UPDATE SET due = excluded.due, seen_at = excluded.seen_at",
            (batch["sale"][-1][-1],),
        )
        connection.execute(
            "INSERT INTO place VALUES ('in', 'shop.events', 0, ?, '', 0, 0)"
            " ON CONFLICT DO UPDATE SET record_offset = excluded.record_offset",
            (number,),
        )
        connection.execute("COMMIT")
    seconds = time.perf_counter() - begun
    connection.close()
    return seconds


def _postgresql(url: str, batches: Rows) -> float:
    for batch in batches:  # how values are wrapped is not the database's work
        for table in ("timeline", "outbox"):
            batch[table] = [
                tuple(Jsonb(value) if isinstance(value, dict) else value for value in row)
                for row in batch[table]
            ]
    connection = psycopg.connect(url, autocommit=True)
    connection.execute("SET synchronous_commit = on")
    begun = time.perf_counter()
    for number, batch in enumerate(batches):
        homes = [home for (home,) in batch["home"]]
        with connection.transaction(), connection.cursor() as cursor:

            def ask(query: str, values: list[Any], cursor: Any = cursor) -> None:
                cursor.execute(query, (values,)).fetchall()

            ask(
                "SELECT event_id FROM inbox WHERE event_id = ANY(%s)",
                [r[0] for r in batch["inbox"]],
            )
            ask("SELECT id FROM household WHERE id = ANY(%s) ORDER BY id FOR UPDATE", homes)
            ask("SELECT * FROM bucket WHERE household_id = ANY(%s)", homes)
            ask("SELECT * FROM sale WHERE id = ANY(%s)", [row[0] for row in batch["sale"]])
            ask(
                'SELECT key, id FROM outbox WHERE "row" IN (SELECT max("row") FROM outbox'
                " WHERE topic = 'cards.events' AND key = ANY(%s) GROUP BY key)",
                homes,
            )
            for table in TABLES:
                columns = _COLUMNS.get(table)
                into = f"{table} ({columns})" if columns else table
                with cursor.copy(f"COPY {into} FROM STDIN") as copy:
                    for row in batch[table]:
                        copy.write_row(row)
            buckets = [
                {"h": home, "e": expires.isoformat(), "b": balance}
                for home, expires, balance, _ in batch["bucket"]
            ]
            cursor.execute(
                "INSERT INTO bucket SELECT h, e, b, 0 FROM json_to_recordset(%s::json)"
                " AS v(h text, e timestamptz, b bigint) ON CONFLICT (household_id, expires_at)"
                " DO UPDATE SET balance = excluded.balance, held = excluded.held",
                (json.dumps(buckets),),
            )
            cursor.executemany(
                "INSERT INTO job (name, period, subject, due, state, tries, data, error)"
                " VALUES ('cards.points_expiry', '', %s, %s, 'waiting', 0, '{}', NULL)"
                " ON CONFLICT DO NOTHING",
                [(when.isoformat(), when) for (when,) in batch["job"]],
            )
            cursor.executemany(
                f"INSERT INTO day_figure (centre_id, day, kind, figure) VALUES ('{facts.CENTRE}',"
                " '2026-01-01', %s, %s) ON CONFLICT (centre_id, day, kind)"
                " DO UPDATE SET figure = day_figure.figure + excluded.figure",
                batch["figure"],
            )
            ended = batch["sale"][-1][-1]
            cursor.execute(
                "INSERT INTO matter (kind, item_id, centre_id, is_open, due, seen_at)"
                f" VALUES ('till', '{facts.TILL}', '{facts.CENTRE}', true, %s, %s) ON CONFLICT"
                " (kind, item_id) DO UPDATE SET due = excluded.due, seen_at = excluded.seen_at",
                (ended, ended),
            )
            cursor.execute(
                "INSERT INTO place VALUES ('in', 'shop.events', 0, %s, '', 0, 0) ON CONFLICT"
                " (side, topic, partition) DO UPDATE SET record_offset = excluded.record_offset",
                (number,),
            )
    seconds = time.perf_counter() - begun
    connection.close()
    return seconds
