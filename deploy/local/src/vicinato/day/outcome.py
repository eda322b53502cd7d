"""The table at the end of a day: what came of it, asked of the public API."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from vicinato.day.centre import Centre


@dataclass
class Outcome:
    """What a day brought about."""

    sales: Counter[str] = field(default_factory=Counter)
    refunds: int = 0
    money_cents: int = 0
    points: Counter[str] = field(default_factory=Counter)
    places: Counter[str] = field(default_factory=Counter)
    present: int = 0
    absent: int = 0
    messages: Counter[str] = field(default_factory=Counter)
    mails: int = 0
    referrals: Counter[str] = field(default_factory=Counter)
    needs: int = 0
    slowest: tuple[str, float] = ("", 0.0)
    requests: int = 0


async def gather(centre: Centre, mails: int) -> Outcome:
    """Ask everything back through the HTTP API."""
    api, found = centre.api, Outcome(mails=mails)
    for till in centre.tills.values():
        for sale in await api.pages(f"/shop/api/tills/{till}/sales", by="coordinator"):
            found.sales[sale["state"]] += 1
            if sale["state"] == "completed":
                found.money_cents += sale["money_cents"]
            for refund in sale["refunds"]:
                found.refunds += 1
                found.money_cents -= refund["money_cents"]
    for household in centre.households.values():
        path = f"/cards/api/households/{household.id}/points"
        for entry in await api.pages(f"{path}/entries", by="coordinator"):
            found.points[_points(entry)] += abs(entry["points"])
        now = await api.get(path, by="coordinator")
        found.points["left"] += now["available"]
    for session in centre.sessions.values():
        seen = await api.get(f"/activities/api/sessions/{session}", by="educator")
        found.places.update(one["state"] for one in seen["sign_ups"])
        found.present += seen["register_present"]
        found.absent += seen["register_absent"]
    for message in await api.pages("/notifications/api/messages", by="coordinator"):
        found.messages[message["state"]] += 1
    for referral in await api.pages("/network/api/referrals", by="case_worker"):
        found.referrals[referral["state"]] += 1
    counts = await api.get("/network/api/needs/counts", by="case_worker")
    found.needs = counts["total"] or 0
    found.requests = sum(len(times) for times in api.took.values())
    slowest = {step: max(times) for step, times in api.took.items()}
    step = max(slowest, key=lambda s: slowest[s])
    found.slowest = (step, slowest[step])
    return found


def _points(entry: dict[str, Any]) -> str:
    if entry["kind"] == "expiry":
        return "expired"
    if entry["kind"] == "redemption":
        return "spent"
    return "credited" if entry["points"] >= 0 else "taken back"


def show(console: Console, found: Outcome, seconds: float) -> None:
    """The table."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    for name, what in (
        ("sales", _counted(found.sales) + f", {found.refunds} refunds"),
        ("money taken", f"{found.money_cents / 100:,.2f} €"),
        ("points", _counted(found.points)),
        ("places", _counted(found.places)),
        ("registers", f"{found.present} present, {found.absent} absent"),
        ("messages", _counted(found.messages)),
        ("e-mails received", f"{found.mails}"),
        ("referrals", _counted(found.referrals)),
        ("needs recorded", f"{found.needs}"),
        ("requests", f"{found.requests} in {seconds:.0f} s"),
        ("slowest step", f"{found.slowest[0]}, {found.slowest[1] * 1000:.0f} ms"),
    ):
        table.add_row(name, what)
    console.print(table)


def _counted(of: Counter[str]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in of.most_common())
