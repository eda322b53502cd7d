"""`vicinato backup`: everything that the stores hold, as of one moment, in one file."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from vicinato import settings
from vicinato.backup.server import database_running
from vicinato.broken_off import BrokenOffError, in_thread, run
from vicinato.folder import MARKER, Folder
from vicinato.programs.service import store_url
from vicinato.refusals import CommandError, Exit

if TYPE_CHECKING:
    from vicinato.backup.archive import Manifest
    from vicinato.backup.take import Order


def register(app: typer.Typer) -> None:
    app.command()(backup)


def backup(
    file: Annotated[
        Path | None,
        typer.Argument(help="Where to; a folder, or a file that is not there yet."),
    ] = None,
    with_secrets: Annotated[
        bool, typer.Option("--with-secrets", help="Also the passwords in DATA/secrets.")
    ] = False,
) -> None:
    """Save every store of one moment in one file, while Vicinato is at work or stopped.

    Nobody notices: writers are held up for some milliseconds, then the copy is made beside them.
    Secrets are not in the file unless they are asked for; personal data are, so keep it like them.
    """
    from vicinato.backup.moment import StoreAwayError, StoreDamagedError
    from vicinato.backup.take import Order, own_cluster

    wanted = settings.load()
    folder = Folder(wanted.data)
    if not (folder.root / MARKER).exists():
        raise CommandError(
            Exit.NOT_RUNNING,
            f"There is nothing to back up in {folder.root}: there is no data folder of Vicinato.",
            f"Non c'è nulla da salvare in {folder.root}.",
        )
    folder.expect_stores(wanted.engine)
    target = _target(file, folder)
    order = Order(
        {name: store_url(name, wanted, folder) for name in settings.SERVICES},
        target,
        with_secrets,
        own_cluster(folder) if wanted.own_kafka else "",
    )
    console = Console(highlight=False, soft_wrap=True)
    try:
        manifest = run(_take(wanted, folder, order, console))
    except BrokenOffError as error:
        raise CommandError(
            Exit.BROKEN_OFF,
            f"Broken off: no backup was made, and nothing was left in {target.parent}.",
            f"Interrotto: la copia non c'è, e in {target.parent} non è rimasto nulla.",
        ) from error
    except StoreAwayError as error:
        raise CommandError(
            Exit.DATABASE,
            f"No backup was made, and nothing was left in {target.parent}: {error}.",
            f"La copia non è stata fatta, e in {target.parent} non è rimasto nulla: un archivio non"
            " risponde o non si può leggere.",
        ) from error
    except StoreDamagedError as error:
        raise CommandError(
            Exit.DAMAGED_STORE,
            f"No backup was made, and nothing was left in {target.parent}: {error}. Restore that"
            " store from an earlier one, as docs/runbooks/backup-and-restore.md says.",
            f"La copia non è stata fatta, e in {target.parent} non è rimasto nulla: un archivio è"
            " danneggiato. Va ripristinato da una copia precedente.",
        ) from error
    except OSError as error:
        raise not_written(target, error) from error
    _show(console, manifest, target)


def not_written(target: Path, error: OSError) -> CommandError:
    """Why a file or folder could not be written; what was begun is gone."""
    code = no_space_or_read_only(error)
    if code is Exit.NO_SPACE:
        return CommandError(
            Exit.NO_SPACE,
            f"There is no space for {target} ({error.strerror}); nothing was left there.",
            f"Non c'è spazio per {target}; non vi è rimasto nulla.",
        )
    return CommandError(
        code,
        f"{target} cannot be written ({error.strerror}).",
        f"Non si può scrivere {target}.",
    )


def no_space_or_read_only(error: OSError) -> Exit:
    """Which of the two keeps something from being written."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return Exit.NO_SPACE if full else Exit.READ_ONLY_FOLDER


def _target(file: Path | None, folder: Folder) -> Path:
    """Where the backup goes. Raises CommandError for a place where it must not."""
    name = f"vicinato-{datetime.now().astimezone():%Y-%m-%d-%H%M%S}.backup"
    target = (file or Path(name)).expanduser().absolute()
    if target.is_dir():
        target /= name
    if target.resolve().is_relative_to(folder.root):
        raise CommandError(
            Exit.SETTING,
            f"{target} lies in the data folder: a backup belongs on another disk, and what is"
            " erased here must not stay there.",
            f"{target} è nella cartella dei dati: una copia va tenuta altrove.",
        )
    if target.exists():
        raise CommandError(
            Exit.REFUSED,
            f"{target} exists already; nothing was written.",
            f"{target} esiste già; non è stato scritto nulla.",
        )
    if not target.parent.is_dir():
        raise CommandError(
            Exit.READ_ONLY_FOLDER,
            f"There is no folder {target.parent}.",
            f"La cartella {target.parent} non esiste.",
        )
    return target


async def _take(
    wanted: settings.Settings, folder: Folder, order: Order, console: Console
) -> Manifest:
    from vicinato.backup.take import take

    async with database_running(wanted, folder):
        with bytes_bar(console) as bar:

            def begun(size: int, held_ms: float) -> Callable[[int], None]:
                console.print(f"All stores caught at one moment; writers waited {held_ms:.1f} ms.")
                task = bar.add_task("saving", total=size)
                return lambda done: bar.update(task, advance=done)

            manifest = await in_thread(lambda between: take(folder, order, begun, between))
            for task in bar.tasks:  # a dump of PostgreSQL is smaller than its database
                bar.update(task.id, completed=task.total)
            return manifest


@contextmanager
def bytes_bar(console: Console) -> Iterator[Progress]:
    """A bar that counts bytes."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as bar:
        yield bar


def _show(console: Console, manifest: Manifest, target: Path) -> None:
    whole = sum(part.whole for part in manifest.parts)
    centres = ", ".join(centre.name for centre in manifest.centres) or "no centre yet"
    console.print(
        f"{target}: {target.stat().st_size / 1e6:.1f} MB of {whole / 1e6:.1f} MB,"
        f" {len(manifest.stores)} stores ({centres})."
    )
    unsent = sum(store.unsent for store in manifest.stores.values())
    if unsent:
        console.print(f"{unsent} facts were not on the bus yet; they are in the backup.")
    if manifest.secrets:
        console.print(
            "The passwords of this installation are in it: whoever has the file has everything."
            " Only its owner can read it (0600).",
            style="yellow",
        )
    else:
        console.print("It holds personal data and no passwords. Only its owner can read it (0600).")
