"""The coordinator's page: what needs me today, and how the quarter goes."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from cards import overview
from cards.overview import Quarter
from cards.pages.common import Leading
from web import charts, formats
from web.call import Call

router = APIRouter(prefix="/cards")


@router.get("/overview")
async def page(call: Leading) -> Response:
    """Counts and links; who it is about stands behind them."""
    now, centre = call.parts.clock.now(), call.centre
    waiting = await call.query(lambda c: overview.waiting(c, centre, now, call.zone))
    today = now.astimezone(call.zone).date()
    quarter = await call.query(lambda c: overview.quarter(c, centre, today))
    return call.render(
        "overview.html",
        waiting=waiting,
        drawings=_drawings(call, quarter),
        counted=any(any(values) for values in quarter.figures.values()),
    )


def _drawings(call: Call, quarter: Quarter) -> list[charts.Chart]:
    say, to = call.say, call.to
    labels = [formats.day_month(to, week) for week in quarter.weeks]
    nothing = [0] * len(quarter.weeks)

    def line(
        title: str, *series: tuple[str, str], shown: charts.Shown | None = None
    ) -> charts.Chart:
        return charts.line(
            to,
            title,
            (say("Week of"),),
            labels,
            {name: quarter.figures.get(kind, nothing) for kind, name in series},
            shown=shown,
        )

    return [
        line(say("Households welcomed"), ("households", say("Households"))),
        line(
            say("Sales of the shop"),
            ("sales_cents", say("Sold for")),
            shown=lambda cents: formats.money(to, cents),
        ),
        line(
            say("Points"),
            ("points_in", say("Credited")),
            ("points_out", say("Spent")),
        ),
        line(say("Attendances"), ("present", say("Present"))),
        line(
            say("Referrals"),
            ("referrals", say("Sent")),
            ("referrals_done", say("Closed with an outcome")),
        ),
    ]
