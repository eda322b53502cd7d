"""A centre with people and an activity, to try the rules on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from activities import commands, store
from activities.app import SERVICE
from activities.checks import CHECKS
from activities.commands import By, SignUpMade
from activities.domain.waiting_list import Policy
from contracts.cards import HouseholdRegistered
from contracts.people import PersonDescribed
from messaging import Transaction
from messaging.testing import Bench
from runtime.clock import FixedClock
from runtime.ids import SequenceIds
from runtime.testing import store_of
from web.roles import Role
from web.testing import Client, token

CENTRE = "centre-1"
STAFF = By(CENTRE)


class World:
    """The service on its bench, with short ways to ask it."""

    def __init__(self, url: str, clock: FixedClock, ids: SequenceIds) -> None:
        self.clock = clock
        self.bench = Bench(SERVICE, url, clock=clock, ids=ids)
        self.staff = STAFF

    def person(
        self,
        person_id: str,
        household_id: str = "",
        *,
        centre_id: str = CENTRE,
        birth_date: date | None = date(2016, 5, 1),
        revision: int = 1,
        given_name: str = "",
    ) -> str:
        self.bench.deliver(
            PersonDescribed(
                person_id=person_id,
                household_id=household_id or f"household-of-{person_id}",
                centre_id=centre_id,
                revision=revision,
                given_name=given_name or person_id.title(),
                family_name="Rossi",
                birth_date=birth_date,
                described_at=self.clock.now(),
            ),
            twice=False,
        )
        return person_id

    def people(self, *person_ids: str, household_id: str = "") -> list[str]:
        return [self.person(person_id, household_id) for person_id in person_ids]

    def household(self, household_id: str, centre_id: str = CENTRE) -> str:
        self.bench.deliver(
            HouseholdRegistered(
                household_id=household_id,
                centre_id=centre_id,
                holder_id="holder",
                person_ids=("holder",),
                registered_at=self.clock.now(),
            )
        )
        return household_id

    def activity(self, centre_id: str = CENTRE, **more: Any) -> str:
        values: dict[str, Any] = {"title": "Spazio compiti", "default_capacity": 2} | more
        return self.bench.run(
            lambda tx: commands.create_activity(tx, centre_id, **values), centre=centre_id
        ).id

    def session(
        self,
        capacity: int = 2,
        *,
        policy: Policy = Policy.NEXT_WHO_FITS,
        starts_in: timedelta = timedelta(days=7),
        **activity: Any,
    ) -> str:
        activity_id = self.activity(waiting_list_policy=policy, **activity)
        starts_at = self.clock.now() + starts_in
        return self.bench.run(
            lambda tx: commands.schedule_sessions(
                tx,
                By(),
                activity_id,
                starts_at=starts_at,
                ends_at=starts_at + timedelta(hours=2),
                capacity=capacity,
            )
        ).ids[0]

    def sign_up(
        self, session_id: str, *person_ids: str, by: By = STAFF, **more: Any
    ) -> list[SignUpMade]:
        return self.bench.run(
            lambda tx: commands.sign_up(tx, by, session_id, list(person_ids), **more)
        )

    def accept(self, sign_up_id: str, by: By = STAFF) -> SignUpMade:
        return self.bench.run(lambda tx: commands.accept(tx, by, sign_up_id))

    def decline(self, sign_up_id: str, by: By = STAFF) -> SignUpMade:
        return self.bench.run(lambda tx: commands.decline(tx, by, sign_up_id))

    def cancel(self, sign_up_id: str, by: By = STAFF) -> SignUpMade:
        return self.bench.run(lambda tx: commands.cancel(tx, by, sign_up_id))

    def capacity(self, session_id: str, capacity: int) -> None:
        self.bench.run(lambda tx: commands.set_capacity(tx, STAFF, session_id, capacity))

    def register(
        self, session_id: str, present: Sequence[str] = (), absent: Sequence[str] = (), **more: Any
    ) -> commands.RegisterMade:
        named = dict.fromkeys(present, True) | dict.fromkeys(absent, False)
        return self.bench.run(
            lambda tx: commands.take_register(tx, STAFF, session_id, named, **more)
        )

    def go_to(self, moment: datetime) -> None:
        """Time passes, and what falls due is done."""
        self.clock.set(moment)
        self.bench.tick()

    def advance(self, **by: float) -> None:
        self.go_to(self.clock.now() + timedelta(**by))

    def states(self, session_id: str) -> dict[str, str]:
        """The latest state of each person in a session."""
        rows = self.bench.read(
            lambda c: c.execute(
                sa.select(store.sign_up.c.person_id, store.sign_up.c.state)
                .where(store.sign_up.c.session_id == session_id)
                .order_by(store.sign_up.c.entered_at, store.sign_up.c.id)
            ).all()
        )
        return {row.person_id: row.state for row in rows}

    def sign_ups(self, session_id: str) -> list[store.SignUp]:
        """All sign-ups of a session, in the order of entry."""
        rows = self.bench.read(
            lambda c: c.execute(
                sa.select(store.sign_up)
                .where(store.sign_up.c.session_id == session_id)
                .order_by(store.sign_up.c.entered_at, store.sign_up.c.id)
            ).all()
        )
        return [store.sign_up_of(row) for row in rows]

    def faults(self) -> list[str]:
        """What the checks of `verify` name."""
        return [str(fault) for check in CHECKS for fault in self.bench.read(check.run)]


store_url = store_of(SERVICE.package, SERVICE.metadata)


@pytest.fixture
def make_world(clock: FixedClock, ids: SequenceIds) -> Iterator[Callable[[str], World]]:
    made: list[World] = []

    def make(url: str) -> World:
        made.append(World(url, clock, ids))
        return made[-1]

    yield make
    for world in made:
        world.bench.close()


@pytest.fixture
def world(store_url: str, make_world: Callable[[str], World]) -> World:
    """The centre on each engine, with nothing in it."""
    return make_world(store_url)


def _seen(person_id: str, household_id: str, centre_id: str) -> dict[str, Any]:
    given, family = person_id.title(), "Rossi"
    return {
        "person_id": person_id,
        "household_id": household_id,
        "centre_id": centre_id,
        "given_name": given,
        "family_name": family,
        "family_key": store.name_key(f"{family} {given}"),
        "given_key": store.name_key(f"{given} {family}"),
        "birth_date": date(2016, 5, 1),
        "revision": 1,
        "erased": False,
    }


class Web:
    """The running application with two centres and some households; ways to sign in."""

    def __init__(self, client: Client, clock: FixedClock) -> None:
        self.client = client
        self.clock = clock

    async def prepare(self) -> None:
        def rows(tx: Transaction) -> None:
            for household_id, centre_id, people in (
                ("h1", CENTRE, ("ada", "ida")),
                ("h2", CENTRE, ("bruno",)),
                ("h3", CENTRE, ("carla",)),
                ("far", "centre-2", ("lontano",)),
            ):
                tx.connection.execute(
                    sa.insert(store.household_seen).values(
                        household_id=household_id,
                        centre_id=centre_id,
                        holder_id=people[0],
                        erased=False,
                        changed_at=tx.now,
                    )
                )
                for person_id in people:
                    tx.connection.execute(
                        sa.insert(store.person_seen).values(
                            _seen(person_id, household_id, centre_id)
                        )
                    )

        await self.client.run(rows)

    def as_(self, *roles: Role, centre: str = CENTRE, **more: Any) -> Client:
        return self.client.sign_in(token(*roles, centre=centre, **more))

    def staff(self) -> Client:
        return self.as_(Role.EDUCATOR)

    def family(self, household_id: str = "h1") -> Client:
        return self.as_(Role.FAMILY, household=household_id, account=f"account-{household_id}")

    async def activity(self, **more: Any) -> str:
        body = {"title": "Spazio compiti", "default_capacity": 2} | more
        made = await self.staff().post("/activities/api/activities", json=body)
        assert made.status_code == 201, made.text
        return str(made.json()["id"])

    async def session(
        self, capacity: int = 2, starts_in: timedelta = timedelta(days=7), **activity: Any
    ) -> str:
        activity_id = await self.activity(**activity)
        starts_at = self.clock.now() + starts_in
        made = await self.client.post(
            f"/activities/api/activities/{activity_id}/sessions",
            json={
                "starts_at": starts_at.isoformat(),
                "ends_at": (starts_at + timedelta(hours=2)).isoformat(),
                "capacity": capacity,
                "place": "Sala grande",
            },
        )
        assert made.status_code == 201, made.text
        return str(made.json()["id"])

    async def sign_up(self, session_id: str, *person_ids: str, **more: Any) -> list[Any]:
        made = await self.staff().post(
            f"/activities/api/sessions/{session_id}/sign-ups",
            json={"person_ids": person_ids, **more},
        )
        assert made.status_code == 201, made.text
        return list(made.json()["sign_ups"])

    async def see(self, session_id: str) -> Any:
        return (await self.staff().get(f"/activities/api/sessions/{session_id}")).json()


@pytest.fixture
async def web(tmp_path: Path, clock: FixedClock) -> AsyncIterator[Web]:
    """The application on SQLite; the rules are tried on both engines without it."""
    url = f"sqlite:///{tmp_path / 'web.db'}"
    async with Client(SERVICE, url, clock=clock) as client:
        made = Web(client, clock)
        await made.prepare()
        yield made
