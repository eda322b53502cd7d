"""The shop as a service: what it owns, hears, does in time, and shows."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI

from contracts import shop
from messaging import Service
from runtime.settings import Settings
from solidarity_shop import recover, store
from solidarity_shop.checks import CHECKS
from solidarity_shop.domain.sale import State
from solidarity_shop.policies import jobs, policies
from solidarity_shop.projections import CARDS, CENTRES, HOUSEHOLDS


def sales_waiting(connection: sa.Connection) -> float:
    """Sales that wait for cards."""
    count = connection.scalar(
        sa.select(sa.func.count()).where(store.sale.c.state == State.WAITING.value)
    )
    return float(count or 0)


SERVICE = Service(
    name="shop",
    prefix="/shop",
    package="solidarity_shop",
    metadata=store.metadata,
    topics=(shop.TOPIC,),
    policies=policies,
    projections=(CENTRES, HOUSEHOLDS, CARDS),
    jobs=jobs,
    recover=recover.RECOVER,
    checks=CHECKS,
    gauges={"shop_sales_waiting": sales_waiting},
    routers=("solidarity_shop.api:router", "solidarity_shop.pages:router"),
)


def build_app(settings: Settings, **replacements: Any) -> FastAPI:
    """The application of this service."""
    from web import build

    return build(SERVICE, settings, **replacements)
