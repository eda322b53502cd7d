"""The pages as a reader without JavaScript uses them."""

from __future__ import annotations

import re
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
import sqlalchemy as sa

from activities import store
from activities.zone import DEFAULT
from web import formats
from web.roles import Role
from web.testing import token
from web.translations import catalogs


def test_every_sentence_is_translated() -> None:
    assert catalogs.lacking("activities") == []


def test_the_wall_clock_is_that_of_the_pages() -> None:
    assert DEFAULT.key == formats.ZONE.key


async def test_a_family_finds_a_session_and_signs_up_its_people(web: Any) -> None:
    await web.session(2)
    home = await web.family("h1").page("/activities/")
    assert "Nobody of your household is signed up" in home
    assert "2 places left" in home
    page = await home.follow("Spazio compiti")
    form = page.form("sign-up")
    assert form.options("person_ids") == ["ada", "ida"]
    page = await form.submit(person_ids=["ada"])
    assert "Ada Rossi Confirmed" in page
    assert page.form("sign-up").options("person_ids") == ["ida"], "only who is not signed up yet"
    home = await web.client.page("/activities/")
    assert "Ada Rossi" in home
    assert "1 place left" in home


async def test_siblings_wait_together_and_answer_an_offer(web: Any) -> None:
    session_id = await web.session(2)
    bruno, carla = await web.sign_up(session_id, "bruno", "carla")
    page = await web.family("h1").page(f"/activities/sessions/{session_id}")
    assert "No places left" in page
    assert "There is no place now" in page
    page = await page.form("sign-up").submit(person_ids=["ada", "ida"], together="yes")
    assert "Waiting: number 1 in the list" in page
    assert "Waiting: number 2 in the list" in page
    assert "together with the others" in page
    for one in (bruno, carla):
        await web.staff().post(f"/activities/api/sign-ups/{one['id']}/cancel")
    home = await web.family("h1").page("/activities/")
    english = web.client.parts.translations.of("en")
    until = formats.moment(english, web.clock.now() + timedelta(hours=48), formats.ZONE)
    assert " ".join(f"A place is kept until {until}".split()) in home
    home = await home.form("/accept").submit()
    assert home.path == "/activities/", "back where the button was"
    assert home.text.count("Confirmed") == 2
    home = await home.form("/cancel").submit()
    assert home.text.count("Confirmed") == 1
    seen = await web.see(session_id)
    assert [s["state"] for s in seen["sign_ups"][:1]] == ["confirmed"]


async def test_an_offer_may_be_left_to_others(web: Any) -> None:
    session_id = await web.session(1)
    bruno, _ = await web.sign_up(session_id, "bruno", "ada")
    await web.staff().post(f"/activities/api/sign-ups/{bruno['id']}/cancel")
    page = await web.family("h1").page(f"/activities/sessions/{session_id}")
    page = await page.form("/decline").submit()
    assert "The offer was declined" in page


async def test_an_answer_that_comes_too_late_is_told_in_words(web: Any) -> None:
    session_id = await web.session(1)
    bruno, _ = await web.sign_up(session_id, "bruno", "ada")
    await web.staff().post(f"/activities/api/sign-ups/{bruno['id']}/cancel")
    page = await web.family("h1").page("/activities/")
    web.clock.advance(timedelta(hours=49))
    refused = await page.form("/accept").submit(status=422)
    assert "The time to answer this offer is over" in refused
    assert "you will be at the end of the list" in refused


async def test_the_declared_policy_is_on_the_page(web: Any) -> None:
    for policy, sentence in [
        ("keep_for_group", "they are kept for the group"),
        ("next_who_fits", "the next who fit get them"),
    ]:
        session_id = await web.session(2, waiting_list_policy=policy)
        page = await web.family("h3").page(f"/activities/sessions/{session_id}")
        assert sentence in page


async def test_a_sign_up_form_keeps_what_was_ticked(web: Any) -> None:
    session_id = await web.session(1)
    page = await web.family("h1").page(f"/activities/sessions/{session_id}")
    refused = await page.form("sign-up").submit(
        person_ids=["ada", "ida"], together="yes", status=422
    )
    assert "The session has 1 places" in refused
    values = refused.form("sign-up").values
    assert values["person_ids"] == ["ada", "ida"]
    assert values["together"] == "yes"
    nobody = await refused.form("sign-up").submit(person_ids=[], status=422)
    assert "Choose at least one person" in nobody
    made = await nobody.form("sign-up").submit(person_ids=["ada"], together="yes")
    assert "Ada Rossi Confirmed" in made


async def test_staff_plan_an_activity_and_a_series(web: Any) -> None:
    home = await web.staff().page("/activities/")
    assert "No sessions are planned" in home
    page = await home.follow("New activity")
    wrong = await page.form("activity").submit(
        title="Coro", min_age="12", max_age="6", description="Cantare insieme", status=422
    )
    assert "The highest age must not be below" in wrong
    values = wrong.form("activity").values
    assert (values["title"], values["description"]) == ("Coro", "Cantare insieme")
    assert values["waiting_list_policy"] == "next_who_fits"
    page = await wrong.form("activity").submit(
        max_age="16", default_capacity="7", waiting_list_policy="keep_for_group"
    )
    assert "From 12 to 16 years" in page
    assert "48 hours" in page
    page = await page.follow("Plan a session")
    wrong = await page.form("session").submit(
        day="2026-11-24", starts_at="17:00", ends_at="16:00", place="Sala", status=422
    )
    assert "The end must be after the beginning" in wrong
    assert wrong.form("session").values["place"] == "Sala"
    page = await wrong.form("session").submit(ends_at="18:30", weeks="3", capacity="")
    assert page.path.startswith("/activities/activities/")
    starts = await web.client.read(
        lambda c: (
            c.execute(sa.select(store.session.c.starts_at).order_by(store.session.c.starts_at))
            .scalars()
            .all()
        )
    )
    assert [s.isoformat() for s in starts] == [
        "2026-11-24T16:00:00+00:00",
        "2026-12-01T16:00:00+00:00",
        "2026-12-08T16:00:00+00:00",
    ]
    listed = await web.client.page("/activities/activities")
    assert "Coro" in listed


async def test_staff_see_the_lists_and_sign_somebody_up(web: Any) -> None:
    session_id = await web.session(1)
    page = await web.staff().page(f"/activities/sessions/{session_id}")
    assert "Nobody is signed up yet" in page
    short = await page.form("find").submit(name="x", status=422)
    assert "at least 2" in short
    nobody = await page.form("find").submit(name="Verdi")
    assert "Nobody of that name is known here" in nobody
    found = await nobody.form("find").submit(name="ADA ro")
    assert "name" not in str(found.response.url.query)
    assert "Lontano" not in (await page.form("find").submit(name="Rossi")).text
    page = await found.follow("Ada Rossi")
    page = await page.form("sign-up").submit(person_ids=["ada"])
    assert "Ada Rossi Confirmed" in page
    page = await page.form("sign-up").submit(person_ids=["ida"], priority="3")
    assert "priority 3" in page
    page = await page.form("capacity").submit(capacity="2")
    assert "A place is kept until" in page
    less = await page.form("capacity").submit(capacity="1", status=422)
    assert "2 places are taken" in less
    page = await page.form("cancel-session").submit(reason="neve")
    assert "neve" in page
    assert "The session was cancelled" in page


async def test_the_desk_comes_with_a_household(web: Any) -> None:
    session_id = await web.session(1)
    await web.sign_up(session_id, "bruno")
    page = await web.as_(Role.RECEPTION).page("/activities/households/h2")
    assert "Bruno Rossi" in page
    assert "Spazio compiti" in page
    page = await page.follow("Spazio compiti")
    assert page.form("find")
    other = await web.client.page("/activities/households/h1")
    page = await other.follow("Spazio compiti")
    assert page.form("sign-up").options("person_ids") == ["ada", "ida"]
    for nowhere in ("far", "no-such"):
        await web.client.page(f"/activities/households/{nowhere}", status=404)
        await web.client.page(f"/activities/sessions/{session_id}?household={nowhere}", status=404)


async def test_the_register_is_one_form(web: Any) -> None:
    session_id = await web.session(3, starts_in=timedelta(hours=2))
    await web.sign_up(session_id, "ada", "bruno")
    page = await web.staff().page("/activities/today")
    assert "2 people signed up" in page
    assert "Register not taken yet" in page
    page = await page.follow("Spazio compiti")
    assert page.form("register").values["person_id"] == ["ada", "bruno"]
    look = await page.form("register").submit(present=["ada"], name="carla", look="yes")
    assert look.form("register").values["present"] == "ada", "what was ticked stays"
    assert "Carla Rossi" in look
    meanwhile = await web.client.page(page.path)
    page = await look.form("register").submit(present=["ada", "carla"])
    assert "Register taken: 2 present, 1 absent" in page
    assert "Carla Rossi without sign-up" in page
    stale = await meanwhile.form("register").submit(present=["bruno"], status=422)
    assert "Somebody else has changed this register" in stale
    assert stale.form("register").values["present"] == "bruno"
    assert "Carla Rossi without sign-up" in stale, "what the other one added is seen"
    page = await stale.form("register").submit()
    assert "Register taken: 1 present, 1 absent" in page
    today = await web.client.page("/activities/today")
    assert "1 present, 1 absent" in today


async def test_a_register_over_capacity_is_refused_and_keeps_the_ticks(web: Any) -> None:
    session_id = await web.session(1, starts_in=timedelta(hours=-1))
    page = await web.staff().page(f"/activities/sessions/{session_id}/register")
    assert "Nobody has a confirmed place" in page
    look = await page.form("register").submit(name="rossi")
    refused = await look.form("register").submit(present=["ada", "bruno"], status=422, look=None)
    assert "2 people, and the session has 1 places" in refused
    assert refused.form("register").values["present"] == ["ada", "bruno"]
    page = await refused.form("register").submit(present=["bruno"])
    assert "1 present, 0 absent" in page


async def test_registers_not_taken_are_seen(web: Any) -> None:
    session_id = await web.session(1, starts_in=timedelta(hours=1))
    page = await web.staff().page("/activities/registers")
    assert "All registers are taken" in page
    early = await web.session(1, starts_in=timedelta(days=5))
    page = await web.client.page(f"/activities/sessions/{early}/register")
    assert "can be taken from the day of the session" in page
    web.clock.advance(timedelta(hours=4))
    page = await web.client.page("/activities/registers")
    page = await page.follow("Spazio compiti")
    assert page.path == f"/activities/sessions/{session_id}/register"
    await page.form("register").submit()
    assert "All registers are taken" in await web.client.page("/activities/registers")


async def test_the_coordinator_sets_the_hold_of_an_activity(web: Any) -> None:
    activity_id = await web.activity()
    page = await web.as_(Role.COORDINATOR).page(f"/activities/activities/{activity_id}")
    wrong = await page.form("hold").submit(hours="0", status=422)
    assert wrong.form("hold").values["hours"] == "0"
    page = await page.form("hold").submit(hours="12")
    assert "12 hours" in page
    page = await web.staff().page(f"/activities/activities/{activity_id}")
    with pytest.raises(AssertionError):
        page.form("hold")


async def test_somebody_erased_has_no_name_on_any_page(web: Any) -> None:
    session_id = await web.session(1, starts_in=timedelta(hours=-1))
    taken = await web.staff().put(
        f"/activities/api/sessions/{session_id}/register",
        json={"entries": [{"person_id": "ada", "present": True}]},
    )
    assert taken.status_code == 200, taken.text
    await web.client.run(
        lambda tx: (
            tx.connection.execute(
                sa.update(store.person_seen)
                .where(store.person_seen.c.person_id == "ada")
                .values(given_name="", family_name="", household_id="", centre_id="", erased=True)
            )
            and None
        )
    )
    page = await web.client.page(f"/activities/sessions/{session_id}/register")
    assert "Name no longer known" in page
    page = await page.form("register").submit()
    assert "1 present, 0 absent" in page


PAGES = [
    "/activities/today",
    "/activities/registers",
    "/activities/activities",
    "/activities/activities/new",
    "/activities/activities/{activity}",
    "/activities/activities/{activity}/sessions/new",
    "/activities/sessions/{session}/register",
    "/activities/households/h1",
]
FOR_ALL = ["/activities/", "/activities/sessions/{session}"]
POSTS = [
    "/activities/activities/new",
    "/activities/activities/{activity}/hold",
    "/activities/activities/{activity}/sessions/new",
    "/activities/sessions/{session}/sign-up",
    "/activities/sessions/{session}/find",
    "/activities/sessions/{session}/capacity",
    "/activities/sessions/{session}/cancel",
    "/activities/sessions/{session}/register",
    "/activities/sign-ups/{sign_up}/accept",
    "/activities/sign-ups/{sign_up}/decline",
    "/activities/sign-ups/{sign_up}/cancel",
]


async def test_who_sees_which_page(web: Any) -> None:
    session_id = await web.session(1)
    (one,) = await web.sign_up(session_id, "bruno")
    activity_id = (await web.see(session_id))["activity_id"]
    names = {"session": session_id, "activity": activity_id, "sign_up": one["id"]}

    async def status(who: str, path: str, method: str = "GET") -> int:
        client = web.client.sign_in(who)
        page = await client.get("/activities/") if who and method == "POST" else None
        data = {}
        if page is not None and page.status_code == 200:
            data["_csrf"] = page.text.split('name="_csrf" value="')[1].split('"')[0]
            data |= {"name": "Rossi", "capacity": "9", "hours": "9", "person_ids": "ada"}
            data |= {"day": "2026-11-24", "starts_at": "16:00", "ends_at": "17:00"}
        answer = await client.request(method, path.format(**names), data=data or None)
        return int(answer.status_code)

    for path in PAGES + FOR_ALL:
        assert await status("", path) == 303, path
    for path in POSTS:
        assert await status("", path, "POST") == 307, path
    family = token(Role.FAMILY, centre="centre-1", household="h1")
    for path in PAGES:
        assert await status(family, path) == 403, path
    for path in FOR_ALL:
        assert await status(family, path) == 200, path
    staff = token(Role.EDUCATOR, centre="centre-1")
    for path in PAGES + FOR_ALL:
        assert await status(staff, path) == 200, path
    other = token(Role.COORDINATOR, centre="centre-2")
    for path in PAGES + FOR_ALL:
        if "{" in path or "h1" in path:
            assert await status(other, path) == 404, path
    before = await web.see(session_id)
    for path in POSTS:
        if "{" in path:
            assert await status(other, path, "POST") == 404, path
    for path in POSTS[-3:]:
        assert await status(family, path, "POST") == 404, path
    assert await web.see(session_id) == before


async def test_pages_speak_the_readers_language(web: Any) -> None:
    session_id = await web.session(1, min_age=6)
    await web.sign_up(session_id, "ada", "bruno")
    client = web.family("h2")
    paths = ("/activities/", f"/activities/sessions/{session_id}")
    for language, path in product(("it", "ar", "es", "fr"), paths):
        page = await client.page(f"{path}?lang={language}")
        assert page.language == language
        assert page.direction == ("rtl" if language == "ar" else "ltr")
        for english in ("places left", "Waiting", "I can't come", "Signed up", "household"):
            assert english not in page, (path, english)
        assert 'dir="auto"' in page.html


async def test_a_family_linked_to_a_household_of_another_centre_sees_nobody_of_it(
    web: Any,
) -> None:
    session_id = await web.session()
    await web.sign_up(session_id, "ada")
    assert "Ada" in await web.family().page("/activities/")
    web.as_(Role.FAMILY, centre="centre-2", household="h1")
    assert "Ada" not in await web.client.page("/activities/")


async def test_live_parts_are_for_those_of_the_centre(web: Any) -> None:
    session_id = await web.session(1)
    for who, wanted in [
        (token(Role.FAMILY, centre="centre-2", household="far"), 403),
        ("", 401),
    ]:
        answer = await web.client.sign_in(who).get(f"/activities/live/session.{session_id}")
        assert answer.status_code == wanted
    page = await web.staff().page(f"/activities/sessions/{session_id}")
    assert f'data-live="session.{session_id}"' in page.html


async def test_everybody_sees_what_is_on_and_nobody_who_comes(web: Any) -> None:
    session_id = await web.session(2, starts_in=timedelta(hours=3))
    await web.sign_up(session_id, "bruno")
    centre = (await web.see(session_id))["centre_id"]
    web.client.sign_in("")
    for path in (f"/activities/open/{centre}", f"/activities/wall/{centre}"):
        page = await web.client.page(path)
        assert "Spazio compiti" in page
        assert "1 place left" in page
        assert "Bruno" not in page
        assert 'data-live=""' in page.html
    web.clock.advance(timedelta(hours=4))
    assert "It is on now" in await web.client.page(f"/activities/wall/{centre}")
    web.clock.advance(timedelta(hours=8))
    assert "Nothing more is planned" in await web.client.page(f"/activities/wall/{centre}")
    assert "Spazio compiti" not in await web.client.page("/activities/open/elsewhere")


async def test_the_screen_at_the_entrance_renews_its_date_with_its_sessions(web: Any) -> None:
    """A screen runs for days: what is fetched again is what stands in the live part."""
    session_id = await web.session(2)
    centre = (await web.see(session_id))["centre_id"]
    web.client.sign_in("")
    page = await web.client.page(f"/activities/wall/{centre}")
    before, _, live = page.html.partition('<div id="wall" data-live="">')
    assert "<h1>" in live
    assert "<h1>" not in before


async def test_a_poster_holds_a_week_or_an_activity_and_nobody_who_comes(web: Any) -> None:
    session_id = await web.session(2, starts_in=timedelta(days=3))
    await web.sign_up(session_id, "bruno")
    seen = await web.see(session_id)
    far = await web.session(2, starts_in=timedelta(days=8))
    far_activity = (await web.see(far))["activity_id"]
    path = f"/activities/poster/{seen['centre_id']}"
    web.client.sign_in("")
    week = await web.client.page(path)
    assert week.html.count("Spazio compiti") == 1
    assert "Bruno" not in week
    alone = await web.client.page(f"{path}?activity={far_activity}")
    assert '<h1><bdi dir="auto">Spazio compiti</bdi></h1>' in alone.html
    other = await web.client.page(f"/activities/poster/elsewhere?activity={far_activity}")
    assert "Spazio compiti" not in other
    web.staff()
    await web.client.post(
        f"/activities/api/sessions/{session_id}/cancel", json={"reason": "sciopero"}
    )
    web.client.sign_in("")
    assert "Spazio compiti" not in await web.client.page(path)


async def test_what_is_on_goes_on_behind_its_first_part(web: Any) -> None:
    for number in range(3):
        session_id = await web.session(2, starts_in=timedelta(hours=number + 1))
    centre = (await web.see(session_id))["centre_id"]
    web.client.sign_in("")
    path = f"/activities/open/{centre}"
    first = await web.client.page(f"{path}?limit=2")
    assert first.html.count("Spazio compiti") == 2
    (after,) = re.findall(rf'rel="next" href="{path}\?after=([^"]+)"', first.html)
    rest = await web.client.page(f"{path}?after={after}")
    assert rest.html.count("Spazio compiti") == 1
    assert 'rel="next"' not in rest.html


async def test_a_poster_of_an_activity_is_full_whatever_was_cancelled(web: Any) -> None:
    activity_id = await web.activity(title="Coro")
    starts_at = web.clock.now() + timedelta(hours=1)
    ends_at = starts_at + timedelta(hours=2)
    made = await web.staff().post(
        f"/activities/api/activities/{activity_id}/sessions",
        json={"starts_at": starts_at.isoformat(), "ends_at": ends_at.isoformat(), "weeks": 12},
    )
    for session_id in made.json()["series"][:2]:
        await web.client.post(f"/activities/api/sessions/{session_id}/cancel", json={})
    web.client.sign_in("")
    centre = made.json()["centre_id"]
    poster = await web.client.page(f"/activities/poster/{centre}?activity={activity_id}")
    assert poster.html.count('<h2 id="day-') == 10
