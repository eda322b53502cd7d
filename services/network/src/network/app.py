"""What the network is made of, and how it becomes an application."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from messaging import Service
from network import checks, store
from network.jobs import jobs
from network.policies import policies
from network.projections import CENTRES, CONSENT, HOUSEHOLDS, PEOPLE
from network.recover import RECOVER
from runtime.settings import Settings

SERVICE = Service(
    name="network",
    prefix="/network",
    package="network",
    metadata=store.metadata,
    topics=("network.events",),
    policies=policies,
    projections=(CENTRES, HOUSEHOLDS, CONSENT, PEOPLE),
    jobs=jobs,
    recover=RECOVER,
    checks=checks.CHECKS,
    gauges={"referrals_waiting": checks.waiting, "referrals_overdue": checks.overdue},
    routers=("network.api:router", "network.pages:router"),
)


def build_app(settings: Settings, **replacements: Any) -> FastAPI:
    """The application of the network, over the settings of this process."""
    import web

    return web.build(SERVICE, settings, **replacements)
