"""The figures of one app for Prometheus: its requests, its writes, and its messaging."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from shutil import disk_usage

from messaging.metrics import EngineMetrics
from runtime.store import WriteTimes
from runtime.telemetry import Metrics


class Figures:
    """The metrics of a running service. ``engine`` is set once the engine is made."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.engine: EngineMetrics | None = None
        self._requests = self.metrics.histogram(
            "http_request_seconds", "Time to answer a request", ("method", "route", "status")
        )
        self._of = cache(
            lambda method, route, status: self._requests.labels(method, route, str(status))
        )
        writes = self.metrics.histogram(
            "store_write_seconds", "Time of a write, by its parts", ("part",)
        )
        self._waited = writes.labels("waited")
        self._worked = writes.labels("worked")
        self._committed = writes.labels("committed")

    def disk(self, folder: Path) -> None:
        """Watch the disk that ``folder`` is on. NaN where there is no such folder."""
        watch = self.metrics.watch
        watch("disk_free_bytes", "Free on its store's disk", lambda: disk_usage(folder).free)
        watch("disk_size_bytes", "Size of its store's disk", lambda: disk_usage(folder).total)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request was answered; ``route`` is its pattern, never its path."""
        self._of(method, route, status).observe(seconds)

    def write(self, times: WriteTimes) -> None:
        """One write was committed (told in the store's thread)."""
        self._waited.observe(times.waited)
        self._worked.observe(times.worked)
        self._committed.observe(times.committed)

    async def page(self) -> bytes:
        """The page for Prometheus; what has to be asked for is asked now."""
        if self.engine is not None:
            await self.engine.refresh()
        return self.metrics.render()
