"""Old stores that a restore put aside: kept for some days, then gone.

They hold personal data that an erasure does not reach, so they do not stay.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta

from vicinato.folder import Folder

KEPT_DAYS = 7


def old(folder: Folder, now: datetime) -> list[str]:
    """The stamps of what has lain aside for long enough."""
    before = f"{now.astimezone(UTC) - timedelta(days=KEPT_DAYS):%Y%m%d%H%M%S}"
    if not folder.aside.is_dir():
        return []
    return sorted(one.name for one in folder.aside.iterdir() if one.name <= before)


def forget(folder: Folder, server: str, stamps: list[str]) -> None:
    """Deletes what lies aside under these stamps, files and databases."""
    for stamp in stamps:
        if server:
            _drop(server, stamp)
        shutil.rmtree(folder.aside / stamp)


def _drop(server: str, stamp: str) -> None:
    import psycopg
    from psycopg import sql

    with psycopg.connect(server, autocommit=True, connect_timeout=10) as connection:
        names = connection.execute(
            "SELECT datname FROM pg_database WHERE datname LIKE %s",
            (f"vicinato\\_%\\_aside\\_{stamp}",),
        ).fetchall()
        for (name,) in names:
            words = sql.SQL("DROP DATABASE {} WITH (FORCE)")
            connection.execute(words.format(sql.Identifier(str(name))))
