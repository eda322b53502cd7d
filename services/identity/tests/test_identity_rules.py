"""The rules of identity alone: passwords, addresses, who may what, scopes."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.identity import Role
from identity import labels
from identity.domain.accounts import (
    HOUSE,
    Asker,
    Kind,
    Standing,
    check_change,
    check_create,
    check_governed,
    check_standing,
    in_reach,
    kind_of,
    manageable_roles,
    may_see,
)
from identity.domain.addresses import email_of, spoken_email
from identity.domain.devices import device_of
from identity.domain.passwords import LONGEST, acceptable, prepared, shortest_for
from identity.domain.scopes import SCOPES, allowed_to, chosen
from runtime.refusals import Invalid, NotAllowed, NotFound, Refusal

ROLES = st.frozensets(st.sampled_from(Role), max_size=4)
CENTRES = st.sampled_from(["", "north", "south"])
IDS = st.sampled_from(["", "thing-1"])


@st.composite
def standings(draw: st.DrawFn) -> Standing:
    return Standing(
        draw(ROLES), draw(CENTRES), draw(IDS), draw(IDS), draw(IDS), draw(st.booleans())
    )


@st.composite
def askers(draw: st.DrawFn) -> Asker:
    return Asker(draw(st.sampled_from(["anna", "bruno"])), draw(ROLES), draw(CENTRES))


def reason_of(refusal: pytest.ExceptionInfo[Refusal]) -> str:
    return refusal.value.reason


# -- addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("Anna.Rossi@Example.org", "anna.rossi@example.org"),
        ("  anna@example.org\n", "anna@example.org"),
        ("ａｎｎａ@example.org", "anna@example.org"),
        ("desk@centro.local", "desk@centro.local"),
        ("desk@vicinato.example", "desk@vicinato.example"),
    ],
)
def test_one_person_has_one_spelling(typed: str, stored: str) -> None:
    assert email_of(typed) == stored
    assert spoken_email(typed) == stored


@pytest.mark.parametrize(
    "typed", ["", " ", "anna", "anna@", "@example.org", "a b@example.org", "a@b@c", "a" * 300, "\0"]
)
def test_what_is_no_address_is_refused_by_name(typed: str) -> None:
    with pytest.raises(Invalid) as refused:
        email_of(typed)
    assert reason_of(refused) == "email.malformed"
    assert refused.value.field == "email"
    spoken_email(typed)


@given(st.text(max_size=300))
def test_signing_in_never_fails_on_an_address(typed: str) -> None:
    spoken_email(typed)


# -- passwords -----------------------------------------------------------------------------------


def test_families_may_have_shorter_passwords_than_anybody_else() -> None:
    assert shortest_for({Role.FAMILY}) == 8
    assert shortest_for({Role.TILL}) == 12
    assert shortest_for({Role.FAMILY, Role.TILL}) == 12
    assert shortest_for({Role.PRODUCER}) == 12


@pytest.mark.parametrize(
    ("password", "roles", "reason"),
    [
        ("a" * 7, {Role.FAMILY}, "password.too_short"),
        ("a" * 11, {Role.RECEPTION}, "password.too_short"),
        ("a" * 129, {Role.FAMILY}, "password.too_long"),
        ("ﷺ" * 8, {Role.FAMILY}, "password.too_long"),
        ("anna.rossi.reception@example.org", {Role.TILL}, "password.is_email"),
        ("ANNA.ROSSI.reception@example.org", {Role.TILL}, "password.is_email"),
        ("anna.rossi.reception", {Role.TILL}, "password.is_email"),
        ("\ud800" + "a" * 12, {Role.TILL}, "password.not_text"),
    ],
)
def test_a_password_is_refused_for_a_reason(password: str, roles: set[Role], reason: str) -> None:
    with pytest.raises(Invalid) as refused:
        acceptable(password, email="anna.rossi.reception@example.org", roles=roles)
    assert reason_of(refused) == reason
    assert refused.value.field == "password"


@pytest.mark.parametrize("typed", ["password1", "PASSWORD1", " 12345678 ", "sunshine"])
def test_the_most_common_passwords_are_refused(typed: str) -> None:
    with pytest.raises(Invalid, match=r"password\.common"):
        acceptable(typed, email="a@b.example", roles=[Role.FAMILY])
    with pytest.raises(Invalid, match=r"password\.common"):
        acceptable("qwertyuiop123", email="a@b.example", roles=[Role.TILL])


@pytest.mark.parametrize(
    "typed",
    [
        "Vicinato-2026!",
        "AnnaRossi 1980",
        "quarto.oggiaro.20157",
        "Rossi@Reception9",
        "prossimità1234",
    ],
)
def test_a_password_of_names_that_everybody_knows_is_refused(typed: str) -> None:
    with pytest.raises(Invalid, match=r"password\.of_the_place"):
        acceptable(
            typed,
            email="anna.rossi.reception@example.org",
            roles=[Role.TILL],
            names=["Anna Rossi", "Quarto Oggiaro"],
        )


@pytest.mark.parametrize("typed", ["839201748392", "anna va al mare", "Rossi compra pane"])
def test_such_names_may_stand_among_other_words(typed: str) -> None:
    assert acceptable(typed, email="anna@example.org", roles=[Role.TILL], names=["Anna Rossi"])


@pytest.mark.parametrize(
    "password", ["a" * 12, "كلمة سر طويلة", "一二三四五六七八九十十一", "🦔" * 12, "a" * LONGEST]
)
def test_any_characters_will_do(password: str) -> None:
    assert acceptable(password, email="x@example.org", roles={Role.TILL}) == prepared(password)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=12, max_size=30))
def test_the_same_word_typed_on_another_keyboard_is_the_same(password: str) -> None:
    assert prepared(unicodedata.normalize("NFD", password)) == prepared(password)
    assert prepared(prepared(password)) == prepared(password)


# -- accounts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("standing", "reason", "field"),
    [
        (Standing(frozenset(), "north"), "account.without_role", "roles"),
        (Standing(frozenset({Role.TILL})), "account.without_centre", "centre_id"),
        (Standing(frozenset({Role.FAMILY}), "north"), "account.link_missing", "household_id"),
        (Standing(frozenset({Role.PRODUCER}), "north"), "account.link_missing", "producer_id"),
        (Standing(frozenset({Role.PARTNER}), "north"), "account.link_missing", "organisation_id"),
        (
            Standing(frozenset({Role.TILL}), "north", household_id="h"),
            "account.link_without_role",
            "household_id",
        ),
        (
            Standing(frozenset({Role.FAMILY}), "north", household_id="not an id"),
            "account.link_malformed",
            "household_id",
        ),
    ],
)
def test_what_an_account_cannot_be(standing: Standing, reason: str, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_create(HOUSE, standing)
    assert reason_of(refused) == reason
    assert refused.value.field == field


def test_who_may_make_whom() -> None:
    assert manageable_roles(Asker("a", frozenset({Role.ADMINISTRATOR}))) == frozenset(Role)
    assert manageable_roles(Asker("a", frozenset({Role.COORDINATOR}), "north")) == frozenset(
        Role
    ) - {Role.ADMINISTRATOR}
    assert manageable_roles(Asker("a", frozenset({Role.RECEPTION}), "north")) == {Role.FAMILY}
    for role in set(Role) - {Role.ADMINISTRATOR, Role.COORDINATOR, Role.RECEPTION}:
        assert manageable_roles(Asker("a", frozenset({role}), "north")) == frozenset()


@given(askers(), standings())
def test_nobody_makes_an_account_beyond_their_own_reach(asker: Asker, wanted: Standing) -> None:
    try:
        check_create(asker, wanted)
    except (Invalid, NotAllowed):
        return
    assert wanted.roles <= manageable_roles(asker)
    assert asker.centre_id in ("", wanted.centre_id)
    assert asker.centre_id or Role.ADMINISTRATOR in asker.roles
    check_standing(wanted)


@given(askers(), standings(), standings(), st.sampled_from(["anna", "bruno"]))
def test_nobody_changes_what_is_not_theirs(
    asker: Asker, before: Standing, after: Standing, account_id: str
) -> None:
    try:
        check_change(asker, account_id, before, after)
    except NotFound:
        assert not may_see(asker, before)
        return
    except (Invalid, NotAllowed):
        assert may_see(asker, before)
        return
    assert may_see(asker, before)
    assert in_reach(asker, before.centre_id)
    assert before.roles | (after.roles if before != after else frozenset()) <= manageable_roles(
        asker
    )
    if before != after:
        assert asker.account_id != account_id
        assert in_reach(asker, after.centre_id)


@given(askers(), standings())
def test_nobody_may_see_what_is_out_of_reach(asker: Asker, standing: Standing) -> None:
    if not may_see(asker, standing):
        return
    assert in_reach(asker, standing.centre_id)
    if not asker.roles & {Role.ADMINISTRATOR, Role.COORDINATOR}:
        assert kind_of(standing.roles) is Kind.FAMILY


def test_nobody_climbs_or_locks_themselves_out() -> None:
    me = Standing(frozenset({Role.COORDINATOR}), "north")
    asker = Asker("anna", me.roles, "north")
    with pytest.raises(NotAllowed) as refused:
        check_change(asker, "anna", me, Standing(me.roles, "north", disabled=True))
    assert reason_of(refused) == "account.own"
    check_change(asker, "anna", me, me)


def test_somebody_must_govern() -> None:
    with pytest.raises(NotAllowed) as refused:
        check_governed(0)
    assert reason_of(refused) == "account.last_administrator"
    check_governed(1)


# -- scopes --------------------------------------------------------------------------------------


def test_a_token_gets_all_that_its_roles_may_unless_told() -> None:
    assert chosen({Role.ADMINISTRATOR}, None) == tuple(sorted(SCOPES))
    assert "shop:write" in chosen({Role.TILL}, None)
    assert "cards:write" not in chosen({Role.TILL}, None)


def test_one_name_stands_for_all_that_set_aside_events_need() -> None:
    assert chosen({Role.COORDINATOR}, ["set-aside"]) == ("events:read", "events:write")
    with pytest.raises(Invalid, match=r"scope\.not_yours"):
        chosen({Role.TILL}, ["set-aside"])


def test_every_scope_has_its_words() -> None:
    assert set(labels.SCOPES) == set(SCOPES)
    assert set(labels.ROLES) == set(Role)
    assert set(labels.KINDS) == set(Kind)


@given(ROLES, st.lists(st.sampled_from([*SCOPES, "shop:burn", ""]), max_size=5))
def test_no_token_has_more_than_its_roles(roles: frozenset[Role], wanted: list[str]) -> None:
    if not wanted or not set(wanted) <= set(allowed_to(roles)):
        with pytest.raises(Invalid) as refused:
            chosen(roles, wanted)
        assert reason_of(refused) in {"scope.unknown", "scope.not_yours", "scope.none"}
        return
    given_scopes = chosen(roles, wanted)
    assert set(given_scopes) == set(wanted) <= set(allowed_to(roles))


# -- devices -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (
            "Mozilla/5.0 (Android 14; Mobile; rv:133.0) Gecko/133.0 Firefox/133.0",
            "Firefox, Android",
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
            "Chrome/130.0.0.0 Safari/537.36 Edg/130.0.0.0",
            "Edge, Windows",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 "
            "(KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
            "Safari, iPhone",
        ),
        ("curl/8.0", ""),
    ],
)
def test_a_session_is_known_by_its_browser(agent: str, name: str) -> None:
    assert device_of(agent) == name
