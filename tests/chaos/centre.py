"""The small centre on which faults fall: few keys, so that much happens on each."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from house import House, unique

HOUSEHOLDS = 10
MEMBERS = 3
POINTS = 3_000
LIVE_FOR = timedelta(days=40)
"""Points of the beginning expire then: never in the true calendar of a run."""

BEGUN_BEFORE = timedelta(days=30)
"""The rule of earning points holds also where a clock is wrong by hours."""

PRICES = (120, 250, 400, 1990)
"""Cents; a point is worth 10."""


@dataclass
class Centre:
    """Ids of what there is."""

    till: str = ""
    products: dict[str, int] = field(default_factory=dict)
    households: dict[str, str] = field(default_factory=dict)
    """Household to the number of its card."""
    people: dict[str, str] = field(default_factory=dict)
    """Person to household."""
    sessions: list[str] = field(default_factory=list)
    """Full soon: there are more people than places."""
    registers: list[str] = field(default_factory=list)
    """Sessions of today, whose registers may be taken."""
    organisation: str = ""


def set_up(house: House) -> Centre:
    """Make it through the HTTP API of a house without faults."""
    centre = Centre(till=house.till)
    rule = {"per_euro": 1, "per_attendance": 5, "valid_days": 365}
    begun = (house.clock.now() - BEGUN_BEFORE).isoformat()
    house.post("/cards/api/earning-rules", {**rule, "from_time": begun}, by="coordinator")
    expires = (house.clock.now() + LIVE_FOR).isoformat()
    for number in range(HOUSEHOLDS):
        members = [
            {"given_name": f"Nome{number}{k}", "family_name": "Prova"} for k in range(MEMBERS)
        ]
        asked = {"zone": "Satta", "consents": ["registration", "referrals"], "members": members}
        made = house.post("/cards/api/households", asked, by="reception")
        path = f"/cards/api/households/{made['id']}"
        card = house.post(f"{path}/cards", {}, by="reception")
        given = {"points": POINTS, "reason": "dotazione", "expires_at": expires}
        house.post(f"{path}/points/adjustments", given, by="coordinator")
        centre.households[made["id"]] = card["number"]
        centre.people.update({member["id"]: made["id"] for member in made["members"]})
    house.quiet()
    for price in PRICES:
        centre.products[house.product(price, 100_000)] = price
    centre.sessions = [house.session(capacity=10) for _ in range(4)]
    centre.registers = [house.session(capacity=30, in_days=0) for _ in range(4)]
    made = house.post(
        "/network/api/organisations",
        {"name": unique("Auser"), "areas": ["elderly"]},
        by="coordinator",
    )
    centre.organisation = made["id"]
    house.account("partner", ["partner"], organisation_id=made["id"])
    house.quiet()
    return centre
