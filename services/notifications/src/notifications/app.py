"""The wiring of notifications."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contracts import notifications as facts
from messaging import Service
from notifications import store
from notifications.checks import CHECKS, GAUGES
from notifications.commands.restored import deliveries_unknown
from notifications.policies import policies
from notifications.projections import CENTRES_SEEN, HOUSEHOLDS_SEEN, PERSON_CONTACT
from notifications.recover import RECOVER
from notifications.settings import NotificationsSettings
from runtime.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI


async def hand_over_mail(app: FastAPI) -> None:
    """The worker; what it needs of the web is loaded only where an application runs."""
    from notifications.worker import hand_over_mail as work

    await work(app)


SERVICE = Service(
    name="notifications",
    prefix="/notifications",
    package="notifications",
    metadata=store.metadata,
    topics=(facts.TOPIC,),
    policies=policies,
    projections=(PERSON_CONTACT, HOUSEHOLDS_SEEN, CENTRES_SEEN),
    workers=(hand_over_mail,),
    recover=RECOVER,
    checks=CHECKS,
    gauges=GAUGES,
    routers=("notifications.api:router", "notifications.pages:router"),
    settings=NotificationsSettings,
    on_restore=deliveries_unknown,
)


def build_app(settings: Settings, **replacements: Any) -> FastAPI:
    """The application; tests replace the clock, the ids or the store."""
    from web import build

    return build(SERVICE, settings, **replacements)
