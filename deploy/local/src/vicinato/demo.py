"""The demonstration centre: the example of Quarto Oggiaro as it would stand today.

Loaded once, at a first start with empty stores, through the public HTTP API. Its people are
invented. Begun again with the same secret and moment after it was broken off, it goes on where it
was: what was done is answered as before.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime
from functools import partial
from zoneinfo import ZoneInfo

from vicinato.day.centre import ADMIN, Centre
from vicinato.day.client import Api
from vicinato.day.rows import Input
from vicinato.first_start import readable_password_of
from vicinato.paths import deploy_folder

HOUSEHOLDS = 20
"""Of the folder: enough to look around, few enough to be there in seconds."""


def load(
    address: str, administrator: dict[str, str], secret: str, begun: str
) -> list[dict[str, str]]:
    """Load the centre; returns role, e-mail and password of everybody who can sign in.

    Passwords are made of the `secret`, days are counted from the moment `begun` (ISO 8601). Raises
    what the API refuses: a row of the example that is wrong on purpose is passed over.
    """
    return asyncio.run(_load(address, administrator, secret, datetime.fromisoformat(begun)))


async def _load(
    address: str, administrator: dict[str, str], secret: str, begun: datetime
) -> list[dict[str, str]]:
    given = Input.open(deploy_folder().parent / "examples" / "quarto-oggiaro")
    told = given.centre
    now = begun.astimezone(ZoneInfo(told.time_zone))
    given = replace(given, centre=told.model_copy(update={"day": now.date()}))
    api = Api(address)
    try:
        await api.sign_in(ADMIN, administrator["email"], administrator["password"], days=1)
        password_of = partial(readable_password_of, secret)
        centre = Centre(api, given, most=HOUSEHOLDS, password_of=password_of)
        await centre.open()
        await centre.register_households()
        await centre.hand_out_cards()
        await centre.give_points(now)
        await centre.fill_the_shop()
        await centre.plan_activities()
        await centre.join_organisations()
        first = next(iter(centre.households.values()))
        await centre.account("famiglia", ["family"], household_id=first.id)
        await centre.account("produttore", ["producer"], producer_id=centre.producers["forno"])
    finally:
        await api.close()
    return centre.sign_ins
