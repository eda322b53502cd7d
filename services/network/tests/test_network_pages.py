"""The pages of the network, as browsers without JavaScript see them."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from network.heat import heat_table
from network.models import NeedCounts
from runtime.clock import FixedClock
from web.testing import Client

from .network_callers import (
    AUSER,
    CASE_WORKER,
    CENTRE,
    COORDINATOR,
    FAMILY,
    SECRET,
    STRANGER,
    asked,
)

PAGES = [
    "/network/referrals",
    "/network/referrals?show=late",
    "/network/referrals?show=closed",
    "/network/referrals/new?household=h1",
    "/network/referrals/{referral}",
    "/network/organisations",
    "/network/organisations?area=work&zone=north&capacity=none",
    "/network/organisations/new",
    "/network/organisations/auser",
    "/network/organisations/auser/edit",
    "/network/organisations/auser/services/new",
    "/network/needs",
    "/network/audit",
    "/network/audit?referral={referral}",
    "/network/rules",
]


@pytest.mark.parametrize("language", ["it", "en", "ar", "es", "fr"])
async def test_every_page_opens_in_every_language(client: Client, language: str) -> None:
    referral = await asked(client)
    client.sign_in(COORDINATOR)
    titles = set()
    for path in PAGES:
        where = path.format(referral=referral)
        page = await client.page(f"{where}{'&' if '?' in where else '?'}lang={language}")
        assert page.language == language
        assert page.direction == ("rtl" if language == "ar" else "ltr")
        assert "style=" not in page.html.split("<body", 1)[1]
        assert "<script" not in page.html.split("<body", 1)[1]
        titles.add(page.html.split("<h1", 1)[1].split("</h1>")[0])
    if language != "en":
        assert not {t for t in titles if "Referrals sent" in t or "Who read what" in t}


async def test_pages_are_for_their_roles(client: Client) -> None:
    referral = await asked(client)
    for path in PAGES:
        where = path.format(referral=referral)
        client.sign_in("")
        assert (await client.get(where)).status_code in (303, 307)
        client.sign_in(FAMILY)
        assert (await client.get(where)).status_code == 403
    client.sign_in(STRANGER)
    for path in ("referrals/{referral}", "organisations/auser", "referrals/new?household=h1"):
        answer = await client.get(f"/network/{path.format(referral=referral)}")
        assert answer.status_code == 404, path
    client.sign_in(AUSER)
    for path in ("referrals/new", "organisations/new", "audit", "rules"):
        assert (await client.get(f"/network/{path}")).status_code == 403


async def test_from_the_desk_to_an_outcome_by_pages(client: Client) -> None:
    client.sign_in(CASE_WORKER)
    page = await client.page("/network/referrals/new?household=h1")
    assert "The family has agreed to be referred." in page
    page = await page.form("referral").submit(area="work", to_organisation_id="auser", note=SECRET)
    assert "Waiting for an answer" in page
    assert "Haddad" not in page
    where = page.path
    client.sign_in(AUSER)
    received = await client.page("/network/referrals")
    assert "Referrals received" in received
    assert SECRET not in received
    page = await client.page(where)
    assert "Samira Haddad" in page
    assert SECRET in page
    page = await page.form("accept").submit(accept_note="welcome")
    page = await page.form("start").submit()
    page = await page.form("hold").submit()
    page = await page.form("complete").submit(status=422, complete_note="she got it")
    form = page.form("complete")
    assert form.values["complete_note"] == "she got it"
    assert 'aria-invalid="true"' in page.html
    page = await form.submit(complete_outcome="met")
    assert "Completed" in page
    assert "Samira" not in page
    client.sign_in(COORDINATOR)
    log = await client.page("/network/audit")
    assert "worker" in log
    assert "auser" in log


async def test_without_consent_the_form_asks_why_and_keeps_what_was_typed(client: Client) -> None:
    client.sign_in(CASE_WORKER)
    page = await client.page("/network/referrals/new?household=h2")
    assert "has not agreed" in page
    typed = {"area": "work", "to_organisation_id": "torri", "note": "please, soon"}
    page = await page.form("referral").submit(status=422, **typed)
    form = page.form("referral")
    assert {name: form.values[name] for name in typed} == typed
    assert "record its consent" in page
    page = await form.submit(override_reason="Minor in danger")
    assert "Sent without the family's consent" in page
    assert "Minor in danger" in page


async def test_what_the_first_partner_answered_is_not_proposed_for_the_second(
    client: Client,
) -> None:
    client.sign_in(CASE_WORKER)
    page = await client.page("/network/referrals/new?household=h1")
    referral = (await page.form("referral").submit(area="work", to_organisation_id="auser")).path
    client.sign_in(AUSER)
    page = await client.page(referral)
    await page.form("reject").submit(reject_reason="no_capacity", reject_note=SECRET)
    client.sign_in(CASE_WORKER)
    page = await client.page(referral)
    assert SECRET in page, "the sender reads the answer"
    assert page.form("reroute").values["reroute_note"] == ""
    asked_again = page.form("reroute")
    page = await asked_again.submit(reroute_to_organisation_id="torri", reroute_note="please, soon")
    assert page.form("reroute").values["reroute_note"] == "please, soon"


async def test_a_refused_reroute_or_cancel_stays_on_the_page(client: Client) -> None:
    referral = await asked(client)
    client.sign_in(CASE_WORKER)
    page = await client.page(f"/network/referrals/{referral}")
    assert "auser" not in page.form("reroute").options("reroute_to_organisation_id")
    assert page.form("reroute").values["reroute_note"] == SECRET
    seen = await page.form("cancel").submit(status=422, cancel_note="hm")
    assert seen.form("cancel").values["cancel_note"] == "hm"
    page = await page.form("reroute").submit(reroute_to_organisation_id="torri")
    assert "Torri" in page
    other_tab = await client.page(f"/network/referrals/{referral}")
    late = await page.form("cancel").submit(cancel_reason="need_met")
    assert "Cancelled" in late
    again = await other_tab.form("cancel").submit(status=422, cancel_reason="refused")
    assert "already cancelled" in again


async def test_what_is_late_is_seen_first(client: Client, clock: FixedClock) -> None:
    await asked(client)
    clock.advance(timedelta(days=3))
    page = await client.page("/network/referrals")
    assert "1 referral waits for an answer that was due." in page
    page = await page.follow("Show what is late")
    assert "Auser" in page


async def test_the_directory_by_pages(client: Client) -> None:
    client.sign_in(COORDINATOR)
    page = await client.page("/network/organisations/new")
    page = await page.form("organisation").submit(
        status=422, name="Anffas", email="no address", zones="north, south"
    )
    form = page.form("organisation")
    assert form.values["email"] == "no address"
    assert form.values["zones"] == "north, south"
    page = await form.submit(email="info@anffas.example", areas=["disability", "work"])
    assert "Anffas" in page
    assert "Disability, Work" in page
    assert "north , south" in page
    page = await page.follow("Correct")
    assert page.form("organisation").values["areas"] == ["work", "disability"]
    page = await page.form("organisation").submit(phone="02 123456")
    assert "02 123456" in page
    page = await page.follow("Add a service")
    page = await page.form("service").submit(
        status=422, name="Home help", area="disability", schedule_rrule="never"
    )
    assert page.form("service").values["schedule_rrule"] == "never"
    page = await page.form("service").submit(
        schedule_rrule="FREQ=DAILY", minimum_age="18", capacity="has_capacity"
    )
    assert "from 18 years" in page
    page = await page.follow("Correct this service")
    page = await page.form("service").submit(name="Help at home")
    assert "Help at home" in page
    form = next(f for f in page.forms if f.id.startswith("capacity-"))
    page = await form.submit(capacity="none")
    assert "No places" in page
    found = await client.page("/network/organisations?capacity=none")
    assert "Anffas" in found
    assert "Torri" not in found
    nothing = await client.page("/network/organisations?area=culture")
    assert "No organisation fits." in nothing


async def test_a_save_undoes_nothing_that_somebody_else_changed_meanwhile(client: Client) -> None:
    client.sign_in(COORDINATOR)
    path = "/network/organisations/auser"
    open_before = (await client.page(f"{path}/edit")).form("organisation")
    other = (await client.page(f"{path}/edit")).form("organisation")
    await other.submit(phone="02 123456", zones="north, south", areas=["elderly", "work"])
    page = await open_before.submit(email="info@auser.example", phone="02 654321", status=422)
    assert "Somebody else has changed this organisation meanwhile." in page
    form = page.form("organisation")
    assert sorted(form.values["areas"]) == ["elderly", "work"]
    assert form.values["zones"] == "north, south", "what was not touched is shown as it is now"
    assert (form.values["email"], form.values["phone"]) == ("info@auser.example", "02 654321")
    page = await form.submit()
    assert page.path == path
    page = await client.page(f"{path}/services/new")
    typed = {"name": "Jobs", "area": "work", "capacity": "has_capacity"}
    page = await page.form("service").submit(**typed, description="one\r\ntwo")
    late = (await page.follow("Correct this service")).form("service")
    await next(f for f in page.forms if f.id.startswith("capacity-")).submit(capacity="none")
    page = await late.submit(name="Help with jobs", status=422)
    assert "Somebody else has changed this service meanwhile." in page
    form = page.form("service")
    assert (form.values["capacity"], form.values["name"]) == ("none", "Help with jobs")
    page = await form.submit()
    for text in ("No places", "Help with jobs"):
        assert text in page


async def test_needs_and_rules_by_pages(client: Client) -> None:
    client.sign_in(COORDINATOR)
    page = await client.page("/network/needs")
    assert "No need was recorded in this year." in page
    page = await page.form("need").submit(status=422, area="work")
    assert page.form("need").values["area"] == "work"
    page = await page.form("need").submit(zone="north")
    assert "The need is recorded." in page
    page = await client.page("/network/rules")
    page = await page.form("rules").submit(status=422, answer_days="20")
    assert page.form("rules").values["answer_days"] == "20"
    assert "cannot expire before it is overdue" in page
    page = await page.form("rules").submit(answer_days="3", from_day="2026-12-01", threshold="4")
    assert "answer 3, grace 2, expiry 14" in page


async def test_a_new_deadline_does_not_bring_an_old_threshold_back(client: Client) -> None:
    client.sign_in(COORDINATOR)
    open_before = (await client.page("/network/rules")).form("rules")
    await (await client.page("/network/rules")).form("rules").submit(threshold="10")
    page = await open_before.submit(answer_days="3", status=422)
    assert "The rules have changed meanwhile." in page
    form = page.form("rules")
    assert (form.values["answer_days"], form.values["threshold"]) == ("3", "10")
    await form.submit()
    now = (await client.page("/network/rules")).form("rules").values
    assert (now["answer_days"], now["threshold"]) == ("3", "10")


def test_the_picture_shows_no_number_and_escapes_what_people_typed() -> None:
    counts = NeedCounts(
        centre_id=CENTRE,
        year=2026,
        threshold=5,
        zones=["<script>"],
        areas=["work", "home"],
        cells=[[12, None]],
        zone_totals=[None],
        area_totals=[12, None],
        total=None,
        hidden=4,
    )
    picture = heat_table(counts, str)
    assert "<script>" not in picture
    assert ">12<" not in picture
    assert picture.count("url(#hidden)") == 1
    lefts = [int(left) for left in re.findall(r'<rect x="(\d+)"', picture)]
    assert lefts == sorted(lefts)
    width = int(re.findall(r'width="(\d+)"', picture)[0])
    mirrored = heat_table(counts, str, mirrored=True)
    assert [
        width - int(left) - int(wide)
        for left, wide in re.findall(r'<rect x="(\d+)" y="\d+" width="(\d+)"', mirrored)
    ] == lefts
