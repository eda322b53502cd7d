"""`vicinato day FOLDER`: play a day of a centre, end with a table and with `verify`."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from vicinato.kafka.broker import ADMIN
from vicinato.refusals import CommandError, Exit

if TYPE_CHECKING:
    from vicinato.day.rows import Input

SHOWN = 60


def register(app: typer.Typer) -> None:
    app.command()(day)


def day(
    folder: Annotated[Path, typer.Argument(help="Folder with centre.toml and the CSV files.")],
    database: Annotated[
        str, typer.Option(help="sqlite, postgres, or postgresql://… of a server to use.")
    ] = "sqlite",
    keep: Annotated[
        Path | None, typer.Option(help="Keep the centre's data in this new folder.")
    ] = None,
) -> int:
    """Play a day of a centre on a throw-away centre, through the HTTP API and the bus.

    Rows that are wrong are reported by file, line and reason, and the day goes on. Ends with a
    table and with every invariant recomputed; with 1 when something does not hold.
    """
    from vicinato.day.rows import Input, InputError

    console = Console(highlight=False, soft_wrap=True)
    try:
        given = Input.open(folder)
    except InputError as error:
        raise CommandError(
            Exit.SETTING, f"{error}.", f"Nella cartella {folder} non c'è una giornata da giocare."
        ) from error
    if keep is not None and keep.exists():
        raise CommandError(
            Exit.FOREIGN_FOLDER, f"{keep} exists already.", f"La cartella {keep} esiste già."
        )
    return asyncio.run(_play(console, given, database, keep))


async def _play(console: Console, given: Input, database: str, keep: Path | None) -> int:
    from messaging.bus import Bus
    from messaging.catalogue import services
    from vicinato.commands.verify import show as show_report
    from vicinato.day import outcome
    from vicinato.day.centre import ADMIN as ADMINISTRATOR
    from vicinato.day.centre import Centre
    from vicinato.day.client import Api, Refused
    from vicinato.day.rows import InputError
    from vicinato.day.stage import NotOpenError, open_stage
    from vicinato.day.steps import Day, TookTooLongError
    from vicinato.programs.service import store_url
    from vicinato.settings import SERVICES
    from vicinato.verify import verify

    began = time.monotonic()
    try:
        async with open_stage(
            given.centre.begins, database=database, keep=keep, say=console.print
        ) as stage:
            api = Api(stage.settings.address)
            try:
                who = stage.administrator
                await api.sign_in(ADMINISTRATOR, who["email"], who["password"])
                with _bar(console) as bar:
                    task = bar.add_task("the day", total=_rows(given))

                    def tick(file: str) -> None:
                        bar.update(task, advance=1, description=file.removesuffix(".csv"))

                    centre = Centre(api, given, tick)
                    await Day(centre, stage).play()
                found = await outcome.gather(centre, stage.mailbox.received)
            finally:
                await api.close()
            secret = stage.folder.kafka_secrets.get(ADMIN)
            urls = {n: store_url(n, stage.settings, stage.folder) for n in SERVICES}
            report = await asyncio.to_thread(
                verify, services(), urls, Bus(stage.settings.bootstrap, ADMIN, secret)
            )
    except (NotOpenError, TookTooLongError, InputError, Refused) as error:
        _tell_wrong(console, given)
        raise CommandError(
            Exit.NOT_READY, f"The day could not be played: {error}", "La giornata non è riuscita."
        ) from error
    _tell_wrong(console, given)
    outcome.show(console, found, time.monotonic() - began)
    show_report(console, report)
    return 0 if report.holds and not _surprises(given) else 1


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<14}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )


def _rows(given: Input) -> int:
    """How many rows there are to play, roughly: members of a household are one."""
    count = 0
    for name, table in given.tables.items():
        firsts = [row[table.columns[0]] for _, row in table.rows]
        count += len(set(firsts) if name == "households.csv" else firsts)
    return count


def _surprises(given: Input) -> bool:
    """Rows that said what they expect, and something else happened."""
    return any(wrong.reason.startswith("expected ") for wrong in given.wrong)


def _tell_wrong(console: Console, given: Input) -> None:
    if given.wrong:
        console.print(f"{len(given.wrong)} rows were not played as they stand:")
        for wrong in given.wrong[:SHOWN]:
            console.print(f"  {wrong}", markup=False)
        if len(given.wrong) > SHOWN:
            console.print(f"  and {len(given.wrong) - SHOWN} more")
