"""What the tests of identity share: a bench, a client, people and their passwords."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from argon2 import PasswordHasher

from contracts import Event
from contracts.identity import Role
from identity import sealing
from identity.app import SERVICE
from identity.commands import accounts, centres, first, keys, sign_in
from identity.commands.accounts import NewAccount
from identity.commands.centres import NewCentre
from identity.commands.sign_in import Attempt
from identity.domain.accounts import HOUSE, Standing
from messaging import Received, Transaction
from messaging.envelope import decode
from messaging.tables import auth_key
from messaging.testing import Bench
from runtime.clock import FixedClock
from runtime.ids import SequenceIds
from web.tokens import Claims, key_id_of, public_key, verify

QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""As the service hashes, but in no time: half of what these tests took was hashing. How long it
takes there is held by `test_passwords_are_hashed_by_owasps_minimum`."""

PASSWORD = "quattro parole in fila"
PASSWORD_HASH = QUICK.hash(PASSWORD)

NORTH, SOUTH = "north", "south"
ANNA = "anna@example.org"


SECRET = "a-secret-for-tests-and-only-for-tests"
SEAL = sealing.Seal([SECRET])


def key_file(folder: Path) -> Path:
    """The file of the secret that seals."""
    file = folder / "identity-key"
    file.write_text(SECRET)
    return file


def bench_on(store_url: str, clock: FixedClock, ids: SequenceIds) -> Bench:
    """A bench whose identity has a key and two centres."""
    sealing.use(SEAL)
    bench = Bench(SERVICE, store_url, clock=clock, ids=ids)
    bench.run(furnish)
    return bench


def furnish(tx: Transaction) -> None:
    """A key and two centres."""
    keys.keep_in_turn(tx)
    for name in (NORTH, SOUTH):
        centres.open_centre(tx, HOUSE, NewCentre(f"Centre of the {name}", id=name))


def somebody(
    tx: Transaction,
    email: str,
    *roles: Role,
    centre: str = NORTH,
    household: str = "",
    producer: str = "",
    organisation: str = "",
    language: str = "",
) -> str:
    """An account with the password of all tests."""
    return accounts.create_account(
        tx,
        HOUSE,
        NewAccount(
            email,
            PASSWORD_HASH,
            Standing(frozenset(roles), centre, household, organisation, producer),
            language=language,
        ),
    )


def begin(email: str = ANNA, client: str = "192.0.2.1") -> Callable[[Transaction], Attempt]:
    return lambda tx: sign_in.begin(tx, email, client)


def signed_in(bench: Bench, email: str = ANNA, client: str = "192.0.2.1") -> sign_in.Issued:
    attempt = bench.run(begin(email, client))
    return bench.run(lambda tx: sign_in.open_browser(tx, attempt))


def claims_of(bench: Bench, token: str) -> Claims:
    """What a service that has heard identity's events reads in a token."""
    key = bench.read(
        lambda c: c.scalar(
            sa.select(auth_key.c.public_key).where(auth_key.c.key_id == key_id_of(token))
        )
    )
    assert key is not None
    return verify(token, public_key(key), bench.clock.now())


def all_checks(bench: Bench) -> list[str]:
    return [str(found) for check in SERVICE.checks for found in bench.read(check.run)]


def settings_of(
    bench: Bench, folder: Path, first_admin: Path | None = None
) -> first.IdentitySettings:
    return first.IdentitySettings(
        service="identity",
        database_url=bench.store.url,
        identity_key_file=key_file(folder),
        first_admin_file=first_admin,
    )


def received(event: Event, bench: Bench) -> Received[Event]:
    content = decode(bench.record(event)).content
    assert isinstance(content, Received)
    return content
