"""The wiring of activities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from activities import store
from activities.checks import CHECKS
from activities.policies import jobs, policies
from activities.projections import CENTRES_SEEN, HOUSEHOLDS_SEEN, PEOPLE_SEEN
from activities.recover import RECOVER
from messaging import Service
from runtime.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

SERVICE = Service(
    name="activities",
    prefix="/activities",
    package="activities",
    metadata=store.metadata,
    topics=("activities.events",),
    policies=policies,
    projections=(PEOPLE_SEEN, HOUSEHOLDS_SEEN, CENTRES_SEEN),
    jobs=jobs,
    recover=RECOVER,
    checks=CHECKS,
    routers=("activities.api:router", "activities.pages:router"),
)


def build_app(settings: Settings, **replacements: Any) -> FastAPI:
    """The application; tests replace the clock, the ids or the store."""
    from web import build

    return build(SERVICE, settings, **replacements)
