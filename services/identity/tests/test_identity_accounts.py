"""Centres and accounts on both engines: what is changed, told and refused."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import sqlalchemy as sa

from contracts.identity import (
    AccountChanged,
    AccountCreated,
    CentreOpened,
    Role,
    SessionRevoked,
)
from identity import store
from identity.commands import accounts, centres
from identity.commands.accounts import Change
from identity.commands.centres import NewCentre
from identity.domain.accounts import HOUSE, Asker
from messaging import Transaction
from messaging.tables import auth_revoked
from messaging.testing import Bench
from runtime.refusals import Invalid, NotAllowed, NotFound, Refusal

from .identity_house import (
    ANNA,
    NORTH,
    PASSWORD_HASH,
    SOUTH,
    all_checks,
    signed_in,
    somebody,
)

# -- centres and accounts -------------------------------------------------------------------------


def test_a_centre_is_opened_once(bench: Bench) -> None:
    again = bench.run(
        lambda tx: centres.open_centre(tx, HOUSE, NewCentre("Centre of the north", id=NORTH))
    )
    assert again == NORTH
    assert [e.centre_id for e in bench.emitted(CentreOpened)] == [NORTH, SOUTH]
    with pytest.raises(Refusal, match=r"centre\.id_taken"):
        bench.run(lambda tx: centres.open_centre(tx, HOUSE, NewCentre("Another", id=NORTH)))


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (NewCentre(" "), "centre.without_name"),
        (NewCentre("x", id="not an id"), "centre.id_malformed"),
        (NewCentre("x", time_zone="Europe/Milano"), "centre.time_zone"),
        (NewCentre("x", languages=("it", "xx")), "centre.languages"),
        (NewCentre("x", languages=()), "centre.languages"),
    ],
)
def test_what_a_centre_cannot_be(bench: Bench, wanted: NewCentre, reason: str) -> None:
    with pytest.raises(Invalid) as refused:
        bench.run(lambda tx: centres.open_centre(tx, HOUSE, wanted))
    assert refused.value.reason == reason


def test_only_the_foundation_opens_centres(bench: Bench) -> None:
    for asker in (
        Asker("a", frozenset({Role.COORDINATOR}), NORTH),
        Asker("a", frozenset({Role.ADMINISTRATOR}), NORTH),
    ):
        with pytest.raises(NotAllowed, match=r"centre\.foundation_only"):
            bench.run(lambda tx, asker=asker: centres.open_centre(tx, asker, NewCentre("x")))


def test_an_account_is_told_without_its_address(bench: Bench) -> None:
    account_id = bench.run(lambda tx: somebody(tx, ANNA, Role.FAMILY, household="h-1"))
    (made,) = bench.emitted(AccountCreated)
    assert made == AccountCreated(
        account_id=account_id,
        roles=(Role.FAMILY,),
        centre_id=NORTH,
        household_id="h-1",
        created_at=bench.clock.now(),
    )
    assert ANNA not in made.model_dump_json()
    assert all_checks(bench) == []


def test_an_address_has_one_account(bench: Bench) -> None:
    bench.run(lambda tx: somebody(tx, ANNA, Role.TILL))
    with pytest.raises(Refusal) as refused:
        bench.run(lambda tx: somebody(tx, ANNA, Role.TILL, centre=SOUTH))
    assert refused.value.reason == "account.email_taken"
    assert refused.value.field == "email"
    assert len(bench.emitted(AccountCreated)) == 1


def test_an_account_belongs_to_a_centre_that_is(bench: Bench) -> None:
    with pytest.raises(Invalid) as refused:
        bench.run(lambda tx: somebody(tx, ANNA, Role.TILL, centre="nowhere"))
    assert refused.value.reason == "centre.unknown"
    assert bench.emitted(AccountCreated) == []


def test_changed_roles_are_told_and_end_the_sessions(bench: Bench) -> None:
    account_id = bench.run(lambda tx: somebody(tx, ANNA, Role.TILL))
    session_id = signed_in(bench).session_id
    bench.run(
        lambda tx: accounts.change_account(
            tx, HOUSE, account_id, Change(roles=frozenset({Role.TILL, Role.RECEPTION}))
        )
    )
    (changed,) = bench.emitted(AccountChanged)
    assert changed.roles == (Role.RECEPTION, Role.TILL)
    (revoked,) = bench.emitted(SessionRevoked)
    assert revoked.session_id == session_id
    assert revoked.account_id == account_id
    assert all_checks(bench) == []


@pytest.mark.parametrize(
    "change",
    [
        Change(disabled=True),
        Change(centre_id=SOUTH),
        Change(email="anna.rossi@example.org"),
        Change(password_hash="other"),
    ],
)
def test_what_matters_ends_the_sessions(bench: Bench, change: Change) -> None:
    account_id = bench.run(lambda tx: somebody(tx, ANNA, Role.TILL))
    session_id = signed_in(bench).session_id
    bench.run(lambda tx: accounts.change_account(tx, HOUSE, account_id, change))
    assert [e.session_id for e in bench.emitted(SessionRevoked)] == [session_id]
    assert bench.read(lambda c: c.scalar(sa.select(auth_revoked.c.session_id))) == session_id


def test_a_name_or_a_language_ends_nothing_and_is_told_to_nobody(bench: Bench) -> None:
    account_id = bench.run(lambda tx: somebody(tx, ANNA, Role.TILL))
    signed_in(bench)
    change = Change(name="Anna", language="ar", roles=frozenset({Role.TILL}), disabled=False)
    bench.run(lambda tx: accounts.change_account(tx, HOUSE, account_id, change))
    assert bench.emitted(SessionRevoked) == []
    assert bench.emitted(AccountChanged) == []
    found = bench.read(lambda c: store.load_account(c, account_id))
    assert found is not None
    assert (found.name, found.language) == ("Anna", "ar")


def test_a_family_that_becomes_staff_needs_a_longer_password(bench: Bench) -> None:
    account_id = bench.run(lambda tx: somebody(tx, ANNA, Role.FAMILY, household="h-1"))
    roles = frozenset({Role.FAMILY, Role.TILL})
    with pytest.raises(Invalid, match=r"account\.password_needed"):
        bench.run(lambda tx: accounts.change_account(tx, HOUSE, account_id, Change(roles=roles)))
    bench.run(
        lambda tx: accounts.change_account(
            tx, HOUSE, account_id, Change(roles=roles, password_hash=PASSWORD_HASH)
        )
    )


def test_nobody_writes_their_own_password_without_the_old_one(bench: Bench) -> None:
    account_id = bench.run(lambda tx: somebody(tx, ANNA, Role.COORDINATOR))
    me = Asker(account_id, frozenset({Role.COORDINATOR}), NORTH)
    with pytest.raises(NotAllowed, match=r"account\.own_password"):
        bench.run(
            lambda tx: accounts.change_account(
                tx, me, account_id, Change(password_hash=PASSWORD_HASH)
            )
        )


@pytest.mark.parametrize(
    "meanwhile",
    [
        Change(disabled=True),
        Change(roles=frozenset({Role.TILL, Role.EDUCATOR})),
        Change(email="b@example.org"),
        Change(name="Anna"),
        Change(language="ar"),
    ],
    ids=["disabled", "roles", "address", "name", "language"],
)
def test_what_somebody_else_changed_meanwhile_is_not_undone(
    bench: Bench, meanwhile: Change
) -> None:
    account_id = bench.run(lambda tx: somebody(tx, ANNA, Role.TILL))
    shown = Change(
        roles=frozenset({Role.TILL}),
        centre_id=NORTH,
        household_id="",
        organisation_id="",
        producer_id="",
        disabled=False,
        email=ANNA,
        name="",
        language="",
    )
    bench.run(lambda tx: accounts.change_account(tx, HOUSE, account_id, meanwhile, seen=shown))
    before = bench.read(lambda c: store.load_account(c, account_id))
    with pytest.raises(Refusal, match=r"account\.changed_meanwhile"):
        bench.run(
            lambda tx: accounts.change_account(
                tx, HOUSE, account_id, replace(shown, name="Anna Neri"), seen=shown
            )
        )
    assert bench.read(lambda c: store.load_account(c, account_id)) == before


def test_an_account_of_another_centre_is_not_there(bench: Bench) -> None:
    account_id = bench.run(lambda tx: somebody(tx, ANNA, Role.TILL, centre=SOUTH))
    north = Asker("c", frozenset({Role.COORDINATOR}), NORTH)
    for work in (
        lambda tx: accounts.change_account(tx, north, account_id, Change(disabled=True)),
        lambda tx: accounts.revoke_sessions(tx, north, account_id),
        lambda tx: accounts.change_account(tx, north, "nobody", Change(disabled=True)),
    ):
        with pytest.raises(NotFound, match=r"account\.unknown"):
            bench.run(work)


def test_the_last_administrator_stays(bench: Bench) -> None:
    one = bench.run(lambda tx: somebody(tx, ANNA, Role.ADMINISTRATOR, centre=""))
    with pytest.raises(NotAllowed, match=r"account\.last_administrator"):
        bench.run(lambda tx: accounts.change_account(tx, HOUSE, one, Change(disabled=True)))
    with pytest.raises(NotAllowed, match=r"account\.last_administrator"):
        bench.run(
            lambda tx: accounts.change_account(
                tx, HOUSE, one, Change(roles=frozenset({Role.TILL}), centre_id=NORTH)
            )
        )
    bench.run(lambda tx: somebody(tx, "b@example.org", Role.ADMINISTRATOR, centre=""))
    bench.run(lambda tx: accounts.change_account(tx, HOUSE, one, Change(disabled=True)))


def test_two_administrators_cannot_end_each_other_at_once(bench: Bench) -> None:
    ids = [
        bench.run(lambda tx, e=e: somebody(tx, e, Role.ADMINISTRATOR, centre=""))
        for e in ("a@example.org", "b@example.org")
    ]

    together = threading.Barrier(2)

    def disable(by: str, whom: str) -> str:
        asker = Asker(by, frozenset({Role.ADMINISTRATOR}))

        def work(tx: Transaction) -> None:
            # SQLite has one writer: there the other comes only when this one has ended.
            with contextlib.suppress(threading.BrokenBarrierError):
                together.wait(0.3)
            accounts.change_account(tx, asker, whom, Change(disabled=True))

        try:
            bench.run(work)
        except NotAllowed as refused:
            return refused.reason
        return "done"

    with ThreadPoolExecutor(2) as both:
        answers = sorted(both.map(disable, ids, reversed(ids)))
    assert answers == ["account.last_administrator", "done"]
