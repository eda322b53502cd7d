"""The pages as a reader without JavaScript uses them, on a real store."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cards import commands, store
from cards.app import SERVICE
from cards.models import Adjustment, HouseholdNew, Member
from contracts import network
from runtime.clock import FixedClock
from runtime.ids import SequenceIds
from runtime.store import insert_ignore
from web.roles import Role
from web.testing import Client, PageSeen, token

DESK = token(Role.RECEPTION, centre="c1")
LEAD = token(Role.COORDINATOR, centre="c1")


@pytest.fixture
async def client(tmp_path: Path, clock: FixedClock, ids: SequenceIds) -> AsyncIterator[Client]:
    url = f"sqlite:///{tmp_path / 'cards.db'}"
    async with Client(SERVICE, url, clock=clock, ids=ids) as made:
        yield made.sign_in(DESK)


async def registered(client: Client, *names: str, phone: str = "") -> str:
    members = [
        Member(given_name=name, family_name="Rossi", phone=phone) for name in names or ("Amina",)
    ]
    return await client.run(
        lambda tx: commands.register_household(tx, HouseholdNew(members=members)), centre="c1"
    )


def shown_number(page: PageSeen) -> str:
    found = re.search(r"\b\d{4} \d{4} \d{4}\b", page.text)
    assert found, page.text
    return found.group()


async def test_a_household_is_registered_with_several_members(client: Client) -> None:
    page = await client.page("/cards/desk")
    page = await page.follow("Register a household")
    form = page.form("register")
    page = await form.submit(
        **{
            "action": "add_member",
            "members.0.given_name": "Amina",
            "members.0.family_name": "Rossi",
            "members.0.language": "ar",
            "zone": "via Satta",
            "consents": ["registration", "messages"],
        }
    )
    form = page.form("register")
    assert form.values["members.0.given_name"] == "Amina"
    assert form.values["members.0.language"] == "ar"
    assert form.values["members.0.holder"] == "yes"
    assert form.values["zone"] == "via Satta"
    assert form.values["consents"] == ["registration", "messages"]
    page = await form.submit(
        **{
            "action": "register",
            "members.1.given_name": "Luca",
            "members.1.family_name": "Rossi",
            "members.1.phone": "12",
        },
        status=422,
    )
    assert "This is not a phone number." in page
    assert 'id="f-members-1-phone-error"' in page.html
    form = page.form("register")
    assert form.values["members.1.phone"] == "12"
    assert form.values["consents"] == ["registration", "messages"]
    page = await form.submit(**{"action": "register", "members.1.phone": "333 123 4567"})
    assert re.fullmatch(r"/cards/households/[0-9a-f-]{36}", page.path)
    for text in ("Household of Amina Rossi", "Luca Rossi", "+393331234567", "holder of the card"):
        assert text in page
    assert "Receiving messages: agreed on" in page
    assert "Being referred to other organisations: not agreed" in page


async def test_a_family_has_the_name_of_its_first_member(client: Client) -> None:
    page = await client.page("/cards/households/new")
    page = await page.form("register").submit(
        **{
            "members.0.given_name": "Fatou",
            "members.0.family_name": "Diop",
            "action": "add_member",
        }
    )
    page = await page.form("register").submit(
        **{"members.1.given_name": "Awa", "action": "register"}
    )
    here = page.path
    assert "Awa Diop" in page
    page = await (await client.page(f"{here}/change")).form("change").submit(action="add_member")
    page = await page.form("change").submit(
        **{"members.2.given_name": "Ndeye", "members.0.family_name": "Sow", "action": "save"}
    )
    for name in ("Fatou Sow", "Awa Diop", "Ndeye Sow"):
        assert name in page


async def test_an_empty_registration_keeps_the_page(client: Client) -> None:
    page = await client.page("/cards/households/new")
    page = await page.form("register").submit(action="register", status=422)
    assert "Something has to be corrected" in page


@pytest.mark.parametrize("sent", [{"members": "x"}, {"members.0": "x", "members.1": "y"}])
async def test_members_that_are_none_are_refused(client: Client, sent: dict[str, str]) -> None:
    form = (await client.page("/cards/households/new")).form("register")
    typed = {"action": "register", "_csrf": form.values["_csrf"], "_nonce": form.values["_nonce"]}
    answer = await client.post("/cards/households/new", data=typed | sent)
    assert answer.status_code == 422


async def test_the_one_box_finds_by_name_phone_number_and_scan(client: Client) -> None:
    here = await registered(client, "Amina", phone="+393331234567")
    await registered(client, "Bruno")
    desk = await client.page("/cards/desk")
    page = await desk.form("find").submit(text="rossi")
    assert page.path == "/cards/desk"
    assert "Amina Rossi" in page
    assert "Bruno Rossi" in page
    assert page.form("find").values["text"] == "rossi"
    for text in ("amina", "333 1234567"):
        page = await desk.form("find").submit(text=text)
        assert page.path == f"/cards/households/{here}", text
    card = await page.form("issue").submit()
    number = shown_number(card)
    token_shown = await scanned(client, here)
    for text in (number, number.replace(" ", ""), token_shown, token_shown.lower()):
        page = await desk.form("find").submit(text=text)
        assert page.path == f"/cards/households/{here}", text
    page = await desk.form("find").submit(text="nobody at all")
    assert "No household was found." in page
    assert page.form("find").values["text"] == "nobody at all"


async def scanned(client: Client, household_id: str) -> str:
    from cards.domain.card import digest_of, new_token

    made = new_token()
    digest = digest_of(made) or ""
    await client.run(lambda tx: commands.issue_card(tx, household_id, digest), centre="c1")
    return made


async def test_many_found_are_shown_in_parts(client: Client) -> None:
    for number in range(25):
        await registered(client, f"Anna{number}")
    desk = await client.page("/cards/desk")
    page = await desk.form("find").submit(text="rossi")
    first = [href for _, href in page.links if href.startswith("/cards/households/0")]
    more = await page.form("more").submit()
    second = [href for _, href in more.links if href.startswith("/cards/households/0")]
    assert (len(first), len(second)) == (20, 5)
    assert not set(first) & set(second)
    listed = await client.page("/cards/households")
    assert "Anna0 Rossi" in listed
    assert "Anna24 Rossi" in await listed.follow("Show more")


async def test_a_card_is_shown_once_with_its_qr(client: Client) -> None:
    here = await registered(client)
    page = await client.page(f"/cards/households/{here}")
    form = page.form("issue")
    card = await form.submit()
    assert 'class="qr"' in card.html
    assert card.response.headers["cache-control"] == "no-store"
    number = shown_number(card)
    again = await form.submit()
    assert shown_number(again) == number
    assert 'class="qr"' not in again.html
    assert "was handed out before" in again
    page = await client.page(f"/cards/households/{here}")
    assert number in page


async def test_a_card_is_blocked_and_replaced(client: Client) -> None:
    here = await registered(client)
    page = await client.page(f"/cards/households/{here}")
    await page.form("issue").submit()
    page = await client.page(f"/cards/households/{here}")
    block = next(form for form in page.forms if form.id.startswith("block-"))
    assert "replaced" not in block.options("reason")
    page = await block.submit(reason="lost")
    assert "The card is blocked. The points stay." in page
    assert "Blocked (Lost)" in page
    replace = next(form for form in page.forms if form.id.startswith("replace-"))
    new = await replace.submit()
    assert 'class="qr"' in new.html
    page = await client.page(f"/cards/households/{here}")
    assert "In use" in page
    assert len([form for form in page.forms if form.id.startswith("replace-")]) == 1


async def test_points_by_hand_keep_what_was_typed(client: Client) -> None:
    here = await registered(client)
    page = await client.page(f"/cards/households/{here}")
    assert not [form for form in page.forms if form.id == "adjust"]
    client.sign_in(LEAD)
    page = await client.page(f"/cards/households/{here}")
    page = await page.form("adjust").submit(points="30", reason="", status=422)
    assert page.form("adjust").values["points"] == "30"
    page = await page.form("adjust").submit(
        points="30", reason="workshop", expires_on="2026-11-01", status=422
    )
    assert "The expiry must lie in the future." in page
    assert 'id="f-expires_on-error"' in page.html
    page = await page.form("adjust").submit(points="30", reason="workshop", expires_on="2026-12-24")
    assert "The points are changed." in page
    assert "30 points to spend" in page
    assert "24 Dec 2026" in page
    page = await page.form("adjust").submit(points="-31", reason="too much", status=422)
    assert "There are only 30 points available." in page
    assert page.form("adjust").values["reason"] == "too much"


async def test_consents_and_the_path(client: Client) -> None:
    here = await registered(client)
    page = await client.page(f"/cards/households/{here}")
    page = await page.form("consent-messages").submit(action="give")
    assert "Receiving messages: agreed on" in page
    page = await page.form("consent-messages").submit(action="withdraw")
    assert "Receiving messages: withdrawn on" in page
    stage = next(form for form in page.forms if form.id.startswith("stage-"))
    page = await stage.submit(stage="autonomy")
    stage = next(form for form in page.forms if form.id.startswith("stage-"))
    assert stage.values["stage"] == "autonomy"


async def test_members_change(client: Client) -> None:
    here = await registered(client, "Amina", "Luca", phone="+393331234567")
    page = await client.page(f"/cards/households/{here}/change")
    page = await page.form("change").submit(
        **{"members.0.given_name": "Aminah", "members.0.phone": "", "action": "add_member"}
    )
    form = page.form("change")
    assert form.values["members.0.given_name"] == "Aminah"
    page = await form.submit(
        **{
            "action": "save",
            "members.1.leaves": "yes",
            "members.2.given_name": "Zoe",
            "members.2.family_name": "Rossi",
            "zone": "via Gazzoletti",
        }
    )
    assert page.path == f"/cards/households/{here}"
    for text in ("Aminah Rossi", "Zoe Rossi", "via Gazzoletti"):
        assert text in page
    assert "Luca" not in page
    assert "+393331234567" not in page
    assert "Where it still says “can sign in”, wait, or disable it meanwhile." in page
    assert f"/identity/accounts?household={here}" in dict(page.links).values()
    page = await client.page(f"/cards/households/{here}/change")
    page = await page.form("change").submit(action="save", zone="via Satta")
    assert "password" not in page, "nobody has left"
    page = await client.page(f"/cards/households/{here}/change")
    page = await page.form("change").submit(
        **{"action": "save", "members.0.leaves": "yes"}, status=422
    )
    assert "The holder cannot leave the household." in page


async def test_a_new_zone_does_not_bring_an_old_address_back(client: Client) -> None:
    here = await registered(client)
    path = f"/cards/households/{here}/change"
    open_before = (await client.page(path)).form("change")
    corrected = {"members.0.email": "amina@example.org"}
    await (await client.page(path)).form("change").submit(**corrected, action="save")
    page = await open_before.submit(zone="via Satta", action="save", status=422)
    assert "Somebody else has changed this household meanwhile." in page
    page = await page.form("change").submit(action="save")
    for text in ("via Satta", "amina@example.org"):
        assert text in page


async def test_a_save_undoes_nothing_that_somebody_else_changed_meanwhile(client: Client) -> None:
    here = await registered(client, "Amina", "Luca", "Bruno", phone="+393331234567")
    path = f"/cards/households/{here}/change"
    open_before = (await client.page(path)).form("change")
    await (
        (await client.page(path))
        .form("change")
        .submit(
            **{
                "action": "save",
                "members.0.phone": "",
                "members.0.email": "amina@example.org",
                "members.0.holder": None,
                "members.1.holder": "yes",
                "members.2.leaves": "yes",
                "members.1.language": "es",
            }
        )
    )
    typed = {"zone": "via Gazzoletti", "members.0.given_name": "Aminah", "members.1.language": "ar"}
    page = await open_before.submit(**typed, action="add_member")
    new = {"members.3.given_name": "Zoe"}
    page = await page.form("change").submit(**new, action="save", status=422)
    assert "Somebody else has changed this household meanwhile." in page
    form = page.form("change")
    shown = {
        "zone": "via Gazzoletti",
        "members.0.given_name": "Aminah",
        "members.0.phone": "",
        "members.0.email": "amina@example.org",
        "members.1.given_name": "Luca",
        "members.1.language": "ar",
        "members.1.holder": "yes",
        "members.2.given_name": "Zoe",
    }
    assert {name: form.values[name] for name in shown} == shown
    assert "members.0.holder" not in form.values
    assert "members.3.given_name" not in form.values, "who left is not in the form any more"
    page = await form.submit(action="save")
    assert page.path == f"/cards/households/{here}"
    for text in ("Household of Luca Rossi", "Aminah Rossi", "amina@example.org", "Zoe Rossi"):
        assert text in page
    assert "Bruno" not in page


async def test_rules_and_points_that_nobody_had(client: Client) -> None:
    client.sign_in(LEAD)
    page = await client.page("/cards/rules")
    assert "No rule yet: nothing is earned." in page
    page = await page.form("rule").submit(per_euro="2", per_attendance="-1", status=422)
    assert page.form("rule").values["per_attendance"] == "-1"
    page = await page.form("rule").submit(per_attendance="7", from_day="2026-12-01")
    assert "The rule is set." in page
    assert "1 Dec 2026" in page
    assert "All points are covered." in await client.page("/cards/uncovered")


async def test_a_household_is_erased_after_a_question(client: Client) -> None:
    here = await registered(client)
    client.sign_in(LEAD)
    page = await client.page(f"/cards/households/{here}")
    page = await page.follow("Erase the household")
    assert "This cannot be undone." in page
    page = await page.form("erase").submit()
    assert page.path == "/cards/desk"
    page = await client.page(f"/cards/households/{here}", status=404)
    assert "This household is not known here." in page


async def test_a_referral_without_consent_is_on_the_desks_page_and_not_on_the_familys(
    client: Client, clock: FixedClock
) -> None:
    here = await registered(client)
    rows = [
        {
            "event_id": f"event-of-{number}",
            "household_id": here,
            "at": clock.now(),
            "kind": kind.TYPE,
            "facts": {"referral_id": f"referral-{number}"} | more,
        }
        for number, (kind, more) in enumerate(
            (
                (network.ReferralExpired, {"overridden": False}),
                (network.ReferralRejected, {"reason": "no_capacity", "overridden": True}),
            )
        )
    ]
    await client.store.write(lambda c: insert_ignore(c, store.timeline, rows))
    known, secret = "The organisation never answered.", "The organisation cannot help."
    page = await client.page(f"/cards/households/{here}")
    assert known in page
    assert secret in page
    client.sign_in(token(Role.FAMILY, centre="c1", household=here))
    page = await client.page("/cards/me")
    assert known in page
    assert secret not in page
    client.sign_in(token(Role.RECEPTION, Role.FAMILY, centre="c1", household=here))
    page = await client.page(f"/cards/households/{here}")
    assert known in page
    assert secret not in page, "who welcomes may be of this very family"
    told = await client.get(f"/cards/api/households/{here}/timeline")
    assert "no_capacity" not in told.text


async def test_the_family_sees_its_points_cards_and_days(client: Client, clock: FixedClock) -> None:
    here = await registered(client)
    await scanned(client, here)
    soon = clock.now() + timedelta(days=5)
    for asked in (
        Adjustment(points=30, reason="because", expires_at=soon),
        Adjustment(points=12, reason="because"),
    ):
        await client.run(
            lambda tx, asked=asked: commands.adjust_points(tx, here, asked), centre="c1"
        )
    client.sign_in(token(Role.FAMILY, centre="c1", household=here))
    page = await client.page("/cards/me")
    for text in ("42 points to spend", "21 Nov 2026", "They do not expire", "My cards"):
        assert text in page
    assert f'data-live="household.{here}"' in page.html
    assert page.html.count('<rect class="tone-a"') == 2, "a bar for each day of expiry"
    assert 'class="qr"' in page.html
    assert 'class="qr"' in (await page.follow("Show it large")).html
    assert "because" not in page
    listening = await client.get("/cards/live/household.somebody-else")
    assert listening.status_code == 403
    client.sign_in(token(Role.FAMILY, centre="c1"))
    assert "not connected to a household yet" in await client.page("/cards/me")
    client.sign_in(token(Role.FAMILY, centre="c2", household=here))
    assert "not connected to a household yet" in await client.page("/cards/me")
    assert (await client.get(f"/cards/live/household.{here}")).status_code == 403


@pytest.mark.parametrize("language", ["it", "en", "ar", "es", "fr"])
async def test_every_page_speaks_every_language(
    client: Client, language: str, clock: FixedClock
) -> None:
    here = await registered(client, "Amina", "Luca")
    client.sign_in(token(Role.COORDINATOR, Role.FAMILY, centre="c1", household=here))
    for path in (
        "/cards/desk",
        "/cards/households",
        "/cards/households/new",
        f"/cards/households/{here}",
        f"/cards/households/{here}/change",
        f"/cards/households/{here}/erase",
        "/cards/rules",
        "/cards/uncovered",
        "/cards/me",
    ):
        page = await client.page(f"{path}?lang={language}")
        assert page.language == language
        assert page.direction == ("rtl" if language == "ar" else "ltr")
        assert "{" not in page.text, (path, page.text)
        assert " style=" not in page.html
        assert "<script>" not in page.html


PAGES: list[tuple[str, str, Any]] = [
    ("GET", "/cards/desk", "desk"),
    ("POST", "/cards/desk", "desk"),
    ("GET", "/cards/households", "desk"),
    ("GET", "/cards/households/new", "desk"),
    ("POST", "/cards/households/new", "desk"),
    ("GET", "/cards/households/{id}", "desk"),
    ("GET", "/cards/households/{id}/change", "desk"),
    ("POST", "/cards/households/{id}/change", "desk"),
    ("POST", "/cards/households/{id}/consents", "desk"),
    ("POST", "/cards/households/{id}/stage", "desk"),
    ("POST", "/cards/households/{id}/cards", "desk"),
    ("POST", "/cards/households/{id}/points", "lead"),
    ("GET", "/cards/households/{id}/erase", "lead"),
    ("POST", "/cards/households/{id}/erase", "lead"),
    ("GET", "/cards/rules", "lead"),
    ("POST", "/cards/rules", "lead"),
    ("GET", "/cards/uncovered", "lead"),
    ("GET", "/cards/me", "family"),
]
MAY = {
    "desk": {Role.ADMINISTRATOR, Role.COORDINATOR, Role.RECEPTION},
    "lead": {Role.ADMINISTRATOR, Role.COORDINATOR},
    "family": {Role.FAMILY},
}


async def test_who_may_open_what(client: Client) -> None:
    here = await registered(client)
    for method, template, who in PAGES:
        path = template.format(id=here)
        client.sign_in("")
        answer = await client.request(method, path)
        assert answer.status_code in (303, 307), (method, path)
        assert answer.headers["location"].startswith("/identity/")
        for role in set(Role) - MAY[who]:
            client.sign_in(token(role, centre="c1", household=here))
            headers = {"X-CSRF-Token": _csrf(client)}
            answer = await client.request(method, path, headers=headers)
            assert answer.status_code == 403, (method, path, role)
        if "{id}" in template:
            client.sign_in(token(Role.COORDINATOR, centre="c2"))
            headers = {"X-CSRF-Token": _csrf(client)}
            data = {"purpose": "messages", "action": "give", "points": "1", "reason": "because",
                    "person_id": "p", "stage": "welcome"}  # fmt: skip
            sent = {"data": data} if method == "POST" else {}
            answer = await client.request(method, path, headers=headers, **sent)
            assert answer.status_code == 404, (method, path, answer.text[:300])


def _csrf(client: Client) -> str:
    from web.csrf import token_of

    return token_of("session-of-account-1")
