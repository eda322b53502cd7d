"""A household is erased: its accounts go with address and name, on both engines."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from itertools import permutations

import pytest
import sqlalchemy as sa

from contracts.cards import HouseholdErased
from contracts.identity import AccountChanged, AccountErased, Role, SessionRevoked
from identity import recover, store
from identity.commands import accounts
from identity.commands.accounts import Change
from identity.domain.accounts import HOUSE
from messaging import Transaction
from messaging.testing import Bench
from runtime.clock import FixedClock
from runtime.refusals import Invalid

from .identity_house import ANNA, NORTH, all_checks, claims_of, received, signed_in, somebody

CARLO = "carlo@example.org"


def erased(bench: Bench, household: str = "h-1") -> HouseholdErased:
    return HouseholdErased(household_id=household, centre_id=NORTH, erased_at=bench.clock.now())


def _family(tx: Transaction, *, email: str, household: str) -> str:
    return somebody(tx, email, Role.FAMILY, household=household)


def addresses(bench: Bench) -> set[str | None]:
    return set(bench.read(lambda c: c.scalars(sa.select(store.account.c.email)).all()))


def test_a_family_account_goes_with_its_sessions(bench: Bench) -> None:
    family = bench.run(lambda tx: somebody(tx, ANNA, Role.FAMILY, household="h-1"))
    bench.run(lambda tx: somebody(tx, CARLO, Role.FAMILY, household="h-2"))
    session = claims_of(bench, signed_in(bench).token).sid
    bench.deliver(erased(bench))
    assert addresses(bench) == {CARLO}
    assert [e.account_id for e in bench.emitted(AccountErased)] == [family]
    assert [e.session_id for e in bench.emitted(SessionRevoked)] == [session]
    assert not bench.read(lambda c: c.execute(sa.select(store.session)).all())
    assert all_checks(bench) == []
    bench.deliver_own()
    bench.rebuild_equals()


def test_who_is_also_a_volunteer_stays_without_the_family(bench: Bench) -> None:
    both = bench.run(lambda tx: somebody(tx, ANNA, Role.FAMILY, Role.TILL, household="h-1"))
    signed_in(bench)
    bench.deliver(erased(bench))
    assert addresses(bench) == {ANNA}
    (changed,) = bench.emitted(AccountChanged)
    assert (changed.account_id, changed.roles, changed.household_id) == (both, (Role.TILL,), "")
    assert len(bench.emitted(SessionRevoked)) == 1, "its tokens said that it was of the family"
    assert bench.emitted(AccountErased) == []
    assert all_checks(bench) == []


def test_no_account_is_made_for_a_household_that_was_erased(bench: Bench) -> None:
    other = bench.run(lambda tx: somebody(tx, CARLO, Role.FAMILY, household="h-2"))
    bench.deliver(erased(bench))
    with pytest.raises(Invalid, match=r"household\.erased"):
        bench.run(lambda tx: somebody(tx, ANNA, Role.FAMILY, household="h-1"))
    change = Change(household_id="h-1")
    with pytest.raises(Invalid, match=r"household\.erased"):
        bench.run(lambda tx: accounts.change_account(tx, HOUSE, other, change))
    assert addresses(bench) == {CARLO}


def test_the_address_is_free_again(bench: Bench) -> None:
    bench.run(lambda tx: somebody(tx, ANNA, Role.FAMILY, household="h-1"))
    bench.deliver(erased(bench))
    bench.run(lambda tx: somebody(tx, ANNA, Role.FAMILY, household="h-3"))
    assert addresses(bench) == {ANNA}
    assert all_checks(bench) == []


def test_in_every_order_of_households_the_same_is_left(bench: Bench) -> None:
    for at, order in enumerate(permutations(("1", "2", "3"))):
        households = [f"h-{at}-{number}" for number in order]
        for name in sorted(households):
            address = f"{name}@example.org"
            bench.run(partial(_family, email=address, household=name))
        told = [bench.record(erased(bench, name)) for name in households]
        bench.settle([*told, *reversed(told)])
        assert addresses(bench) == set()
    assert len(bench.emitted(AccountErased)) == 18
    assert all_checks(bench) == []
    bench.deliver_own()
    bench.rebuild_equals()


def test_a_store_from_before_forgets_it_again(bench: Bench, clock: FixedClock) -> None:
    """It has the account of yesterday, and adopts that it was erased."""
    family = bench.run(lambda tx: somebody(tx, ANNA, Role.FAMILY, household="h-1"))
    signed_in(bench)
    gone = AccountErased(account_id=family, erased_at=clock.now() + timedelta(hours=1))
    bench.run(lambda tx: recover.account_erased(tx, received(gone, bench)))
    assert addresses(bench) == set()
    assert not bench.read(lambda c: c.execute(sa.select(store.session)).all())
