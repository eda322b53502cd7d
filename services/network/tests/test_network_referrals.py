"""Referrals in the real store of both engines: the whole way, the parties, audit, bad input."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

import network
from contracts.network import (
    ReferralCompleted,
    ReferralRequested,
    ReferralRerouted,
)
from messaging.testing import Bench
from network import commands, queries, store
from network.domain.referral import Action
from network.models import (
    NewNeed,
)
from network.store import Who
from runtime.refusals import Invalid, NotAllowed, NotFound, Refusal
from web import Paging

from .network_cases import (
    AUSER,
    CENTRE,
    ELSEWHERE,
    NOW,
    SECRET,
    STAFF,
    TORRI,
    ask,
    consent,
    differences,
    do,
    read,
    registered,
    rows,
)

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
