"""Setting a centre up from a folder: the house, its people, shop, activities and network.

Used by the played day and by the demonstration centre. Every request names what it makes as
Idempotency-Key: a set-up that was broken off can be begun again, with the same content and
passwords.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from vicinato.day import rows
from vicinato.day.client import Api, Refused
from vicinato.day.rows import Input, Row
from vicinato.first_start import readable_password

ADMIN = "administrator"
DOMAIN = "vicinato.example"

M = TypeVar("M", bound=rows.Line)
Tick = Callable[[str], None]


@dataclass
class Card:
    """A card that was handed out; `token` is what its QR says."""

    id: str
    number: str
    token: str | None


@dataclass
class Household:
    """A household of the folder, as the centre knows it."""

    id: str
    people: dict[str, str]
    """Given name to id."""
    cards: list[Card] = field(default_factory=list)


@dataclass
class Centre:
    """What was set up, by the names that the folder uses."""

    api: Api
    given: Input
    tick: Tick = lambda _what: None
    most: int | None = None
    """Of households: only so many of the folder are registered."""
    password_of: Callable[[str], str] = lambda _name: readable_password()
    """Of an account, by its name."""
    centre_id: str = ""
    sign_ins: list[dict[str, str]] = field(default_factory=list)
    households: dict[str, Household] = field(default_factory=dict)
    tills: dict[str, str] = field(default_factory=dict)
    producers: dict[str, str] = field(default_factory=dict)
    products: dict[str, str] = field(default_factory=dict)
    activities: dict[str, str] = field(default_factory=dict)
    sessions: dict[str, str] = field(default_factory=dict)
    starts: dict[str, datetime] = field(default_factory=dict)
    organisations: dict[str, str] = field(default_factory=dict)

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.given.centre.time_zone)

    def at(self, day: int, clock: time) -> datetime:
        """A time of the centre, so many days after the day."""
        return datetime.combine(self.given.centre.day + timedelta(days=day), clock, self.zone)

    async def each(self, read: list[Row[M]], play: Callable[[Row[M]], Awaitable[None]]) -> None:
        """Play rows in order; one that is refused or names what is not there is noted."""
        for row in read:
            try:
                await play(row)
            except Refused as refused:
                self.given.note(row.file, row.line, str(refused))
            except UnknownError as unknown:
                self.given.note(row.file, row.line, str(unknown))
            self.tick(row.file)

    async def post(self, path: str, body: Any, row: Row[Any], *, by: str) -> Any:
        """A request that a row asks for; asked again it changes nothing."""
        return await self.api.post(path, body, by=by, key=f"{path}/{row.file}:{row.line}"[:190])

    # setting up

    async def open(self) -> None:
        """The centre, its staff, rules and tills."""
        told = self.given.centre
        made = await self.api.post(
            "/identity/api/centres",
            {
                "id": told.id,
                "name": told.name,
                "time_zone": told.time_zone,
                "region": told.region,
            },
            by=ADMIN,
            key=f"centre/{told.id}",
        )
        self.centre_id = made["id"]
        if told.words:
            where = f"/identity/api/centres/{self.centre_id}/words"
            await self.api.send("PUT", where, by=ADMIN, json=told.words)
        for name, roles in told.accounts.items():
            await self.account(name, roles)
        await self.api.post(
            "/cards/api/earning-rules", told.earning, by="coordinator", key="earning"
        )
        await self.api.post(
            "/shop/api/point-values",
            {"cents": told.points["value_cents"]},
            by="coordinator",
            key="point-value",
        )
        for ref, name in told.tills.items():
            till = await self.api.post(
                "/shop/api/tills", {"name": name}, by="coordinator", key=f"till/{ref}"
            )
            self.tills[ref] = till["id"]

    async def account(self, name: str, roles: list[str], **links: str) -> None:
        """Somebody who can sign in, and a token of theirs under the name of their first role.

        The administrator gives a first password; they choose the one that is kept.
        """
        email = f"{name}@{DOMAIN}"
        first, password = self.password_of(f"first of {name}"), self.password_of(name)
        await self.api.post(
            "/identity/api/accounts",
            {
                "email": email,
                "password": first,
                "name": name,
                "roles": roles,
                "centre_id": self.centre_id,
                **links,
            },
            by=ADMIN,
            key=f"account/{name}",
        )
        await self.api.choose_password(email, first, password)
        self.sign_ins.append({"role": roles[0], "email": email, "password": password})
        await self.api.sign_in(name if links else roles[0], email, password)

    async def register_households(self) -> None:
        """Households of `households.csv`, a row for each member."""
        members: dict[str, list[Row[rows.MemberLine]]] = defaultdict(list)
        for row in self.given.read("households.csv", rows.MemberLine):
            members[row.value.household].append(row)

        async def register(first: Row[rows.MemberLine]) -> None:
            people = [row.value for row in members[first.value.household]]
            if sum(p.role == "holder" for p in people) != 1:
                raise UnknownError(f"household {first.value.household} has no single holder")
            made = await self.post(
                "/cards/api/households",
                {
                    "zone": first.value.zone,
                    "consents": next(p.consents for p in people if p.role == "holder"),
                    "members": [
                        {
                            "given_name": p.given_name,
                            "family_name": p.family_name,
                            "birth_date": p.birth_date.isoformat(),
                            "language": p.language,
                            "email": p.email,
                            "phone": p.phone,
                            "holder": p.role == "holder",
                        }
                        for p in people
                    ],
                },
                first,
                by="reception",
            )
            ids = {m["given_name"]: m["id"] for m in made["members"]}
            self.households[first.value.household] = Household(made["id"], ids)

        await self.each([group[0] for group in members.values()][: self.most], register)

    async def hand_out_cards(self) -> None:
        """A card for each household of `cards.csv`; some are blocked or replaced."""

        async def hand_out(row: Row[rows.CardLine]) -> None:
            household = self.household(row.value.household)
            path = f"/cards/api/households/{household.id}/cards"
            made = await self.post(path, {}, row, by="reception")
            household.cards.append(Card(made["id"], made["number"], made["token"]))
            action, _, reason = row.value.then.partition(":")
            if action == "block":
                path = f"/cards/api/cards/{made['id']}/block"
                await self.post(path, {"reason": reason}, row, by="reception")
            elif action == "replace":
                path = f"/cards/api/cards/{made['id']}/replace"
                new = await self.post(path, {}, row, by="reception")
                household.cards.append(Card(new["id"], new["number"], new["token"]))
            elif action:
                raise UnknownError(f"{action!r} cannot be done with a card")

        await self.each(self.given.read("cards.csv", rows.CardLine), hand_out)

    async def give_points(self, now: datetime) -> None:
        """Points given or taken by hand, of `points.csv`."""

        async def give(row: Row[rows.PointsLine]) -> None:
            household = self.household(row.value.household)
            days = row.value.expires_in_days
            body: dict[str, Any] = {"points": row.value.points, "reason": row.value.reason}
            if days is not None:
                body["expires_at"] = (now + timedelta(days=days)).isoformat()
            path = f"/cards/api/households/{household.id}/points/adjustments"
            await self.post(path, body, row, by="coordinator")

        await self.each(self.given.read("points.csv", rows.PointsLine), give)

    async def fill_the_shop(self) -> None:
        """Producers, products and what was delivered."""

        async def producer(row: Row[rows.ProducerLine]) -> None:
            body = row.value.model_dump(exclude={"producer"})
            made = await self.post("/shop/api/producers", body, row, by="coordinator")
            self.producers[row.value.producer] = made["id"]

        async def product(row: Row[rows.ProductLine]) -> None:
            line = row.value
            body = {
                "name": line.name,
                "barcode": line.barcode,
                "category": line.category,
                "price_cents": line.price,
                "minimum": line.minimum,
                "producer_id": named(self.producers, line.producer, "producer"),
            }
            made = await self.post("/shop/api/products", body, row, by="coordinator")
            self.products[line.product] = made["id"]

        async def delivery(row: Row[rows.DeliveryLine]) -> None:
            product_id = named(self.products, row.value.product, "product")
            body = {"reason": "delivery", "quantity": row.value.quantity, "note": row.value.note}
            path = f"/shop/api/products/{product_id}/stock-movements"
            await self.post(path, body, row, by="coordinator")

        await self.each(self.given.read("producers.csv", rows.ProducerLine), producer)
        await self.each(self.given.read("products.csv", rows.ProductLine), product)
        await self.each(self.given.read("deliveries.csv", rows.DeliveryLine), delivery)

    async def plan_activities(self) -> None:
        """Activities and their sessions."""

        async def activity(row: Row[rows.ActivityLine]) -> None:
            line = row.value
            body = line.model_dump(exclude={"activity", "capacity"})
            body["default_capacity"] = line.capacity
            made = await self.post("/activities/api/activities", body, row, by="educator")
            self.activities[line.activity] = made["id"]

        async def session(row: Row[rows.SessionLine]) -> None:
            line = row.value
            activity_id = named(self.activities, line.activity, "activity")
            starts = self.at(line.day, line.starts)
            body = {
                "starts_at": starts.isoformat(),
                "ends_at": self.at(line.day, line.ends).isoformat(),
                "place": line.place,
                "capacity": line.capacity,
            }
            path = f"/activities/api/activities/{activity_id}/sessions"
            made = await self.post(path, body, row, by="educator")
            self.sessions[line.session] = made["id"]
            self.starts[line.session] = starts

        await self.each(self.given.read("activities.csv", rows.ActivityLine), activity)
        await self.each(self.given.read("sessions.csv", rows.SessionLine), session)

    async def join_organisations(self) -> None:
        """The organisations of the network, each with a service and somebody who signs in."""

        async def join(row: Row[rows.OrganisationLine]) -> None:
            line = row.value
            made = await self.post(
                "/network/api/organisations",
                {
                    "name": line.name,
                    "description": line.description,
                    "areas": line.areas,
                    "zones": line.zones,
                },
                row,
                by="coordinator",
            )
            self.organisations[line.organisation] = made["id"]
            await self.post(
                f"/network/api/organisations/{made['id']}/services",
                {
                    "name": line.description.capitalize() or line.name,
                    "area": line.areas[0],
                    "capacity": line.capacity,
                },
                row,
                by="coordinator",
            )
            await self.account(line.organisation, ["partner"], organisation_id=made["id"])

        await self.each(self.given.read("organisations.csv", rows.OrganisationLine), join)

    # by name

    def household(self, ref: str) -> Household:
        """Raises UnknownError."""
        return named(self.households, ref, "household")

    def person(self, household: Household, name: str) -> str:
        """Raises UnknownError."""
        return named(household.people, name, "person")


class UnknownError(Exception):
    """A row names what is not there (perhaps because its own row was wrong)."""


V = TypeVar("V")


def named(known: dict[str, V], ref: str, kind: str) -> V:
    """What a row calls `ref`. Raises UnknownError."""
    if ref not in known:
        raise UnknownError(f"there is no {kind} {ref!r}")
    return known[ref]
