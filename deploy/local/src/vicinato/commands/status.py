"""`vicinato status`: every part, with what its own /metrics says."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from vicinato import settings
from vicinato.ask import get
from vicinato.child import State
from vicinato.commands.up import not_running
from vicinato.folder import Folder
from vicinato.processes import memory_pss
from vicinato.refusals import Exit


def register(app: typer.Typer) -> None:
    app.command()(status)


@dataclass
class Row:
    name: str
    pid: int | None
    port: int
    state: str
    restarts: int
    reason: str
    memory_bytes: int
    outbox_age_seconds: float | None = None
    lag: int | None = None
    set_aside: dict[str, int] | None = None


def status(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> int:
    """Show each process: state, port, memory, outbox age, lag, events set aside.

    Ends with 0 when all parts are ready, 20 when one is not or the second copy of the outboxes is
    not made, 3 when Vicinato is not running.
    """
    folder = Folder(settings.load().data)
    state: dict[str, Any] = folder.read_state()
    if not folder.is_locked() or not state:
        raise not_running(folder)
    rows = rows_of(state)
    if as_json:
        shown = {
            "address": state["address"],
            "parts": [asdict(row) for row in rows],
            "outbox_copy": state.get("outbox_copy") or None,
        }
        print(json.dumps(shown, indent=2))
    else:
        _show(state, rows)
    copied = not (state.get("outbox_copy") or {}).get("failed")
    good = copied and all(row.state == State.READY for row in rows)
    return 0 if good else int(Exit.NOT_READY)


def rows_of(state: dict[str, Any]) -> list[Row]:
    """The supervisor first, with the memory of the process from which the services are forked."""
    supervisor = {"name": "supervisor", "pid": state["pid"], "port": 0, "state": State.READY}
    rows = []
    for child in [supervisor, *state["children"]]:
        row = Row(
            name=child["name"],
            pid=child["pid"],
            port=child["port"],
            state=child["state"],
            restarts=child.get("restarts", 0),
            reason=child.get("reason", ""),
            memory_bytes=memory_pss(child["pid"]) if child["pid"] else 0,
        )
        if row.name in settings.SERVICES and row.state == State.READY:
            _add_metrics(row)
        rows.append(row)
    listed = {row.pid for row in rows}
    rows[0].memory_bytes = memory_pss(rows[0].pid or 0, without=listed)
    return rows


def _add_metrics(row: Row) -> None:
    try:
        answered, body = get(row.port, "/metrics")
    except OSError:
        return
    if answered != 200:
        return
    row.set_aside = {}
    for family in text_string_to_metric_families(body):
        for sample in family.samples:
            if sample.name == "vicinato_outbox_age_seconds":
                row.outbox_age_seconds = max(row.outbox_age_seconds or 0.0, sample.value)
            elif sample.name == "vicinato_consumer_lag":
                row.lag = (row.lag or 0) + int(sample.value)
            elif sample.name == "vicinato_set_aside":
                row.set_aside[sample.labels["state"]] = int(sample.value)
            elif sample.name == "vicinato_bus_connected" and not sample.value:
                row.reason = row.reason or "is not on Kafka"


def _show(state: dict[str, Any], rows: list[Row]) -> None:
    table = Table(
        title=f"Vicinato at {state['address']}, up {_duration(state['began'])}",
        box=None,  # so that all stands whole in eighty columns
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for heading in ("part", "state"):
        table.add_column(heading, no_wrap=True)
    for heading in ("process", "port", "re-\nstarts", "memory", "outbox\nage", "lag", "set\naside"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        colour = "green" if row.state == State.READY else "red"
        table.add_row(
            row.name,
            f"[{colour}]{row.state}[/{colour}]",
            str(row.pid or ""),
            str(row.port or ""),
            str(row.restarts or ""),
            f"{row.memory_bytes / 1e6:.0f} MB",
            "" if row.outbox_age_seconds is None else _seconds(row.outbox_age_seconds),
            "" if row.lag is None else str(row.lag),
            _set_aside(row),
        )
    total = sum(row.memory_bytes for row in rows)
    table.add_row("all", "", "", "", "", f"{total / 1e6:.0f} MB", "", "", "")
    console = Console(highlight=False)
    console.print(table)
    if copy := state.get("outbox_copy"):
        age = f"last made {_duration(copy['at'])} ago" if copy["at"] else "never made"
        failed, style = copy["failed"], "red" if copy["failed"] else None
        said = f"second copy of the outboxes in {copy['to']}: {failed or 'good'}, {age}"
        console.print(said, style=style, markup=False)
    for row in rows:
        if row.reason:
            console.print(f"{row.name}: {row.reason}", style="red", markup=False)


def _set_aside(row: Row) -> str:
    if row.set_aside is None:
        return ""
    return "\n".join(f"{n} {state}" for state, n in row.set_aside.items() if n) or "0"


def _seconds(age: float) -> str:
    return f"{age:.1f} s" if age < 100 else f"{age:.0f} s"


def _duration(began: float) -> str:
    minutes, seconds = divmod(int(time.time() - began), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
