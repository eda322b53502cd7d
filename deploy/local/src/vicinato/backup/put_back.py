"""A backup is put back into a data folder: staged, then exchanged for what is there.

The exchange is written down before it begins, and so is all that a new folder needs with it: who is
broken off goes on with `go_on`, also in another process, after a loss of power.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import psycopg

from vicinato import first_start, programs, settings
from vicinato.backup import brought_secrets, staging
from vicinato.backup.archive import Backup
from vicinato.backup.copies import bring
from vicinato.backup.server import database_running
from vicinato.backup.staging import Journal, Target
from vicinato.broken_off import Between, in_thread
from vicinato.folder import Folder
from vicinato.programs.service import store_url
from vicinato.secrets import write_private


def target_of(wanted: settings.Settings, folder: Folder) -> Target:
    """Where the stores of an installation are."""
    urls = {name: store_url(name, wanted, folder) for name in settings.SERVICES}
    sqlite = wanted.engine == "sqlite"
    return Target(folder, urls, "" if sqlite else programs.server_url(wanted, folder.secrets))


async def put_back(
    wanted: settings.Settings,
    folder: Folder,
    backup: Backup,
    names: list[str],
    *,
    copies: Path | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Journal:
    """Puts the stores of `names` back, with what `copies` has besides; their services then recover.

    The passwords of a backup that was made with other secrets than are here are not known here: its
    first administrator gets the one of this folder.

    Raises BadBackupError, MigrationError, StoreAwayError, OSError. Until the exchange has begun
    nothing is changed by then, and nothing left.
    """
    await go_on(wanted, folder)
    new = not folder.is_used()
    brought = new and backup.manifest.secrets
    machine = backup.manifest.machine if brought else folder.machine()
    async with database_running(wanted, folder, new=new, locked=True):
        target = target_of(wanted, folder)

        def staged(between: Between) -> Journal:
            def told(done: int) -> None:
                between()
                progress(done)

            if brought:
                brought_secrets.stage(backup, folder)
            return staging.stage(
                backup,
                target,
                names,
                machine=machine,
                new_machine=not brought and (new or machine != backup.manifest.machine),
                bring=None if copies is None else lambda name, url: bring(name, url, copies),
                progress=told,
            )

        with staging.place(target):
            journal = await in_thread(staged)
            staging.begin(folder, journal)
        _exchange(wanted, folder, journal)
    return journal


async def go_on(wanted: settings.Settings, folder: Folder) -> None:
    """Ends an exchange of stores that was broken off, before anything is started. Stores that were
    staged and not exchanged go."""
    journal = staging.journal_of(folder)
    if journal is not None and journal.phase == "putting":
        async with database_running(wanted, folder, locked=True):
            await asyncio.to_thread(_exchange, wanted, folder, journal)
    elif staging.is_left(folder):
        async with database_running(wanted, folder, locked=True):
            with contextlib.suppress(psycopg.OperationalError):  # what comes next tells of that
                await asyncio.to_thread(staging.discard, target_of(wanted, folder))


def _exchange(wanted: settings.Settings, folder: Folder, journal: Journal) -> None:
    """Done again until it has ended. A new folder counts as used once all that it needs is there;
    no demonstration is wanted in it."""
    brought_secrets.put(folder)
    if journal.administrator:
        made = first_start.administrator(wanted, folder) | {"email": journal.administrator}
        write_private(folder.secrets.folder / first_start.ADMINISTRATOR, json.dumps(made) + "\n")
    if not folder.is_used():
        folder.become(journal.installation, journal.machine)
        first_start.nothing_to_load(folder)
    staging.put(target_of(wanted, folder), journal)
