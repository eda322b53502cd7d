"""The services' own HTTP API, for commands: an administrator asks, by a token that ends with the
command.

Services are asked on their own ports: the front door need not be there.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from vicinato import settings
from vicinato.commands.up import not_running
from vicinato.folder import Folder
from vicinato.refusals import CommandError, Exit
from vicinato.sign_ins import of_a_command

if TYPE_CHECKING:
    import httpx

KEY_ON_ITS_WAY = 5.0
"""Seconds; the key of a first start reaches the other services by the bus."""

Service = Annotated[str, typer.Argument(help=f"One of {', '.join(settings.SERVICES)}.")]


class Api:
    """What a command may ask of the services. Every refusal is a CommandError."""

    def __init__(self, client: httpx.Client, wanted: settings.Settings) -> None:
        self._client = client
        self._wanted = wanted

    def call(
        self,
        method: str,
        service: str,
        path: str,
        query: Mapping[str, str] | None = None,
        json: Any = None,
    ) -> Any:
        """The answer of `/{service}/api/{path}`; None when it is empty."""
        if service not in settings.SERVICES:
            raise CommandError(
                Exit.SETTING,
                f"There is no service {service!r}; there are {', '.join(settings.SERVICES)}.",
                f"Non c'è un servizio {service!r}; ci sono: {', '.join(settings.SERVICES)}.",
            )
        import httpx

        port = self._wanted.service_port(service)
        url = f"http://127.0.0.1:{port}/{service}/api/{quote(path, safe='/')}"
        try:
            answer = self._client.request(method, url, params=query, json=json)
            deadline = time.monotonic() + KEY_ON_ITS_WAY
            while self._is_too_early(answer) and time.monotonic() < deadline:
                time.sleep(0.2)
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

    def _is_too_early(self, answer: httpx.Response) -> bool:
        """Our token is not known there yet. (A wrong password is, and is not tried again.)"""
        return answer.status_code == 401 and "Authorization" in self._client.headers


def _said(answer: httpx.Response) -> str:
    with contextlib.suppress(ValueError, AttributeError):
        problem = answer.json()
        fields = "".join(
            f" {one['field']}: {one['sentence']}" for one in problem.get("errors") or []
        )
        said = problem.get("detail") or problem.get("title")
        return f"{said}{fields} ({problem.get('reason')})"
    return str(answer.status_code)


@contextlib.contextmanager
def signed_in(command: str) -> Iterator[Api]:
    """The API of the copy that runs on DATA. Raises CommandError when none does."""
    import httpx

    wanted = settings.load()
    folder = Folder(wanted.data)
    if not folder.is_locked():
        raise not_running(folder)
    who = of_a_command(wanted, folder)
    # Past any proxy of the environment: the services are on this machine, and so is the password.
    with httpx.Client(timeout=30.0, headers={"Accept-Language": "en"}, trust_env=False) as client:
        api = Api(client, wanted)
        asked = {**who, "name": f"vicinato {command}", "days": 1}
        token = api.call("POST", "identity", "tokens", json=asked)
        client.headers["Authorization"] = f"Bearer {token['token']}"
        try:
            yield api
        finally:
            api.call("DELETE", "identity", f"tokens/{token['id']}")
