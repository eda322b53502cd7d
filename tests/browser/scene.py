"""What the pages are looked at with: families, sales, sign-ups, referrals, among them the awkward
ones, and all pages by role."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from house import CENTRE, House, unique

from messaging import tables
from runtime.scheduler import DEAD, JOB
from runtime.store import Store, insert

LONG_NAME = "Massimiliano Ferdinando Alessandro Maria Quattrocchi-Buonaventura"

PAGES = {
    "": [
        "/identity/welcome",
        "/identity/sign-in",
        "/activities/open/{centre}",
        "/activities/poster/{centre}",
        "/activities/wall/{centre}",
        "/shop/open/{centre}",
    ],
    "till": [
        "/identity/",
        "/shop/till",
        "/shop/till/{till}",
        "/shop/till/{till}/sales",
        "/shop/till/{till}/closing",
        "/shop/sales/{sale}",
        "/shop/sales/{sale}/receipt",
        "/shop/sales/{sale}/refund",
        "/shop/products",
        "/shop/products/{product}",
        "/shop/products/{product}/edit",
        "/shop/products/new",
        "/shop/producers",
        "/shop/nowhere",
    ],
    "reception": [
        "/identity/",
        "/cards/desk",
        "/cards/households",
        "/cards/households/{family}",
        "/cards/households/{crowd}",
        "/cards/households/new",
        "/cards/households/{family}/change",
        "/activities/households/{family}",
        "/notifications/messages",
        "/notifications/messages/{message}",
        "/notifications/calls",
    ],
    "coordinator": [
        "/identity/",
        "/shop/producers/{workshop}",
        "/cards/overview",
        "/cards/households/{family}",
        "/cards/households/{family}/erase",
        "/cards/rules",
        "/cards/uncovered",
        "/cards/set-aside",
        "/cards/machine",
        "/identity/accounts",
        "/identity/accounts/{account}",
        "/identity/accounts/new",
        "/identity/account",
        "/identity/account/sessions",
        "/identity/account/tokens",
        "/identity/account/tokens/{token}",
        "/identity/centre/words",
        "/network/needs",
        "/network/organisations/{organisation}",
        "/network/organisations/{organisation}/edit",
        "/network/organisations/{organisation}/services/{service}",
        "/network/organisations/{organisation}/services/new",
        "/network/organisations/new",
        "/network/audit",
        "/network/rules",
        "/shop/till",
        "/shop/point-value",
    ],
    "educator": [
        "/activities/",
        "/activities/sessions/{session}",
        "/activities/sessions/{session}/register",
        "/activities/today",
        "/activities/registers",
        "/activities/activities",
        "/activities/activities/{activity}",
        "/activities/activities/{activity}/sessions/new",
        "/activities/activities/new",
    ],
    "case_worker": [
        "/network/referrals",
        "/network/referrals/{referral}",
        "/network/referrals/new?household={family}",
        "/network/organisations",
    ],
    "family": [
        "/identity/",
        "/cards/me",
        "/cards/me/card",
        "/activities/",
        "/activities/sessions/{session}",
        "/notifications/inbox",
        "/notifications/preferences",
    ],
    "newcomer": ["/cards/me", "/activities/", "/notifications/inbox"],
    "partner": ["/network/referrals", "/network/referrals/{referral}"],
    "producer": ["/shop/producer"],
    "foundation": ["/identity/", "/identity/centre", "/identity/centres", "/identity/centres/new"],
}
"""All pages; `{…}` is filled from what `quarter` gives."""

LEFT_OVER = ["/cards/set-aside", "/cards/set-aside/{event}", "/cards/machine"]
"""Those on which something is only while it is `left_over`; ``foundation`` sees all of it."""


def quarter(house: House) -> dict[str, Any]:
    """A family of two scripts with points, a sale, sign-ups, messages and a referral; a household
    of fifteen; a family that has nothing yet."""
    family = house.household(
        {"given_name": "أمينة", "family_name": "بن يوسف", "language": "ar", "phone": "3331234567"},
        {"given_name": LONG_NAME, "family_name": "Ben Youssef", "birth_date": "2016-05-01"},
        consents=("messages", "referrals"),
    )
    here = f"/cards/api/households/{family['id']}/points/adjustments"
    house.post(here, {"points": 80, "reason": "dotazione"}, by="coordinator")
    crowd = house.household(
        {"given_name": "Maria «Mimma»", "family_name": "D'Amico <b>", "phone": "3337654321"},
        *(
            {
                "given_name": name,
                "family_name": "D'Amico",
                "birth_date": f"20{11 + at:02}-03-0{at % 9 + 1}",
            }
            for at, name in enumerate(
                (
                    "Anna",
                    "Bruno",
                    "Carla",
                    "Dario",
                    "Elsa",
                    "Fabio",
                    "Gaia",
                    "Hugo",
                    "Irene",
                    "Luca",
                    "Marta",
                    "Nicolò",
                    "Olga",
                    "😀 Pia",
                )
            )
        ),
    )
    newcomer = house.household({"given_name": "王", "family_name": "小明", "language": "en"})
    house.quiet()
    product = house.product(1290, 5)
    sale = house.sell(product, card=family["card"], cash=790, points=50)
    workshop = house.post(
        "/shop/api/producers", {"name": unique("Orto"), "fee_percent": 15}, by="coordinator"
    )["id"]
    jam = {"name": unique("Marmellata"), "price_cents": 450, "producer_id": workshop}
    jam_id = house.post("/shop/api/products", jam, by="coordinator")["id"]
    delivered = {"reason": "delivery", "quantity": 8}
    house.post(f"/shop/api/products/{jam_id}/stock-movements", delivered, by="coordinator")
    house.sell(jam_id, card=None, cash=450)
    starts = house.clock.now() + timedelta(hours=1)
    activity = house.post(
        "/activities/api/activities",
        {"title": unique("Doposcuola"), "default_capacity": 2},
        by="educator",
    )
    session = house.post(
        f"/activities/api/activities/{activity['id']}/sessions",
        {
            "starts_at": starts.isoformat(),
            "ends_at": (starts + timedelta(hours=2)).isoformat(),
            "place": "Sala grande",
        },
        by="educator",
    )["id"]
    for person in [*family["members"], *crowd["members"][1:4]]:
        body = {"person_id": person["id"]}
        house.post(f"/activities/api/sessions/{session}/sign-ups", body, by="educator")
    organisation = house.post(
        "/network/api/organisations",
        {"name": unique("Cooperativa «Il Melograno»"), "areas": ["elderly"]},
        by="coordinator",
    )["id"]
    service = house.post(
        f"/network/api/organisations/{organisation}/services",
        {"name": "Compagnia a casa", "area": "elderly", "languages": ["it", "ar"]},
        by="coordinator",
    )["id"]
    referral = house.post(
        "/network/api/referrals",
        {
            "household_id": family["id"],
            "area": "elderly",
            "zone": "Satta",
            "to_organisation_id": organisation,
        },
        by="case_worker",
    )["id"]
    for area in ("elderly", "work"):
        need = {"area": area, "zone": "Via Concilio Vaticano II"}
        house.post("/network/api/needs", need, by="case_worker")
    house.ask(
        "PUT",
        f"/identity/api/centres/{CENTRE}/words",
        "coordinator",
        {
            "about": {
                "it": "Una casa aperta a tutto il quartiere: si impara, si lavora, si sta insieme.",
                "ar": "بيت مفتوح لكل الحي: نتعلّم ونعمل ونلتقي.",
            },
            "hours": {"0": "9-13, 15:30-18", "2": "9-13, 15:30-18", "5": "9-12"},
            "address": "Via Graf 29, 20157 Milano",
            "directions": "Autobus 40 e 57, fermata Via Graf",
            "phone": "+39 02 1234567",
        },
    )
    account, new, partner = unique("famiglia"), unique("nuova"), unique("partner")
    foundation, producer = unique("fondazione"), unique("orto")
    house.account(foundation, ["administrator"], centre_id="")
    house.account(account, ["family"], household_id=family["id"])
    house.account(new, ["family"], household_id=newcomer["id"])
    house.account(partner, ["partner"], organisation_id=organisation)
    house.account(producer, ["producer"], producer_id=workshop)
    house.quiet()
    return {
        "centre": CENTRE,
        "family": family["id"],
        "crowd": crowd["id"],
        "card": family["card"]["number"],
        "barcode": house.get(f"/shop/api/products/{product}", by="till")["barcode"],
        "product": product,
        "workshop": workshop,
        "till": house.till,
        "sale": sale["id"],
        "activity": activity["id"],
        "session": session,
        "organisation": organisation,
        "service": service,
        "referral": referral,
        "message": _first(house, "/notifications/api/messages", "coordinator"),
        "account": _first(house, "/identity/api/accounts", "coordinator"),
        "token": _first(house, "/identity/api/tokens", "coordinator"),
        "accounts": {
            "family": account,
            "newcomer": new,
            "partner": partner,
            "producer": producer,
            "foundation": foundation,
        },
    }


@contextmanager
def left_over(house: House) -> Iterator[dict[str, str]]:
    """In cards: an event in each state of those that are set aside, among them one with an id that
    no service of ours would give, and work that was given up. Gone afterwards."""
    now = house.clock.now()
    events = {
        "waiting": ("shop.sale.completed.v1", "not_yet: sale", now + timedelta(hours=1)),
        "retrying": ("shop.sale.refunded.v1", "refused: points.uncovered", now + timedelta(days=1)),
        "dead": ("network.referral.accepted.v9", "a newer version of a known type", None),
        "discarded": ("", "unreadable: no ce_id", None),
    }
    rows = [
        {
            "event_id": f"{unique(state)}/{'x' * 120 if not kind else 'é'}",
            "topic": f"{kind.partition('.')[0] or 'shop'}.events",
            "partition": 2,
            "record_offset": 1_234_567 + number,
            "key": unique("household"),
            "type": kind,
            "previous": unique("event") if state == "waiting" else None,
            "state": state,
            "reason": reason,
            "tries": number,
            "next_try": next_try,
            "headers": [["ce_id", "ZXZlbnQ="], ["ce_type", ""]],
            "record_key": b"k",
            "body": b'{"note": "' + b"una riga che non finisce mai " * 8 + b'"}',
            "stamp": 0,
            "at": now,
        }
        for number, (state, (kind, reason, next_try)) in enumerate(events.items())
    ]
    work = [
        {
            "name": name,
            "period": period,
            "subject": unique("household"),
            "due": now,
            "state": DEAD,
            "tries": 6,
            "data": {},
            "error": "ValueError in spread",
        }
        for name, period in (("expiry", "2026-11-29"), ("allowance", ""))
    ]

    def put(connection: sa.Connection) -> None:
        insert(connection, tables.set_aside, rows)
        insert(connection, JOB, work)

    def take_away(connection: sa.Connection) -> None:
        ids = [row["event_id"] for row in rows]
        connection.execute(sa.delete(tables.set_aside).where(tables.set_aside.c.event_id.in_(ids)))
        about = [row["subject"] for row in work]
        connection.execute(sa.delete(JOB).where(JOB.c.subject.in_(about)))

    store = Store(f"sqlite:///{house.folder.stores / 'cards.db'}")
    try:
        store.write_now(put)
        yield {"event": quote(str(rows[0]["event_id"]), safe="")}
    finally:
        store.write_now(take_away)
        store.close_now()


def _first(house: House, path: str, by: str) -> str:
    """The id of the first of a list."""
    return str(house.get(path, by=by)["items"][0]["id"])
