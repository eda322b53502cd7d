"""The pages of cards: the desk, the household, the rules, the family's own page."""

from fastapi import APIRouter

from cards.pages import desk, family, household, overview, points, register

router = APIRouter(include_in_schema=False)
for page in (overview, desk, register, household, points, family):
    router.include_router(page.router)

__all__ = ["router"]
