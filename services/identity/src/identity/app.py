"""Wiring: what identity is, and how it becomes an application."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from contracts.identity import (
    AccountChanged,
    AccountCreated,
    AccountErased,
    CentreOpened,
    KeyPublished,
    SessionRevoked,
)
from identity import checks, recover, store
from identity.commands import first
from identity.commands.housekeeping import jobs
from identity.policies import policies
from identity.projections import HOUSEHOLDS_GONE
from messaging import Check, Service
from runtime.settings import Settings

SERVICE = Service(
    name="identity",
    prefix="/identity",
    package="identity",
    metadata=store.metadata,
    topics=("identity.events",),
    policies=policies,
    projections=(HOUSEHOLDS_GONE,),
    jobs=jobs,
    recover={
        CentreOpened: recover.centre_opened,
        AccountCreated: recover.account_created,
        AccountChanged: recover.account_changed,
        AccountErased: recover.account_erased,
        SessionRevoked: recover.session_revoked,
        KeyPublished: recover.key_published,
    },
    checks=(
        Check("accounts_as_told", checks.accounts_as_told),
        Check("centres_as_told", checks.centres_as_told),
        Check("keys_believed", checks.keys_believed),
        Check("revocations_told", checks.revocations_told),
    ),
    gauges={"sessions_live": checks.live_sessions},
    routers=("identity.api:router", "identity.pages:router"),
    settings=first.IdentitySettings,
    on_start=first.start,
    on_restore=first.after_restore,
)


def build_app(settings: Settings, **replacements: Any) -> FastAPI:
    """The application of identity; ``replacements`` as in ``web.build``."""
    from web import build

    return build(SERVICE, settings, **replacements)
