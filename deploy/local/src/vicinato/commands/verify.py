"""`vicinato verify`: every invariant, recomputed across all stores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from vicinato import settings
from vicinato.folder import Folder
from vicinato.kafka.broker import ADMIN
from vicinato.programs.service import store_url
from vicinato.refusals import CommandError, Exit

if TYPE_CHECKING:
    from messaging.bus import Bus
    from vicinato.verify import Report

SHOWN = 20


def register(app: typer.Typer) -> None:
    app.command()(verify)


def verify(
    without_bus: Annotated[
        bool, typer.Option("--without-bus", help="Only the stores; Kafka need not run.")
    ] = False,
) -> int:
    """Recompute every invariant across all stores and name any difference.

    Looks at snapshots and changes nothing; the centre may be at work. Ends with 1 when something
    does not hold.
    """
    from messaging.bus import BusAway, LogDamaged
    from messaging.catalogue import services
    from vicinato.verify import verify as run
    from vicinato.verify.snapshot import StoreMissingError

    wanted = settings.load()
    folder = Folder(wanted.data)
    folder.expect(or_secrets=wanted.engine == "postgresql")
    folder.expect_stores(wanted.engine)
    console = Console(highlight=False, soft_wrap=True)
    urls = {name: store_url(name, wanted, folder) for name in settings.SERVICES}
    bus = None if without_bus else administrators_bus(wanted, folder)
    try:
        with console.status("looking") as status:
            report = run(services(), urls, bus, progress=lambda what: status.update(what))
    except StoreMissingError as error:
        raise CommandError(
            Exit.NOT_RUNNING,
            f"Nothing to verify in {folder.root}: {error}.",
            f"Niente da verificare in {folder.root}.",
        ) from error
    except LogDamaged as error:
        raise CommandError(
            Exit.KAFKA,
            f"Not all can be read: {error}; docs/runbooks/losing-the-bus.md says what to do."
            " --without-bus verifies the stores alone.",
            "Un evento sul disco di Kafka è danneggiato: docs/runbooks/losing-the-bus.md dice che"
            " cosa fare. Con --without-bus si verificano solo gli archivi.",
        ) from error
    except BusAway as error:
        raise CommandError(
            Exit.KAFKA,
            f"{str(error).capitalize()}: start Vicinato, or verify the stores alone with"
            " --without-bus.",
            "Il bus non risponde: avviare Vicinato, o verificare solo gli archivi"
            " con --without-bus.",
        ) from error
    show(console, report)
    return 0 if report.holds else 1


def administrators_bus(wanted: settings.Settings, folder: Folder) -> Bus:
    """The bus, as who may read all topics."""
    from messaging.bus import Bus

    user = wanted.kafka_admin_user or ADMIN
    secret = (
        wanted.kafka_admin_secret_file.read_text(encoding="utf-8").strip()
        if wanted.kafka_admin_secret_file
        else folder.kafka_secrets.get(ADMIN)
    )
    return Bus(wanted.bootstrap, user, secret)


def show(console: Console, report: Report) -> None:
    """The report in a few lines; every difference by name, as far as they fit."""
    for finding in report.findings:
        if finding.differences:
            console.print(f"[bold red]✗[/] {finding.what}: {len(finding.differences)} differences")
            for difference in finding.differences[:SHOWN]:
                console.print(f"    {difference}", markup=False)
            if len(finding.differences) > SHOWN:
                console.print(f"    and {len(finding.differences) - SHOWN} more")
    good = sum(1 for f in report.findings if not f.differences)
    console.print(
        f"{good} of {len(report.findings)} checks hold, {len(report.differences)} differences;"
        f" {report.on_the_way} facts on their way."
    )
    for note in report.notes:
        console.print(note, style="yellow")
