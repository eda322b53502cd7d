"""Signing in on both engines: sessions, attempts, API tokens."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa

from contracts.identity import (
    Role,
    SessionRevoked,
)
from identity import store
from identity.commands import accounts, sessions, sign_in
from identity.commands.accounts import Change
from identity.commands.sign_in import Attempt, WrongSignIn
from identity.domain import throttle
from identity.domain.accounts import HOUSE
from identity.hashing import HASHER, Hashing
from messaging import Transaction
from messaging.tables import auth_revoked
from messaging.testing import Bench
from runtime.clock import FixedClock
from runtime.refusals import NotFound, Refusal, Unavailable
from web.rates import TooMany

from .identity_house import (
    ANNA,
    NORTH,
    PASSWORD_HASH,
    begin,
    claims_of,
    signed_in,
    somebody,
)

# -- signing in -----------------------------------------------------------------------------------


def test_a_sign_in_gives_a_token_that_everybody_can_check(bench: Bench, clock: FixedClock) -> None:
    account_id = bench.run(
        lambda tx: somebody(tx, ANNA, Role.FAMILY, household="h-1", language="ar")
    )
    issued = signed_in(bench)
    claims = claims_of(bench, issued.token)
    assert claims.sub == account_id
    assert claims.sid == issued.session_id
    assert claims.roles == (Role.FAMILY,)
    assert (claims.centre, claims.household, claims.lang) == (NORTH, "h-1", "ar")
    assert claims.zone == "Europe/Rome"
    assert claims.typ == "browser"
    assert claims.exp == clock.now() + timedelta(minutes=10)
    caller = claims.caller
    assert caller.scopes is None


def test_neither_secret_nor_token_is_kept(bench: Bench) -> None:
    bench.run(lambda tx: somebody(tx, ANNA, Role.TILL))
    issued = signed_in(bench)
    row = bench.read(lambda c: c.execute(sa.select(store.session)).one())
    kept = " ".join(str(value) for value in row)
    assert issued.secret not in kept
    assert issued.token not in kept
    assert row.secret == store.hidden(issued.secret)
    assert len(issued.secret) >= 43


def test_a_session_is_renewed_until_it_is_idle_or_over(bench: Bench, clock: FixedClock) -> None:
    bench.run(lambda tx: somebody(tx, ANNA, Role.TILL))
    secret = signed_in(bench).secret

    def renewed() -> sign_in.Issued | None:
        return bench.run(lambda tx: sign_in.renew(tx, secret))

    for _ in range(5):
        clock.advance(timedelta(hours=3))
        again = renewed()
        assert again is not None
        over = min(clock.now() + timedelta(hours=4), again.session_ends)
        assert claims_of(bench, again.token).over == over, "what a stream of it ends by"
    clock.advance(timedelta(minutes=55))
    last = renewed()
    assert last is not None
    assert claims_of(bench, last.token).exp <= last.session_ends
    clock.advance(timedelta(minutes=5))
    assert renewed() is None

    other = signed_in(bench)
    clock.advance(timedelta(hours=4))
    assert bench.run(lambda tx: sign_in.renew(tx, other.secret)) is None


def test_a_session_that_was_ended_is_not_renewed_and_the_end_is_told(
    bench: Bench, clock: FixedClock
) -> None:
    bench.run(lambda tx: somebody(tx, ANNA, Role.TILL))
    issued = signed_in(bench)
    clock.advance(timedelta(minutes=3))
    bench.run(lambda tx: sessions.sign_out(tx, issued.secret))
    bench.run(lambda tx: sessions.sign_out(tx, issued.secret))
    bench.run(lambda tx: sessions.sign_out(tx, "nobody's"))
    (revoked,) = bench.emitted(SessionRevoked)
    assert revoked.session_id == issued.session_id
    assert revoked.until == issued.token_ends
    assert bench.run(lambda tx: sign_in.renew(tx, issued.secret)) is None
    until = bench.read(lambda c: c.scalar(sa.select(auth_revoked.c.until)))
    assert until == issued.token_ends


def test_signing_in_anew_ends_the_session_of_the_same_browser(bench: Bench) -> None:
    bench.run(lambda tx: somebody(tx, ANNA, Role.TILL))
    before = signed_in(bench)
    attempt = bench.run(begin())
    bench.run(lambda tx: sign_in.open_browser(tx, attempt, replaces=before.secret))
    assert [e.session_id for e in bench.emitted(SessionRevoked)] == [before.session_id]


@pytest.mark.parametrize("change", [Change(disabled=True), Change(password_hash="other")])
def test_what_changed_since_the_password_was_checked_counts(bench: Bench, change: Change) -> None:
    account_id = bench.run(lambda tx: somebody(tx, ANNA, Role.TILL))
    attempt = bench.run(begin())
    bench.run(lambda tx: accounts.change_account(tx, HOUSE, account_id, change))
    with pytest.raises(WrongSignIn):
        bench.run(lambda tx: sign_in.open_browser(tx, attempt))
    with pytest.raises(WrongSignIn):
        bench.run(lambda tx: sign_in.open_api(tx, attempt, wanted=None, name="", days=None))


def test_a_sign_in_that_races_with_disabling_leaves_no_live_session(bench: Bench) -> None:
    account_id = bench.run(lambda tx: somebody(tx, ANNA, Role.TILL))
    attempts = [bench.run(begin(client=f"192.0.2.{n}")) for n in range(6)]

    def open_one(attempt: Attempt) -> bool:
        try:
            bench.run(lambda tx: sign_in.open_browser(tx, attempt))
        except WrongSignIn:
            return False
        return True

    with ThreadPoolExecutor(7) as crowd:
        opening = [crowd.submit(open_one, attempt) for attempt in attempts[:3]]
        disabling = crowd.submit(
            bench.run,
            lambda tx: accounts.change_account(tx, HOUSE, account_id, Change(disabled=True)),
        )
        opening += [crowd.submit(open_one, attempt) for attempt in attempts[3:]]
        disabling.result()
        opened = sum(one.result() for one in opening)
    live = bench.read(
        lambda c: c.scalar(
            sa.select(sa.func.count())
            .select_from(store.session)
            .where(store.session.c.revoked_at.is_(None))
        )
    )
    assert live == 0
    assert len(bench.emitted(SessionRevoked)) == opened


# -- attempts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("email", [ANNA, "nobody@example.org"])
def test_guessing_is_slowed_the_same_for_known_and_unknown_addresses(
    bench: Bench, clock: FixedClock, email: str
) -> None:
    bench.run(lambda tx: somebody(tx, ANNA, Role.TILL))
    for _ in range(throttle.FROM_ONE_PLACE.burst):
        bench.run(begin(email))
    with pytest.raises(TooMany) as refused:
        bench.run(begin(email))
    assert refused.value.after == 60
    bench.run(begin(email, client="192.0.2.2"))
    bench.run(begin("another@example.org"))
    clock.advance(timedelta(seconds=60))
    bench.run(begin(email))
    with pytest.raises(TooMany):
        bench.run(begin(email))


def test_the_right_password_gives_the_places_back(bench: Bench) -> None:
    bench.run(lambda tx: somebody(tx, ANNA, Role.TILL))
    for _ in range(throttle.ONE_CLIENT.burst + 5):
        signed_in(bench)


def test_a_client_that_tries_many_accounts_is_slowed(bench: Bench) -> None:
    for n in range(throttle.ONE_CLIENT.burst):
        bench.run(begin(f"guess-{n}@example.org"))
    with pytest.raises(TooMany):
        bench.run(begin("one-more@example.org"))
    bench.run(begin("one-more@example.org", client="192.0.2.2"))


def test_strangers_everywhere_cannot_keep_the_owner_out(bench: Bench) -> None:
    bench.run(lambda tx: somebody(tx, ANNA, Role.TILL))
    signed_in(bench, client="198.51.100.7")
    for n in range(throttle.ONE_ACCOUNT.burst):
        bench.run(begin(client=f"203.0.113.{n}"))
    with pytest.raises(TooMany):
        bench.run(begin(client="203.0.113.200"))
    signed_in(bench, client="198.51.100.7")


def test_a_network_of_ipv6_counts_as_one_client(bench: Bench) -> None:
    for n in range(throttle.FROM_ONE_PLACE.burst):
        bench.run(begin(client=f"2001:db8:1:2::{n + 1:x}"))
    with pytest.raises(TooMany):
        bench.run(begin(client="2001:db8:1:2:ffff::1"))
    bench.run(begin(client="2001:db8:1:3::1"))


def test_a_thousand_guesses_at_once_are_not_more_than_a_few(bench: Bench) -> None:
    def guess(_: int) -> bool:
        try:
            bench.run(begin())
        except TooMany:
            return False
        return True

    with ThreadPoolExecutor(8) as crowd:
        let_through = sum(crowd.map(guess, range(40)))
    assert let_through == throttle.FROM_ONE_PLACE.burst


def test_no_address_of_people_or_machines_is_kept_with_the_attempts(bench: Bench) -> None:
    bench.run(begin())
    rows = bench.read(lambda c: c.execute(sa.select(store.attempt.c.subject)).all())
    assert all(re.fullmatch(r"[0-9a-f]{64}", row.subject) for row in rows)
    assert len(rows) == 3


# -- API tokens -----------------------------------------------------------------------------------


def test_an_api_token_can_do_what_was_asked_until_it_ends(bench: Bench, clock: FixedClock) -> None:
    account_id = bench.run(lambda tx: somebody(tx, ANNA, Role.RECEPTION))
    attempt = bench.run(begin())
    made = bench.run(
        lambda tx: sign_in.open_api(
            tx, attempt, wanted=("cards:write", "cards:read"), name="import", days=7
        )
    )
    assert made.scopes == ("cards:read", "cards:write")
    assert made.expires_at == clock.now() + timedelta(days=7)
    token = bench.read(lambda c: sign_in.api_token(c, made.id))
    assert token is not None
    assert bench.read(lambda c: sign_in.api_token(c, made.id)) == token
    claims = claims_of(bench, token)
    assert (claims.sub, claims.sid, claims.typ) == (account_id, made.id, "api")
    assert claims.exp == made.expires_at
    assert claims.caller.scopes == {"cards:read", "cards:write"}
    bench.run(lambda tx: sessions.revoke_own(tx, account_id, made.id, centre=NORTH))
    (revoked,) = bench.emitted(SessionRevoked)
    assert (revoked.session_id, revoked.until) == (made.id, made.expires_at)


def test_nobody_ends_the_session_of_somebody_else(bench: Bench) -> None:
    bench.run(lambda tx: somebody(tx, ANNA, Role.TILL))
    other = bench.run(lambda tx: somebody(tx, "b@example.org", Role.TILL))
    session_id = signed_in(bench).session_id
    with pytest.raises(NotFound, match=r"session\.unknown"):
        bench.run(lambda tx: sessions.revoke_own(tx, other, session_id, centre=NORTH))
    assert bench.emitted(SessionRevoked) == []


def test_an_account_has_only_so_many_tokens(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in, "MOST_TOKENS", 2)
    account_id = bench.run(lambda tx: somebody(tx, ANNA, Role.TILL))

    def one_more(tx: Transaction) -> sign_in.ApiToken:
        return sign_in.open_own_api(tx, account_id, wanted=None, name="", days=None)

    bench.run(one_more)
    bench.run(one_more)
    with pytest.raises(Refusal, match=r"token\.too_many"):
        bench.run(one_more)


def test_a_new_password_ends_every_other_session(bench: Bench) -> None:
    account_id = bench.run(lambda tx: somebody(tx, ANNA, Role.TILL))
    here, there = signed_in(bench), signed_in(bench, client="192.0.2.9")

    def choose(tx: Transaction) -> None:
        accounts.choose_password(
            tx,
            account_id,
            was=PASSWORD_HASH,
            password_hash="another",
            keep_session=here.session_id,
        )

    bench.run(choose)
    assert [e.session_id for e in bench.emitted(SessionRevoked)] == [there.session_id]
    with pytest.raises(Refusal, match=r"password\.changed_meanwhile"):
        bench.run(choose)


# -- hashing --------------------------------------------------------------------------------------


def test_a_flood_of_sign_ins_is_turned_away() -> None:
    stored = HASHER.hash("quattro parole")  # as slow to compare with as those of a house

    async def flood() -> list[object]:
        hashing = Hashing(most=3)
        return await asyncio.gather(
            *(hashing.matches(stored, "x") for _ in range(10)), return_exceptions=True
        )

    answers = asyncio.run(flood())
    turned_away = [a for a in answers if isinstance(a, Unavailable)]
    assert len(turned_away) == 7
    assert [a for a in answers if a is False] == [False] * 3


def test_passwords_are_hashed_by_owasps_minimum() -> None:
    assert HASHER.hash("quattro parole").startswith("$argon2id$v=19$m=19456,t=2,p=1$")
