"""`vicinato set-aside`: events that a service could not take, over its own HTTP API."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console

from vicinato import settings
from vicinato.api import Service, signed_in

EventId = Annotated[str, typer.Argument(help="The id of the event, as `list` shows it.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Events set aside: see them, decide on them.")
    group.command("list")(list_)
    group.command()(show)
    group.command()(send_again)
    group.command()(discard)
    app.add_typer(group, name="set-aside")


def list_(
    service: Annotated[str, typer.Argument(help="One service; all when none is named.")] = "",
    state: Annotated[str, typer.Option(help="waiting, retrying, dead or discarded.")] = "",
) -> None:
    """What was set aside, the latest first: two lines for each."""
    console = Console(highlight=False, soft_wrap=True)  # ids stand whole at any width
    found = False
    with signed_in("set-aside") as api:
        for name in [service] if service else settings.SERVICES:
            after: str | None = ""
            while after is not None:
                query = {"limit": "200", "state": state, "after": after}
                page = api.call("GET", name, "set-aside", {k: v for k, v in query.items() if v})
                for one in page["items"]:
                    found = True
                    at = datetime.fromisoformat(one["at"])
                    for line in (
                        f"{name} {one['event_id']} {one['state']}, tries: {one['tries']}",
                        f"    {one['type']} of {at:%Y-%m-%d %H:%M} UTC: {one['reason']}",
                    ):
                        console.print(line, markup=False)
                after = page["next"]
    if not found:
        console.print("Nothing is set aside.")


def show(service: Service, event_id: EventId) -> None:
    """One event whole, as it came. It may hold personal data."""
    with signed_in("set-aside") as api:
        found = api.call("GET", service, f"set-aside/{event_id}")
    print(json.dumps(found, indent=2, ensure_ascii=False))


def send_again(service: Service, event_id: EventId) -> None:
    """Try it again now."""
    with signed_in("set-aside") as api:
        done = api.call("POST", service, f"set-aside/{event_id}/send-again")
    print(f"{event_id}: {done['state']}")


def discard(
    service: Service,
    event_id: EventId,
    reason: Annotated[str, typer.Option(help="Why it is given up; it is kept with the event.")],
) -> None:
    """Give it up; those that waited for it pass."""
    with signed_in("set-aside") as api:
        done = api.call("POST", service, f"set-aside/{event_id}/discard", json={"reason": reason})
    print(f"{event_id}: {done['state']}")
