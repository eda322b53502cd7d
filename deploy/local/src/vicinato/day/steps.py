"""The day itself: sales, sign-ups, registers, referrals, and what time does to them.

Each row says what it expects where that matters; another result is noted like a wrong row.
"""

from __future__ import annotations

import asyncio
import time as clocks
import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime, time, timedelta
from typing import Any, Protocol

from vicinato.day import rows
from vicinato.day.centre import Centre, UnknownError, named
from vicinato.day.client import Refused
from vicinato.day.rows import Row

NAMESPACE = uuid.UUID("0f4f3f6e-5b1c-5d43-9c1b-6a0f2f7f6e11")
PATIENCE = 60.0
"""Seconds for what the house does by itself."""


class TookTooLongError(Exception):
    """The house did not do by itself what it should. One sentence."""


class Time(Protocol):
    """The clock of the stage, and the house coming to rest."""

    def now(self) -> datetime: ...

    def move_to(self, moment: datetime) -> None: ...

    async def quiet(self) -> None: ...


async def eventually(
    what: str, probe: Callable[[], Awaitable[bool]], within: float = PATIENCE
) -> None:
    """Wait until `probe` is true. Raises TookTooLongError."""
    deadline = clocks.monotonic() + within
    while not await probe():
        if clocks.monotonic() > deadline:
            raise TookTooLongError(f"after {within:.0f} s still not: {what}")
        await asyncio.sleep(0.2)


class Day:
    """One day (and the weeks that it casts its shadow on) of a centre that was set up."""

    def __init__(self, centre: Centre, clock: Time) -> None:
        self.centre = centre
        self.api = centre.api
        self.clock = clock
        self.cancelled: dict[str, list[str]] = {}

    async def play(self) -> None:
        """Everything in its order."""
        centre, clock = self.centre, self.clock
        await centre.open()
        await centre.register_households()
        await centre.fill_the_shop()
        await centre.plan_activities()
        await centre.join_organisations()
        await clock.quiet()
        await centre.hand_out_cards()
        await centre.give_points(clock.now())
        await clock.quiet()
        clock.move_to(centre.at(0, time(9, 30)))
        await self.sales()
        await self.refunds()
        await self.close_tills()
        clock.move_to(centre.at(0, time(15, 0)))
        await self.sign_ups()
        await self.needs()
        referrals = await self.ask_for_help()
        await clock.quiet()
        await self.answer_offers()
        await self.registers()
        clock.move_to(centre.at(7, time(9, 30)))
        await self.overdue(referrals)
        clock.move_to(centre.at(23, time(9, 30)))
        await self.expired(referrals)
        clock.move_to(centre.at(29, time(9, 30)))
        await self.points_expire()
        await clock.quiet()

    # the shop

    async def sales(self) -> None:
        """Sell what `sales.csv` says; then see how each payment in points ended."""
        waiting: list[tuple[Row[rows.SaleLine], str]] = []

        async def sell(row: Row[rows.SaleLine]) -> None:
            line = row.value
            sale_id = sale_of(line.sale)
            till = self.centre.tills.get(line.till, line.till)
            try:
                made = await self.centre.post(
                    f"/shop/api/tills/{till}/sales", self._basket(line, sale_id), row, by="till"
                )
            except Refused as refused:
                self._compare(row, line.expected, f"refused:{refused.reason}")
                return
            if made["state"] == "waiting_for_points":
                waiting.append((row, sale_id))
            else:
                self._compare(row, line.expected, made["state"])

        await self.centre.each(self.centre.given.read("sales.csv", rows.SaleLine), sell)
        for row, sale_id in waiting:
            sale = await self._ended(sale_id)
            reason = f":{sale['reason']}" if sale["reason"] else ""
            self._compare(row, row.value.expected, f"{sale['state']}{reason}")

    def _basket(self, line: rows.SaleLine, sale_id: str) -> dict[str, Any]:
        payments: list[dict[str, Any]] = []
        if line.cash:
            payments.append({"method": "cash", "amount_cents": line.cash})
        if line.points:
            payments.append({"method": "points", "points": line.points})
        card: dict[str, str] | None = None
        if line.card:
            household = self.centre.households.get(line.card)
            shown = household.cards[-1] if household and household.cards else None
            token = shown.token if shown else None
            number = shown.number if shown else line.card
            card = {"token": token} if token else {"number": number}
        products = self.centre.products
        return {
            "id": sale_id,
            "card": card,
            "lines": [
                {"product_id": products[ref], "quantity": quantity}
                if ref in products
                else {"barcode": ref, "quantity": quantity}
                for ref, quantity in line.lines
            ],
            "payments": payments,
        }

    async def _ended(self, sale_id: str) -> dict[str, Any]:
        found: dict[str, Any] = {}

        async def ended() -> bool:
            found.update(await self.api.get(f"/shop/api/sales/{sale_id}", by="till"))
            return str(found["state"]) != "waiting_for_points"

        await eventually(f"the points of sale {sale_id} are decided", ended)
        return found

    async def refunds(self) -> None:
        """Goods come back, of `refunds.csv`."""

        async def refund(row: Row[rows.RefundLine]) -> None:
            line = row.value
            body = {
                "id": str(uuid.uuid5(NAMESPACE, f"refund {row.line}")),
                "lines": [
                    {"product_id": named(self.centre.products, ref, "product"), "quantity": n}
                    for ref, n in line.lines
                ],
                "reason": line.reason,
                "goods_returned": line.goods_returned,
            }
            path = f"/shop/api/sales/{sale_of(line.sale)}/refunds"
            try:
                await self.centre.post(path, body, row, by="till")
            except Refused as refused:
                self._compare(row, line.expected, f"refused:{refused.reason}")
            else:
                self._compare(row, line.expected, "refunded")

        await self.centre.each(self.centre.given.read("refunds.csv", rows.RefundLine), refund)

    async def close_tills(self) -> None:
        """Count every till: what should be there is there."""
        for ref, till in self.centre.tills.items():
            takings = await self.api.get(f"/shop/api/tills/{till}/takings", by="till")
            await self.api.post(
                f"/shop/api/tills/{till}/closings",
                {"counted_cents": max(0, takings["money_cents"])},
                by="till",
                key=f"closing/{ref}",
            )

    # activities

    async def sign_ups(self) -> None:
        """Families sign up, over capacity; some can't come after all."""

        async def sign_up(row: Row[rows.SignUpLine]) -> None:
            line = row.value
            household = self.centre.household(line.household)
            session = named(self.centre.sessions, line.session, "session")
            people = [self.centre.person(household, name) for name in line.people.split("+")]
            made = await self.centre.post(
                f"/activities/api/sessions/{session}/sign-ups",
                {"person_ids": people, "together": line.together},
                row,
                by="educator",
            )
            if line.then == "cancel":
                ids = [one["id"] for one in made["sign_ups"]]
                self.cancelled.setdefault(line.session, []).extend(ids)

        await self.centre.each(self.centre.given.read("signups.csv", rows.SignUpLine), sign_up)
        for ids in self.cancelled.values():
            for one in ids:
                await self.api.post(
                    f"/activities/api/sign-ups/{one}/cancel", by="educator", key=f"cancel/{one}"
                )

    async def answer_offers(self) -> None:
        """Of the places that were offered some are taken, some left, some run out."""
        read = self.centre.given.read("offers.csv", rows.OfferLine)
        offered = {ref: await self._offered(ref) for ref in {row.value.session for row in read}}
        running_out: list[dict[str, Any]] = []

        async def answer(row: Row[rows.OfferLine]) -> None:
            line = row.value
            offers = offered[line.session]
            if line.nth > len(offers):
                raise UnknownError(f"{line.session} has {len(offers)} offers")
            one = offers[line.nth - 1]
            if line.answer == "run_out":
                running_out.append(one)
                return
            path = f"/activities/api/sign-ups/{one['id']}/{line.answer}"
            await self.centre.post(path, None, row, by="educator")

        await self.centre.each(read, answer)
        if running_out:
            last = max(datetime.fromisoformat(one["answer_by"]) for one in running_out)
            self.clock.move_to(last + timedelta(minutes=1))
            for one in running_out:
                await eventually("an offer runs out", lambda one=one: self._ran_out(one))  # type: ignore[misc]

    async def _offered(self, ref: str) -> list[dict[str, Any]]:
        session = named(self.centre.sessions, ref, "session")
        found = await self.api.get(f"/activities/api/sessions/{session}", by="educator")
        offers = [one for one in found["sign_ups"] if one["state"] == "offered"]
        return sorted(offers, key=lambda one: one["id"])

    async def _ran_out(self, offer: dict[str, Any]) -> bool:
        path = f"/activities/api/sessions/{offer['session_id']}"
        found = await self.api.get(path, by="educator")
        states = {one["id"]: one["state"] for one in found["sign_ups"]}
        return states.get(offer["id"]) != "offered"

    async def registers(self) -> None:
        """The registers of `registers.csv`, half an hour after each session began."""
        read = self.centre.given.read("registers.csv", rows.RegisterLine)

        async def take(row: Row[rows.RegisterLine]) -> None:
            line = row.value
            session = named(self.centre.sessions, line.session, "session")
            self.clock.move_to(self.centre.starts[line.session] + timedelta(minutes=30))
            path = f"/activities/api/sessions/{session}/register"
            register = await self.api.get(path, by="educator")
            expected = [e for e in register["entries"] if e["expected"]]
            entries = [
                {
                    "person_id": entry["person_id"],
                    "present": not line.absent_every or number % line.absent_every != 0,
                }
                for number, entry in enumerate(expected, 1)
            ]
            await self.api.send("PUT", path, by="educator", json={"entries": entries})

        chosen = [row for row in read if row.value.session in self.centre.starts]
        chosen.sort(key=lambda row: self.centre.starts[row.value.session])
        await self.centre.each(chosen, take)

    # the network

    async def needs(self) -> None:
        """Needs by zone and area of life."""

        async def record(row: Row[rows.NeedLine]) -> None:
            line = row.value
            household = self.centre.household(line.household).id if line.household else ""
            body = {"zone": line.zone, "area": line.area, "household_id": household}
            await self.centre.post("/network/api/needs", body, row, by="case_worker")

        await self.centre.each(self.centre.given.read("needs.csv", rows.NeedLine), record)

    async def ask_for_help(self) -> list[tuple[Row[rows.ReferralLine], str, list[str]]]:
        """Ask organisations; what they do at once is done. Returns the referrals that time will
        touch, with what is still to be done."""
        left: list[tuple[Row[rows.ReferralLine], str, list[str]]] = []

        async def ask(row: Row[rows.ReferralLine]) -> None:
            line = row.value
            body = {
                "household_id": self.centre.household(line.household).id,
                "area": line.area,
                "to_organisation_id": self.centre.organisations.get(
                    line.organisation, line.organisation
                ),
                "override_reason": line.override_reason,
            }
            first = line.then[0] if line.then else ""
            try:
                made = await self.centre.post("/network/api/referrals", body, row, by="case_worker")
            except Refused as refused:
                self._compare(row, first or "requested", f"refused:{refused.reason}")
                return
            rest = await self._act(row, made["id"], line.organisation, list(line.then))
            if rest:
                left.append((row, made["id"], rest))

        await self.centre.each(self.centre.given.read("referrals.csv", rows.ReferralLine), ask)
        return left

    async def _act(
        self, row: Row[rows.ReferralLine], referral: str, organisation: str, actions: list[str]
    ) -> list[str]:
        """Do actions in order until one that only time can do; returns it and those behind it."""
        while actions and actions[0] not in ("overdue", "expire"):
            action, _, what = actions.pop(0).partition(":")
            body: dict[str, str] = {}
            by = organisation
            if action in ("reject", "cancel"):
                body["reason"] = what
            if action in ("cancel", "reroute"):
                by = "case_worker"
            if action == "complete":
                body["outcome"] = what
            if action == "reroute":
                body["to_organisation_id"] = named(self.centre.organisations, what, "organisation")
                organisation = what
            await self.api.post(
                f"/network/api/referrals/{referral}/{action}",
                body,
                by=by,
                key=f"{row.file}:{row.line}/{len(actions)}",
            )
        return actions

    async def overdue(self, left: list[tuple[Row[rows.ReferralLine], str, list[str]]]) -> None:
        """Nobody answered in time: the centre sees it; some answer now."""
        for row, referral, actions in left:
            if actions[0] == "overdue":
                await eventually(
                    f"referral {row.value.referral} is overdue",
                    lambda referral=referral: self._is(referral, "overdue", True),  # type: ignore[misc]
                )
                actions[:] = await self._act(row, referral, row.value.organisation, actions[1:])

    async def expired(self, left: list[tuple[Row[rows.ReferralLine], str, list[str]]]) -> None:
        """Nobody answered at all: the referral expires."""
        for row, referral, actions in left:
            if actions and actions[0] == "expire":
                await eventually(
                    f"referral {row.value.referral} expires",
                    lambda referral=referral: self._is(referral, "state", "expired"),  # type: ignore[misc]
                )

    async def _is(self, referral: str, name: str, value: object) -> bool:
        found = await self.api.get(f"/network/api/referrals/{referral}", by="case_worker")
        return bool(found[name] == value)

    # time

    async def points_expire(self) -> None:
        """What was not spent in its time is lost."""

        async def none_is_late() -> bool:
            now = self.clock.now()
            for household in list(self.centre.households.values())[:5]:
                entries = await self.api.pages(
                    f"/cards/api/households/{household.id}/points/entries", by="coordinator"
                )
                due = any(
                    part["expires_at"] and datetime.fromisoformat(part["expires_at"]) <= now
                    for entry in entries
                    for part in entry["buckets"]
                )
                if due and not any(entry["kind"] == "expiry" for entry in entries):
                    return False
            return True

        await eventually("points whose time has come expire", none_is_late)

    def _compare(self, row: Row[Any], expected: str, found: str) -> None:
        if found != expected and not (expected == "refused" and found.startswith("refused:")):
            self.centre.given.note(row.file, row.line, f"expected {expected}, was {found}")


def sale_of(ref: str) -> str:
    """The id that the till of the example makes for a sale."""
    return str(uuid.uuid5(NAMESPACE, f"sale {ref}"))
