"""Referrals against the pure rules, in every order of acts and two at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from contracts.network import (
    OrganisationRegistered,
    ReferralRejected,
    ReferralRequested,
)
from messaging.testing import Bench
from network import commands, queries, store
from network.app import SERVICE
from network.domain import referral as rules
from network.domain.referral import CLOSED, UNFINISHED, Action, Referral, Side, State
from network.domain.words import Outcome, Reason
from network.models import (
    NewOrganisation,
)
from network.store import Who
from runtime.clock import FixedClock
from runtime.ids import SequenceIds
from runtime.refusals import NotFound, Refusal
from runtime.testing import examples
from web import Paging

from .network_cases import (
    AUSER,
    CENTRE,
    ELSEWHERE,
    NOW,
    STAFF,
    TORRI,
    ask,
    consent,
    differences,
    do,
    prepare,
    read,
    rows,
    withdrawn,
)


class Asked(RuleBasedStateMachine):
    """Any act by anybody in any state: the store does what the pure rules say, and nothing else."""

    start: Callable[[], Bench]

    def __init__(self) -> None:
        super().__init__()
        self.bench = self.start()
        self.id = ask(self.bench, draft=True)
        self.model = Referral(State.DRAFT, "auser")

    def teardown(self) -> None:
        assert differences(self.bench) == []

    @rule(
        who=st.sampled_from([STAFF, AUSER, TORRI, ELSEWHERE]),
        action=st.sampled_from(Action),
        reason=st.sampled_from(["", "no_capacity", "consent_withdrawn", "nonsense"]),
        outcome=st.sampled_from(["", *Outcome, "nonsense"]),
        to=st.sampled_from(["", "auser", "torri"]),
    )
    def somebody_acts(self, who: Who, action: Action, reason: str, outcome: str, to: str) -> None:
        party = who is STAFF or (
            who.organisation_id == self.model.to_organisation_id
            and self.model.state is not State.DRAFT
        )
        side = Side.SENDER if who is STAFF else Side.RECEIVER
        wanted: Referral | type[Refusal]
        try:
            wanted = rules.act(
                self.model, action, side, reason=reason, outcome=outcome, to_organisation_id=to
            )
        except Refusal as refusal:
            wanted = type(refusal)
        if not party or who is ELSEWHERE:
            wanted = NotFound
        saying = {"reason": reason, "outcome": outcome, "to_organisation_id": to}
        if isinstance(wanted, Referral):
            do(self.bench, who, self.id, action, **saying)
            self.model = wanted
        else:
            with pytest.raises(wanted):
                do(self.bench, who, self.id, action, **saying)

    @rule()
    def time_passes(self) -> None:
        clock = self.bench.clock
        assert isinstance(clock, FixedClock)
        clock.advance(timedelta(days=40))
        self.bench.tick()
        if self.model.state is State.REQUESTED:
            self.model = rules.act(self.model, Action.EXPIRE, Side.SYSTEM)

    @rule()
    def consent_ends_and_comes_back(self) -> None:
        clock = self.bench.clock
        assert isinstance(clock, FixedClock)
        clock.advance(timedelta(seconds=1))
        self.bench.deliver(withdrawn("h1", clock.now()), twice=False)
        clock.advance(timedelta(seconds=1))
        self.bench.deliver(consent("h1", clock.now()), twice=False)
        if self.model.state in UNFINISHED:
            self.model = rules.act(
                self.model, Action.CANCEL, Side.SYSTEM, reason=Reason.CONSENT_WITHDRAWN
            )

    @invariant()
    def the_store_says_what_the_rules_say(self) -> None:
        (row,) = [r for r in rows(self.bench, store.referral) if r["id"] == self.id]
        assert store.as_domain(row) == self.model
        assert row["closed"] == (self.model.state in CLOSED)


@pytest.mark.properties
def test_the_store_follows_the_rules_in_every_order_of_acts(store_url: str) -> None:
    with Bench(SERVICE, store_url, clock=FixedClock(NOW), ids=SequenceIds()) as bench:
        prepare(bench)

        class Here(Asked):
            start = staticmethod(lambda: bench)

        run_state_machine_as_test(
            Here,
            settings=settings(
                max_examples=examples(8),
                stateful_step_count=20,
                suppress_health_check=list(HealthCheck),
            ),
        )


def test_organisations_are_told_again_when_name_or_areas_change(bench: Bench) -> None:
    told = len(bench.emitted(OrganisationRegistered))
    same = NewOrganisation(name="Auser", phone="02 1234")
    bench.run(lambda tx: commands.change_organisation(tx, STAFF, "auser", same))
    assert len(bench.emitted(OrganisationRegistered)) == told
    other = NewOrganisation(name="Auser Milano", areas=["elderly"])
    bench.run(lambda tx: commands.change_organisation(tx, STAFF, "auser", other))
    assert bench.emitted(OrganisationRegistered)[-1].areas == ("elderly",)


def test_two_at_once_get_one_answer_each_and_the_referral_one_state(bench: Bench) -> None:
    """The receiver accepts while the sender asks somebody else: one of the two, never both."""
    for _ in range(8):
        referral = ask(bench)

        def attempt(who: Who, action: Action, id_: str = referral) -> str:
            try:
                return do(bench, who, id_, action, to_organisation_id="torri").state
            except Refusal as refusal:
                return refusal.reason

        with ThreadPoolExecutor(2) as pool:
            accepted = pool.submit(attempt, AUSER, Action.ACCEPT)
            rerouted = pool.submit(attempt, STAFF, Action.REROUTE)
        answers = (accepted.result(), rerouted.result())
        assert answers in (
            ("accepted", "referral.not_possible_now"),
            ("referral.unknown", "requested"),
        )
        assert len(read(bench, STAFF, referral).steps) == 2
    assert differences(bench) == []


def test_what_is_asked_while_consent_is_withdrawn_does_not_stay(bench: Bench) -> None:
    for number in range(8):
        moment = NOW + timedelta(minutes=number)

        def attempt() -> str:
            try:
                return ask(bench)
            except Refusal as refusal:
                return refusal.reason

        with ThreadPoolExecutor(2) as pool:
            asked = pool.submit(attempt)
            told = pool.submit(bench.deliver, withdrawn("h1", moment))
        told.result()
        if asked.result() != "consent.missing":
            assert read(bench, STAFF, asked.result()).state == "cancelled"
        assert differences(bench) == []
        bench.deliver(consent("h1", moment + timedelta(seconds=1)))


def test_the_same_new_id_at_once_makes_one_referral(bench: Bench) -> None:
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask, bench, id="r-1") for _ in range(4)]
    assert {one.result() for one in asked} == {"r-1"}
    assert len(bench.emitted(ReferralRequested)) == 1


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_no_list_reads_a_whole_table(bench: Bench) -> None:
    """Plans of SQLite: every list finds its rows by an index that also gives their order."""
    seen: list[tuple[str, object]] = []

    def explain(connection: sa.Connection) -> list[str]:
        sa.event.listen(
            connection,
            "before_cursor_execute",
            lambda _c, _cursor, statement, parameters, *_: seen.append((statement, parameters)),
        )
        for who in (STAFF, AUSER):
            for show in ("open", "late", "closed", "all"):
                queries.referrals(connection, Paging(), who, NOW, show=show)
            queries.count_late(connection, who, NOW)
        queries.audit_log(connection, Paging(), CENTRE)
        queries.audit_log(connection, Paging(), CENTRE, referral_id="r-1")
        queries.need_counts(connection, CENTRE, NOW)
        queries.zones(connection, CENTRE)
        asked = [(s, p) for s, p in seen if s.lstrip().upper().startswith("SELECT")]
        return [
            f"{row[3]} in {statement}"
            for statement, parameters in asked
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]

    plans = bench.read(explain)
    assert len(seen) > 12
    assert plans
    for plan in plans:
        assert not plan.startswith("SCAN"), plan
        assert "TEMP B-TREE FOR ORDER BY" not in plan, plan


def test_rejections_are_told_with_their_reason(bench: Bench) -> None:
    referral = ask(bench)
    do(bench, AUSER, referral, Action.REJECT, reason="not_appropriate")
    assert [e.reason for e in bench.emitted(ReferralRejected)] == ["not_appropriate"]
