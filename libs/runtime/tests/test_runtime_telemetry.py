"""Metrics belong to an app; traces cost nothing until somebody listens."""

from __future__ import annotations

import gzip
import http.server
import threading
from collections.abc import Iterator

import pytest

from runtime import telemetry
from runtime.health import Health
from runtime.telemetry import Metrics

Collected = tuple[str, list[str], list[bytes]]


def test_two_apps_in_one_process_count_apart() -> None:
    first, second = Metrics(), Metrics()
    for metrics in (first, second):
        metrics.counter("sales", "sales completed", ["method"]).labels("cash").inc()
    first.watch("ledger_imbalance", "points that do not add up", lambda: 3)
    first.watch("broken", "an error in the question", lambda: 1 / 0)
    assert b'vicinato_sales_total{method="cash"} 1.0' in first.render()
    assert b"vicinato_ledger_imbalance 3.0" in first.render()
    assert b"vicinato_broken NaN" in first.render()
    assert b"vicinato_ledger_imbalance" not in second.render()


def test_without_an_endpoint_nothing_is_traced() -> None:
    assert telemetry.configure_traces("cards", "") is None
    with telemetry.continue_trace("00-" + "a" * 32 + "-" + "b" * 16 + "-01"):
        assert telemetry.traceparent() == ""


@pytest.fixture
def collector() -> Iterator[Collected]:
    """A collector of traces: its endpoint, the paths that were asked for, and what was sent."""
    asked: list[str] = []
    bodies: list[bytes] = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            zipped = self.headers["content-encoding"] == "gzip"
            bodies.append(gzip.decompress(body) if zipped else body)
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = http.server.HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked, bodies
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_trace_goes_on_from_its_header(collector: Collected) -> None:
    endpoint, asked, _bodies = collector
    telemetry.configure_traces("cards", endpoint)
    trace = "a" * 32
    with telemetry.continue_trace(f"00-{trace}-{'b' * 16}-01", "consume"), telemetry.span("work"):
        assert telemetry.traceparent().startswith(f"00-{trace}-")
    telemetry.stop_traces()
    assert asked == ["/v1/traces"]
    assert telemetry.traceparent() == ""


def test_a_span_that_fails_tells_the_kind_of_error_and_not_what_was_said(
    collector: Collected,
) -> None:
    endpoint, _asked, bodies = collector
    telemetry.configure_traces("cards", endpoint)

    def fail() -> None:
        with telemetry.span("work"):
            telemetry.describe("cards.credit", points=5)
            raise ValueError("Maria Rossi")

    with pytest.raises(ValueError, match="Maria"):
        fail()
    telemetry.stop_traces()
    (said,) = bodies
    assert b"Maria" not in said
    assert b"ValueError" in said
    assert b"cards.credit" in said


async def test_kafka_away_leaves_an_app_ready_and_a_store_away_does_not() -> None:
    broken: set[str] = set()

    async def store() -> bool:
        return "store" not in broken

    async def kafka() -> None:
        if "kafka" in broken:
            raise ConnectionError("refused")

    health = Health()
    health.hard("store", store)
    health.soft("kafka", kafka)
    health.live("consumer", store)
    assert await health.readyz() == (
        True,
        {"status": "ok", "checks": {"store": "ok", "kafka": "ok"}},
    )
    broken.add("kafka")
    ready, answer = await health.readyz()
    assert (ready, answer["status"]) == (True, "degraded")
    assert answer["checks"]["kafka"] == "ConnectionError: refused"
    assert (await health.livez())[0]
    broken.add("store")
    assert (await health.readyz())[0] is False
    assert (await health.livez())[0] is False
