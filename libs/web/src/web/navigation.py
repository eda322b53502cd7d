"""Where one can go: the one table of the header's links. A new page of its own gets a row here."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.refusals import N_
from web.roles import LEADS, Caller, Role


@dataclass(frozen=True)
class Item:
    """A link of the header: shown to callers with one of ``roles`` (everybody when empty).

    ``sign`` is its icon; ``keeping`` puts it at the foot of the page. All pages under ``section``
    belong to it, unless another link is nearer.
    """

    path: str
    label: str
    sign: str
    roles: frozenset[Role] = frozenset()
    keeping: bool = False
    section: str = ""

    def fits(self, path: str) -> int:
        """How near it is to a page: the length of what both begin with, 0 for none."""
        return max(len(way) if _within(path, way) else 0 for way in (self.path, self.section))


def _item(path: str, label: str, sign: str, *roles: Role, section: str = "") -> Item:
    return Item(path, label, sign, frozenset(roles), section=section)


ITEMS = (
    _item("/identity/", N_("Home"), "home"),
    _item("/cards/overview", N_("The centre today"), "chart", *LEADS),
    _item("/shop/till", N_("Till"), "till", Role.TILL, *LEADS, section="/shop/"),
    _item("/cards/desk", N_("Desk"), "desk", Role.RECEPTION, *LEADS, section="/cards/"),
    _item("/cards/me", N_("My points"), "points", Role.FAMILY),
    _item("/shop/producer", N_("My sales"), "sales", Role.PRODUCER),
    _item(
        "/activities/",
        N_("Activities"),
        "activities",
        Role.RECEPTION,
        Role.EDUCATOR,
        Role.FAMILY,
        *LEADS,
    ),
    _item("/activities/today", N_("Attendance register"), "register", Role.EDUCATOR, *LEADS),
    _item("/notifications/inbox", N_("Messages"), "messages", section="/notifications/"),
    _item(
        "/network/referrals",
        N_("Referrals"),
        "referrals",
        Role.CASE_WORKER,
        Role.PARTNER,
        *LEADS,
        section="/network/",
    ),
    _item("/identity/accounts", N_("Accounts"), "people", Role.RECEPTION, *LEADS),
)


FIRST = 5
"""Links in the bar at a phone's lower edge; the home page, one of them, has them all."""


@dataclass(frozen=True)
class Link:
    path: str
    label: str
    sign: str
    here: bool
    first: bool
    keeping: bool


def links(caller: Caller, path: str, prefix: str) -> list[Link]:
    """The links of a caller, in the table's order; the nearest to ``path`` is ``here``.

    ``first`` are the first few, and always the one that is here.
    """
    if not caller.signed_in:
        return []
    shown = [item for item in ITEMS if not item.roles or caller.roles & item.roles]
    ways = len(shown)
    if caller.has(*LEADS):
        shown.append(Item(f"{prefix}/set-aside", N_("Events set aside"), "aside", keeping=True))
        shown.append(Item(f"{prefix}/machine", N_("The machine"), "machine", keeping=True))
    nearest = max(shown, key=lambda item: item.fits(path))
    best = nearest if nearest.fits(path) else None
    at = shown.index(best) if best in shown[:ways] else 0
    first = set(range(min(ways, FIRST))) if at < FIRST else {*range(FIRST - 1), at}
    return [
        Link(item.path, item.label, item.sign, item is best, at in first, item.keeping)
        for at, item in enumerate(shown)
    ]


def _within(path: str, item: str) -> bool:
    return bool(item) and (path == item or path.startswith(item.rstrip("/") + "/"))
