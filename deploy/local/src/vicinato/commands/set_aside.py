"""`vicinato set-aside`: events that a service could not take, over its own HTTP API.

The first administrator acts, by a token that ends with the command.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import typer
from rich.console import Console
from rich.table import Table

from vicinato import first_start, settings
from vicinato.commands.up import not_running
from vicinato.folder import Folder
from vicinato.refusals import CommandError, Exit

Service = Annotated[str, typer.Argument(help=f"One of {', '.join(settings.SERVICES)}.")]
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
    """What was set aside, the latest first."""
    table = Table("service", "event", "type", "state", "tries", "at", "reason")
    with _api() as api:
        for name in [service] if service else settings.SERVICES:
            after: str | None = ""
            while after is not None:
                query = {"limit": "200", "state": state, "after": after}
                page = api.call("GET", name, "", {k: v for k, v in query.items() if v})
                for one in page["items"]:
                    columns = ("event_id", "type", "state", "tries", "at", "reason")
                    table.add_row(name, *(str(one[column]) for column in columns))
                after = page["next"]
    Console(highlight=False).print(table if table.row_count else "Nothing is set aside.")


def show(service: Service, event_id: EventId) -> None:
    """One event whole, as it came. It may hold personal data."""
    with _api() as api:
        print(json.dumps(api.call("GET", service, event_id), indent=2, ensure_ascii=False))


def send_again(service: Service, event_id: EventId) -> None:
    """Try it again now."""
    with _api() as api:
        done = api.call("POST", service, f"{event_id}/send-again")
    print(f"{event_id}: {done['state']}")


def discard(
    service: Service,
    event_id: EventId,
    reason: Annotated[str, typer.Option(help="Why it is given up; it is kept with the event.")],
) -> None:
    """Give it up; those that waited for it pass."""
    with _api() as api:
        done = api.call("POST", service, f"{event_id}/discard", json={"reason": reason})
    print(f"{event_id}: {done['state']}")


class _Api:
    def __init__(self, client: httpx.Client, wanted: settings.Settings) -> None:
        self._client = client
        self._wanted = wanted

    def call(
        self,
        method: str,
        service: str,
        path: str,
        query: dict[str, str] | None = None,
        json: Any = None,
    ) -> Any:
        """To the service's own port: the front door need not be there."""
        if service not in settings.SERVICES:
            raise CommandError(
                Exit.SETTING,
                f"There is no service {service!r}; there are {', '.join(settings.SERVICES)}.",
                f"Non c'è un servizio {service!r}; ci sono: {', '.join(settings.SERVICES)}.",
            )
        tail = f"/{quote(path, safe='/')}" if path else ""
        return self.send(method, service, f"/{service}/api/set-aside{tail}", query, json)

    def send(
        self, method: str, service: str, path: str, query: dict[str, str] | None, json: Any
    ) -> Any:
        url = f"http://127.0.0.1:{self._wanted.service_port(service)}{path}"
        try:
            answer = self._client.request(method, url, params=query, json=json)
        except httpx.HTTPError as error:
            raise CommandError(
                Exit.NOT_READY,
                f"{service} does not answer: {error}",
                f"{service} non risponde.",
            ) from error
        if answer.is_success:
            return answer.json() if answer.content else None
        raise CommandError(
            Exit.REFUSED,
            f"{service} refused: {_said(answer)}",
            f"{service} ha rifiutato la richiesta ({answer.status_code}).",
        )


def _said(answer: httpx.Response) -> str:
    with contextlib.suppress(ValueError, AttributeError):
        problem = answer.json()
        return f"{problem.get('detail') or problem.get('title')} ({problem.get('reason')})"
    return str(answer.status_code)


@contextlib.contextmanager
def _api() -> Iterator[_Api]:
    wanted = settings.load()
    folder = Folder(wanted.data)
    if not folder.is_locked():
        raise not_running(folder)
    who = first_start.administrator(wanted, folder)
    with httpx.Client(timeout=30.0, headers={"Accept-Language": "en"}) as client:
        api = _Api(client, wanted)
        asked = {**who, "name": "vicinato set-aside", "days": 1}
        token = api.send("POST", "identity", "/identity/api/tokens", None, asked)
        client.headers["Authorization"] = f"Bearer {token['token']}"
        try:
            yield api
        finally:
            api.send("DELETE", "identity", f"/identity/api/tokens/{token['id']}", None, None)
