"""Migrations of a service go up, down and up again, whole or not at all."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from runtime import migrations
from runtime.migrations import MigrationError
from runtime.scheduler import job_table
from runtime.store import Store
from runtime.testing import ENGINES, fresh_store, migrated, postgresql_database
from runtime.types import NAMING_CONVENTION, Id, Json, UtcDateTime

PACKAGE = "sampled_service"


def tables(*, reason: bool) -> sa.MetaData:
    metadata = sa.MetaData(naming_convention=NAMING_CONVENTION)
    job_table(metadata)
    household = sa.Table(
        "household",
        metadata,
        sa.Column("id", Id, primary_key=True),
        sa.Column("registered_at", UtcDateTime, nullable=False),
        sa.Column("traits", Json),
    )
    sa.Table("counted", metadata, sa.Column("row", sa.Integer, primary_key=True))
    hold = sa.Table(
        "hold",
        metadata,
        sa.Column("id", Id, primary_key=True),
        sa.Column("household_id", Id, sa.ForeignKey(household.c.id), nullable=False),
        sa.Column("points", sa.Integer, nullable=False),
        sa.Column("at", UtcDateTime, index=True),
        sa.UniqueConstraint("household_id", "at"),
        sa.CheckConstraint("points > 0", name="points_positive"),
    )
    if reason:
        hold.append_column(sa.Column("reason", sa.String(40), nullable=False, server_default=""))
    return metadata


FIRST, SECOND = tables(reason=False), tables(reason=True)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A service with two revisions, made as a developer makes them."""
    root = tmp_path / "src"
    (root / PACKAGE).mkdir(parents=True)
    (root / PACKAGE / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(root))
    importlib.invalidate_caches()
    migrations.create_revision(PACKAGE, FIRST, "first")
    migrations.create_revision(PACKAGE, SECOND, "holds have a reason")
    yield root / PACKAGE / "migrations" / "versions"
    sys.modules.pop(PACKAGE, None)


def test_up_down_and_up_again(package: Path, store_url: str) -> None:
    assert migrations.heads(PACKAGE) == ["0002"]
    migrations.upgrade(store_url, PACKAGE, SECOND)
    assert migrations.current(store_url) == "0002"
    assert migrations.difference(store_url, PACKAGE, SECOND) == []
    migrations.downgrade(store_url, PACKAGE, SECOND, "0001")
    assert migrations.difference(store_url, PACKAGE, FIRST) == []
    assert migrations.difference(store_url, PACKAGE, SECOND) != []
    migrations.downgrade(store_url, PACKAGE, SECOND)
    assert migrations.current(store_url) is None
    migrations.upgrade(store_url, PACKAGE, SECOND)
    assert migrations.difference(store_url, PACKAGE, SECOND) == []


def test_rows_survive_a_change_of_their_table(package: Path, store_url: str) -> None:
    migrations.upgrade(store_url, PACKAGE, SECOND, "0001")
    store = Store(store_url)
    household = FIRST.tables["household"]
    hold = FIRST.tables["hold"]
    at = datetime(2026, 11, 16, tzinfo=UTC)
    store.write_now(
        lambda c: c.execute(sa.insert(household).values(id="h", registered_at=at, traits={}))
    )
    store.write_now(
        lambda c: c.execute(sa.insert(hold).values(id="1", household_id="h", points=5, at=at))
    )
    migrations.upgrade(store_url, PACKAGE, SECOND)
    rows = store.read_now(lambda c: c.execute(sa.select(SECOND.tables["hold"])).all())
    assert [(row.id, row.points, row.reason) for row in rows] == [("1", 5, "")]
    migrations.downgrade(store_url, PACKAGE, SECOND, "0001")
    assert store.read_now(lambda c: c.scalar(sa.select(sa.func.count()).select_from(hold))) == 1
    store.close_now()


def test_our_types_stand_in_revisions_by_their_names(package: Path) -> None:
    text = (package / "0001_first.py").read_text()
    assert "from runtime.types import" in text
    assert "UtcDateTime()" in text
    assert "Json()" in text
    assert "Id()" in text


def test_a_revision_that_fails_leaves_the_schema_as_it_was(package: Path, store_url: str) -> None:
    second = package / "0002_holds_have_a_reason.py"
    second.write_text(
        second.read_text().replace(
            "def downgrade()", "    raise LookupError('half-way')\n\n\ndef downgrade()"
        )
    )
    migrations.upgrade(store_url, PACKAGE, SECOND, "0001")
    with pytest.raises(LookupError):
        migrations.upgrade(store_url, PACKAGE, SECOND)
    assert migrations.current(store_url) == "0001"
    assert migrations.difference(store_url, PACKAGE, FIRST) == []


def test_data_of_a_newer_version_is_refused_in_one_sentence(package: Path, store_url: str) -> None:
    migrations.upgrade(store_url, PACKAGE, SECOND)
    (package / "0002_holds_have_a_reason.py").unlink()
    with pytest.raises(MigrationError, match="written by a newer version"):
        migrations.upgrade(store_url, PACKAGE, FIRST)
    with pytest.raises(MigrationError, match="written by a newer version"):
        migrations.check(store_url, PACKAGE)
    assert migrations.current(store_url) == "0002"


def test_a_service_does_not_open_an_older_schema(package: Path, store_url: str) -> None:
    with pytest.raises(MigrationError, match="at revision none"):
        migrations.check(store_url, PACKAGE)
    migrations.upgrade(store_url, PACKAGE, SECOND)
    migrations.check(store_url, PACKAGE)


def test_a_migrated_copy_is_like_the_migrated_original(package: Path, store_url: str) -> None:
    migrated(store_url, PACKAGE, SECOND)
    assert migrations.current(store_url) == "0002"
    assert migrations.difference(store_url, PACKAGE, SECOND) == []
    store = Store(store_url)
    store.write_now(lambda c: c.execute(sa.delete(SECOND.tables["hold"])))
    store.close_now()


COUNT = "INSERT INTO counted DEFAULT VALUES"
LEFT_BY_A_TEST = {
    "nothing": (),
    "rows": (
        "INSERT INTO household (id, registered_at) VALUES ('h', CURRENT_TIMESTAMP)",
        "INSERT INTO hold (id, household_id, points) VALUES ('1', 'h', 5)",
        COUNT,
    ),
    "a counter moved": (COUNT, "DELETE FROM counted"),
    "another table": ("CREATE TABLE shadow (id integer)",),
    "another column": ("ALTER TABLE hold ADD COLUMN colour integer",),
    "a table less": ("DROP TABLE hold",),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("left", LEFT_BY_A_TEST)
def test_a_store_is_as_new_whatever_the_test_before_left(
    package: Path, tmp_path: Path, engine: str, left: str
) -> None:
    """Also when a transaction was left open."""
    with fresh_store(engine, PACKAGE, SECOND, tmp_path) as url:
        store = Store(url)
        for statement in LEFT_BY_A_TEST[left]:
            store.write_now(lambda c, s=statement: c.execute(sa.text(s)))
        engine_left = migrations.migration_engine(url)
        forgotten = engine_left.connect()
        forgotten.execute(sa.text("SELECT count(*) FROM alembic_version"))
    (tmp_path / "next").mkdir()
    with fresh_store(engine, PACKAGE, SECOND, tmp_path / "next") as url:
        assert migrations.difference(url, PACKAGE, SECOND) == []
        migrations.check(url, PACKAGE)
        fresh = Store(url)
        for table in SECOND.tables.values():
            assert fresh.read_now(lambda c, t=table: c.execute(t.select()).all()) == []
        assert fresh.write_now(lambda c: c.scalar(sa.text(f"{COUNT} RETURNING row"))) == 1
        fresh.close_now()
    forgotten.invalidate()
    engine_left.dispose()
    store.close_now()


BARE_AFTER = {
    "a table with rows": ("CREATE TABLE one (row serial)", "INSERT INTO one DEFAULT VALUES"),
    "a type and what is made of it": ("CREATE TYPE mood AS ENUM ('good')",),
    "another schema": ("CREATE SCHEMA another", "CREATE TABLE another.one (row integer)"),
    "a setting of its own": (
        "DO $$BEGIN EXECUTE 'ALTER DATABASE ' || current_database()"
        " || ' SET statement_timeout = 5000'; END$$",
    ),
}


@pytest.mark.parametrize("left", BARE_AFTER)
def test_a_database_without_tables_is_as_new_whatever_the_test_before_left(left: str) -> None:
    """Also when a transaction was left open."""
    with postgresql_database() as url:
        with psycopg.connect(url) as connection:
            for statement in BARE_AFTER[left]:
                connection.execute(statement)
        forgotten = psycopg.connect(url)
        forgotten.execute("SELECT count(*) FROM pg_class")
    with postgresql_database() as url, psycopg.connect(url) as connection:
        for there in (
            "SELECT nspname FROM pg_namespace WHERE nspname NOT IN ('public', 'pg_catalog',"
            " 'information_schema') AND nspname NOT LIKE 'pg\\_toast%'",
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace",
            "SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace",
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid()",
        ):
            assert connection.execute(there).fetchall() == []
        assert connection.execute("SHOW statement_timeout").fetchone() == ("0",)
        connection.execute("CREATE TABLE one (row serial)")
    forgotten.close()


def test_the_command_names_what_it_wants() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "runtime.migrations", "new", "no-such-service", "x"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "there is no service no-such-service\n"
