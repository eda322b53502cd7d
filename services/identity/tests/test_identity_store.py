"""Keys in turn, the first start, work that is due, a store that comes back, verify, the schema."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from contracts import Event
from contracts.identity import (
    AccountChanged,
    AccountCreated,
    CentreOpened,
    KeyPublished,
    Role,
)
from identity import checks, recover, store
from identity.app import SERVICE
from identity.commands import accounts, first, housekeeping, keys, sessions, sign_in
from identity.commands.accounts import Change
from identity.domain.accounts import HOUSE, Standing
from identity.domain.keys import SIGNS_FOR
from identity.domain.sessions import API_LONGEST
from messaging import Transaction
from messaging.tables import auth_key, auth_revoked
from messaging.testing import Bench
from runtime import migrations
from runtime.clock import FixedClock
from runtime.ids import SequenceIds
from runtime.settings import SettingsError
from web.tokens import key_id_of

from .identity_house import (
    ANNA,
    NORTH,
    PASSWORD_HASH,
    SOUTH,
    all_checks,
    begin,
    claims_of,
    furnish,
    received,
    settings_of,
    signed_in,
    somebody,
)

# -- keys -----------------------------------------------------------------------------------------


def test_keys_take_turns_and_no_token_outlives_its_key(
    bench: Bench, clock: FixedClock, tmp_path: Path
) -> None:
    bench.run(lambda tx: first.start(tx, settings_of(bench, tmp_path)))
    bench.run(lambda tx: somebody(tx, ANNA, Role.ADMINISTRATOR, centre=""))
    tokens: list[str] = []
    step = timedelta(days=5)
    alive = API_LONGEST // step - 1
    for _ in range(26):
        clock.advance(step)
        bench.tick()
        attempt = bench.run(begin())
        made = bench.run(
            lambda tx, attempt=attempt: sign_in.open_api(
                tx, attempt, wanted=None, name="", days=API_LONGEST.days
            )
        )
        token = bench.read(lambda c, made=made: sign_in.api_token(c, made.id))
        assert token is not None
        tokens.append(token)
        for one in tokens[-alive:]:
            claims_of(bench, one)
        assert all_checks(bench) == []
    published = bench.emitted(KeyPublished)
    assert len(published) == 26 * step // SIGNS_FOR + 1
    assert len({key_id_of(token) for token in tokens}) == len(published)
    assert bench.read(lambda c: c.scalar(sa.select(sa.func.count(store.signing_key.c.id)))) <= 2


def test_the_projection_of_the_events_is_what_identity_wrote_itself(bench: Bench) -> None:
    bench.run(lambda tx: somebody(tx, ANNA, Role.TILL))
    secret = signed_in(bench).secret
    bench.run(lambda tx: sessions.sign_out(tx, secret))

    def believed() -> list[object]:
        return bench.read(
            lambda c: [
                c.execute(sa.select(auth_key).order_by(auth_key.c.key_id)).all(),
                c.execute(sa.select(auth_revoked)).all(),
            ]
        )

    before = believed()
    bench.deliver_own()
    assert believed() == before
    bench.rebuild_equals()


def test_turning_the_keys_ends_every_token_of_everybody(bench: Bench) -> None:
    bench.run(lambda tx: somebody(tx, ANNA, Role.TILL))
    issued = signed_in(bench)
    bench.run(keys.turn)
    assert bench.run(lambda tx: sign_in.renew(tx, issued.secret)) is None
    kept = bench.read(
        lambda c: c.scalar(
            sa.select(auth_key.c.not_after).where(auth_key.c.key_id == key_id_of(issued.token))
        )
    )
    assert kept == bench.clock.now()
    assert claims_of(bench, signed_in(bench).token)
    assert all_checks(bench) == []
    bench.deliver_own()
    bench.rebuild_equals()


# -- work that is due -----------------------------------------------------------------------------


def test_what_has_ended_is_forgotten(bench: Bench, clock: FixedClock) -> None:
    bench.run(housekeeping.schedule)
    bench.run(lambda tx: somebody(tx, ANNA, Role.TILL))
    secret = signed_in(bench).secret
    bench.run(lambda tx: sessions.sign_out(tx, secret))
    bench.run(begin("nobody@example.org"))

    def left() -> list[int | None]:
        return bench.read(
            lambda c: [
                c.scalar(sa.select(sa.func.count()).select_from(table))
                for table in (store.session, store.attempt)
            ]
        )

    assert left()[0] == 1
    for _ in range(3):
        clock.advance(timedelta(days=1))
        bench.tick()
    assert left() == [1, 1], "the known client stays for 90 days"
    clock.advance(timedelta(days=100))
    bench.tick()
    assert left() == [0, 0]
    assert bench.read(lambda c: c.scalar(sa.select(sa.func.count()).select_from(auth_revoked))) == 1
    bench.deliver_own()
    bench.rebuild_equals()


def test_a_long_list_is_forgotten_in_slices(
    bench: Bench, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "SLICE", 2)
    bench.run(lambda tx: housekeeping.schedule(tx, after=timedelta(hours=1)))
    for n in range(5):
        bench.run(begin(f"nobody-{n}@example.org", client=""))
    clock.advance(timedelta(hours=2))
    for left in (8, 6, 4, 2, 0):
        bench.tick()
        assert bench.read(
            lambda c: c.scalar(sa.select(sa.func.count(store.attempt.c.subject)))
        ) == (left)
        clock.advance(timedelta(minutes=1))


# -- the first start ------------------------------------------------------------------------------


def test_the_first_start_makes_an_administrator_once(
    store_url: str, clock: FixedClock, ids: SequenceIds, tmp_path: Path
) -> None:
    file = tmp_path / "first.json"
    file.write_text(json.dumps({"email": "Capo@example.org", "password": "quattro parole in fila"}))
    with Bench(SERVICE, store_url, clock=clock, ids=ids) as bench:
        settings = settings_of(bench, tmp_path, file)
        for _ in range(2):
            bench.run(lambda tx: first.start(tx, settings))
        (made,) = bench.emitted(AccountCreated)
        assert (made.account_id, made.roles) == (first.FIRST_ACCOUNT, (Role.ADMINISTRATOR,))
        assert made.centre_id == ""
        assert bench.emitted(CentreOpened) == []
        assert len(bench.emitted(KeyPublished)) == 1
        claims = claims_of(bench, signed_in(bench, "capo@example.org").token)
        assert claims.caller.centre_id == ""
        file.write_text("gone wrong since")
        bench.run(lambda tx: first.start(tx, settings))
        assert all_checks(bench) == []


def test_the_first_start_opens_a_centre_when_told(
    store_url: str, clock: FixedClock, ids: SequenceIds, tmp_path: Path
) -> None:
    file = tmp_path / "first.json"
    file.write_text(
        json.dumps(
            {
                "email": "capo@example.org",
                "password": "quattro parole in fila",
                "centre_name": "Via Satta",
            }
        )
    )
    with Bench(SERVICE, store_url, clock=clock, ids=ids) as bench:
        bench.run(lambda tx: first.start(tx, settings_of(bench, tmp_path, file)))
        (opened,) = bench.emitted(CentreOpened)
        assert (opened.centre_id, opened.name) == ("default", "Via Satta")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"email": "x"}',
        '{"email": "x", "password": "long enough for staff"}',
        '{"email": "x@example.org", "password": "short"}',
    ],
)
def test_a_first_administrator_that_cannot_be_is_refused_by_the_settings_name(
    store_url: str, clock: FixedClock, ids: SequenceIds, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "first.json"
    file.write_text(content)
    with Bench(SERVICE, store_url, clock=clock, ids=ids) as bench:
        with pytest.raises(SettingsError, match="VICINATO_FIRST_ADMIN_FILE") as refused:
            bench.run(lambda tx: first.start(tx, settings_of(bench, tmp_path, file)))
        assert "short" not in str(refused.value).replace("too short", "").replace("too_short", "")
        assert bench.emitted() == []
        file.unlink()
        with pytest.raises(SettingsError, match="cannot be read"):
            bench.run(lambda tx: first.start(tx, settings_of(bench, tmp_path, file)))


# -- a store that comes back ----------------------------------------------------------------------


def test_a_restored_store_takes_back_what_events_carry(
    store_url: str, clock: FixedClock, ids: SequenceIds, tmp_path: Path
) -> None:
    with Bench(SERVICE, f"sqlite:///{tmp_path / 'lost.db'}", clock=clock, ids=ids) as lost:
        lost.run(furnish)
        account_id = lost.run(lambda tx: somebody(tx, ANNA, Role.FAMILY, household="h-1"))
        signed_in(lost)
        clock.advance(timedelta(minutes=1))
        lost.run(lambda tx: accounts.change_account(tx, HOUSE, account_id, Change(disabled=True)))
        events = lost.emitted()
    with Bench(SERVICE, store_url, clock=clock, ids=ids) as bench:

        def take_back(tx: Transaction, event: Event) -> None:
            SERVICE.recover[type(event)](tx, received(event, bench))

        for event in [*events, *events]:
            bench.run(lambda tx, event=event: take_back(tx, event))
        found = bench.read(lambda c: store.load_account(c, account_id))
        assert found is not None
        assert found.standing == Standing(frozenset({Role.FAMILY}), NORTH, "h-1", disabled=True)
        assert (found.email, found.password_hash) == ("", "")
        ids_of = bench.read(lambda c: c.scalars(sa.select(store.centre.c.id)).all())
        assert sorted(ids_of) == [NORTH, SOUTH]
        assert bench.read(lambda c: c.scalar(sa.select(sa.func.count(auth_key.c.key_id)))) == 1
        assert (
            bench.read(lambda c: c.scalar(sa.select(sa.func.count(auth_revoked.c.session_id)))) == 1
        )
        bench.run(
            lambda tx: accounts.change_account(
                tx,
                HOUSE,
                account_id,
                Change(email=ANNA, password_hash=PASSWORD_HASH, disabled=False),
            )
        )
        assert claims_of(bench, signed_in(bench).token).household == "h-1"


def test_what_comes_back_late_does_not_undo_what_is_newer(bench: Bench, clock: FixedClock) -> None:
    account_id = bench.run(lambda tx: somebody(tx, ANNA, Role.TILL))
    (made,) = bench.emitted(AccountCreated)
    old = AccountChanged(
        account_id=account_id,
        roles=(Role.EDUCATOR,),
        centre_id=NORTH,
        changed_at=clock.now() - timedelta(days=1),
    )
    bench.run(lambda tx: recover.account_changed(tx, received(old, bench)))
    bench.run(lambda tx: recover.account_created(tx, received(made, bench)))
    found = bench.read(lambda c: store.load_account(c, account_id))
    assert found is not None
    assert found.standing.roles == {Role.TILL}
    assert found.email == ANNA


# -- verify ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "spoil"),
    [
        ("accounts_as_told", sa.update(store.account).values(disabled=True)),
        ("accounts_as_told", sa.update(store.account).values(kind="family")),
        ("accounts_as_told", sa.delete(store.account)),
        ("centres_as_told", sa.delete(store.centre)),
        ("centres_as_told", sa.update(store.account).values(centre_id="elsewhere")),
        ("keys_believed", sa.delete(auth_key)),
        ("keys_believed", sa.update(auth_key).values(public_key="A" * 43)),
        ("keys_believed", sa.update(auth_key).values(not_after=auth_key.c.not_before)),
        (
            "revocations_told",
            sa.update(store.session).values(revoked_at=store.session.c.created_at),
        ),
    ],
)
def test_verify_names_what_was_spoilt(bench: Bench, check: str, spoil: sa.Executable) -> None:
    bench.run(lambda tx: somebody(tx, ANNA, Role.TILL))
    signed_in(bench)
    assert all_checks(bench) == []
    bench.run(lambda tx: tx.connection.execute(spoil))
    found = [d for one in SERVICE.checks for d in bench.read(one.run) if d.check == check]
    assert found, f"{check} saw nothing"
    assert ANNA not in str(found)


def test_the_gauge_counts_sessions(bench: Bench) -> None:
    bench.run(lambda tx: somebody(tx, ANNA, Role.TILL))
    signed_in(bench)
    assert bench.read(checks.live_sessions) == 1.0


# -- the schema -----------------------------------------------------------------------------------


def test_the_migrations_give_exactly_the_tables(empty_url: str) -> None:
    migrations.upgrade(empty_url, "identity", store.metadata)
    assert migrations.difference(empty_url, "identity", store.metadata) == []
    migrations.downgrade(empty_url, "identity", store.metadata)
    migrations.upgrade(empty_url, "identity", store.metadata)
    migrations.check(empty_url, "identity")
