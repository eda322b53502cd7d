"""The outbox as the relay reads it: what is unsent, in its order, however much that is."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from messaging import marks
from messaging.tables import metadata_with_messaging, outbox, outbox_sent, outbox_unsent
from messaging.testing import count_as_sent
from runtime import prepared
from runtime.store import Store

METADATA = metadata_with_messaging()


@pytest.fixture
def outbox_of(store: Store) -> Store:
    store.write_now(METADATA.create_all)
    return store


def written(connection: sa.Connection, numbers: Sequence[int], *, sent: bool = False) -> None:
    """Rows of the outbox with the ids ``e<number>``, of three keys in turn."""
    at = datetime(2026, 11, 26, tzinfo=UTC)
    row = {"topic": "shop.events", "type": "t", "headers": {"a": "b" * 300}, "at": at}
    connection.execute(
        sa.insert(outbox),
        [row | {"row": n + 1, "id": f"e{n}", "key": f"k{n % 3}"} for n in numbers],
    )
    if sent:
        count_as_sent(connection)


def strewn(count: int) -> list[int]:
    """As rows lie on the disk after they were marked, and where others were before."""
    return random.Random(1).sample(range(count), count)


def test_what_is_underway_or_blocked_is_left_out(outbox_of: Store) -> None:
    outbox_of.write_now(lambda c: written(c, range(9)))
    rows = outbox_of.read_now(lambda c: marks.unsent(c, (), 4))
    assert [row.id for row in rows] == ["e0", "e1", "e2", "e3"]
    underway = [row.row for row in rows]
    blocked = [("shop.events", "k1")]
    rows = outbox_of.read_now(lambda c: marks.unsent(c, blocked, 4, underway=underway))
    assert [row.id for row in rows] == ["e5", "e6", "e8"]


def test_however_many_keys_are_blocked_the_others_go(outbox_of: Store) -> None:
    """SQLite refuses a statement that names a thousand of them."""
    outbox_of.write_now(lambda c: written(c, range(6)))
    blocked = [("shop.events", "k1"), *(("shop.events", f"x{n}") for n in range(3_000))]
    rows = outbox_of.read_now(lambda c: marks.unsent(c, blocked, 4))
    assert [row.id for row in rows] == ["e0", "e2", "e3", "e5"]


def test_who_would_never_be_sent_is_found(outbox_of: Store) -> None:
    outbox_of.write_now(lambda c: written(c, range(2), sent=True))
    outbox_of.write_now(lambda c: written(c, range(2, 5)))
    assert outbox_of.read_now(marks.astray) == []
    for broken in (
        sa.delete(outbox_sent).where(outbox_sent.c.row == 1),
        sa.delete(outbox_unsent).where(outbox_unsent.c.row == 3),
        sa.insert(outbox_unsent).values(row=2),
    ):
        outbox_of.write_now(lambda c, broken=broken: c.execute(broken))  # type: ignore[misc]
    assert outbox_of.read_now(marks.astray) == ["e0", "e1", "e2"]


def plan(connection: sa.Connection, *, backlog: bool) -> str:
    """How the database goes about finding what is unsent, in small letters."""
    explain = "EXPLAIN" if connection.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
    plans: list[str] = []
    really = prepared.run_at_once

    def run(where: sa.Connection, text: str, parameters: Any, **more: Any) -> Any:
        plans.append(str(really(where, f"{explain} {text}", parameters, **more).fetchall()))
        return really(where, text, parameters, **more)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(prepared, "run_at_once", run)
        marks.unsent(connection, (), 1_000, backlog=backlog)
    return plans[-1].lower()


THE_WHOLE_OUTBOX = re.compile(r"scan( on)? outbox\b(?!_)")


@pytest.mark.parametrize("learnt", [True, False])
def test_for_few_that_are_unsent_the_others_are_not_read(outbox_of: Store, learnt: bool) -> None:
    def nearly_all_sent(connection: sa.Connection) -> None:
        written(connection, strewn(4_000), sent=True)
        written(connection, [4_000])
        if learnt:
            connection.execute(sa.text("ANALYZE"))

    outbox_of.write_now(nearly_all_sent)
    found = outbox_of.read_now(lambda c: plan(c, backlog=False))
    assert "outbox_unsent" in found
    assert not THE_WHOLE_OUTBOX.search(found), found


def test_a_backlog_is_not_sorted_for_its_first_rows(outbox_of: Store) -> None:
    """The database has learnt that little is ever unsent; then the bus is away for a day."""

    def backlog(connection: sa.Connection) -> None:
        written(connection, strewn(4_000), sent=True)
        written(connection, range(4_000, 4_080))
        connection.execute(sa.text("ANALYZE"))
        written(connection, range(4_080, 6_000))

    outbox_of.write_now(backlog)
    found = outbox_of.read_now(lambda c: plan(c, backlog=True))
    assert "outbox_unsent" in found
    assert not THE_WHOLE_OUTBOX.search(found), found
    assert "sort" not in found
    assert "b-tree" not in found


def test_few_of_many_are_found_without_holding_the_store(
    outbox_of: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "LOOKED_AT", 100)
    monkeypatch.setattr(marks, "SLICE", 20)
    outbox_of.write_now(lambda c: written(c, range(1_000), sent=True))
    after, steps, count = 0, 0, 0
    chosen = sa.and_(marks.of_topic("shop.events"), outbox.c.row.between(451, 500))
    while True:
        after, more = outbox_of.write_now(lambda c: marks.unsend(c, chosen, after))  # noqa: B023
        if not after:
            break
        steps, count = steps + 1, count + more
    assert (steps, count) == (12, 50), "ten looks, and two that found more than a slice"
    assert outbox_of.read_now(marks.count_unsent) == 50


def test_a_slice_of_what_was_sent_is_read_from_where_it_begins(outbox_of: Store) -> None:
    """Of a million rows some thousand, then the next: not all that are left, each time."""

    def explained(connection: sa.Connection) -> str:
        asked: list[tuple[str, Any]] = []

        def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            asked.append((statement, parameters))

        sa.event.listen(connection, "before_cursor_execute", note)
        marks.sent_after(connection, marks.of_topic("shop.events"), 1_000, 100)
        sa.event.remove(connection, "before_cursor_execute", note)
        explain = "EXPLAIN" if connection.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
        ((statement, parameters),) = asked
        return str(connection.exec_driver_sql(f"{explain} {statement}", parameters).all()).lower()

    outbox_of.write_now(lambda c: written(c, strewn(4_000), sent=True))
    rows = outbox_of.read_now(
        lambda c: marks.sent_after(c, marks.of_topic("shop.events"), 1_000, 100, until=1_050)
    )
    assert rows == list(range(1_001, 1_051))
    found = outbox_of.read_now(explained)
    assert "sort" not in found, found
    assert "b-tree" not in found, found
    assert not THE_WHOLE_OUTBOX.search(found), found
