"""Where one can go: the one table of the header's links. A new page of its own gets a row here."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.refusals import N_
from web.roles import LEADS, Caller, Role


@dataclass(frozen=True)
class Item:
    """A link of the header: shown to callers with one of ``roles`` (everybody when empty)."""

    path: str
    label: str
    roles: frozenset[Role] = frozenset()


def _item(path: str, label: str, *roles: Role) -> Item:
    return Item(path, label, frozenset(roles))


ITEMS = (
    _item("/identity/", N_("Home")),
    _item("/shop/till", N_("Till"), Role.TILL, *LEADS),
    _item("/cards/desk", N_("Desk"), Role.RECEPTION, *LEADS),
    _item("/cards/me", N_("My points"), Role.FAMILY),
    _item("/shop/producer", N_("My sales"), Role.PRODUCER),
    _item("/activities/", N_("Activities"), Role.RECEPTION, Role.EDUCATOR, Role.FAMILY, *LEADS),
    _item("/activities/today", N_("Attendance register"), Role.EDUCATOR, *LEADS),
    _item("/notifications/inbox", N_("Messages")),
    _item("/network/referrals", N_("Referrals"), Role.CASE_WORKER, Role.PARTNER, *LEADS),
    _item("/identity/accounts", N_("Accounts"), Role.RECEPTION, *LEADS),
)


@dataclass(frozen=True)
class Link:
    path: str
    label: str
    here: bool


def links(caller: Caller, path: str, prefix: str) -> list[Link]:
    """The links of a caller, in the table's order; the longest that fits ``path`` is ``here``."""
    if not caller.signed_in:
        return []
    shown = [item for item in ITEMS if not item.roles or caller.roles & item.roles]
    if caller.has(*LEADS):
        shown.append(_item(f"{prefix}/set-aside", N_("Events set aside")))
        shown.append(_item(f"{prefix}/machine", N_("The machine")))
    fitting = [item.path for item in shown if _within(path, item.path)]
    best = max(fitting, key=len, default="")
    return [Link(item.path, item.label, item.path == best) for item in shown]


def _within(path: str, item: str) -> bool:
    return path == item or path.startswith(item.rstrip("/") + "/")
