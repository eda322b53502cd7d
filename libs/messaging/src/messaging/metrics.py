"""What Prometheus and `vicinato status` read of a service's way of a fact.

All figures are taken when the page is asked for; nothing is counted on the hot way.
"""

from __future__ import annotations

from messaging.engine import Engine
from runtime.failures import is_transient
from runtime.telemetry import Metrics


class EngineMetrics:
    """Gauges of one engine, refreshed by `refresh` before they are shown."""

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self._engine = engine
        self._age = metrics.gauge(
            "outbox_age_seconds", "Age of the oldest event that is not on the bus yet"
        )
        self._unsent = metrics.gauge("outbox_unsent", "Events that are not on the bus yet")
        self._blocked = metrics.gauge("outbox_keys_blocked", "Keys held up by an unsendable event")
        self._lag = metrics.gauge(
            "consumer_lag", "Records on the bus that are not settled", ("topic", "partition")
        )
        self._aside = metrics.gauge("set_aside", "Events set aside, by state", ("state",))
        self._jobs = metrics.gauge("jobs", "Jobs that wait or were given up", ("state",))
        self._bus = metrics.gauge("bus_connected", "1 when relay and subscribers are on the bus")
        self._cluster = metrics.gauge(
            "cluster_info", "1, with the id of the Kafka cluster", ("cluster",)
        )
        self._clock = metrics.gauge(
            "clock_doubted", "1 while jobs wait for the date's confirmation"
        )
        self._restoring = metrics.gauge(
            "restoring", "1 while the store comes back from a backup and nothing is answered"
        )
        self._store = metrics.gauge("store_up", "1 when the store answered just now")
        self._own = {
            name: metrics.gauge(name, f"{name} of the service, as its store says")
            for name in engine.service.gauges
        }

    async def refresh(self) -> None:
        """Look at the engine and, when it answers, at the store."""
        engine = self._engine
        self._bus.set(float(engine.connected))
        self._clock.set(float(engine.guard.suspicious))
        self._restoring.set(float(engine.restoring))
        if engine.relay is not None:
            self._blocked.set(len(engine.relay.blocked))
        self._lag.clear()
        for (topic, partition), lag in engine.lags().items():
            self._lag.labels(topic, str(partition)).set(lag)
        self._cluster.clear()
        if engine.cluster:
            self._cluster.labels(engine.cluster).set(1)
        try:
            figures = await engine.store.read(engine.figures)
        except Exception as error:
            if not is_transient(error):
                raise
            self._store.set(0)
            return
        self._store.set(1)
        self._age.set(figures.outbox_age)
        self._unsent.set(figures.outbox_unsent)
        for state, count in figures.set_aside.items():
            self._aside.labels(state).set(count)
        for state, count in figures.jobs.items():
            self._jobs.labels(state).set(count)
        for name, value in figures.gauges.items():
            self._own[name].set(value)
