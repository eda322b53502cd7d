"""The figures of one app for Prometheus: what is counted as it happens, and what is asked for.

The second kind (age of the outbox, events set aside, a service's own gauges) is read from the store
when ``/metrics`` is asked, in one read; with the store away the last values stay and ``store_up``
says so.
"""

from __future__ import annotations

from prometheus_client import Gauge

from messaging.engine import Engine
from runtime.store import Store, WriteTimes
from runtime.telemetry import Metrics


class Figures:
    """The metrics of a running service."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self._requests = self.metrics.histogram(
            "http_request_seconds", "Time to answer a request", ("method", "route", "status")
        )
        self._writes = self.metrics.histogram(
            "store_write_seconds", "Time of a write in its parts", ("part",)
        )
        gauge = self.metrics.gauge
        self._store_up = gauge("store_up", "Whether the store answers")
        self._store_waiting = gauge("store_waiting", "Writers that wait for the store")
        self._connected = gauge("bus_connected", "Whether relay and subscribers are on the bus")
        self._age = gauge("outbox_age_seconds", "Age of the oldest event that was not sent")
        self._unsent = gauge("outbox_unsent", "Events that were not sent yet")
        self._aside = gauge("set_aside", "Events set aside", ("state",))
        self._lag = gauge("lag", "Records that were not settled yet", ("topic", "partition"))
        self._own: dict[str, Gauge] = {}

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request was answered; ``route`` is its pattern, never its path."""
        self._requests.labels(method, route, str(status)).observe(seconds)

    def write(self, times: WriteTimes) -> None:
        """One write was committed (called in the store's thread)."""
        self._writes.labels("waited").observe(times.waited)
        self._writes.labels("worked").observe(times.worked)
        self._writes.labels("committed").observe(times.committed)

    async def page(self, engine: Engine, store: Store) -> bytes:
        """The page for Prometheus, with everything that has to be asked for asked now."""
        self._store_waiting.set(store.waiting)
        self._connected.set(engine.connected)
        for (topic, partition), lag in engine.lags().items():
            self._lag.labels(topic, str(partition)).set(lag)
        try:
            figures = await store.read(engine.figures)
        except Exception:
            self._store_up.set(0)
            return self.metrics.render()
        self._store_up.set(1)
        self._age.set(figures.outbox_age)
        self._unsent.set(figures.outbox_unsent)
        for state, count in figures.set_aside.items():
            self._aside.labels(state).set(count)
        for name, value in figures.gauges.items():
            if name not in self._own:
                self._own[name] = self.metrics.gauge(name, f"{name} of the service")
            self._own[name].set(value)
        return self.metrics.render()
