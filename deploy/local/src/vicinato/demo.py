"""The demonstration centre: the example of Quarto Oggiaro as it would stand today.

Loaded once, at a first start with empty stores, through the public HTTP API. Its people are
invented. Begun again after it was broken off, it goes on where it was.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

from vicinato.day.centre import ADMIN, Centre
from vicinato.day.client import Api
from vicinato.day.rows import Input
from vicinato.paths import deploy_folder

HOUSEHOLDS = 20
"""Of the folder: enough to look around, few enough to be there in seconds."""


def load(address: str, administrator: dict[str, str]) -> list[dict[str, str]]:
    """Load the centre; returns role, e-mail and password of everybody who can sign in.

    Raises what the API refuses: a row of the example that is wrong on purpose is passed over.
    """
    return asyncio.run(_load(address, administrator))


async def _load(address: str, administrator: dict[str, str]) -> list[dict[str, str]]:
    given = Input.open(deploy_folder().parent / "examples" / "quarto-oggiaro")
    told = given.centre
    today = datetime.now(ZoneInfo(told.time_zone)).date()
    given = replace(given, centre=told.model_copy(update={"day": today}))
    api = Api(address)
    try:
        await api.sign_in(ADMIN, administrator["email"], administrator["password"], days=1)
        centre = Centre(api, given, most=HOUSEHOLDS)
        await centre.open()
        await centre.register_households()
        await centre.hand_out_cards()
        await centre.give_points(datetime.now(ZoneInfo(told.time_zone)))
        await centre.fill_the_shop()
        await centre.plan_activities()
        await centre.join_organisations()
        first = next(iter(centre.households.values()))
        await centre.account("famiglia", ["family"], household_id=first.id)
        await centre.account("produttore", ["producer"], producer_id=centre.producers["forno"])
    finally:
        await api.close()
    return centre.sign_ins
