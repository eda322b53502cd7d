"""The benches measure what they say, and refuse what they cannot do in one sentence."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from benchmarks import __main__ as bench
from benchmarks import (
    bare_shop,
    facts,
    figures,
    grown,
    in_order,
    machine,
    replicas,
    report,
    slow_disk,
    till,
    visible,
)
from benchmarks.words import BOUNDS, INTRODUCTION
from cards.app import SERVICE as CARDS
from contracts.shop import SaleCompleted, SaleRefunded
from messaging import Service
from runtime import migrations
from runtime.store import Store
from solidarity_shop.app import SERVICE as SHOP

TESTS = Path(__file__).parents[1]


def test_a_percentile_is_a_value_that_was_taken() -> None:
    values = [float(n) for n in range(1, 101)]
    assert figures.percentile(values, 0.99) == 99
    assert figures.percentile(values, 0.5) == 50
    assert figures.percentile([7.0], 0.99) == 7


def test_of_pairs_the_median_counts() -> None:
    figure = figures.ratio("ours", [(100, 50), (100, 70), (100, 10)], 0.6)
    assert figure.value == 0.5
    assert figure.reached is False
    assert figure.turns == [0.5, 0.7, 0.1]


def test_what_was_not_measured_has_no_verdict() -> None:
    nothing = figures.at_most("sale, p99", figures.percentile([], 0.99), "ms", 30)
    assert nothing.reached is None
    assert report.line(nothing) == "sale, p99: none ms; at most 30 ms"
    assert nothing.as_json()["value"] is None
    details = figures.at_most("sale", 1.0, "ms", 30, answered_ms=till.milliseconds([])).as_json()
    assert details["details"]["answered_ms"] == {"p50": None, "p99": None, "max": None, "count": 0}


def test_of_several_runs_the_one_in_the_middle_counts(tmp_path: Path) -> None:
    runs = [till.Sold([till.Sale(f"{ms}", 1.0, 1.001, 1 + ms / 1000)]) for ms in (90, 20, 30)]
    moments = {"30": 1.01}
    for service in ("shop", "cards"):
        times = {"committed": moments, "sent": moments, "arrived": moments, "settled": moments}
        (tmp_path / f"{service}.json").write_text(json.dumps({**times, "writes": []}))
    answered, seen = visible.lines("fast", runs, tmp_path, visible=50, answered=None)
    assert (round(answered.value), round(seen.value)) == (1, 30)
    assert [round(ms) for ms in seen.turns] == [20, 30, 90]
    assert seen.reached
    assert seen.details["stages_ms"]["settled to seen (looked for)"] == "20.0 / 20.0"
    (alone, _) = visible.lines("once", runs[2:], tmp_path, visible=None, answered=None)
    assert alone.turns == []


async def test_a_sale_that_never_becomes_visible_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(int(head.split(b"Content-Length: ")[1].split()[0]))
                writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    file = tmp_path / "cards.db"
    with contextlib.closing(sqlite3.connect(file)) as ledger:
        ledger.execute("CREATE TABLE transfer (cause TEXT)")
    monkeypatch.setattr(till, "LAST_SEEN_WITHIN", 0.0)
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as shop:
        port = shop.sockets[0].getsockname()[1]
        with till.Watch(f"sqlite:///{file}") as watch, pytest.raises(RuntimeError) as ended:
            await till.sell(port, 200, 0.1, households=10, watch=watch, warm_up=0.0)
    assert "never became visible" in str(ended.value)


LOG = [("bread", "sold"), ("soap", "sold too"), ("bread", "refunded"), ("bread", "refunded too")]


def test_effects_have_the_order_of_their_facts_key_by_key() -> None:
    in_order.effects(LOG, ["sold too", "sold", "refunded", "refunded too"])


@pytest.mark.parametrize(
    "causes",
    [
        ["sold", "sold too", "refunded too", "refunded"],
        ["sold", "sold too", "refunded", "refunded too", "sold too"],
        ["sold", "sold too", "refunded"],
        ["sold", "sold too", "refunded", "refunded too", "of another"],
    ],
    ids=["out of order", "twice", "lost", "of no fact"],
)
def test_effects_of_other_facts_or_in_another_order_are_found(causes: list[str]) -> None:
    with pytest.raises(RuntimeError, match="the effects are those of"):
        in_order.effects(LOG, causes)


def test_a_chain_that_is_broken_or_told_twice_is_found() -> None:
    whole = [("bread", "1", None), ("soap", "2", None), ("bread", "3", "1")]
    assert in_order.chain(whole) == 3
    for broken in (whole[1:], [*whole, whole[-1]], [whole[2], whole[0]]):
        with pytest.raises(RuntimeError, match="is behind"):
            in_order.chain(broken)


def test_points_follow_from_those_before() -> None:
    in_order.balances([("rossi", 5, 5), ("verdi", 3, 3), ("rossi", -2, 3)])
    with pytest.raises(RuntimeError, match="3 points instead of 8"):
        in_order.balances([("rossi", 5, 5), ("rossi", 3, 3)])


def test_every_fact_of_a_sale_moves_other_points() -> None:
    facts_of: dict[str, list[int]] = {}
    for event in facts.sales_with_refunds(120, 10):
        assert isinstance(event, SaleCompleted | SaleRefunded)
        facts_of.setdefault(event.sale_id, []).append(event.money_cents)
    assert len(facts_of) == 120
    assert all(cents[1:] == [100, 200] for cents in facts_of.values())
    assert {cents[0] for cents in facts_of.values()} == {500, 600, 700, 800, 900}


def test_the_oldest_waits_since_it_was_there() -> None:
    looks = [(0.5, 0), (1.5, 0), (2.5, 1), (3.5, 4)]
    applied = replicas.Applied("", seen=looks)
    assert list(applied.oldest_waited([1.0, 2.25, 3.0, 4.0])) == [0.5, 0.25, 0.0]


def test_the_page_says_how_it_is_taken_and_what_was_not_reached() -> None:
    slow = figures.at_most("sale, p99", 61.0, "ms", 50, stages_ms={"relay": "3.0 / 9.0"})
    result = {
        "part": "a",
        "taken": "2026-11-26T00:30+00:00",
        "seconds": 12.0,
        "load_before": 9.5,
        "broke_off": False,
        "stolen_s": 0.0,
        "scale": 0.1,
        "machine": {"processor": "one", "cores": 2},
        "figures": [slow.as_json()],
    }
    said = {
        "a": "(a) From a sale to its points.\n\nTills sell.\n",
        "b": "(b) Events applied.\n\nBy one.\n",
    }
    page = report.page({"a": json.loads(json.dumps(result))}, said)
    assert "## (a) From a sale to its points\n\nTills sell." in page
    assert "| sale, p99 | 61 ms |  | at most 50 ms | **not reached** |" in page
    assert "relay 3.0 / 9.0" in page
    assert "at 0.1 times the usual size" in page
    assert "| processor | one |" in page
    assert "Not taken for this page yet: `make bench ONLY=b WRITE=1`." in page
    assert "load 9.5 on 2 cores before it began" in page


def test_the_committed_page_says_what_the_code_says() -> None:
    page = (TESTS.parent / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    rendered = report.page({}, bench.said())
    standing = report.standing(page)
    for letter, section in report.standing(rendered).items():
        for paragraph in section.strip().split("\n\n"):
            if paragraph.startswith("Not taken"):
                continue
            assert paragraph in standing[letter], f"({letter}) is not as the code has it"
    assert page.startswith(INTRODUCTION.strip())
    assert list(BOUNDS) == list(standing) == list(bench.PARTS)
    assert not re.search(r"/(home|root|tmp|Users)/", page)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--only", "z"], "there is no part z"),
        (["--scale", "much"], "SCALE must be a number above 0, not 'much'"),
        (["--scale", "0"], "SCALE must be a number above 0 and at most 10"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_sentence(arguments: list[str], sentence: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        env={"PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(
    machine.file_system(Path("/dev/shm")) not in machine.IN_MEMORY, reason="no folder in memory"
)
def test_a_store_in_memory_is_no_disk() -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as checkout:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks", "--only", "d"],
            env={"PYTHONPATH": str(TESTS)},
            cwd=checkout,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert "build/benchmarks lies in memory (tmpfs)" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_a_slow_disk_is_slower(tmp_path: Path) -> None:
    assert slow_disk.fastest(tmp_path, slow_disk.variables(tmp_path)) >= slow_disk.MORE


@pytest.mark.parametrize(
    ("compiler", "reason"),
    [
        ("exit 1", "has no headers"),
        ('while [ "$1" != -o ]; do shift; done; : > "$2"', "is not loaded here"),
    ],
    ids=["without headers", "of a library that is not loaded"],
)
def test_a_disk_that_is_not_slower_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiler: str, reason: str
) -> None:
    (tmp_path / "cc").write_text(f"#!/bin/sh\n{compiler}\n")
    (tmp_path / "cc").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(slow_disk.NoSlowDisk, match=reason):
        slow_disk.variables(tmp_path)


def bare_sale(product: str = facts.product(1)) -> bare_shop.SaleIn:
    return bare_shop.SaleIn(
        id=str(uuid.uuid4()),
        card=bare_shop.Card(number=facts.card_number(1)),
        lines=[bare_shop.Line(product_id=product, quantity=1)],
        payments=[bare_shop.Payment(method="cash", amount_cents=350)],
    )


async def test_the_bare_shop_loses_only_the_sale_that_it_cannot_write(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    migrations.upgrade(url, SHOP.package, SHOP.metadata)
    facts.into(url, lambda store: facts.fill_shop(store, 2))
    sales = [bare_sale(), bare_sale(), bare_sale("of nobody"), bare_sale()]
    write = bare_shop.writer(url)
    answers = await asyncio.gather(
        *(write(facts.TILL, sale) for sale in sales), return_exceptions=True
    )
    kept = [one.id for one in answers if isinstance(one, bare_shop.SaleOut)]
    assert kept == [sale.id for sale in sales if sale.lines[0].product_id != "of nobody"]
    with contextlib.closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        assert connection.execute("SELECT id FROM sale ORDER BY rowid").fetchall() == [
            (one,) for one in kept
        ]


async def test_sales_of_the_bare_shop_that_wait_together_share_a_commit() -> None:
    began, go_on = threading.Event(), threading.Event()
    shared: list[int] = []

    def write_all(sales: Sequence[tuple[str, bare_shop.SaleIn]]) -> list[bare_shop.SaleOut]:
        shared.append(len(sales))
        began.set()
        go_on.wait(10)
        return [
            bare_shop.SaleOut(
                id=sale.id,
                till_id=till_id,
                state="completed",
                total_cents=350,
                on_hand=1,
                sold_at=datetime.now(UTC),
            )
            for till_id, sale in sales
        ]

    together = bare_shop.Together(write_all)
    first = asyncio.create_task(together.write(facts.TILL, bare_sale()))
    await asyncio.to_thread(began.wait, 10)
    others = [asyncio.create_task(together.write(facts.TILL, bare_sale())) for _ in range(8)]
    asyncio.get_running_loop().call_soon(go_on.set)  # behind those that wait by then
    await asyncio.gather(first, *others)
    assert shared == [1, 8]


@pytest.mark.parametrize(
    ("service", "fill"),
    [(CARDS, grown.fill_cards), (SHOP, grown.fill_shop)],
    ids=["cards", "shop"],
)
def test_a_grown_store_holds_every_invariant_of_its_service(
    tmp_path: Path, service: Service, fill: Callable[[str, grown.Size], None]
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    migrations.upgrade(url, service.package, service.metadata)
    fill(url, grown.Size(100, 2_000, 400))
    with sqlite3.connect(str(sa.make_url(url).database)) as connection:
        (sales,) = connection.execute("SELECT count(*) FROM sale").fetchone()
    assert sales == 400
    store = Store(url)
    try:
        assert facts.settled(url) == 0
        for check in service.checks:
            assert not store.read_now(check.run), check.name
    finally:
        store.close_now()


def test_a_part_that_was_not_taken_again_keeps_its_figures_and_no_old_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = {"a": "(a) The first.\n\nHow.", "b": "(b) The second.\n\nHow."}
    machine = "## The machine\n\n| cores | 2 |\n\n## (a)"
    old = report.page({}, said).replace("## (a)", machine, 1)
    old = old.replace("Not taken for this page yet", "Taken in another year", 1)
    assert report.page({}, said, old) == old
    monkeypatch.setitem(BOUNDS, "a", "Another thing.")
    new = report.page({}, said | {"b": "(b) The second.\n\nOtherwise."}, old)
    first, second = report.standing(new).values()
    assert "Taken in another year" in first
    assert "Another thing." in first
    assert "Otherwise." in second
    assert "| cores | 2 |" in new
