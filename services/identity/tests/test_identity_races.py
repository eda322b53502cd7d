"""Accounts made beside the erasure of their household, by two connections of PostgreSQL: whoever
comes second sees what the first has done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from contracts.cards import HouseholdErased
from contracts.identity import Role
from identity import store
from identity.app import SERVICE
from identity.commands import accounts
from identity.commands.accounts import Change
from identity.domain.accounts import HOUSE
from messaging import Transaction
from messaging.testing import Bench, Beside
from runtime.clock import FixedClock
from runtime.ids import SequenceIds
from runtime.refusals import Invalid
from runtime.testing import fresh_store

from .identity_house import ANNA, NORTH, all_checks, bench_on, somebody

CARLO = "carlo@example.org"


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with fresh_store("postgresql", SERVICE.package, SERVICE.metadata, tmp_path) as made:
        yield made


@pytest.fixture
def bench(url: str, clock: FixedClock, ids: SequenceIds) -> Iterator[Bench]:
    """With the family of another household."""
    with bench_on(url, clock, ids) as made:
        made.run(lambda tx: somebody(tx, CARLO, Role.FAMILY, household="h-2"))
        made.deliver(erased(made, "h-4"))
        yield made


@pytest.fixture
def replica(bench: Bench, url: str, clock: FixedClock) -> Iterator[Bench]:
    """A second process on the same store, which is asked; the first one hears."""
    with Bench(SERVICE, url, clock=clock, ids=SequenceIds(10_000_000)) as made:
        yield made


def erased(bench: Bench, household: str = "h-1") -> HouseholdErased:
    return HouseholdErased(household_id=household, centre_id=NORTH, erased_at=bench.clock.now())


def _new(tx: Transaction) -> None:
    somebody(tx, ANNA, Role.FAMILY, household="h-1")


def _moved(tx: Transaction) -> None:
    of_carlo = store.accounts_of_household(tx.connection, "h-2")[0]
    accounts.change_account(tx, HOUSE, of_carlo, Change(household_id="h-1"))


MADE = pytest.mark.parametrize(("make", "left"), [(_new, {CARLO}), (_moved, set())])
REFUSED = pytest.mark.parametrize("make", [_new, _moved])


def addresses(bench: Bench) -> set[str | None]:
    return set(bench.read(lambda c: c.scalars(sa.select(store.account.c.email)).all()))


@MADE
def test_an_account_that_is_made_beside_the_erasure_is_forgotten(
    bench: Bench, replica: Bench, make: Callable[[Transaction], None], left: set[str]
) -> None:
    other = Beside(bench, lambda: bench.deliver(erased(bench)))

    def work(tx: Transaction) -> None:
        make(tx)
        other.begin()

    replica.run(work)
    other.result()
    assert addresses(bench) == left
    assert all_checks(bench) == []


@REFUSED
def test_an_account_that_is_asked_for_while_the_erasure_is_written_is_refused(
    bench: Bench,
    replica: Bench,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Transaction], None],
) -> None:
    other = Beside(bench, lambda: replica.run(make))

    def write(work: Callable[[sa.Connection], Any]) -> Any:
        def whole(connection: sa.Connection) -> Any:
            outcome = work(connection)
            other.begin()
            return outcome

        return bench.store.write_now(whole)

    monkeypatch.setattr(bench, "_write", write)
    bench.deliver(erased(bench), twice=False)
    with pytest.raises(Invalid, match=r"household\.erased"):
        other.result()
    assert addresses(bench) == {CARLO}
    assert all_checks(bench) == []
