"""Metrics belong to an app; traces cost nothing until somebody listens."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from runtime import telemetry
from runtime.health import Health
from runtime.telemetry import Metrics


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
def collector() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = http.server.HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_trace_goes_on_from_its_header(collector: tuple[str, list[str]]) -> None:
    endpoint, asked = collector
    telemetry.configure_traces("cards", endpoint)
    trace = "a" * 32
    with telemetry.continue_trace(f"00-{trace}-{'b' * 16}-01", "consume"), telemetry.span("work"):
        assert telemetry.traceparent().startswith(f"00-{trace}-")
    telemetry.stop_traces()
    assert asked == ["/v1/traces"]
    assert telemetry.traceparent() == ""


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
