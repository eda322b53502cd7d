"""Somebody left a household, or another holds it: the old passwords of its accounts open nothing,
on both engines."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from contracts.cards import HouseholdChanged
from contracts.identity import AccountChanged, AccountErased, Role, SessionRevoked
from identity import recover, store
from identity.commands import accounts, sign_in
from identity.commands.accounts import Change
from identity.commands.sign_in import WrongSignIn
from identity.domain.accounts import Asker
from identity.hashing import matches
from messaging import Transaction
from messaging.testing import Bench
from runtime.clock import FixedClock
from web.testing import Client

from .identity_browser import ACCOUNTS, given_on, page_of, person, sign_in_elsewhere
from .identity_house import (
    ANNA,
    NORTH,
    PASSWORD,
    PASSWORD_HASH,
    all_checks,
    begin,
    claims_of,
    received,
    signed_in,
    somebody,
)

CARLO = "carlo@example.org"
DESK = Asker("desk-1", frozenset({Role.RECEPTION}), NORTH)


def changed(
    bench: Bench, household: str = "h-1", *, left: tuple[str, ...] = (), before: str = ""
) -> HouseholdChanged:
    return HouseholdChanged(
        household_id=household,
        centre_id=NORTH,
        holder_id="p-1",
        person_ids=("p-1", "p-2"),
        changed_at=bench.clock.now(),
        left_ids=left,
        holder_before=before,
    )


def family(bench: Bench, email: str = ANNA, household: str = "h-1") -> str:
    return bench.run(lambda tx: somebody(tx, email, Role.FAMILY, household=household))


def opens(bench: Bench, email: str = ANNA, password: str = PASSWORD) -> bool:
    """Whether this password is the one of the account."""
    stored = bench.read(
        lambda c: c.scalar(
            sa.select(store.account.c.password_hash).where(store.account.c.email == email)
        )
    )
    assert stored is not None
    return matches(stored, password)


@pytest.mark.parametrize(
    "told", [{"left": ("p-3",)}, {"before": "p-2"}, {"left": ("p-3",), "before": "p-3"}]
)
def test_the_password_that_they_knew_opens_nothing_any_more(
    bench: Bench, told: dict[str, Any]
) -> None:
    account = family(bench)
    family(bench, CARLO, "h-2")
    session = claims_of(bench, signed_in(bench).token).sid
    bench.clock.advance(timedelta(minutes=1))
    bench.deliver(changed(bench, **told))
    assert not opens(bench)
    assert [e.session_id for e in bench.emitted(SessionRevoked)] == [session]
    (ended,) = bench.emitted(AccountChanged)
    assert (ended.account_id, ended.password_ended, ended.disabled) == (account, True, False)
    assert (ended.roles, ended.household_id) == ((Role.FAMILY,), "h-1")
    assert opens(bench, CARLO), "another household"
    assert all_checks(bench) == []


def test_who_was_signing_in_at_that_moment_is_not_let_in(bench: Bench) -> None:
    family(bench)
    attempt = bench.run(begin())
    bench.deliver(changed(bench, left=("p-3",)))
    with pytest.raises(WrongSignIn):
        bench.run(lambda tx: sign_in.open_browser(tx, attempt))
    assert not bench.read(lambda c: c.execute(sa.select(store.session)).all())


def test_the_desk_writes_a_new_password_for_who_is_there(bench: Bench) -> None:
    account = family(bench)
    bench.deliver(changed(bench, before="p-2"))
    change = Change(password_hash=PASSWORD_HASH)
    bench.run(lambda tx: accounts.change_account(tx, DESK, account, change))
    assert opens(bench)
    signed_in(bench)
    assert all_checks(bench) == []


def test_what_takes_nobody_away_leaves_the_password(bench: Bench) -> None:
    family(bench)
    signed_in(bench)
    bench.deliver(changed(bench))
    assert opens(bench)
    assert bench.emitted(SessionRevoked) == []
    assert bench.emitted(AccountChanged) == []


def test_an_account_made_since_the_change_stays(bench: Bench) -> None:
    """Its event came late: the bus was away while the desk made her account."""
    family(bench, CARLO)
    late = changed(bench, left=("p-3",))
    bench.clock.advance(timedelta(minutes=1))
    family(bench, ANNA)
    bench.deliver(late)
    assert not opens(bench, CARLO)
    assert opens(bench, ANNA)


def test_who_also_works_in_the_house_works_on_without_the_family(bench: Bench) -> None:
    both = bench.run(lambda tx: somebody(tx, ANNA, Role.FAMILY, Role.TILL, household="h-1"))
    signed_in(bench)
    bench.deliver(changed(bench, left=("p-3",)))
    assert opens(bench)
    (told,) = bench.emitted(AccountChanged)
    assert (told.account_id, told.roles, told.household_id) == (both, (Role.TILL,), "")
    assert not told.password_ended
    assert len(bench.emitted(SessionRevoked)) == 1, "its tokens said that it was of the family"
    assert all_checks(bench) == []


def test_it_happens_once_however_often_it_is_told(bench: Bench) -> None:
    account = family(bench)
    told = [bench.record(changed(bench, left=("p-3",)))]
    bench.settle([*told, *told])
    change = Change(password_hash=PASSWORD_HASH)
    bench.run(lambda tx: accounts.change_account(tx, DESK, account, change))
    bench.settle(told)
    assert opens(bench), "it was written after the change"
    assert len(bench.emitted(AccountChanged)) == 1
    assert bench.emitted(AccountErased) == []
    bench.deliver_own()
    bench.rebuild_equals()


def test_a_store_from_before_does_not_bring_the_password_back(
    bench: Bench, clock: FixedClock
) -> None:
    """It has the password of yesterday, and adopts that it ended, then that roles were saved."""
    account = family(bench)

    def told(hours: int, *, ended: bool) -> AccountChanged:
        return AccountChanged(
            account_id=account,
            roles=(Role.FAMILY,),
            centre_id=NORTH,
            household_id="h-1",
            changed_at=clock.now() + timedelta(hours=hours),
            password_ended=ended,
        )

    def adopt(event: AccountChanged) -> None:
        def write(tx: Transaction) -> None:
            recover.account_changed(tx, received(event, bench))

        bench.run(write)

    adopt(told(1, ended=False))
    assert opens(bench)
    adopt(told(2, ended=True))
    adopt(told(3, ended=False))
    assert not opens(bench)


async def test_the_desk_sees_which_accounts_wait_for_a_new_password(client: Client) -> None:
    account = await person(client, CARLO, Role.FAMILY, household="h-1")
    await page_of(client, ANNA, Role.RECEPTION)
    now = client.clock.now()
    await client.run(lambda tx: accounts.hand_over_household(tx, "h-1", now))
    listed = await client.page(f"{ACCOUNTS}?household=h-1")
    assert "needs a new password" in listed
    page = await client.page(f"{ACCOUNTS}/{account}")
    assert "Nobody signs in with this account until you give a new first password." in page
    assert (await sign_in_elsewhere(client, CARLO)).status_code == 401
    given = given_on(await page.form("account").submit(anew="yes"))
    assert "Nobody signs in with this account" not in await client.page(f"{ACCOUNTS}/{account}")
    answer = await sign_in_elsewhere(client, CARLO, given)
    assert answer.headers["location"].startswith("/identity/first-password")
