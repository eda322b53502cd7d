"""The service as a whole: what it owns, what it reacts to, what it checks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cards import store
from cards.checks import CHECKS, ledger_imbalance
from cards.commands.households import erase_again
from cards.jobs import jobs
from cards.policies import policies
from cards.projections import PROJECTIONS
from cards.recover import RECOVER
from messaging import Service
from runtime.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

SERVICE = Service(
    name="cards",
    prefix="/cards",
    package="cards",
    metadata=store.metadata,
    topics=("cards.events", "cards.people"),
    policies=policies,
    projections=PROJECTIONS,
    jobs=jobs,
    recover=RECOVER,
    checks=CHECKS,
    gauges={"ledger_imbalance": ledger_imbalance},
    routers=("cards.api:router", "cards.pages:router"),
    on_restore=erase_again,
)


def build_app(settings: Settings, **replacements: Any) -> FastAPI:
    """The application; ``replacements`` are those of ``web.app.build``."""
    from web.app import build

    return build(SERVICE, settings, **replacements)
