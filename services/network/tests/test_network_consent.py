"""Consent to a referral: given, missing, withdrawn, late."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from contracts import Event
from contracts.cards import (
    ConsentGiven,
    HouseholdChanged,
    HouseholdErased,
    Purpose,
)
from contracts.identity import CentreOpened
from contracts.network import (
    ReferralAccepted,
    ReferralCancelled,
    ReferralOverdue,
    ReferralRejected,
    ReferralRequested,
    ReferralRerouted,
)
from contracts.people import PersonErased
from messaging import Received
from messaging.envelope import decode
from messaging.testing import Bench, orders
from network import queries, store
from network.app import SERVICE
from network.domain.referral import Action
from network.store import Who
from runtime.clock import FixedClock
from runtime.ids import Ids
from runtime.refusals import NotFound, Refusal
from web import Paging

from .network_cases import (
    AUSER,
    CENTRE,
    NOW,
    STAFF,
    TORRI,
    ask,
    consent,
    described,
    differences,
    do,
    prepare,
    read,
    registered,
    rows,
    withdrawn,
)


def test_without_consent_it_is_refused_unless_a_reason_is_recorded(bench: Bench) -> None:
    bench.deliver(registered("h2"))
    with pytest.raises(Refusal, match=r"consent\.missing") as refused:
        ask(bench, household_id="h2")
    assert refused.value.field == "override_reason"
    assert refused.value.next_step
    assert rows(bench, store.referral) == []
    referral = ask(bench, household_id="h2", override_reason="Minor in danger")
    assert [row["action"] for row in rows(bench, store.audit)] == ["override"]
    view = read(bench, STAFF, referral)
    assert view.overridden
    assert view.steps[0].override_reason == "Minor in danger"


def test_every_fact_of_a_referral_without_consent_says_so(
    store_url: str, tmp_path: Path, clock: FixedClock, ids: Ids
) -> None:
    """Whoever tells the family what happens must know; a store that forgot it learns it again."""
    with Bench(SERVICE, store_url, clock=clock, ids=ids) as bench:
        prepare(bench)
        bench.deliver(registered("h2"))
        agreed = ask(bench)
        secret = ask(bench, household_id="h2", override_reason="Minor in danger")
        clock.advance(timedelta(days=6))
        bench.tick()
        do(bench, AUSER, secret, Action.REJECT, reason="no_capacity")
        do(bench, STAFF, secret, Action.REROUTE, to_organisation_id="torri")
        for referral, who in ((secret, TORRI), (agreed, AUSER)):
            do(bench, who, referral, Action.ACCEPT)
            do(bench, who, referral, Action.CANCEL, reason="refused")
        told = [event for event in bench.emitted() if hasattr(event, "referral_id")]
    assert {type(event) for event in told if event.referral_id == secret} == {
        ReferralRequested,
        ReferralOverdue,
        ReferralRejected,
        ReferralRerouted,
        ReferralAccepted,
        ReferralCancelled,
    }
    assert {(event.referral_id, event.overridden) for event in told} == {
        (agreed, False),
        (secret, True),
    }
    with Bench(SERVICE, f"sqlite:///{tmp_path}/new.db", clock=clock, ids=ids) as fresh:
        for event in told:
            received = decode(fresh.record(event)).content
            assert isinstance(received, Received)
            fresh.run(lambda tx, r=received: SERVICE.recover[type(r.event)](tx, r))
        assert {(row["id"], row["overridden"]) for row in rows(fresh, store.referral)} == {
            (agreed, False),
            (secret, True),
        }


def test_a_referral_that_loses_the_consent_on_its_way_says_so_from_then_on(
    bench: Bench,
) -> None:
    referral = ask(bench)
    do(bench, AUSER, referral, Action.REJECT, reason="no_capacity")
    bench.deliver(withdrawn("h1", NOW + timedelta(hours=1)))
    do(
        bench,
        STAFF,
        referral,
        Action.REROUTE,
        to_organisation_id="torri",
        override_reason="The court asked for it",
    )
    do(bench, TORRI, referral, Action.ACCEPT)
    said = [event.overridden for event in bench.emitted() if hasattr(event, "referral_id")]
    assert said == [False, False, True, True]


def test_who_is_of_the_household_is_no_party_to_what_is_asked_without_its_consent(
    bench: Bench,
) -> None:
    """A volunteer of the desk, or somebody of the organisation, may be the one to be feared."""
    bench.deliver(registered("h2"))
    secret = ask(bench, household_id="h2", override_reason="Minor in danger")
    agreed = ask(bench)
    for me in (
        Who("volunteer", CENTRE, staff=True, household_id="h2"),
        Who("auser", CENTRE, organisation_id="auser", household_id="h2"),
    ):
        listed = bench.read(lambda c, who=me: queries.referrals(c, Paging(), who, NOW))
        assert [line.id for line in listed.items] == [agreed]
        with pytest.raises(NotFound):
            read(bench, me, secret)
        with pytest.raises(NotFound):
            do(bench, me, secret, Action.CANCEL, reason="no_longer_needed")
    family = Who("volunteer", CENTRE, staff=True, household_id="h1")
    assert read(bench, family, agreed).state == "requested"
    assert read(bench, family, secret).state == "requested"


def test_consent_to_something_else_is_no_consent(bench: Bench) -> None:
    bench.deliver(
        registered("h2"),
        ConsentGiven(household_id="h2", purpose=Purpose.MESSAGES, given_at=NOW),
    )
    with pytest.raises(Refusal, match=r"consent\.missing"):
        ask(bench, household_id="h2")


def test_an_override_where_consent_was_given_is_not_recorded_as_one(bench: Bench) -> None:
    referral = ask(bench, override_reason="just in case")
    assert not read(bench, STAFF, referral).overridden


def test_withdrawing_consent_cancels_whatever_is_unfinished_and_nothing_else(
    bench: Bench,
) -> None:
    bench.deliver(registered("h2"), consent("h2"))
    waiting, working, finished, draft = ask(bench), ask(bench), ask(bench), ask(bench, draft=True)
    other = ask(bench, household_id="h2")
    for referral in (working, finished):
        do(bench, AUSER, referral, Action.ACCEPT)
    do(bench, AUSER, finished, Action.COMPLETE, outcome="met")
    bench.deliver(withdrawn("h1", NOW + timedelta(hours=1)))
    for referral in (waiting, working, draft):
        view = read(bench, STAFF, referral)
        assert (view.state, view.reason) == ("cancelled", "consent_withdrawn")
    assert read(bench, STAFF, finished).state == "completed"
    assert read(bench, STAFF, other).state == "requested"
    told = bench.emitted(ReferralCancelled)
    assert sorted(e.referral_id for e in told) == sorted([waiting, working])
    assert {e.reason for e in told} == {"consent_withdrawn"}
    with pytest.raises(Refusal, match=r"consent\.missing"):
        ask(bench)
    assert differences(bench) == []
    bench.rebuild_equals()


def test_what_was_rejected_is_not_asked_elsewhere_after_consent_was_withdrawn(
    bench: Bench,
) -> None:
    referral = ask(bench)
    do(bench, AUSER, referral, Action.REJECT, reason="no_capacity")
    bench.deliver(withdrawn("h1", NOW + timedelta(hours=1)))
    with pytest.raises(Refusal, match=r"consent\.missing"):
        do(bench, STAFF, referral, Action.REROUTE, to_organisation_id="torri")
    do(
        bench,
        STAFF,
        referral,
        Action.REROUTE,
        to_organisation_id="torri",
        override_reason="The court asked for it",
    )
    assert read(bench, STAFF, referral).overridden


def test_a_withdrawal_told_late_stops_what_was_asked_meanwhile(
    bench: Bench, clock: FixedClock
) -> None:
    clock.advance(timedelta(minutes=10))
    meanwhile = ask(bench)
    bench.deliver(withdrawn("h1", NOW + timedelta(minutes=5)))
    assert read(bench, STAFF, meanwhile).state == "cancelled"


def test_what_was_asked_under_a_newer_consent_goes_on_when_an_old_withdrawal_comes_late(
    bench: Bench, clock: FixedClock
) -> None:
    """It was waited for: an hour, and no longer."""
    old = ask(bench)
    clock.advance(timedelta(hours=1))
    late = bench.record(withdrawn("h1", clock.now()))
    clock.advance(timedelta(hours=1))
    bench.deliver(consent("h1", clock.now()))
    clock.advance(timedelta(minutes=61))
    bench.retry()
    new = ask(bench)
    bench.settle([late])
    assert read(bench, STAFF, old).state == "cancelled"
    assert read(bench, STAFF, new).state == "requested"
    assert differences(bench) == []


def test_an_erased_household_has_nothing_going_and_nothing_written(bench: Bench) -> None:
    referral = ask(bench)
    bench.deliver(
        HouseholdErased(household_id="h1", centre_id=CENTRE, erased_at=NOW + timedelta(days=1)),
        PersonErased(person_id="p1"),
    )
    view = read(bench, STAFF, referral)
    assert view.state == "cancelled"
    assert all(not step.note for step in view.steps)
    assert rows(bench, store.referral_text) == []
    (person,) = rows(bench, store.person_known)
    assert person["given_name"] == ""
    bench.deliver(described("p1", "h1", revision=7))
    (person,) = rows(bench, store.person_known)
    assert person["given_name"] == ""
    with pytest.raises(Refusal, match=r"household\.unknown"):
        ask(bench, override_reason="whatever")


def test_nothing_is_written_about_a_household_that_was_erased(bench: Bench) -> None:
    """Nobody would ever forget it: not as a draft, and not by asking somebody else."""
    bench.deliver(registered("h2"))
    ended = ask(bench, household_id="h2", override_reason="Minor in danger")
    do(bench, AUSER, ended, Action.REJECT, reason="no_capacity")
    bench.deliver(
        HouseholdErased(household_id="h2", centre_id=CENTRE, erased_at=NOW + timedelta(days=1))
    )
    with pytest.raises(Refusal, match=r"household\.unknown"):
        ask(bench, household_id="h2", draft=True, note="Maria Rossi, via Satta 3")
    with pytest.raises(Refusal, match=r"household\.unknown"):
        do(bench, STAFF, ended, Action.REROUTE, to_organisation_id="torri", note="Maria Rossi")
    with pytest.raises(Refusal, match=r"household\.unknown"):
        ask(bench, household_id="nobody-heard-of-it", draft=True)
    assert [row["id"] for row in rows(bench, store.referral)] == [ended]
    assert rows(bench, store.referral_text) == []


def test_events_of_cards_give_the_same_in_every_order_that_keeps_keys(
    store_url: str, clock: FixedClock, ids: Ids
) -> None:
    later = NOW + timedelta(hours=1)
    events: list[Event] = [
        registered("h1"),
        consent("h1"),
        withdrawn("h1", later),
        HouseholdChanged(
            household_id="h1",
            centre_id=CENTRE,
            holder_id="p-h1",
            person_ids=(),
            zone="south",
            changed_at=later,
        ),
        described("p1", "h1"),
        described("p1", "h1", revision=2),
        CentreOpened(centre_id=CENTRE, name="Q", opened_at=NOW),
    ]
    seen: list[object] = []
    tables = (store.household_seen, store.consent_seen, store.person_known, store.zone_seen)
    with Bench(SERVICE, store_url, clock=clock, ids=ids) as bench:
        for order in list(orders(events, lambda e: (e.TOPIC, e.key)))[::17]:
            bench.deliver(*order)
            found = [
                [{k: row[k] for k in row if k != "changed_at"} for row in rows(bench, table)]
                for table in tables
            ]
            seen = seen or found
            assert found == seen
            bench.store.write_now(lambda c: [c.execute(sa.delete(table)) for table in tables])
    assert seen[1] == [{"household_id": "h1", "given": False}]


def test_a_withdrawal_counts_also_after_the_clock_was_ahead(
    bench: Bench, clock: FixedClock
) -> None:
    right = clock.now()
    clock.set(right + timedelta(days=50))
    bench.deliver(consent("h1", clock.now()))
    asked = ask(bench)
    clock.set(right)
    bench.deliver(withdrawn("h1", clock.now()))
    assert rows(bench, store.consent_seen)[0]["given"] is False
    assert read(bench, STAFF, asked).state == "cancelled"
    with pytest.raises(Refusal):
        ask(bench)
    assert differences(bench) == []
