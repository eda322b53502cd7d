"""Who calls the network over HTTP in the tests, and what they find there."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from network import store
from runtime.store import insert_ignore
from web import Role
from web.testing import Client, token

CENTRE = "centre-1"
API = "/network/api"
SCOPES = ("network:read", "network:write")
SECRET = "She was hit by her husband"

CASE_WORKER = token(Role.CASE_WORKER, centre=CENTRE, account="worker")
COORDINATOR = token(Role.COORDINATOR, centre=CENTRE, account="coordinator")
AUSER = token(Role.PARTNER, centre=CENTRE, organisation="auser", account="auser")
TORRI = token(Role.PARTNER, centre=CENTRE, organisation="torri", account="torri")
STRANGER = token(Role.COORDINATOR, centre="centre-2", account="stranger")
FAMILY = token(Role.FAMILY, centre=CENTRE, household="h1", account="family")
FOUNDATION = token(Role.ADMINISTRATOR, account="root")


async def filled(made: Client, now: datetime) -> None:
    """Three households, one with consent and a person, and two organisations."""

    def prepare(connection: sa.Connection) -> None:
        households = [("h1", CENTRE), ("h2", CENTRE), ("h3", "centre-2")]
        for household, centre in households:
            insert_ignore(
                connection,
                store.household_seen,
                [
                    {
                        "household_id": household,
                        "centre_id": centre,
                        "zone": "north",
                        "erased": False,
                        "changed_at": now,
                    }
                ],
            )
        insert_ignore(
            connection,
            store.consent_seen,
            [{"household_id": "h1", "given": True, "changed_at": now}],
        )
        insert_ignore(
            connection,
            store.person_known,
            [
                {
                    "person_id": "p1",
                    "household_id": "h1",
                    "given_name": "Samira",
                    "family_name": "Haddad",
                    "language": "ar",
                    "holder": True,
                    "revision": 1,
                }
            ],
        )

    await made.store.write(prepare)
    made.sign_in(COORDINATOR)
    for name in ("auser", "torri"):
        answer = await made.post(
            f"{API}/organisations", json={"id": name, "name": name.title(), "areas": ["work"]}
        )
        assert answer.status_code == 201, answer.text


async def asked(client: Client, **more: Any) -> str:
    body = {"area": "work", "household_id": "h1", "to_organisation_id": "auser", "note": SECRET}
    client.sign_in(CASE_WORKER)
    answer = await client.post(f"{API}/referrals", json=body | more)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])
