"""What the pages of the network have in common: who comes in, which words they show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends
from starlette.responses import HTMLResponse

from network import queries
from network.callers import EDITORS, LEADS, PARTIES, READERS, SENDERS, who
from network.domain.referral import ACTIONS, STATES
from network.domain.words import (
    AREAS,
    CANCEL_REASONS,
    CAPACITIES,
    OUTCOMES,
    REASONS,
    REJECT_REASONS,
)
from web import Call, Paging, Role, allow

Reads = Annotated[Call, Depends(allow(*READERS))]
Edits = Annotated[Call, Depends(allow(*EDITORS))]
SaysCapacity = Annotated[Call, Depends(allow(*EDITORS, Role.PARTNER))]
Leads = Annotated[Call, Depends(allow(*LEADS))]
Records = Annotated[Call, Depends(allow(*SENDERS, Role.EDUCATOR))]
Sends = Annotated[Call, Depends(allow(*SENDERS))]
Parties = Annotated[Call, Depends(allow(*PARTIES))]


def show(call: Call, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page of the network, with the words that its templates use."""

    def options(words: Mapping[str, str]) -> list[tuple[str, str]]:
        return [(str(code), call.say(label)) for code, label in words.items()]

    def word(words: Mapping[str, str], code: str) -> str:
        return call.say(words[code]) if code in words else code.replace("_", " ")

    return call.render(
        f"network/{template}",
        status,
        area=lambda code: word(AREAS, code),
        state=lambda code: word(STATES, code),
        act=lambda code: word(ACTIONS, code),
        reason=lambda code: word(REASONS, code),
        outcome=lambda code: word(OUTCOMES, code),
        capacity=lambda code: word(CAPACITIES, code),
        area_options=options(AREAS),
        capacity_options=options(CAPACITIES),
        outcome_options=options(OUTCOMES),
        reject_options=options({code: REASONS[code] for code in REJECT_REASONS}),
        cancel_options=options({code: REASONS[code] for code in CANCEL_REASONS}),
        me=who(call),
        may_edit=call.caller.has(*EDITORS),
        may_lead=call.caller.has(*LEADS),
        may_record=call.caller.has(*SENDERS, Role.EDUCATOR),
        is_party=call.caller.has(*PARTIES),
        **values,
    )


async def organisation_options(
    call: Call, *, area: str = "", zone: str = ""
) -> list[tuple[str, str]]:
    """Organisations to choose from, those that fit by area and zone, with their capacity."""
    page = await call.query(
        lambda c: queries.directory(c, Paging(limit=200), call.centre, area=area, zone=zone)
    )
    return [
        (
            line.id,
            " · ".join(
                (
                    line.name,
                    *(call.say(CAPACITIES[c]) for c in CAPACITIES if c in line.capacity),
                )
            ),
        )
        for line in page.items
    ]
