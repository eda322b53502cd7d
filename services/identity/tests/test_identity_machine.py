"""Whatever people and administrators do, on a real store."""

from __future__ import annotations

import tempfile
from datetime import timedelta

import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from contracts.identity import (
    Role,
    SessionRevoked,
)
from identity import store
from identity.commands import accounts, sessions, sign_in
from identity.commands.accounts import Change
from identity.commands.sign_in import WrongSignIn
from identity.domain.accounts import HOUSE
from runtime.clock import FixedClock
from runtime.ids import SequenceIds
from runtime.testing import MONDAY, examples
from web.rates import TooMany

from .identity_house import (
    all_checks,
    bench_on,
    signed_in,
    somebody,
)

# -- everything together --------------------------------------------------------------------------


class Accounts(RuleBasedStateMachine):
    """Whatever administrators and people do: what the events say is what the store holds, and the
    tokens that are believed are exactly those of sessions that nobody ended."""

    @initialize()
    def begins(self) -> None:
        self.clock = FixedClock(MONDAY)
        self.place = tempfile.TemporaryDirectory()
        self.bench = bench_on(f"sqlite:///{self.place.name}/s.db", self.clock, SequenceIds())
        self.accounts: list[str] = []
        self.issued: list[sign_in.Issued] = []
        self.ended: set[str] = set()
        self.bench.run(lambda tx: somebody(tx, "root@example.org", Role.ADMINISTRATOR, centre=""))

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            self.bench.close()
            self.place.cleanup()

    @rule(role=st.sampled_from([Role.TILL, Role.RECEPTION, Role.COORDINATOR]))
    def somebody_comes(self, role: Role) -> None:
        email = f"p{len(self.accounts)}@example.org"
        self.accounts.append(self.bench.run(lambda tx: somebody(tx, email, role)))

    @rule(n=st.integers(0, 20))
    def signs_in(self, n: int) -> None:
        if not self.accounts:
            return
        place = n % len(self.accounts)
        try:
            self.issued.append(
                signed_in(self.bench, f"p{place}@example.org", client=f"192.0.2.{place}")
            )
        except (WrongSignIn, TooMany):
            found = self.bench.read(lambda c: store.load_account(c, self.accounts[place]))
            assert found is not None
            assert found.standing.disabled

    @rule(n=st.integers(0, 20), disabled=st.booleans(), role=st.sampled_from([Role.TILL]))
    def is_changed(self, n: int, disabled: bool, role: Role) -> None:
        if not self.accounts:
            return
        account_id = self.accounts[n % len(self.accounts)]
        change = Change(disabled=disabled, roles=frozenset({role}))
        self.bench.run(lambda tx: accounts.change_account(tx, HOUSE, account_id, change))

    @rule(n=st.integers(0, 20))
    def signs_out(self, n: int) -> None:
        if self.issued:
            secret = self.issued[n % len(self.issued)].secret
            self.bench.run(lambda tx: sessions.sign_out(tx, secret))

    @rule(minutes=st.integers(1, 300))
    def time_passes(self, minutes: int) -> None:
        self.clock.advance(timedelta(minutes=minutes))

    @invariant()
    def what_is_told_holds(self) -> None:
        if not hasattr(self, "bench"):
            return
        assert all_checks(self.bench) == []
        told = {e.session_id: e for e in self.bench.emitted(SessionRevoked)}
        rows = self.bench.read(lambda c: c.execute(sa.select(store.session)).all())
        for row in rows:
            live = store.session_of(row).times.live(self.clock.now())
            assert (row.id in told) is (row.revoked_at is not None)
            if row.id in told:
                assert not live
                assert told[row.id].until >= row.token_until
        for issued in self.issued:
            renewed = self.bench.run(lambda tx, s=issued.secret: sign_in.renew(tx, s) is not None)
            assert not (renewed and issued.session_id in told)


TestAccounts = Accounts.TestCase
TestAccounts.settings = settings(max_examples=examples(15), stateful_step_count=12)
