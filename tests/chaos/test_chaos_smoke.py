"""A short run of chaos on both engines, and the proof that its checks can fail."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from chaos.faults import Site
from chaos.options import Options
from chaos.record import Record
from chaos.rounds import look
from chaos.run import new_folder, run

pytestmark = [pytest.mark.chaos, pytest.mark.kafka, pytest.mark.timeout(1200)]

SEED = 20261125


@pytest.fixture
def folder() -> Path:
    """Where the run lies; it stays, for whoever has to read it."""
    return new_folder()


def _options(database: str) -> Options:
    return Options(SEED, minutes=1.2, faults=20, database=database, rate=10.0, kinds=())


async def test_nothing_is_lost_and_nothing_twice_on_sqlite(folder: Path) -> None:
    outcome = await run(_options("sqlite"), folder, then=_the_checks_can_fail)
    assert outcome.wrong == [], f"see {folder}/timeline.txt"
    assert outcome.faults == 20


async def test_nothing_is_lost_and_nothing_twice_on_postgresql(folder: Path) -> None:
    outcome = await run(_options("postgres"), folder)
    assert outcome.wrong == [], f"see {folder}/timeline.txt"
    assert outcome.faults == 20


async def _the_checks_can_fail(site: Site, record: Record) -> None:
    """One acknowledged sale is taken from the store, and the points of another are doubled."""
    told = [line["op"] for line in record.lines() if (line["kind"], line["step"]) == _SALE]
    with closing(sqlite3.connect(site.folder.stores / "shop.db", timeout=30)) as shop, shop:
        for table, column in (("sale_line", "sale_id"), ("movement", "origin"), ("sale", "id")):
            shop.execute(f"DELETE FROM {table} WHERE {column} = ?", (told[0],))
    wrong = (await look(site, record)).wrong
    assert f"sale {told[0]} was acknowledged and is lost" in wrong

    with closing(sqlite3.connect(site.folder.stores / "cards.db", timeout=30)) as cards, cards:
        (transfer,) = cards.execute(
            "SELECT id FROM transfer WHERE kind = 'sale' AND origin <> ? ORDER BY id LIMIT 1",
            (told[0],),
        ).fetchone()
        cards.execute(
            "INSERT INTO transfer SELECT 'twice', household_id, centre_id, kind, 'twice', origin,"
            " note, actor, at FROM transfer WHERE id = ?",
            (transfer,),
        )
        cards.execute(
            "INSERT INTO entry SELECT 'twice', line, account, expires_at, points FROM entry"
            " WHERE transfer_id = ?",
            (transfer,),
        )
    wrong = (await look(site, record)).wrong
    assert any("earned" in sentence for sentence in wrong), wrong
    assert any(sentence.startswith("verify: ") for sentence in wrong), wrong


_SALE = ("sale", "told")
