"""One builder for production and tests: a service becomes an application.

The lifespan starts what runs beside the requests (the messaging engine with relay, consumer and
jobs; the workers; the key ring) and stops it in order: streams and workers first, then the engine,
then the store. In a store that comes from a backup all but the engine waits until that has
recovered (`messaging.restoring`), and requests are answered with 503.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import cache, partial
from importlib import import_module
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.middleware import Middleware
from starlette.staticfiles import StaticFiles

from contracts.identity import KeyPublished, SessionRevoked
from messaging import Service
from messaging.attempt import Outcome
from messaging.engine import Engine
from messaging.metrics import EngineMetrics
from runtime.clock import Clock
from runtime.health import Health
from runtime.ids import Ids, SystemIds
from runtime.logging import get_logger
from runtime.settings import Settings
from runtime.store import Store
from web import answers, design, errors, languages, live, machine, operations, set_aside, wishes
from web.figures import Figures
from web.keys import KeyRing
from web.middleware import Edge
from web.pages import STATIC, Pages
from web.parts import Parts
from web.rates import Pace
from web.translations import Translations

RESTART_PAUSE = 1.0
FORGET_EVERY = 3600.0

_NONE: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
"""FastAPI's own, which looks at each request whether somebody listens: what there is to tell tells
`web.middleware`."""

_OF_SIGN_IN = frozenset({KeyPublished.ce_type(), SessionRevoked.ce_type()})

log = get_logger()


def build(
    service: Service,
    settings: Settings,
    *,
    clock: Clock | None = None,
    ids: Ids | None = None,
    store: Store | None = None,
    bus: bool = True,
) -> FastAPI:
    """The application of ``service``.

    ``clock``, ``ids`` and ``store`` replace the real ones; a store that is passed in is not closed
    here. With ``bus=False`` no Kafka is looked for: events stay in the outbox.
    """
    clock = clock or settings.clock()
    ids = ids or SystemIds(clock)
    own_store = store is None
    figures = Figures()
    store = store or Store(settings.database_url, observe=figures.write)
    engine = Engine(service, store, settings, clock, ids)
    figures.engine = EngineMetrics(engine, figures.metrics)
    figures.disk(store.folder or settings.data)
    keys = KeyRing(store, clock, live.hub)
    parts = Parts(
        service=service,
        settings=settings,
        store=store,
        clock=clock,
        ids=ids,
        engine=engine,
        keys=keys,
        pace=Pace(settings.requests_per_second),
        translations=Translations(service.package),
        pages=Pages(service.package, service.prefix),
        health=_health(store, engine, bus=bus),
        figures=figures,
    )

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            if own_store:
                stack.push_async_callback(store.close)
            _look_after_each_batch(engine, keys)
            await engine.start(bus=bus)
            stack.push_async_callback(engine.stop)
            tasks: list[asyncio.Task[None]] = []
            stack.push_async_callback(_cancelled, tasks)
            stack.callback(live.hub.close)

            async def begin(_app: FastAPI) -> None:
                await engine.opened.wait()
                if service.on_start is not None:
                    start = service.on_start
                    await engine.transact(lambda tx: start(tx, settings))
                await keys.refresh()
                tasks.append(asyncio.create_task(keys.keep_fresh(), name="keys"))
                tasks.append(asyncio.create_task(_forget(parts), name="answers"))
                for worker in service.workers:
                    work = _supervised(worker, app)
                    tasks.append(asyncio.create_task(work, name=worker.__name__))

            if engine.restoring:
                tasks.append(asyncio.create_task(_supervised(begin, app), name="begin"))
            else:
                await begin(app)
            yield

    app = FastAPI(
        title=service.name,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        telemetry=_NONE,
        middleware=[
            Middleware(
                Edge,
                ids=ids,
                secure=parts.secure,
                figures=figures,
                closed=lambda: engine.restoring,
            )
        ],
    )
    app.state.parts = parts
    errors.install(app)
    # Routes are looked through one by one: what is asked for most comes first. They are taken as
    # they are: those of an included router are looked through twice, at each of its levels.
    for path in service.routers:
        module, _, name = path.partition(":")
        app.router.routes += getattr(import_module(module), name).routes
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    for router in _of_every_service(service.name, service.prefix):
        app.include_router(router)
    app.openapi = _documented(app, service)  # type: ignore[method-assign]
    return app


@cache
def _of_every_service(name: str, prefix: str) -> tuple[APIRouter, ...]:
    """The routes that every service has. They hold nothing of an application: made once."""
    return (
        operations.router(prefix),
        live.router(name, prefix),
        set_aside.router(prefix),
        machine.router(prefix),
        languages.router(prefix),
        wishes.router(prefix),
        design.router(prefix),
    )


def _health(store: Store, engine: Engine, *, bus: bool) -> Health:
    health = Health()
    health.hard("store", lambda: store.read(lambda c: c.scalar(sa.select(1)) == 1))

    async def connected() -> bool:
        return engine.connected

    async def passing() -> bool:
        return not engine.held_up

    async def moving() -> bool:
        return not engine.stalled

    async def open_to_all() -> bool:
        return not engine.restoring

    if bus and engine.bus is not None:
        health.soft("bus", connected)
        health.soft("events", passing)
    health.soft("restored", open_to_all)
    health.live("messaging", moving)
    return health


def _documented(app: FastAPI, service: Service) -> Callable[[], dict[str, Any]]:
    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = operations.document(
                app, service.prefix, title=f"Vicinato: {service.name}"
            )
        return app.openapi_schema

    return document


def _look_after_each_batch(engine: Engine, keys: KeyRing) -> None:
    """A sign-out or a new key counts as soon as its batch is committed."""
    loop = asyncio.get_running_loop()

    def settled(outcome: Outcome) -> None:
        if any(item.type in _OF_SIGN_IN for item in outcome.settled):
            loop.call_soon_threadsafe(keys.changed)

    engine.listen(settled)


async def _supervised(worker: Callable[[Any], Coroutine[Any, Any, None]], app: FastAPI) -> None:
    """A worker that fails begins again; one that returns is done."""
    while True:
        try:
            await worker(app)
        except Exception:
            log.exception("web.worker.failed", job=worker.__name__)
            await asyncio.sleep(RESTART_PAUSE)
        else:
            return


async def _forget(parts: Parts) -> None:
    """Old answers to repeated requests go, and what was deleted leaves the store's log: now and
    every hour."""
    while True:
        try:
            await parts.store.write(partial(answers.forget, now=parts.clock.now()))
            await parts.store.tidy()
        except Exception:
            log.exception("web.answers.not_forgotten")
        await asyncio.sleep(FORGET_EVERY)


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
