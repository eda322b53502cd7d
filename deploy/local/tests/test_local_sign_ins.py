"""Whether a password still holds is seen in identity's store, on both engines; nothing is tried."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from identity import store as of_identity
from identity.app import SERVICE
from identity.domain.addresses import email_of
from identity.hashing import HASHER
from runtime.store import Store
from runtime.testing import store_of
from vicinato.sign_ins import holding

store_url = store_of(SERVICE.package, SERVICE.metadata)

AT = datetime(2026, 3, 2, tzinfo=UTC)
ANNA = {"email": "Anna@Example.org", "password": "tre parole insieme"}


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """With Anna's account."""
    made = Store(store_url)
    row = {column.name: "" for column in of_identity.account.columns}
    row |= {"id": "anna", "email": email_of(ANNA["email"]), "created_at": AT, "changed_at": AT}
    row |= {"password_hash": HASHER.hash(ANNA["password"]), "roles": ["administrator"]}
    row |= dict.fromkeys(("password_chosen", "disabled", "governs"), False)
    row["password_until"] = None
    made.write_now(lambda c: c.execute(sa.insert(of_identity.account).values(**row)))
    yield made
    made.close_now()


def change(store: Store, **to: object) -> None:
    store.write_now(lambda c: c.execute(sa.update(of_identity.account).values(**to)))


def test_a_password_holds_for_the_address_as_it_was_typed(store: Store) -> None:
    others = [{**ANNA, "password": "tre altre parole"}, {**ANNA, "email": "nobody@example.org"}]
    assert holding(store.url, [*others, ANNA]) == [False, False, True]


def test_a_password_that_was_changed_does_not_hold(store: Store) -> None:
    change(store, password_hash=HASHER.hash("tre altre parole"))
    assert holding(store.url, [ANNA]) == [False]


def test_nobody_signs_in_with_a_disabled_account_or_one_without_a_password(store: Store) -> None:
    change(store, disabled=True)
    assert holding(store.url, [ANNA]) == [False]
    change(store, disabled=False, password_hash="")
    assert holding(store.url, [ANNA]) == [False]
