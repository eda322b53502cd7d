"""The links of the header say where one is, on every page of a section."""

from __future__ import annotations

import pytest

from web.navigation import links
from web.roles import Caller, Role


def here(path: str, *roles: Role) -> list[str]:
    caller = Caller(account_id="a", session_id="s", roles=frozenset(roles), centre_id="c")
    return [link.path for link in links(caller, path, "/cards") if link.here]


@pytest.mark.parametrize(
    ("path", "role", "expected"),
    [
        ("/identity/", Role.TILL, "/identity/"),
        ("/identity/account/tokens", Role.TILL, "/identity/"),
        ("/identity/accounts/new", Role.RECEPTION, "/identity/accounts"),
        ("/shop/till/t1/closing", Role.TILL, "/shop/till"),
        ("/shop/products/p1/edit", Role.TILL, "/shop/till"),
        ("/shop/producer", Role.PRODUCER, "/shop/producer"),
        ("/cards/households/h1/change", Role.RECEPTION, "/cards/desk"),
        ("/cards/households/h1", Role.COORDINATOR, "/cards/desk"),
        ("/cards/overview", Role.COORDINATOR, "/cards/overview"),
        ("/cards/set-aside/e1", Role.COORDINATOR, "/cards/set-aside"),
        ("/cards/me/card", Role.FAMILY, "/cards/me"),
        ("/activities/sessions/s1", Role.EDUCATOR, "/activities/"),
        ("/activities/today", Role.EDUCATOR, "/activities/today"),
        ("/notifications/calls", Role.RECEPTION, "/notifications/inbox"),
        ("/network/organisations/o1", Role.PARTNER, "/network/referrals"),
    ],
)
def test_one_link_is_here(path: str, role: Role, expected: str) -> None:
    assert here(path, role) == [expected]


def test_a_page_of_no_section_is_nowhere() -> None:
    assert here("/network/needs", Role.EDUCATOR) == []
    assert links(Caller(), "/shop/till", "/shop") == []


def test_the_link_that_is_here_is_among_the_first() -> None:
    caller = Caller(account_id="a", session_id="s", roles=frozenset({Role.COORDINATOR}))
    first = [link.path for link in links(caller, "/network/needs", "/network") if link.first]
    assert len(first) == 5
    assert first[-1] == "/network/referrals"
