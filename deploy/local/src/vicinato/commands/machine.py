"""`vicinato replay`, `reread`, `compare`, `rebuild` and `clock`: the log, the read models and the
date of a service, over its own HTTP API."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from vicinato import settings
from vicinato.api import Service, signed_in
from vicinato.ask import get
from vicinato.refusals import CommandError, Exit

LOOK_EVERY = 0.3
BEGINS_WITHIN = 3.0
DATES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]


def register(app: typer.Typer) -> None:
    for command in (replay, reread, compare, rebuild, clock):
        app.command()(command)


def replay(
    service: Service,
    topic: Annotated[str, typer.Option(help="One of its own, such as cards.events.")],
    key: Annotated[str, typer.Option(help="The id of one aggregate; all when none.")] = "",
    since: Annotated[
        datetime | None, typer.Option(formats=DATES, help="Only events from then on, UTC.")
    ] = None,
) -> None:
    """Send own events to the bus once more. Who knows them drops them."""
    wanted: dict[str, Any] = {"topic": topic, "key": key}
    if since is not None:
        wanted["since"] = since.replace(tzinfo=UTC).isoformat()
    with signed_in("replay") as api:
        done = api.call("POST", service, "log/replay", json=wanted)
    print(f"{done['sent_again']} events of {topic} are sent again.")
    if done["sent_again"]:
        _follow(service, "sending", "vicinato_outbox_unsent")


def reread(service: Service) -> None:
    """Read all topics from their beginning. What is known is dropped."""
    with signed_in("reread") as api:
        api.call("POST", service, "log/reread")
    print(f"{service} reads again from the beginning.")
    _follow(service, "reading", "vicinato_consumer_lag", begins_within=BEGINS_WITHIN)


def compare(service: Service) -> None:
    """Compare the whole log on the bus with the service's outbox. What is missing is sent."""
    with signed_in("compare") as api:
        api.call("POST", service, "log/compare")
    print(f"{service} compares; `vicinato logs {service}` tells what it finds.")


def rebuild(
    service: Service,
    projection: Annotated[
        str, typer.Argument(help="The name of a read model; without it, all of the service.")
    ] = "",
) -> None:
    """Build a read model anew from the log, or all from one reading of it, and wait until they
    answer. The old ones answer until then; Ctrl-C stops the waiting, not the building."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with (
        signed_in("rebuild") as api,
        Progress(*columns, TimeElapsedColumn(), console=Console()) as bar,
    ):
        path = f"projections/{projection}" if projection else "projections"
        begun = api.call("POST", service, f"{path}/rebuild")
        tasks = {
            one["name"]: bar.add_task(f"{service} {one['name']}", total=None)
            for one in begun.get("items", [begun])
        }
        while True:
            seen = api.call("GET", service, path)
            models = [one for one in seen.get("items", [seen]) if one["name"] in tasks]
            for one in models:
                _show(bar, tasks[one["name"]], one)
            if all(one["state"] != "building" for one in models):
                break
            time.sleep(LOOK_EVERY)
    told = ", ".join(f"{one['name']} ({why})" for one in models if (why := _missing(one)))
    if told:
        raise CommandError(
            Exit.REFUSED,
            f"Not built: {told}; see vicinato logs {service}.",
            f"Non ricostruito: {told}; i dettagli con vicinato logs {service}.",
        )
    print(f"{', '.join(tasks)}: built anew, and answering.")


def _missing(seen: dict[str, Any]) -> str:
    """Why a read model is not what was asked for; "" when it is."""
    failed = seen["progress"]["failed"] if seen["progress"] else ""
    return str(failed or ("" if seen["state"] == "live" else seen["state"]))


def _follow(service: str, doing: str, figure: str, *, begins_within: float = 0.0) -> None:
    """Shows how a figure of the service goes down to nothing; Ctrl-C stops the looking, not the
    work. `begins_within` seconds it may take until there is something to see."""
    port = settings.load().service_port(service)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    deadline = time.monotonic() + begins_within
    with Progress(*columns, TimeElapsedColumn(), console=Console()) as bar:
        task = bar.add_task(f"{service} {doing}", total=None)
        most = 0
        while True:
            left, connected = _figure(port, figure)
            if not connected:
                break
            most = max(most, left)
            if most:
                bar.update(task, total=most, completed=most - left)
            if not left and (most or time.monotonic() > deadline):
                return
            time.sleep(LOOK_EVERY)
    print("The bus is away; it is done when it is back.")


def _figure(port: int, name: str) -> tuple[int, bool]:
    """The sum of a figure of a service, and whether it is on the bus."""
    found, connected = 0, False
    try:
        _, body = get(port, "/metrics", within=10)
    except OSError:
        return 0, False
    for line in body.splitlines():
        if line.startswith("vicinato_bus_connected "):
            connected = line.endswith(" 1.0")
        elif line.startswith((f"{name} ", f"{name}{{")):
            found += int(float(line.rpartition(" ")[2]))
    return found, connected


def _show(bar: Progress, task: Any, seen: dict[str, Any]) -> None:
    if seen["progress"]:
        total = seen["progress"]["total"] or None
        bar.update(task, completed=seen["progress"]["records"], total=total)


def clock(
    confirm: Annotated[
        bool, typer.Option("--confirm", help="The date is right: work that waited goes on.")
    ] = False,
) -> int:
    """Show whether a service doubts the date; nothing that depends on it happens there meanwhile.

    Ends with 1 when the date is doubted.
    """
    table = Table("service", "date (UTC)", "doubted", "last sure (UTC)")
    doubted = 0
    with signed_in("clock") as api:
        for name in settings.SERVICES:
            seen = api.call("GET", name, "clock")
            if confirm and seen["doubted"]:
                seen = api.call("POST", name, "clock/confirm")
            doubted += seen["doubted"]
            why = seen["reason"] if seen["doubted"] else "no"
            table.add_row(name, _moment(seen["now"]), why, _moment(seen["trusted"]))
    Console(highlight=False).print(table)
    if doubted:
        print("If the date is right: vicinato clock --confirm. Else set the machine's clock first.")
    return 1 if doubted else 0


def _moment(text: str | None) -> str:
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M}" if text else ""
