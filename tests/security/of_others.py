"""What is of the centre and of somebody else, made in the store of each service: a household with
a card, a sign-up and a message, an organisation that was asked to help, a producer of a thing that
was sold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

import activities.commands
import cards.commands
import cards.models
import network.commands
import network.models
import notifications.store
import solidarity_shop.commands
from cards.domain.card import grouped
from contracts.cards import ConsentGiven, HouseholdRegistered, Purpose
from contracts.people import PersonDescribed
from contracts.shop import StockReason
from messaging.testing import Bench
from network.store import Who
from solidarity_shop.domain.amounts import Method, Payment

CENTRE = "centre-1"
MINE = {"household": "household-1", "organisation": "organisation-1", "producer": "producer-1"}
THEIRS = {"household": "household-2", "organisation": "organisation-2", "producer": "producer-2"}
NAME = "Yildirim"
"""A word of theirs, that stands nowhere else."""

PERSONS = ("person-2", "person-3", "person-4")

Places = Mapping[str, str]
"""What fills the places of addresses and requests and is shown on pages, by name."""


def made_in(bench: Bench) -> Places:
    """Theirs, in the store of this service."""
    return MADE.get(bench.service.name, lambda bench: {})(bench)


def _known(bench: Bench) -> None:
    """A household of three, who may be written to and spoken of, as the others hear of it."""
    now = bench.clock.now()
    for number, person in enumerate(PERSONS):
        bench.deliver(
            PersonDescribed(
                person_id=person,
                household_id=THEIRS["household"],
                centre_id=CENTRE,
                revision=1,
                given_name="Elif",
                family_name=NAME,
                holder=number == 0,
                messages_allowed=True,
                described_at=now,
            )
        )
    bench.deliver(
        HouseholdRegistered(
            household_id=THEIRS["household"],
            centre_id=CENTRE,
            holder_id=PERSONS[0],
            person_ids=PERSONS,
            registered_at=now,
        ),
        ConsentGiven(household_id=THEIRS["household"], purpose=Purpose.REFERRALS, given_at=now),
    )


def _household(bench: Bench) -> Places:
    new = cards.models.HouseholdNew(
        members=[cards.models.Member(given_name="Elif", family_name=NAME)]
    )
    made = bench.run(lambda tx: cards.commands.register_household(tx, new))
    card = bench.run(lambda tx: cards.commands.issue_card(tx, made, "0" * 64))
    return {"household_id": made, "card": grouped(card.number)}


def _sign_up(bench: Bench) -> Places:
    _known(bench)
    soon = bench.clock.now() + timedelta(days=7)
    by = activities.commands.By(CENTRE)
    activity = bench.run(
        lambda tx: activities.commands.create_activity(
            tx, CENTRE, title="Spazio compiti", default_capacity=5
        )
    )
    session = bench.run(
        lambda tx: activities.commands.schedule_sessions(
            tx, by, activity.id, starts_at=soon, ends_at=soon + timedelta(hours=2)
        )
    ).ids[0]
    signed = bench.run(lambda tx: activities.commands.sign_up(tx, by, session, [PERSONS[0]]))[0]
    return {
        "session_id": session,
        "sign_up_id": signed.id,
        "person_id": PERSONS[1],
        "another_person_id": PERSONS[2],
    }


def _message(bench: Bench) -> Places:
    """The welcome that a household gets."""
    _known(bench)
    message = bench.read(lambda c: c.execute(sa.select(notifications.store.message.c.id)).scalar())
    return {"household_id": THEIRS["household"], "message_id": str(message)}


def _referral(bench: Bench) -> Places:
    _known(bench)
    who = Who("coordinator", CENTRE, staff=True, editor=True)
    for name in (MINE["organisation"], THEIRS["organisation"]):
        new = network.models.NewOrganisation(id=name, name=name)
        bench.run(lambda tx, new=new: network.commands.register_organisation(tx, who, new))
    service = bench.run(
        lambda tx: network.commands.register_service(
            tx, who, THEIRS["organisation"], network.models.NewService(name="Jobs", area="work")
        )
    )
    asked = network.models.NewReferral(
        area="work",
        household_id=THEIRS["household"],
        to_organisation_id=THEIRS["organisation"],
        note=NAME,
    )
    referral = bench.run(
        lambda tx: network.commands.record_referral(tx, who, asked, centre_id=CENTRE)
    )
    return {
        "organisation_id": THEIRS["organisation"],
        "service_id": service,
        "referral_id": referral.id,
        "action": "accept",
    }


def _sold(bench: Bench) -> Places:
    shop = solidarity_shop.commands
    for name in (MINE["producer"], THEIRS["producer"]):
        bench.run(
            lambda tx, name=name: shop.register_producer(
                tx, centre_id=CENTRE, name=name, fee_percent=10, producer_id=name
            )
        )
    new = shop.NewProduct(
        id="product-2", name=NAME, price_cents=500, barcode="b-2", producer_id=THEIRS["producer"]
    )
    sale = shop.NewSale(
        id="sale-2",
        till_id="till-1",
        lines=(shop.WantedLine(product_id="product-2", quantity=1),),
        payments=(Payment(Method.CASH, 500),),
    )
    bench.run(lambda tx: shop.open_till(tx, centre_id=CENTRE, name="1", till_id="till-1"))
    bench.run(lambda tx: shop.create_product(tx, new, centre_id=CENTRE))
    bench.run(
        lambda tx: shop.move_stock(
            tx, "product-2", centre=CENTRE, reason=StockReason.DELIVERY, quantity=3
        )
    )
    bench.run(lambda tx: shop.sell(tx, sale, centre=CENTRE))
    return {}


MADE: Mapping[str, Callable[[Bench], Places]] = {
    "cards": _household,
    "activities": _sign_up,
    "notifications": _message,
    "network": _referral,
    "shop": _sold,
}


def body_of(route: tuple[str, str], places: Places) -> dict[str, Any]:
    """What a request of a route needs to come as far as what it is about, as an argument of
    `httpx`: nothing for most."""
    method, path = route
    if method == "GET":
        return {}
    filled = {name: value.format_map(places) for name, value in BODIES.get(route, {}).items()}
    return {"json" if "/api/" in path else "data": filled}


BODIES: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("POST", "/activities/api/sessions/{session_id}/sign-ups"): {"person_id": "{person_id}"},
    ("POST", "/activities/sessions/{session_id}/sign-up"): {"person_ids": "{another_person_id}"},
    ("POST", "/network/api/services/{service_id}/capacity"): {"capacity": "none"},
    ("POST", "/network/organisations/{organisation_id}/services/{service_id}/capacity"): {
        "capacity": "none"
    },
    ("POST", "/network/api/referrals/{referral_id}/reject"): {"reason": "no_capacity"},
    ("POST", "/network/api/referrals/{referral_id}/cancel"): {"reason": "no_longer_needed"},
    ("POST", "/network/api/referrals/{referral_id}/complete"): {"outcome": "met"},
    ("POST", "/network/api/referrals/{referral_id}/reroute"): {
        "to_organisation_id": MINE["organisation"]
    },
}
"""By route; places stand in braces."""
