"""The machine of a service, for those who look after it: its log, read models, jobs and clock.

One page, ``{prefix}/machine``, and an API for programs. Administrators and coordinators read;
administrators act, and coordinators as well where somebody of the centre has to: the date.
"""

from __future__ import annotations

from fastapi import APIRouter

from web.machine import clock, event_log, jobs, page, read_models
from web.operations import OF_EVERY_SERVICE


def router(prefix: str) -> APIRouter:
    """Page and API of one service."""
    made = APIRouter(tags=[OF_EVERY_SERVICE])
    for part in (event_log, read_models, jobs, clock):
        made.include_router(part.router(f"{prefix}/api"))
    made.include_router(page.router(f"{prefix}/machine"))
    return made
