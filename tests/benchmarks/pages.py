"""(i) Time of the server for a page, with 100,000 households.

All six services with grown stores (100,000 households with a person, a card, an account and words
to be found by; a tenth of the entries and sales of (h); 2,000 sessions with 20 sign-ups each,
500,000 messages, 50,000 needs and referrals), served as in the house, on SQLite and PostgreSQL.
Each page is asked for forty times, one after the other over a kept-open connection, of other
households, sales and words each time; the time is what the asker waits, so the way there and back
is in it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import ExitStack

from activities.app import SERVICE as ACTIVITIES
from benchmarks import facts, grown, grown_more
from benchmarks.figures import Figure, at_most, percentile
from benchmarks.place import Place
from benchmarks.served import Line, served
from cards.app import SERVICE as CARDS
from identity.app import SERVICE as IDENTITY
from messaging import Service
from network.app import SERVICE as NETWORK
from notifications.app import SERVICE as NOTIFICATIONS
from solidarity_shop.app import SERVICE as SHOP
from web.roles import Role
from web.testing import token

TIMES = 40
LIMIT = 50.0

FAMILY = "a family's "
"""So begin the names of pages that a family asks for."""

Paths = dict[str, Callable[[random.Random, grown.Size], str]]


def _home(dice: random.Random, size: grown.Size) -> str:
    return facts.household(dice.randrange(size.households))


def _sale(dice: random.Random, size: grown.Size) -> str:
    return f"grown-{dice.randrange(size.sales):012d}"


CARDS_PAGES: Paths = {
    "desk": lambda _d, _s: "/cards/desk",
    "search by family name": lambda d, _s: (
        f"/cards/households?q=famiglia{d.randrange(grown.FAMILY_NAMES):04d}"
    ),
    "search by the beginning of many names": lambda _d, _s: "/cards/households?q=famiglia",
    "search by two words": lambda d, _s: (
        f"/cards/households?q=nome{d.randrange(grown.GIVEN_NAMES):02d}+famiglia"
    ),
    "search by card number": lambda d, s: (
        f"/cards/households?q={facts.card_number(d.randrange(s.households))}"
    ),
    "list of households": lambda _d, _s: "/cards/households",
    "household": lambda d, s: f"/cards/households/{_home(d, s)}",
    "change of a household": lambda d, s: f"/cards/households/{_home(d, s)}/change",
    "earning rules": lambda _d, _s: "/cards/rules",
    "uncovered points": lambda _d, _s: "/cards/uncovered",
    "what needs me today": lambda _d, _s: "/cards/overview",
    f"{FAMILY}points": lambda _d, _s: "/cards/me",
    "list of households by API": lambda _d, _s: "/cards/api/households?limit=50",
    "entries of a household by API": lambda d, s: (
        f"/cards/api/households/{_home(d, s)}/points/entries"
    ),
    "metrics": lambda _d, _s: "/metrics",
}
SHOP_PAGES: Paths = {
    "tills": lambda _d, _s: "/shop/till",
    "till": lambda _d, _s: f"/shop/till/{facts.TILL}",
    "sales of a till": lambda _d, _s: f"/shop/till/{facts.TILL}/sales",
    "sale": lambda d, s: f"/shop/sales/{_sale(d, s)}",
    "receipt": lambda d, s: f"/shop/sales/{_sale(d, s)}/receipt",
    "closing of the day": lambda _d, _s: f"/shop/till/{facts.TILL}/closing",
    "products": lambda _d, _s: "/shop/products",
    "product": lambda d, _s: f"/shop/products/{facts.product(d.randrange(facts.PRODUCTS))}",
    "producers": lambda _d, _s: "/shop/producers",
    "value of a point": lambda _d, _s: "/shop/point-value",
    "sales of the centre by API": lambda _d, _s: "/shop/api/sales?limit=50",
    "metrics": lambda _d, _s: "/metrics",
}


def _session(dice: random.Random, _size: grown.Size) -> str:
    return grown_more.session(dice.randrange(grown_more.SESSIONS))


def _referral(dice: random.Random, size: grown.Size) -> str:
    return grown_more.referral(dice.randrange(size.households // 2))


ACTIVITIES_PAGES: Paths = {
    "coming sessions": lambda _d, _s: "/activities/",
    "registers of today": lambda _d, _s: "/activities/today",
    "registers not taken": lambda _d, _s: "/activities/registers",
    "activities": lambda _d, _s: "/activities/activities",
    "activity": lambda d, _s: f"/activities/activities/activity-{d.randrange(20):03}",
    "session": lambda d, s: f"/activities/sessions/{_session(d, s)}",
    "register": lambda d, s: f"/activities/sessions/{_session(d, s)}/register",
    "sign-ups of a household": lambda d, s: f"/activities/households/{_home(d, s)}",
    f"{FAMILY}activities": lambda _d, _s: "/activities/",
    f"{FAMILY}session": lambda d, s: f"/activities/sessions/{_session(d, s)}",
    "wall": lambda _d, _s: f"/activities/wall/{facts.CENTRE}",
    "metrics": lambda _d, _s: "/metrics",
}
NOTIFICATIONS_PAGES: Paths = {
    "messages": lambda _d, _s: "/notifications/messages",
    "failed messages": lambda _d, _s: "/notifications/messages?state=permanent_failure",
    "message": lambda d, s: (
        f"/notifications/messages/{grown_more.message(d.randrange(5 * s.households))}"
    ),
    f"{FAMILY}inbox": lambda _d, _s: "/notifications/inbox",
    "calls to be made": lambda _d, _s: "/notifications/calls",
    "metrics": lambda _d, _s: "/metrics",
}
NETWORK_PAGES: Paths = {
    "referrals": lambda _d, _s: "/network/referrals",
    "referral": lambda d, s: f"/network/referrals/{_referral(d, s)}",
    "new referral": lambda d, s: f"/network/referrals/new?household={_home(d, s)}",
    "needs by zone": lambda _d, _s: "/network/needs",
    "organisations": lambda _d, _s: "/network/organisations",
    "organisation": lambda d, _s: (
        f"/network/organisations/{grown_more.organisation(d.randrange(60))}"
    ),
    "who looked": lambda _d, _s: "/network/audit",
    "metrics": lambda _d, _s: "/metrics",
}
IDENTITY_PAGES: Paths = {
    "home": lambda _d, _s: "/identity/",
    "accounts": lambda _d, _s: "/identity/accounts",
    "account": lambda d, s: f"/identity/accounts/{grown_more.account(d.randrange(s.households))}",
    "public home": lambda _d, _s: "/identity/welcome",
    "metrics": lambda _d, _s: "/metrics",
}


async def run(place: Place) -> list[Figure]:
    """The slowest pages of each service, engine by engine."""
    size = grown.Size(place.size(100_000), place.size(500_000), place.size(100_000))
    for engine in place.engines:
        for service, fill, paths in (
            (CARDS, grown.fill_cards, CARDS_PAGES),
            (SHOP, grown.fill_shop, SHOP_PAGES),
            (ACTIVITIES, grown_more.fill_activities, ACTIVITIES_PAGES),
            (NOTIFICATIONS, grown_more.fill_notifications, NOTIFICATIONS_PAGES),
            (NETWORK, grown_more.fill_network, NETWORK_PAGES),
            (IDENTITY, grown_more.fill_identity, IDENTITY_PAGES),
        ):
            place.figures.append(await _pages(place, engine, service, fill, paths, size))
    return place.figures


async def _pages(
    place: Place,
    engine: str,
    service: Service,
    fill: Callable[[str, grown.Size], None],
    paths: Paths,
    size: grown.Size,
) -> Figure:
    url = place.new_store(service, engine)
    fill(url, size)
    found: dict[str, float] = {}
    key = place.folder / "identity.key"
    key.write_text("0123456789abcdef" * 4, encoding="ascii")
    extra = {"VICINATO_IDENTITY_KEY_FILE": str(key)} if service is IDENTITY else {}
    with ExitStack() as stack:
        one = stack.enter_context(served(service.name, url, None, extra=extra))
        roles = (Role.COORDINATOR, Role.RECEPTION, Role.TILL, Role.EDUCATOR, Role.CASE_WORKER)
        credential = token(*roles, centre=facts.CENTRE, zone="Europe/Rome", language="it")
        line = Line(one.port, cookie=f"token={credential}")
        by_bearer = Line(one.port, credential)
        household = facts.household(7)
        family = token(Role.FAMILY, centre=facts.CENTRE, household=household, language="ar")
        of_family = Line(one.port, cookie=f"token={family}")
        dice = random.Random(5)
        for name, path_of in paths.items():
            times = []
            for turn in range(TIMES + 3):
                path = path_of(dice, size)
                begun = time.perf_counter()
                asker = of_family if name.startswith(FAMILY) else line
                asker = by_bearer if "/api/" in path else asker
                status, answer = await asker.ask("GET", path)
                if status != 200:
                    raise RuntimeError(f"{path}: {status} {answer[:200]!r}")
                if turn >= 3:
                    times.append(time.perf_counter() - begun)
            found[name] = percentile(times, 0.95) * 1000
        line.close()
        by_bearer.close()
        of_family.close()
    place.drop(url)
    slowest = max(found, key=found.__getitem__)
    return at_most(
        f"{engine}, {service.name}, {size.households:,} households: slowest page ({slowest}), p95",
        found[slowest],
        "ms",
        LIMIT,
        p95_ms={name: round(value, 1) for name, value in sorted(found.items())},
    )
