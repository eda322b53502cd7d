"""Organisations and needs, and what a store that forgot them gets back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts.network import (
    NeedRecorded,
)
from messaging import Received
from messaging.envelope import decode
from messaging.testing import Bench
from network import commands, queries, store
from network.app import SERVICE
from network.domain.referral import Action
from network.domain.words import Capacity
from network.models import (
    CountRule,
    NewNeed,
    NewOrganisation,
    NewRule,
    NewService,
    OrganisationFields,
    ServiceFields,
)
from network.store import Who
from runtime.clock import FixedClock
from runtime.ids import Ids
from runtime.refusals import NotAllowed, NotFound, Refusal
from web import Paging

from .network_cases import (
    AUSER,
    CENTRE,
    ELSEWHERE,
    STAFF,
    TORRI,
    ask,
    differences,
    do,
    prepare,
    rows,
)

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


def test_what_somebody_else_changed_of_an_organisation_meanwhile_is_not_undone(
    bench: Bench,
) -> None:
    def shown() -> dict[str, Any]:
        view = bench.read(lambda c: queries.organisation_view(c, "auser", CENTRE))
        return view.model_dump(mode="json", include=set(OrganisationFields.model_fields))

    def change(seen: dict[str, Any], **what: Any) -> None:
        asked = OrganisationFields(**seen | what)
        bench.run(lambda tx: commands.change_organisation(tx, STAFF, "auser", asked, seen=seen))

    before = shown()
    change(before, phone="02 123456")
    now = shown()
    with pytest.raises(Refusal, match=r"organisation\.changed_meanwhile"):
        change(before, name="Auser Vigevano")
    assert shown() == now


def test_a_correction_does_not_give_a_service_places_that_it_has_no_more(bench: Bench) -> None:
    new = NewService(id="jobs", name="Jobs", area="work", capacity=Capacity.HAS_CAPACITY)
    bench.run(lambda tx: commands.register_service(tx, STAFF, "auser", new))
    seen = new.model_dump(mode="json", exclude={"id"})
    bench.run(lambda tx: commands.say_capacity(tx, AUSER, "jobs", Capacity.NONE))
    asked = ServiceFields(**seen | {"name": "Help with jobs"})
    with pytest.raises(Refusal, match=r"service\.changed_meanwhile"):
        bench.run(lambda tx: commands.change_service(tx, STAFF, "jobs", asked, seen=seen))
    (service,) = bench.read(lambda c: queries.services_of(c, ["auser"]))
    assert (service.name, service.capacity) == ("Jobs", "none")


def test_who_asks_organisations_does_not_speak_for_them(bench: Bench) -> None:
    """The desk asks; who keeps the directory corrects it. Who is of the desk and of another
    organisation speaks for its own alone."""
    new = NewService(id="jobs", name="Jobs", area="work")
    bench.run(lambda tx: commands.register_service(tx, STAFF, "auser", new))
    for who in (STAFF, Who("both", CENTRE, staff=True, organisation_id="torri")):
        with pytest.raises(NotFound):
            bench.run(lambda tx, w=who: commands.say_capacity(tx, w, "jobs", Capacity.NONE))
    keeper = Who("coordinator", CENTRE, staff=True, editor=True)
    bench.run(lambda tx: commands.say_capacity(tx, keeper, "jobs", Capacity.NONE))
    (service,) = bench.read(lambda c: queries.services_of(c, ["auser"]))
    assert service.capacity == "none"


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
