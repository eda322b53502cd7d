"""Keeps a data folder as a fixture: what a version leaves behind, for those that come after it.

    python tests/upgrade/keep.py DATA VERSION

DATA is the folder of a demonstration centre that is stopped: no real person is in it. Kept are its
stores, without what SQLite has written beside them, and the sign-ins of the demonstration. Run once
for each version that is given to others; a fixture is never changed or removed.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
import zipfile
from contextlib import closing
from pathlib import Path

KEPT = ("vicinato.json", "first-start.json", "secrets/first-admin.json")
SIGN_INS = "secrets/demonstration-sign-ins.json"
MOMENT = (2026, 1, 1, 0, 0, 0)
"""Of every file in the archive, so that the same data gives the same bytes."""


def keep(data: Path, version: str, folder: Path) -> Path:
    """The archive, made in `folder`."""
    made = folder / f"data-{version}.zip"
    with zipfile.ZipFile(made, "x", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in (*KEPT, SIGN_INS):
            archive.writestr(zipfile.ZipInfo(name, MOMENT), (data / name).read_bytes())
        for store in sorted((data / "stores").glob("*.db")):
            entry = zipfile.ZipInfo(f"stores/{store.name}", MOMENT)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, whole(store))
    return made


def whole(store: Path) -> bytes:
    """A store as one file, with nothing left in its write-ahead log."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / store.name
        with closing(sqlite3.connect(store)) as connection:
            connection.execute("VACUUM INTO ?", (str(copy),))
        return copy.read_bytes()


if __name__ == "__main__":
    made = keep(Path(sys.argv[1]), sys.argv[2], Path(__file__).parent)
    sys.stdout.write(f"{made}\n")
