"""Whatever is asked of an API that its own document allows: no fault of ours, and an answer as the
document says.

Schemathesis makes the requests from each service's OpenAPI document; they go over HTTP to the
application on a real store. Whoever asks may do everything in one centre, so that nothing ends at
the door. ``make nightly`` asks a thousand times at each endpoint, on both engines; by day it is
PostgreSQL, which bears less: no NUL in a text, no number that is too large.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from messaging import Service
from messaging.catalogue import services
from runtime.testing import ENGINES, eventually, eventually_async, examples, fresh_store
from web.roles import Role
from web.testing import Client, token

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
CENTRE = "centre-1"
SCOPES = (
    "set-aside",
    *(f"{of}:{what}" for of in ("activities", "cards", "events", "identity", "network",
                                "notifications", "shop") for what in ("read", "write")),
)  # fmt: skip
EVERYBODY = token(
    *(role for role in Role if role not in (Role.FAMILY, Role.PARTNER, Role.PRODUCER)),
    centre=CENTRE,
    account="account-1",
    scopes=SCOPES,
)


class Served(threading.Thread):
    """The application of a service on a port of its own, until it is left."""

    def __init__(self, service: Service, url: str, folder: Path) -> None:
        super().__init__()
        self.service, self.url = service, url
        self.settings: dict[str, Any] = {}
        if service.name == "identity":
            key = folder / "sealing-key"
            key.write_text("a-secret-for-tests-and-only-for-tests")
            self.settings["identity_key_file"] = key
        self.document: dict[str, Any] = {}
        self.address = ""
        self.server: Any = None

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        async with Client(self.service, self.url, settings=self.settings) as client:
            self.document = client.app.openapi()
            wanted = uvicorn.Config(client.app, port=0, lifespan="off", log_config=None)
            self.server = uvicorn.Server(wanted)
            serving = asyncio.create_task(self.server.serve())
            await eventually_async(lambda: self.server.started, why="the server")
            host, port = self.server.servers[0].sockets[0].getsockname()
            self.address = f"http://{host}:{port}"
            await serving


@contextmanager
def served(service: Service, url: str, folder: Path) -> Iterator[Served]:
    made = Served(service, url, folder)
    made.start()
    try:
        eventually(lambda: made.address, within=30, why=f"{service.name} on a port")
        yield made
    finally:
        if made.server is not None:
            made.server.should_exit = True
        made.join()


@pytest.mark.properties
@pytest.mark.parametrize("engine", ENGINES if examples(1) > 1 else ["postgresql"])
@pytest.mark.parametrize("service", services(), ids=lambda service: service.name)
def test_an_api_answers_as_its_document_says(service: Service, engine: str, tmp_path: Path) -> None:
    faults: dict[str, str] = {}
    with (
        fresh_store(engine, service.package, service.metadata, tmp_path) as url,
        served(service, url, tmp_path) as here,
    ):
        document = schemathesis.openapi.from_dict(here.document)
        for found in document.get_all_operations():
            operation = found.ok()

            @settings(
                max_examples=examples(3),
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy())
            def asked(case: schemathesis.Case) -> None:
                answer = case.call(
                    base_url=here.address,
                    headers={"Authorization": f"Bearer {EVERYBODY}"},
                )
                case.validate_response(answer, checks=CHECKS)

            try:
                asked()
            except (AssertionError, BaseExceptionGroup) as fault:
                faults[operation.label] = str(fault)
    assert not faults, "\n\n".join(f"{label}: {fault}" for label, fault in faults.items())
