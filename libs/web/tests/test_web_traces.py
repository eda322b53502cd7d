"""One trace from a request through the outbox into another service, as a collector receives it."""

from __future__ import annotations

import gzip
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pytest
import sqlalchemy as sa
from fastapi import Depends
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from contracts.activities import ActivityCreated
from contracts.network import NeedRecorded
from messaging import Policies, Received, Service, Transaction, tables
from messaging.envelope import Record, decode, wire_headers
from messaging.testing import Bench
from runtime import telemetry
from runtime.clock import FixedClock
from runtime.ids import SequenceIds
from web import Call, Role, allow, serve
from web.testing import Client, token

POLICIES = Policies()
TELLER = Service(
    name="sample",
    prefix="/sample",
    package="web_sample",
    metadata=tables.metadata_with_messaging(),
    topics=("activities.events",),
)
HEARER = Service(
    name="hearer",
    prefix="/hearer",
    package="web_sample",
    metadata=tables.metadata_with_messaging(),
    topics=("network.events",),
    policies=POLICIES,
)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
BROWSER = "00f067aa0ba902b7"


@POLICIES.on(ActivityCreated)
def note_need(tx: Transaction, received: Received[ActivityCreated]) -> None:
    event = received.event
    tx.emit(
        NeedRecorded(
            need_id=event.activity_id, centre_id="c", zone="z", area="a", recorded_at=tx.now
        )
    )


async def tell(call: Annotated[Call, Depends(allow(Role.EDUCATOR, scope="x"))]) -> str:
    """An endpoint whose command emits."""
    return await call.command(
        lambda tx: tx.emit(
            ActivityCreated(activity_id="a", centre_id="c", title="Cena", created_at=tx.now)
        )
    )


class Collector:
    """An OTLP collector over HTTP, as small as can be; it keeps the spans."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        keep = self.requests.append

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers["content-encoding"] == "gzip":
                    body = gzip.decompress(body)
                assert self.path == "/v1/traces"
                assert self.headers["content-type"] == "application/x-protobuf"
                keep(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    @property
    def spans(self) -> dict[str, Span]:
        return {
            span.name: span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        }

    @property
    def services(self) -> set[str]:
        return {
            attribute.value.string_value
            for request in self.requests
            for resource in request.resource_spans
            for attribute in resource.resource.attributes
            if attribute.key == "service.name"
        }


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    telemetry.stop_traces()
    made.server.shutdown()
    thread.join()
    made.server.server_close()


async def record_of(client: Client) -> Record:
    """The row of the outbox as the relay sends it."""
    row = await client.read(lambda c: c.execute(sa.select(tables.outbox)).one())
    headers = wire_headers(row.headers, previous=row.previous, cause=row.cause, era=0)
    return Record(row.topic, 0, 0, 1, row.key.encode(), row.body, headers)


async def test_a_trace_goes_from_a_request_through_an_event_into_another_service(
    tmp_path: Path, clock: FixedClock, ids: SequenceIds, collector: Collector
) -> None:
    telemetry.configure_traces("sample", collector.endpoint)
    async with Client(TELLER, f"sqlite:///{tmp_path / 'teller.db'}", clock=clock) as client:
        client.app.add_api_route("/sample/api/tell/{what}", tell, methods=["POST"])
        client.sign_in(token(Role.EDUCATOR, centre="c1"))
        headers = {"traceparent": f"00-{TRACE}-{BROWSER}-01"}
        answer = await client.post("/sample/api/tell/maria?q=rossi", headers=headers)
        assert answer.status_code == 200
        assert (await client.get("/sample/livez")).status_code == 200
        record = await record_of(client)
    with Bench(HEARER, f"sqlite:///{tmp_path / 'hearer.db'}", clock=clock, ids=ids) as hearer:
        hearer.settle([record])
        reaction = hearer.read(lambda c: c.scalars(sa.select(tables.outbox.c.headers)).one())
    telemetry.stop_traces()

    assert len(collector.spans) == 2  # none of who asked whether we live
    request = collector.spans["POST /sample/api/tell/{what}"]
    reacting = collector.spans["activities.activity.created.v1"]
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, BROWSER)
    assert (reacting.trace_id.hex(), reacting.parent_span_id) == (TRACE, request.span_id)
    received = decode(record).content
    assert isinstance(received, Received)
    assert received.traceparent == f"00-{TRACE}-{request.span_id.hex()}-01"
    assert reaction["traceparent"] == f"00-{TRACE}-{reacting.span_id.hex()}-01"
    assert collector.services == {"sample"}
    told = {a.key: a.value.string_value or a.value.int_value for a in request.attributes}
    assert told == {"http.route": "/sample/api/tell/{what}", "http.response.status_code": 200}
    assert b"maria" not in b"".join(r.SerializeToString() for r in collector.requests)


async def test_without_an_endpoint_an_event_carries_no_trace(
    tmp_path: Path, clock: FixedClock
) -> None:
    async with Client(TELLER, f"sqlite:///{tmp_path / 'teller.db'}", clock=clock) as client:
        client.app.add_api_route("/sample/api/tell", tell, methods=["POST"])
        client.sign_in(token(Role.EDUCATOR, centre="c1"))
        assert (await client.post("/sample/api/tell")).status_code == 200
        assert "traceparent" not in dict((await record_of(client)).headers)


def test_a_service_that_is_served_sends_its_traces_to_the_endpoint_of_its_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, collector: Collector
) -> None:
    def traced(server: serve.Server) -> None:
        server.started = True
        with telemetry.span("served"):
            pass

    monkeypatch.setattr(serve, "service_named", lambda name: TELLER)
    monkeypatch.setattr(serve.migrations, "check", lambda url, package: None)
    monkeypatch.setattr(serve.Server, "run", traced)
    monkeypatch.setattr(serve.logging, "configure", lambda service, **how: None)
    monkeypatch.setenv("VICINATO_DATABASE_URL", f"sqlite:///{tmp_path / 'teller.db'}")
    monkeypatch.setenv("VICINATO_OTLP_ENDPOINT", collector.endpoint)
    assert serve.main(["sample"]) == 0
    assert set(collector.spans) == {"served"}
    assert collector.services == {"sample"}
