"""`vicinato restore FILE`: the stores of a backup are put back, and what the bus knows besides."""

from __future__ import annotations

import asyncio
import shutil
import signal
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from vicinato import checks, first_start, paths, settings
from vicinato.broken_off import BrokenOffError, run
from vicinato.commands.backup import bytes_bar, no_space_or_read_only
from vicinato.commands.up import Screen, fetch_jars
from vicinato.folder import Folder
from vicinato.refusals import CommandError, Exit
from vicinato.supervisor import House

if TYPE_CHECKING:
    from vicinato.backup.archive import Backup
    from vicinato.backup.finish import Finished
    from vicinato.backup.staging import Journal

OLDEST = timedelta(days=90)
"""For as long a tombstone of `cards.people` lies on the bus (`deploy/kafka/topics.toml`)."""

SPARE = 64 << 20
"""Bytes that must be free besides the stores themselves."""


def register(app: typer.Typer) -> None:
    app.command()(restore)


def restore(
    file: Annotated[Path, typer.Argument(help="A file that `vicinato backup` wrote.")],
    only: Annotated[
        list[str] | None, typer.Option(help="Only the store of this service; may be repeated.")
    ] = None,
    older: Annotated[
        bool,
        typer.Option("--older", help="Also one of more than 90 days: erasures may be missing."),
    ] = False,
    outbox_copy: Annotated[
        Path | None,
        typer.Option(help="The second copy of the outboxes; else VICINATO_UP_OUTBOX_COPY."),
    ] = None,
) -> int:
    """Put the stores of a backup back, and whatever the bus knows besides.

    Vicinato must be stopped. The old stores are kept aside. All parts are started, answer 503 while
    they recover, are verified, and stopped again; the report says what came back and what did not.
    Then `make up`. On a machine where nothing is, this makes everything. Ends with 1 when something
    does not hold.
    """
    import psycopg

    from runtime.logging import logged_to

    wanted = settings.load()
    folder = Folder(wanted.data)
    console = Console(highlight=False, soft_wrap=True)
    backup = _opened(file, console)
    names = _chosen(backup, only or [])
    copies = _copies(backup, outbox_copy or paths.outbox_copy())
    _suits(backup, wanted, folder, names, older=older)
    if folder.is_locked():
        raise CommandError(
            Exit.SECOND_COPY,
            f"Vicinato is at work on {folder.root}: `make stop` first, then restore."
            " Nothing was changed.",
            f"Vicinato è in funzione su {folder.root}: prima `make stop`, poi il ripristino."
            " Non è stato cambiato nulla.",
        )
    folder.open()
    with (
        folder.locked(),
        folder.log("supervisor").open("a", encoding="utf-8") as log,
        logged_to(log, "restore"),  # a line for each fact of a second copy, for one
    ):
        folder.end_leftovers()
        checks.ports_are_free(wanted)
        fetch_jars(wanted)
        try:
            journal = run(_put(wanted, folder, backup, names, copies, console))
        except BrokenOffError as error:
            raise _broken_off(folder) from error
        except OSError as error:
            raise _not_put(folder, error) from error
        except psycopg.OperationalError as error:
            raise CommandError(
                Exit.DATABASE,
                "The database server does not answer any more; once it does, restore again.",
                "Il server delle basi di dati non risponde più; quando risponde, ripetere il"
                " ripristino.",
            ) from error
        console.print(
            f"Put back: {', '.join(journal.services)}. Now the bus is asked for the rest."
        )
        finished = asyncio.run(_recover(wanted, folder, console))
    if finished is None:
        console.print("Not finished: `make up` goes on with it.", style="yellow")
        return int(Exit.NOT_READY)
    show(console, finished.lines)
    console.print("\nVicinato is restored and stopped: start it with `make up`.")
    return 0 if finished.holds else 1


def show(console: Console, lines: list[str]) -> None:
    """The report of a restore."""
    console.print()
    for line in lines:
        console.print(line, markup=False)


def _opened(file: Path, console: Console) -> Backup:
    from vicinato.backup.archive import Backup, BadBackupError, NewerBackupError

    try:
        backup = Backup(file)
        with bytes_bar(console) as bar:
            task = bar.add_task("checking", total=sum(p.length for p in backup.manifest.parts))
            backup.check(lambda done: bar.update(task, advance=done))
    except FileNotFoundError as error:
        raise bad(file, "there is no such file") from error
    except OSError as error:
        raise bad(file, f"it cannot be read ({error.strerror})") from error
    except NewerBackupError as error:
        raise newer(file, str(error)) from error
    except BadBackupError as error:
        raise bad(file, str(error)) from error
    return backup


def _copies(backup: Backup, named: Path | None) -> Path | None:
    """The folder with the copies of this backup's installation, where one is named."""
    if named is None:
        return None
    folder = named / f"vicinato-{backup.manifest.installation}"
    if not folder.is_dir():
        raise CommandError(
            Exit.SETTING,
            f"There is no copy of this installation's outboxes in {named} ({folder.name})."
            " Nothing was changed.",
            f"In {named} non ci sono le copie di questa installazione. Non è stato cambiato nulla.",
        )
    return folder


def bad(file: Path, why: str) -> CommandError:
    """The file cannot be used."""
    return CommandError(
        Exit.BAD_BACKUP,
        f"{file} cannot be put back: {why}. Nothing was changed.",
        f"{file} non è una copia di sicurezza di Vicinato, o è danneggiata."
        " Non è stato cambiato nulla.",
    )


def newer(file: Path, what: str) -> CommandError:
    """The file is of a newer version."""
    return CommandError(
        Exit.NEWER_DATA,
        f"{file} was made by a newer Vicinato ({what}): update Vicinato, then restore."
        " Nothing was changed.",
        f"{file} è di una versione più nuova di Vicinato, che va aggiornato."
        " Non è stato cambiato nulla.",
    )


def _broken_off(folder: Folder) -> CommandError:
    from vicinato.backup.staging import journal_of

    if journal_of(folder) is None:
        return CommandError(
            Exit.BROKEN_OFF,
            "Broken off. Nothing was changed, and nothing is left of it.",
            "Interrotto. Non è stato cambiato nulla, e non ne è rimasto nulla.",
        )
    return CommandError(
        Exit.BROKEN_OFF,
        "Broken off; a restore has begun and is not finished: `make up` goes on with it.",
        "Interrotto; un ripristino è iniziato e non è finito: `make up` lo continua.",
    )


def _not_put(folder: Folder, error: OSError) -> CommandError:
    from vicinato.backup.staging import journal_of

    journal = journal_of(folder)
    if journal is not None and journal.phase == "putting":
        return CommandError(
            no_space_or_read_only(error),
            f"The stores are being exchanged and {folder.root} cannot be written"
            f" ({error.strerror}); once it can, `make up` goes on with it.",
            f"Gli archivi si stanno sostituendo e non si può scrivere in {folder.root};"
            " quando si potrà, `make up` continua.",
        )
    return CommandError(
        no_space_or_read_only(error),
        f"The backup cannot be made ready in {folder.root} ({error.strerror}). Nothing was changed,"
        " and nothing is left of it; make room, or choose another folder with DATA=folder.",
        f"La copia non si può preparare in {folder.root}. Non è stato cambiato nulla e non ne è"
        " rimasto nulla; fare spazio, o scegliere un'altra cartella con DATA=cartella.",
    )


def _not_migrated(backup: Backup, why: str) -> CommandError:
    product = backup.manifest.product
    return CommandError(
        Exit.MIGRATION,
        f"{backup.path} cannot be brought to this version: {why}. Nothing was changed. Put it back"
        f" with version {product}, which made it, and report this.",
        f"{backup.path} non si può portare a questa versione. Non è stato cambiato nulla."
        f" Si può rimettere con la versione {product}, che l'ha fatta; segnalare il problema.",
    )


def _chosen(backup: Backup, only: list[str]) -> list[str]:
    there = list(backup.manifest.stores)
    for name in only:
        if name not in there:
            raise CommandError(
                Exit.SETTING,
                f"The backup has no store of {name!r}; it has {', '.join(there)}.",
                f"Nella copia non c'è {name!r}; ci sono: {', '.join(there)}.",
            )
    return [name for name in there if name in only] or there


def _suits(
    backup: Backup, wanted: settings.Settings, folder: Folder, names: list[str], *, older: bool
) -> None:
    """Whether this backup may be put back here; nothing is changed. Raises CommandError."""
    manifest = backup.manifest
    _known_schema(backup, names)
    if manifest.engine != wanted.engine:
        raise CommandError(
            Exit.REFUSED,
            f"The backup is of {manifest.engine} stores and DATABASE={wanted.database} is another"
            " engine. Nothing was changed.",
            f"La copia è di archivi {manifest.engine}: DATABASE={wanted.database} non va bene."
            " Non è stato cambiato nulla.",
        )
    if folder.is_used() and manifest.installation != folder.installation():
        whose = ", ".join(centre.name for centre in manifest.centres) or manifest.installation
        raise CommandError(
            Exit.OTHER_INSTALLATION,
            f"The backup is of another installation ({whose}) than the data in {folder.root};"
            " nothing was changed. An empty folder takes it: DATA=folder.",
            f"La copia è di un'altra installazione ({whose}); non è stato cambiato nulla."
            " Si può rimettere in una cartella vuota: DATA=cartella.",
        )
    age = datetime.now(UTC) - manifest.taken_at
    if age > OLDEST and not older:
        raise CommandError(
            Exit.REFUSED,
            f"The backup is {age.days} days old: names that were erased more than {OLDEST.days}"
            " days ago may come back. With --older it is put back all the same; erase them again"
            " then. Nothing was changed.",
            f"La copia ha {age.days} giorni: potrebbero tornare nomi cancellati da più di"
            f" {OLDEST.days} giorni. Con --older si rimette lo stesso. Non è stato cambiato nulla.",
        )
    if wanted.own_postgres or wanted.engine == "sqlite":
        _fits(backup, folder, names)


def _known_schema(backup: Backup, names: list[str]) -> None:
    from runtime import migrations
    from vicinato.backup.staging import services_by_name

    services = services_by_name()
    for name in names:
        if name not in services:
            raise newer(backup.path, f"it has a store of {name}")
        revision = backup.manifest.stores[name].revision
        if not migrations.knows(revision, services[name].package):
            raise newer(backup.path, f"the data of {name} are at revision {revision}")


def _fits(backup: Backup, folder: Folder, names: list[str]) -> None:
    """A store of an earlier version counts twice: a revision may write its tables anew."""
    from runtime import migrations
    from vicinato.backup.staging import services_by_name

    manifest, services = backup.manifest, services_by_name()
    needed = SPARE
    for name in names:
        facts = manifest.stores[name]
        newest = facts.revision in migrations.heads(services[name].package)
        needed += manifest.part(facts.part).whole * (1 if newest else 2)
    there = folder.root
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    if free < needed:
        raise CommandError(
            Exit.NO_SPACE,
            f"The backup needs {needed / 1e6:.0f} MB beside the old stores and {free / 1e6:.0f} MB"
            f" are free at {there}. Nothing was changed.",
            f"Servono {needed / 1e6:.0f} MB e in {there} ce ne sono {free / 1e6:.0f}."
            " Non è stato cambiato nulla.",
        )


async def _put(
    wanted: settings.Settings,
    folder: Folder,
    backup: Backup,
    names: list[str],
    copies: Path | None,
    console: Console,
) -> Journal:
    from runtime.migrations import MigrationError, NewerDataError
    from vicinato.backup.archive import BadBackupError
    from vicinato.backup.moment import StoreAwayError
    from vicinato.backup.put_back import put_back

    whole = sum(backup.manifest.part(backup.manifest.stores[n].part).whole for n in names)
    with bytes_bar(console) as bar:
        task = bar.add_task("putting back", total=whole)

        def progress(done: int) -> None:
            bar.update(task, advance=done)

        try:
            journal = await put_back(
                wanted, folder, backup, names, copies=copies, progress=progress
            )
        except (BadBackupError, StoreAwayError) as error:
            raise bad(backup.path, str(error)) from error
        except NewerDataError as error:
            raise newer(backup.path, str(error)) from error
        except MigrationError as error:
            raise _not_migrated(backup, str(error)) from error
        bar.update(task, completed=whole)
    return journal


async def _recover(wanted: settings.Settings, folder: Folder, console: Console) -> Finished | None:
    """Everything is started, recovers, is verified and stopped. None when it was broken off."""
    from messaging.bus import BusAway
    from vicinato.backup.finish import finish
    from vicinato.backup.put_back import target_of
    from vicinato.commands.verify import administrators_bus

    stopping = threading.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stopping.set)
    first_start.administrator(wanted, folder)
    with folder.log("supervisor").open("a", encoding="utf-8") as log:
        screen = Screen(log)
        house = House(wanted, folder, screen)
        await house.open()
        try:
            with console.status("recovering") as status:
                return await asyncio.to_thread(
                    finish,
                    target_of(wanted, folder),
                    administrators_bus(wanted, folder),
                    say=lambda what: status.update(what),
                    stopped=stopping.is_set,
                )
        except BusAway as error:
            raise CommandError(
                Exit.KAFKA,
                f"The stores are back, but {error}; `make up` goes on with the restore.",
                "Gli archivi sono al loro posto, ma il bus non risponde: `make up` continua.",
            ) from error
        except OSError as error:
            raise CommandError(
                no_space_or_read_only(error),
                f"The stores are back, but the report cannot be written ({error.strerror});"
                " make room, then `make up` goes on with the restore.",
                "Gli archivi sono al loro posto, ma il resoconto non si può scrivere:"
                " fare spazio, poi `make up` continua.",
            ) from error
        finally:
            await house.supervisor.stop()
