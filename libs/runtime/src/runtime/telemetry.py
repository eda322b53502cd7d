"""Metrics for Prometheus, and traces over OTLP when an endpoint is set.

Each app has its own registry, so that several live in one process of tests. Without an endpoint
nothing of OpenTelemetry is even imported, and every function here costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Buckets of durations: from a commit to a request that nobody waits for any more."""


class Metrics:
    """What one app counts. Names begin with `vicinato_`; the service is a label of the scrape."""

    CONTENT_TYPE = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)

    def counter(self, name: str, meaning: str, labels: Sequence[str] = ()) -> Counter:
        """Something that only grows; `metrics.counter(...).labels(topic).inc()`."""
        return Counter(f"vicinato_{name}", meaning, labels, registry=self.registry)

    def gauge(self, name: str, meaning: str, labels: Sequence[str] = ()) -> Gauge:
        """Something that is so much now."""
        return Gauge(f"vicinato_{name}", meaning, labels, registry=self.registry)

    def histogram(
        self,
        name: str,
        meaning: str,
        labels: Sequence[str] = (),
        buckets: Sequence[float] = SECONDS,
    ) -> Histogram:
        """Durations in seconds, or other sizes with `buckets` of their own."""
        return Histogram(
            f"vicinato_{name}", meaning, labels, registry=self.registry, buckets=buckets
        )

    def watch(self, name: str, meaning: str, ask: Callable[[], float]) -> None:
        """A gauge that is asked when it is read; an error in `ask` shows as NaN."""

        def asked() -> float:
            try:
                return ask()
            except Exception:
                return float("nan")

        self.gauge(name, meaning).set_function(asked)

    def render(self) -> bytes:
        """The page that Prometheus reads."""
        return generate_latest(self.registry)


_provider: TracerProvider | None = None


def configure_traces(service: str, endpoint: str) -> TracerProvider | None:
    """Send traces to `endpoint` (OTLP over HTTP, such as http://host:4318); "" sends none.

    A collector that is away loses traces and nothing else. Call `stop_traces` at the end.
    """
    global _provider
    if not endpoint:
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    address = endpoint if endpoint.endswith("/v1/traces") else f"{endpoint.rstrip('/')}/v1/traces"
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(address)))
    _provider = provider
    return provider


def stop_traces() -> None:
    """Send what is left and end."""
    global _provider
    if _provider is not None:
        _provider.shutdown()
        _provider = None


def tracing() -> bool:
    """Whether spans go anywhere."""
    return _provider is not None


def traceparent() -> str:
    """The W3C header of the span at hand, to travel with an event; "" when nothing is traced."""
    if _provider is None:
        return ""
    from opentelemetry.propagate import inject

    carrier: dict[str, str] = {}
    inject(carrier)
    return carrier.get("traceparent", "")


@contextmanager
def continue_trace(parent: str, name: str = "continue", **attributes: str | int) -> Iterator[None]:
    """A span under the trace that `parent` (a traceparent, or "") names.

    Of an error it tells the kind alone: messages may hold what a person said.
    """
    if _provider is None:
        yield
        return
    from opentelemetry.propagate import extract
    from opentelemetry.trace import StatusCode

    tracer = _provider.get_tracer("vicinato")
    context = extract({"traceparent": parent}) if parent else None
    with tracer.start_as_current_span(
        name,
        context=context,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as begun:
        try:
            yield
        except Exception as error:
            begun.set_status(StatusCode.ERROR, type(error).__name__)
            raise


def describe(name: str, **attributes: str | int) -> None:
    """Name the span at hand, once it is known what it was, and add to it."""
    if _provider is None:
        return
    from opentelemetry.trace import get_current_span

    at_hand = get_current_span()
    at_hand.update_name(name)
    at_hand.set_attributes(attributes)


@contextmanager
def span(name: str, **attributes: str | int) -> Iterator[None]:
    """A span under the one at hand."""
    with continue_trace("", name, **attributes):
        yield
