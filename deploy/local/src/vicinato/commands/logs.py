"""`vicinato logs`."""

from __future__ import annotations

import time
from collections import deque
from typing import Annotated

import typer

from vicinato import settings
from vicinato.folder import Folder
from vicinato.refusals import CommandError, Exit


def register(app: typer.Typer) -> None:
    app.command()(logs)


def logs(
    name: Annotated[str, typer.Argument(help="A part: kafka, cards, front-door, supervisor …")],
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as they come.")] = False,
) -> None:
    """Show what a part wrote into its log."""
    folder = Folder(settings.load().data)
    path = folder.log(name)
    if path.parent != folder.logs or not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.logs.glob("*.log"))) or "none"
        raise CommandError(
            Exit.REFUSED,
            f"There is no log of {name!r} in {folder.logs}; there are: {known}.",
            f"Non c'è un registro di {name!r} in {folder.logs}; ci sono: {known}.",
        )
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in deque(file, maxlen=lines):
            print(line, end="")
        while follow:
            if line := file.readline():
                print(line, end="", flush=True)
            elif path.stat().st_size < file.tell():  # it was cut: see vicinato.logs.rotate
                file.seek(0)
            else:
                time.sleep(0.3)
