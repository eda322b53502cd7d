"""Our own PostgreSQL, for as long as a backup or a restore needs it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

from vicinato import programs, settings
from vicinato.folder import Folder
from vicinato.ports import answers
from vicinato.refusals import CommandError, Exit
from vicinato.supervisor import Supervisor

OPEN_WITHIN = 60.0


@asynccontextmanager
async def database_running(
    wanted: settings.Settings, folder: Folder, *, new: bool = False, locked: bool = False
) -> AsyncIterator[None]:
    """Our own PostgreSQL, started for the time being where it is needed and does not run; `new`
    may make it. The folder is locked meanwhile, unless the caller has `locked` it."""
    there = new or folder.postgres.exists()
    if not wanted.own_postgres or answers(wanted.postgres_port) or not there:
        yield
        return
    folder.open()
    with nullcontext() if locked else folder.locked():
        supervisor = Supervisor(folder, wanted.address)
        (child,) = supervisor.start(programs.postgresql(wanted, folder))
        try:
            async with asyncio.timeout(OPEN_WITHIN):
                await child.ready()
                if not await asyncio.to_thread(_takes_part, wanted, folder):
                    raise TimeoutError
            yield
        except TimeoutError as error:
            raise CommandError(
                Exit.DATABASE,
                f"PostgreSQL does not start; see {folder.log('postgresql')}.",
                f"PostgreSQL non si avvia; i dettagli sono in {folder.log('postgresql')}.",
            ) from error
        finally:
            await supervisor.stop()


def _takes_part(wanted: settings.Settings, folder: Folder) -> bool:
    """Whether it takes sessions, within some time: killed before, it has to recover first."""
    import psycopg

    from vicinato.databases import connect

    try:
        connect(programs.server_url(wanted, folder.secrets)).close()
    except psycopg.OperationalError:
        return False
    return True
