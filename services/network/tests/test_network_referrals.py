"""Referrals in the real store of both engines, against the rules; consent, parties, time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

import network
from contracts import Event
from contracts.cards import (
    ConsentGiven,
    ConsentWithdrawn,
    HouseholdChanged,
    HouseholdErased,
    HouseholdRegistered,
    Purpose,
)
from contracts.identity import CentreOpened
from contracts.network import (
    NeedRecorded,
    OrganisationRegistered,
    ReferralCancelled,
    ReferralCompleted,
    ReferralExpired,
    ReferralOverdue,
    ReferralRejected,
    ReferralRequested,
    ReferralRerouted,
)
from contracts.people import PersonDescribed, PersonErased
from messaging import Received
from messaging.envelope import decode
from messaging.testing import Bench, orders
from network import commands, queries, store
from network.app import SERVICE
from network.commands.referrals import Saying
from network.domain import referral as rules
from network.domain.deadlines import DeadlineRule
from network.domain.referral import CLOSED, UNFINISHED, Action, Referral, Side, State
from network.domain.words import Capacity, Outcome, Reason
from network.models import (
    CountRule,
    NewNeed,
    NewOrganisation,
    NewReferral,
    NewRule,
    NewService,
    ReferralState,
    ReferralView,
)
from network.store import Who
from runtime.clock import FixedClock
from runtime.ids import Ids, SequenceIds
from runtime.refusals import Invalid, NotAllowed, NotFound, Refusal
from runtime.testing import examples, store_of
from web import Paging

CENTRE = "centre-1"
STAFF = Who("worker", CENTRE, staff=True)
AUSER = Who("auser", CENTRE, organisation_id="auser")
TORRI = Who("torri", CENTRE, organisation_id="torri")
ELSEWHERE = Who("stranger", "centre-2", staff=True)
NOW = datetime(2026, 11, 16, 9, tzinfo=UTC)
SECRET = "She was hit by her husband"


store_url = store_of(SERVICE.package, SERVICE.metadata)


@pytest.fixture
def bench(store_url: str, clock: FixedClock, ids: Ids) -> Iterator[Bench]:
    with Bench(SERVICE, store_url, clock=clock, ids=ids) as made:
        prepare(made)
        yield made


def prepare(bench: Bench) -> None:
    for name in ("auser", "torri"):
        bench.run(
            lambda tx, name=name: commands.register_organisation(
                tx, STAFF, NewOrganisation(id=name, name=name.title())
            )
        )
    bench.deliver(
        CentreOpened(centre_id=CENTRE, name="Quarto Oggiaro", opened_at=NOW),
        registered("h1"),
        consent("h1"),
        described("p1", "h1"),
    )


def registered(household: str, centre: str = CENTRE, at: datetime = NOW) -> HouseholdRegistered:
    return HouseholdRegistered(
        household_id=household,
        centre_id=centre,
        holder_id=f"p-{household}",
        person_ids=(f"p-{household}",),
        zone="north",
        registered_at=at,
    )


def consent(household: str, at: datetime = NOW) -> ConsentGiven:
    return ConsentGiven(household_id=household, purpose=Purpose.REFERRALS, given_at=at)


def withdrawn(household: str, at: datetime = NOW) -> ConsentWithdrawn:
    return ConsentWithdrawn(household_id=household, purpose=Purpose.REFERRALS, withdrawn_at=at)


def described(person: str, household: str, revision: int = 1) -> PersonDescribed:
    return PersonDescribed(
        person_id=person,
        household_id=household,
        centre_id=CENTRE,
        revision=revision,
        given_name="Samira",
        family_name="Haddad",
        holder=True,
        language="ar",
        phone="+393331234567",
        birth_date=date(1990, 1, 1),
        described_at=NOW,
    )


def ask(bench: Bench, who: Who = STAFF, centre: str = CENTRE, **more: object) -> str:
    asked = NewReferral.model_validate(
        {"area": "work", "household_id": "h1", "to_organisation_id": "auser", "note": SECRET} | more
    )
    return bench.run(
        lambda tx: commands.record_referral(tx, who, asked, centre_id=centre), centre=centre
    ).id


def do(bench: Bench, who: Who, referral: str, action: Action, **saying: str) -> ReferralState:
    return bench.run(lambda tx: commands.act_on(tx, who, referral, action, Saying(**saying)))


def read(bench: Bench, who: Who, referral: str) -> ReferralView:
    return bench.run(lambda tx: queries.read_referral(tx, who, referral))


def rows(bench: Bench, table: sa.Table) -> list[dict[str, object]]:
    return [dict(row) for row in bench.read(lambda c: c.execute(sa.select(table)).mappings().all())]


def differences(bench: Bench) -> list[str]:
    return [str(d) for check in SERVICE.checks for d in bench.read(check.run)]


# -- the whole way -------------------------------------------------------------------------------


def test_a_referral_is_asked_accepted_begun_held_and_comes_back_with_an_outcome(
    bench: Bench,
) -> None:
    referral = ask(bench)
    for action in (Action.ACCEPT, Action.START, Action.HOLD, Action.START):
        do(bench, AUSER, referral, action, note="on our way")
    done = do(bench, AUSER, referral, Action.COMPLETE, outcome="met", note="she has a job")
    assert (done.state, done.outcome) == ("completed", "met")
    assert [type(e).__name__ for e in bench.emitted() if "Referral" in type(e).__name__] == [
        "ReferralRequested",
        "ReferralAccepted",
        "ReferralCompleted",
    ]
    (asked,) = bench.emitted(ReferralRequested)
    assert asked.area == "work"
    assert asked.household_id == "h1"
    assert asked.answer_by == datetime(2026, 11, 18, 22, 59, tzinfo=UTC)
    assert [step.state for step in read(bench, STAFF, referral).steps] == [
        "requested", "accepted", "in_progress", "on_hold", "in_progress", "completed",
    ]  # fmt: skip
    assert differences(bench) == []


def test_what_is_written_is_in_no_event(bench: Bench) -> None:
    referral = ask(bench)
    do(bench, AUSER, referral, Action.REJECT, reason="no_capacity", note=SECRET)
    do(bench, STAFF, referral, Action.REROUTE, to_organisation_id="torri", note=SECRET)
    do(bench, STAFF, referral, Action.CANCEL, reason="need_met", note=SECRET)
    assert len(bench.emitted()) == 2 + 4
    for event in bench.emitted():
        assert SECRET not in event.model_dump_json()


def test_a_failed_help_closes_as_failed_and_is_told_with_its_outcome(bench: Bench) -> None:
    referral = ask(bench)
    do(bench, AUSER, referral, Action.ACCEPT)
    assert do(bench, AUSER, referral, Action.COMPLETE, outcome="failed").state == "failed"
    assert [e.outcome for e in bench.emitted(ReferralCompleted)] == ["failed"]


@pytest.mark.parametrize("outcome", ["", "closed", "no_answer"])
def test_it_does_not_close_without_an_outcome(bench: Bench, outcome: str) -> None:
    referral = ask(bench)
    do(bench, AUSER, referral, Action.ACCEPT)
    with pytest.raises(Invalid, match=r"referral\.outcome_missing"):
        do(bench, AUSER, referral, Action.COMPLETE, outcome=outcome)
    assert read(bench, STAFF, referral).state == "accepted"


def test_the_store_itself_refuses_a_closed_referral_without_an_outcome(bench: Bench) -> None:
    referral = ask(bench)
    for state in ("completed", "rejected"):
        with pytest.raises(sa.exc.IntegrityError):
            bench.run(
                lambda tx, state=state: store.change(
                    tx.connection, store.referral, referral, {"state": state, "closed": True}
                )
            )


def test_it_does_not_end_without_a_reason(bench: Bench) -> None:
    referral = ask(bench)
    for who, action, reason in (
        (AUSER, Action.REJECT, ""),
        (AUSER, Action.REJECT, "consent_withdrawn"),
        (STAFF, Action.CANCEL, "no_answer"),
    ):
        with pytest.raises(Invalid, match=r"referral\.reason_missing"):
            do(bench, who, referral, action, reason=reason)


def test_a_draft_asks_nobody_and_shows_itself_to_nobody_until_it_is_asked(bench: Bench) -> None:
    referral = ask(bench, draft=True)
    assert bench.emitted(ReferralRequested) == []
    with pytest.raises(NotFound):
        read(bench, AUSER, referral)
    assert bench.read(lambda c: queries.referrals(c, Paging(), AUSER, NOW)).items == []
    do(bench, STAFF, referral, Action.REQUEST)
    assert len(bench.emitted(ReferralRequested)) == 1
    assert read(bench, AUSER, referral).state == "requested"
    assert differences(bench) == []


# -- who may do what -----------------------------------------------------------------------------


def test_nobody_but_the_parties_can_touch_or_read_it(bench: Bench) -> None:
    referral = ask(bench)
    for who in (TORRI, ELSEWHERE, Who("nobody", CENTRE), Who("x", "centre-2", False, "auser")):
        with pytest.raises(NotFound):
            read(bench, who, referral)
        for action in Action:
            with pytest.raises(NotFound):
                do(bench, who, referral, action, reason="refused", outcome="met")
        assert bench.read(lambda c, who=who: queries.referrals(c, Paging(), who, NOW)).items == []


def test_each_side_does_only_what_is_its_own(bench: Bench) -> None:
    referral = ask(bench)
    for who, action in ((STAFF, Action.ACCEPT), (STAFF, Action.COMPLETE), (AUSER, Action.REROUTE)):
        with pytest.raises(NotAllowed):
            do(bench, who, referral, action, outcome="met", to_organisation_id="torri")
    with pytest.raises(Refusal, match="not_possible_now"):
        do(bench, AUSER, referral, Action.CANCEL, reason="refused")


def test_after_a_reroute_the_first_organisation_no_longer_sees_it(bench: Bench) -> None:
    referral = ask(bench)
    do(bench, AUSER, referral, Action.REJECT, reason="no_capacity", note="we are full")
    do(bench, STAFF, referral, Action.REROUTE, to_organisation_id="torri", note="please")
    with pytest.raises(NotFound):
        read(bench, AUSER, referral)
    assert bench.read(lambda c: queries.referrals(c, Paging(), AUSER, NOW)).items == []
    seen = read(bench, TORRI, referral)
    assert [step.note for step in seen.steps] == ["please"]
    assert [step.note for step in read(bench, STAFF, referral).steps] == [
        SECRET, "we are full", "please",
    ]  # fmt: skip
    (told,) = bench.emitted(ReferralRerouted)
    assert (told.previous_organisation_id, told.to_organisation_id) == ("auser", "torri")
    assert differences(bench) == []


def test_a_reroute_to_the_same_or_an_unknown_organisation_is_refused(bench: Bench) -> None:
    referral = ask(bench)
    with pytest.raises(Invalid, match="same_organisation"):
        do(bench, STAFF, referral, Action.REROUTE, to_organisation_id="auser")
    with pytest.raises(NotFound, match=r"organisation\.unknown"):
        do(bench, STAFF, referral, Action.REROUTE, to_organisation_id="nobody")
    assert read(bench, STAFF, referral).to_organisation_id == "auser"


def test_one_who_is_both_sides_acts_on_the_one_that_fits(bench: Bench) -> None:
    both = Who("both", CENTRE, staff=True, organisation_id="auser")
    referral = ask(bench, both)
    do(bench, both, referral, Action.ACCEPT)
    assert do(bench, both, referral, Action.CANCEL, reason="refused").state == "cancelled"


def test_names_are_shown_to_the_receiver_alone_and_while_it_needs_them(bench: Bench) -> None:
    referral = ask(bench)
    assert read(bench, STAFF, referral).people == []
    (person,) = read(bench, AUSER, referral).people
    assert (person.given_name, person.language) == ("Samira", "ar")
    do(bench, AUSER, referral, Action.REJECT, reason="refused")
    seen = read(bench, AUSER, referral)
    assert (seen.people, seen.household_id) == ([], "")
    assert all(not step.note for step in seen.steps)


# -- audit ---------------------------------------------------------------------------------------


def test_every_read_leaves_a_row_and_a_refused_one_none(bench: Bench) -> None:
    referral = ask(bench)
    assert rows(bench, store.audit) == []
    for _ in range(2):
        read(bench, AUSER, referral)
    read(bench, STAFF, referral)
    with pytest.raises(NotFound):
        read(bench, TORRI, referral)
    log = bench.read(lambda c: queries.audit_log(c, Paging(), CENTRE, referral_id=referral))
    assert [(line.account_id, line.action) for line in log.items] == [
        ("worker", "read"), ("auser", "read"), ("auser", "read"),
    ]  # fmt: skip
    assert bench.read(lambda c: queries.audit_log(c, Paging(), "centre-2")).items == []


def test_texts_are_read_in_one_place_only() -> None:
    """`read_texts` is the only reader of the table of texts: that is what makes the log whole."""
    root = Path(network.__file__).parent
    readers = [
        (file.name, line.strip())
        for file in root.rglob("*.py")
        if "migrations" not in file.parts
        for line in file.read_text(encoding="utf-8").splitlines()
        if "referral_text" in line and not re.search(r"insert|delete|sa\.Table|^\s*\"", line)
    ]
    assert {name for name, _ in readers} == {"store.py"}
    source = (root / "store.py").read_text(encoding="utf-8")
    assert len(re.findall(r"sa\.select\(\s*referral_text", source)) == 1
    assert "write_audit" in source.split("def read_texts")[1].split("def ")[0]


# -- consent -------------------------------------------------------------------------------------


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
    old = ask(bench)
    clock.advance(timedelta(hours=2))
    bench.deliver(consent("h1", NOW + timedelta(hours=2)))
    clock.advance(timedelta(minutes=1))
    new = ask(bench)
    bench.deliver(withdrawn("h1", NOW + timedelta(hours=1)))
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
            found = [rows(bench, table) for table in tables]
            seen = seen or found
            assert found == seen
            bench.store.write_now(lambda c: [c.execute(sa.delete(table)) for table in tables])
    assert seen[1] == [{"household_id": "h1", "given": False, "changed_at": later}]


# -- time ----------------------------------------------------------------------------------------


def test_nobody_answers_reminded_then_overdue_then_expired(bench: Bench, clock: FixedClock) -> None:
    referral = ask(bench)  # Monday; due by Wednesday, overdue after Friday, 14 days: 4 December

    def now_at(day: int, hour: int, month: int = 11) -> ReferralView:
        clock.set(datetime(2026, month, day, hour, tzinfo=UTC))
        bench.tick()
        assert differences(bench) == []
        return read(bench, STAFF, referral)

    assert not now_at(18, 7).reminded
    seen = now_at(18, 8)
    assert seen.reminded
    assert not seen.late
    seen = now_at(19, 8)
    assert seen.late
    assert not seen.overdue
    assert bench.emitted(ReferralOverdue) == []
    assert now_at(20, 23).overdue
    assert len(bench.emitted(ReferralOverdue)) == 1
    assert now_at(4, 22, 12).state == "requested"
    seen = now_at(4, 23, 12)
    assert (seen.state, seen.reason) == ("expired", "no_answer")
    assert len(bench.emitted(ReferralExpired)) == 1
    now_at(31, 23, 12)
    assert len(bench.emitted()) == 2 + 3


def test_an_answer_in_time_is_not_followed_by_reminders(bench: Bench, clock: FixedClock) -> None:
    referral = ask(bench)
    do(bench, AUSER, referral, Action.ACCEPT)
    clock.advance(timedelta(days=60))
    bench.tick()
    assert read(bench, STAFF, referral).state == "accepted"
    assert bench.emitted(ReferralOverdue) == []
    assert rows(bench, store.metadata.tables["job"]) == []


def test_asked_elsewhere_the_time_begins_anew_and_the_old_deadlines_say_nothing(
    bench: Bench, clock: FixedClock
) -> None:
    referral = ask(bench)
    clock.set(datetime(2026, 11, 20, 10, tzinfo=UTC))
    again = do(bench, STAFF, referral, Action.REROUTE, to_organisation_id="torri")
    assert again.answer_by == datetime(2026, 11, 24, 22, 59, tzinfo=UTC)
    clock.set(datetime(2026, 11, 21, 10, tzinfo=UTC))
    bench.tick()
    assert not read(bench, STAFF, referral).overdue
    assert differences(bench) == []


def test_an_expired_referral_can_be_asked_of_somebody_else(bench: Bench, clock: FixedClock) -> None:
    referral = ask(bench)
    clock.advance(timedelta(days=30))
    bench.tick()
    with pytest.raises(Refusal, match="not_possible_now"):
        do(bench, AUSER, referral, Action.ACCEPT)
    assert do(
        bench, STAFF, referral, Action.REROUTE, to_organisation_id="torri"
    ).state == "requested"  # fmt: skip


def test_a_centre_sets_its_own_deadlines_from_a_day_on(bench: Bench, clock: FixedClock) -> None:
    asked = NewRule(
        from_time=NOW + timedelta(days=1),
        deadlines=DeadlineRule(answer_days=5, grace_days=0, expiry_days=20),
    )
    bench.run(lambda tx: commands.set_rules(tx, STAFF, asked, centre_id=CENTRE))
    ask(bench)
    clock.advance(timedelta(days=1))
    ask(bench)
    before, after = bench.emitted(ReferralRequested)
    assert (after.answer_by - before.answer_by).days == 6


def test_a_referral_without_its_due_rows_is_named_by_the_checks(bench: Bench) -> None:
    referral = ask(bench)
    job = store.metadata.tables["job"]
    bench.run(lambda tx: tx.connection.execute(sa.delete(job)))
    found = differences(bench)
    assert len(found) == 3
    assert all(referral in line for line in found)


# -- same again, bad input -----------------------------------------------------------------------


def test_the_same_referral_twice_is_one_and_other_content_is_refused(bench: Bench) -> None:
    assert ask(bench, id="r-1") == ask(bench, id="r-1") == "r-1"
    assert len(bench.emitted(ReferralRequested)) == 1
    with pytest.raises(Refusal, match=r"id\.other_content"):
        ask(bench, id="r-1", area="home")


def test_it_takes_from_the_need_what_is_not_said(bench: Bench) -> None:
    need = bench.run(
        lambda tx: commands.record_need(
            tx, STAFF, NewNeed(zone="south", area="home", household_id="h1"), centre_id=CENTRE
        )
    )
    view = read(bench, STAFF, ask(bench, need_id=need, area="", household_id=""))
    assert (view.zone, view.area, view.household_id) == ("south", "home", "h1")
    with pytest.raises(Invalid, match="other_than_need"):
        ask(bench, need_id=need, area="work")
    with pytest.raises(NotFound, match=r"need\.unknown"):
        ask(bench, need_id="none")
    with pytest.raises(NotFound, match=r"need\.unknown"):
        ask(bench, ELSEWHERE, "centre-2", need_id=need, area="")


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"area": ""}, "referral.area_missing"),
        ({"household_id": ""}, "referral.zone_missing"),
        ({"household_id": "h9"}, "household.unknown"),
        ({"to_organisation_id": "nobody"}, "organisation.unknown"),
        ({"service_id": "nothing"}, "service.of_another"),
    ],
)
def test_bad_input_is_refused_with_its_reason_and_leaves_nothing(
    bench: Bench, more: dict[str, object], reason: str
) -> None:
    with pytest.raises(Refusal) as refused:
        ask(bench, **more)
    assert refused.value.reason == reason
    assert rows(bench, store.referral) == []
    assert rows(bench, store.referral_text) == []


def test_a_household_of_another_centre_is_not_there(bench: Bench) -> None:
    bench.deliver(registered("h2", "centre-2"), consent("h2"))
    with pytest.raises(NotFound, match=r"household\.unknown"):
        ask(bench, household_id="h2")
    with pytest.raises(NotFound, match=r"household\.unknown"):
        bench.run(
            lambda tx: commands.record_need(
                tx, STAFF, NewNeed(area="work", household_id="h2"), centre_id=CENTRE
            )
        )


def test_one_without_a_household_needs_no_consent(bench: Bench) -> None:
    referral = ask(bench, household_id="", zone="north")
    assert read(bench, AUSER, referral).people == []


# -- directory and needs -------------------------------------------------------------------------


def test_organisations_are_found_by_area_zone_and_capacity(bench: Bench) -> None:
    def make(name: str, **more: object) -> None:
        asked = NewOrganisation.model_validate({"id": name, "name": name} | more)
        bench.run(lambda tx: commands.register_organisation(tx, STAFF, asked))

    make("a-north", zones=["north"], areas=["work"])
    make("b-south", zones=["south"], areas=["work", "home"])
    make("c-everywhere")
    bench.run(
        lambda tx: commands.register_service(
            tx,
            STAFF,
            "c-everywhere",
            NewService(name="Jobs", area="work", capacity=Capacity.HAS_CAPACITY),
        )
    )

    def found(**filters: str) -> list[str]:
        page = bench.read(lambda c: queries.directory(c, Paging(), CENTRE, **filters))
        return [line.id for line in page.items if "-" in line.id]

    assert found() == ["a-north", "b-south", "c-everywhere"]
    assert found(area="work", zone="north") == ["a-north", "c-everywhere"]
    assert found(area="home") == ["b-south"]
    assert found(capacity="has_capacity") == ["c-everywhere"]
    assert found(capacity="has_capacity", area="home") == []
    assert bench.read(lambda c: queries.directory(c, Paging(), "centre-2")).items == []


def test_one_organisation_serves_all_centres_and_only_the_foundation_changes_it(
    bench: Bench,
) -> None:
    foundation = Who("root", "", staff=True)
    asked = NewOrganisation(id="caritas", name="Caritas")
    bench.run(lambda tx: commands.register_organisation(tx, foundation, asked), centre="")
    for centre in (CENTRE, "centre-2"):
        view = bench.read(lambda c, centre=centre: queries.organisation_view(c, "caritas", centre))
        assert view.name == "Caritas"
    with pytest.raises(NotAllowed):
        bench.run(lambda tx: commands.change_organisation(tx, STAFF, "caritas", asked))


def test_an_organisation_says_the_capacity_of_its_own_services_only(bench: Bench) -> None:
    new = NewService(id="jobs", name="Jobs", area="work")
    bench.run(lambda tx: commands.register_service(tx, STAFF, "auser", new))
    bench.run(lambda tx: commands.say_capacity(tx, AUSER, "jobs", Capacity.NONE))
    (service,) = bench.read(lambda c: queries.services_of(c, ["auser"]))
    assert service.capacity == "none"
    with pytest.raises(NotFound):
        bench.run(lambda tx: commands.say_capacity(tx, TORRI, "jobs", Capacity.HAS_CAPACITY))
    with pytest.raises(NotFound):
        bench.run(lambda tx: commands.say_capacity(tx, ELSEWHERE, "jobs", Capacity.HAS_CAPACITY))


def test_needs_are_told_once_and_counted_by_whole_years(bench: Bench, clock: FixedClock) -> None:
    def need(number: int, area: str = "work") -> None:
        asked = NewNeed(id=f"n-{area}-{number}", zone="north", area=area)
        bench.run(lambda tx: commands.record_need(tx, STAFF, asked, centre_id=CENTRE))

    for number in range(6):
        need(number)
        need(number)
    clock.set(datetime(2026, 12, 31, 23, 30, tzinfo=UTC))  # 2027 in Milan
    for number in range(7):
        need(number, "home")
    assert len(bench.emitted(NeedRecorded)) == 13
    counted = bench.read(lambda c: queries.need_counts(c, CENTRE, clock.now(), 2026))
    assert (counted.areas, counted.cells, counted.total) == (["work"], [[6]], 6)
    counted = bench.read(lambda c: queries.need_counts(c, CENTRE, clock.now()))
    assert (counted.year, counted.areas, counted.cells) == (2027, ["home"], [[7]])
    rule_ = NewRule(counts=CountRule(threshold=8))
    bench.run(lambda tx: commands.set_rules(tx, STAFF, rule_, centre_id=CENTRE))
    counted = bench.read(lambda c: queries.need_counts(c, CENTRE, clock.now()))
    assert (counted.cells, counted.total) == ([[None]], None)


# -- restored ------------------------------------------------------------------------------------


def test_a_store_that_forgot_everything_gets_it_back_from_its_events(
    store_url: str, tmp_path: Path, clock: FixedClock, ids: Ids
) -> None:
    with Bench(SERVICE, store_url, clock=clock, ids=ids) as bench:
        prepare(bench)
        need = NewNeed(id="n-1", zone="north", area="work")
        bench.run(lambda tx: commands.record_need(tx, STAFF, need, centre_id=CENTRE))
        waiting, done, failed, no = (ask(bench, id=f"r-{n}") for n in range(4))
        for referral in (done, failed):
            do(bench, AUSER, referral, Action.ACCEPT)
        do(bench, AUSER, done, Action.COMPLETE, outcome="partly_met")
        do(bench, AUSER, failed, Action.COMPLETE, outcome="failed")
        do(bench, AUSER, no, Action.REJECT, reason="no_capacity")
        do(bench, STAFF, no, Action.REROUTE, to_organisation_id="torri")
        clock.advance(timedelta(days=6))
        bench.tick()
        kept = {(row["id"], row["state"], row["outcome"]) for row in rows(bench, store.referral)}
        emitted = bench.emitted()
    with Bench(SERVICE, f"sqlite:///{tmp_path}/new.db", clock=clock, ids=ids) as fresh:
        for event in emitted:
            received = decode(fresh.record(event)).content
            assert isinstance(received, Received)
            fresh.run(lambda tx, r=received: SERVICE.recover[type(r.event)](tx, r))
        assert {
            (row["id"], row["state"], row["outcome"]) for row in rows(fresh, store.referral)
        } == kept
        assert fresh.emitted() == []
        assert differences(fresh) == []
        assert {row["name"] for row in rows(fresh, store.organisation)} == {"Auser", "Torri"}
        assert [row["id"] for row in rows(fresh, store.need)] == ["n-1"]
        assert waiting in {row["id"] for row in rows(fresh, store.referral)}


def test_every_event_of_the_network_can_be_recovered() -> None:
    assert set(SERVICE.recover) == set(SERVICE.produced)


# -- the rules against the store -----------------------------------------------------------------


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
