"""What clients do: sales, refunds, credits, sign-ups, registers and referrals, as they come.

Arrivals are Poisson: they do not wait for answers. What belongs to one register or one referral is
asked in order, as one volunteer would; all else falls as it falls on few households.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from chaos.centre import Centre
from chaos.client import Client

AT_ONCE = 60
"""Requests that are on their way at most: a queue at the till that is longer goes home."""


class Load:
    """Goes on until it is told to stop; then every client gets its answer."""

    def __init__(self, client: Client, centre: Centre, rate: float, seed: int) -> None:
        self._client = client
        self._centre = centre
        self._rate = rate
        self._chance = random.Random(seed)
        self._running: set[asyncio.Task[None]] = set()
        self._arrivals: asyncio.Task[None] | None = None
        self._sold: list[tuple[str, str]] = []
        self._signed_up: list[str] = []
        self._referrals: list[str] = []
        self._locks: dict[str, asyncio.Lock] = {}
        self.failures: list[BaseException] = []
        self.count = 0
        self._does: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (30, self._sell_for_cash),
            (14, self._sell_for_points),
            (14, self._sell_for_both),
            (8, self._refund),
            (6, self._give_points),
            (10, self._sign_up),
            (4, self._cancel_sign_up),
            (6, self._take_register),
            (8, self._refer),
        ]

    def start(self) -> None:
        self._arrivals = asyncio.create_task(self._arrive())

    async def stop(self) -> None:
        """No new requests; those that are on their way get their answer."""
        if self._arrivals is not None:
            self._arrivals.cancel()
            await asyncio.wait({self._arrivals})
            self._arrivals = None
        if self._running:
            await asyncio.wait(set(self._running))

    async def _arrive(self) -> None:
        while True:
            await asyncio.sleep(self._chance.expovariate(self._rate))
            if len(self._running) >= AT_ONCE:
                continue
            weights = [weight for weight, _ in self._does]
            act = self._chance.choices([act for _, act in self._does], weights)[0]
            self.count += 1
            task = asyncio.ensure_future(act())
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failures.append(error)

    def _id(self) -> str:
        return str(uuid.UUID(int=self._chance.getrandbits(128), version=4))

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    # the shop

    async def _sell_for_cash(self) -> None:
        await self._sell(points_of=lambda _total: 0)

    async def _sell_for_points(self) -> None:
        await self._sell(points_of=lambda total: total // 10)

    async def _sell_for_both(self) -> None:
        await self._sell(points_of=lambda total: self._chance.randint(1, total // 10))

    async def _sell(self, *, points_of: Callable[[int], int]) -> None:
        chance, centre = self._chance, self._centre
        household = chance.choice(list(centre.households))
        product = chance.choice(list(centre.products))
        quantity = chance.randint(1, 2)
        total = centre.products[product] * quantity
        points = points_of(total)
        cash = total - 10 * points
        payments: list[dict[str, Any]] = []
        if cash:
            payments.append({"method": "cash", "amount_cents": cash})
        if points:
            payments.append({"method": "points", "points": points})
        sale = self._id()
        told = await self._client.ask(
            "sale",
            sale,
            "POST",
            f"/shop/api/tills/{centre.till}/sales",
            {
                "id": sale,
                "card": {"number": centre.households[household]},
                "lines": [{"product_id": product, "quantity": quantity}],
                "payments": payments,
            },
            by="till",
            household=household,
            product=product,
            quantity=quantity,
            cash=cash,
            points=points,
        )
        if told is not None:
            self._sold.append((sale, product))
            if points:
                await self._look_again(sale)

    async def _look_again(self, sale: str) -> None:
        """The till asks how a payment in points ended; what it is told must stay so."""
        for _ in range(5):
            await asyncio.sleep(0.3)
            seen = await self._client.get(f"/shop/api/sales/{sale}", by="till")
            if seen is not None and seen["state"] != "waiting_for_points":
                await self._client.record.keep("told", "sale-ended", sale, state=seen["state"])
                return

    async def _refund(self) -> None:
        if not self._sold:
            return
        sale, product = self._chance.choice(self._sold[-200:])
        refund = self._id()
        await self._client.ask(
            "refund",
            refund,
            "POST",
            f"/shop/api/sales/{sale}/refunds",
            {
                "id": refund,
                "lines": [{"product_id": product, "quantity": 1}],
                "reason": "difettoso",
            },
            by="till",
            sale=sale,
            product=product,
        )

    # cards

    async def _give_points(self) -> None:
        household = self._chance.choice(list(self._centre.households))
        op, points = self._id(), self._chance.randint(20, 60)
        await self._client.ask(
            "credit",
            op,
            "POST",
            f"/cards/api/households/{household}/points/adjustments",
            {"points": points, "reason": op},
            by="coordinator",
            household=household,
            points=points,
        )

    # activities

    async def _sign_up(self) -> None:
        session = self._chance.choice(self._centre.sessions)
        person = self._chance.choice(list(self._centre.people))
        told = await self._client.ask(
            "sign-up",
            self._id(),
            "POST",
            f"/activities/api/sessions/{session}/sign-ups",
            {"person_id": person},
            by="educator",
            session=session,
            person=person,
        )
        if told is not None:
            self._signed_up += [one["id"] for one in told["sign_ups"]]

    async def _cancel_sign_up(self) -> None:
        if not self._signed_up:
            return
        at = self._chance.randrange(len(self._signed_up))
        sign_up = self._signed_up.pop(at)
        await self._client.ask(
            "sign-up-cancelled",
            self._id(),
            "POST",
            f"/activities/api/sign-ups/{sign_up}/cancel",
            {},
            by="educator",
            sign_up=sign_up,
        )

    async def _take_register(self) -> None:
        session = self._chance.choice(self._centre.registers)
        people = self._chance.sample(sorted(self._centre.people), 8)
        entries = [{"person_id": p, "present": self._chance.random() < 0.7} for p in people]
        async with self._lock(session):
            await self._client.ask(
                "register",
                self._id(),
                "PUT",
                f"/activities/api/sessions/{session}/register",
                {"entries": entries},
                by="educator",
                session=session,
                present={entry["person_id"]: entry["present"] for entry in entries},
            )

    # the network

    async def _refer(self) -> None:
        """A new referral, or the next step of one."""
        if not self._referrals or self._chance.random() < 0.4:
            await self._ask_for_help()
            return
        referral = self._chance.choice(self._referrals)
        async with self._lock(referral):
            if referral not in self._referrals:
                return
            accepted = await self._client.ask(
                "referral",
                self._id(),
                "POST",
                f"/network/api/referrals/{referral}/accept",
                {},
                by="partner",
                referral=referral,
                to="accepted",
            )
            if accepted is None or self._chance.random() < 0.3:
                return
            done = await self._client.ask(
                "referral",
                self._id(),
                "POST",
                f"/network/api/referrals/{referral}/complete",
                {"outcome": "met"},
                by="partner",
                referral=referral,
                to="completed",
            )
            if done is not None:
                self._referrals.remove(referral)

    async def _ask_for_help(self) -> None:
        household = self._chance.choice(list(self._centre.households))
        referral = self._id()
        told = await self._client.ask(
            "referral",
            referral,
            "POST",
            "/network/api/referrals",
            {
                "id": referral,
                "household_id": household,
                "area": "elderly",
                "zone": "Satta",
                "to_organisation_id": self._centre.organisation,
            },
            by="case_worker",
            referral=referral,
            to="requested",
        )
        if told is not None:
            self._referrals.append(referral)
