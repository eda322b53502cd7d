"""The pages of activities: server-rendered, working without JavaScript."""

from fastapi import APIRouter

from activities.pages import home, planning, registers, sessions

router = APIRouter(include_in_schema=False)
for part in (home, planning, sessions, registers):
    router.include_router(part.router, prefix="/activities")
