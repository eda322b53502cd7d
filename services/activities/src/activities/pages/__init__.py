"""The pages of activities: server-rendered, working without JavaScript."""

from fastapi import APIRouter

from activities.pages import home, planning, public, registers, sessions

router = APIRouter(include_in_schema=False)
for part in (home, planning, sessions, registers, public):
    router.include_router(part.router, prefix="/activities")
