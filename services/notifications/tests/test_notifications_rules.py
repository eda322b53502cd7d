"""The pure rules: states after an answer, wishes, texts."""

from __future__ import annotations

from datetime import timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.notifications import Channel
from notifications import texts
from notifications.domain import delivery
from notifications.domain.delivery import Answer, State, Why, after, of_message, wait_for_contact
from notifications.domain.kinds import OPTIONAL, RULES, Kind
from notifications.domain.preferences import Preferences, refused
from notifications.domain.quiet_hours import time_zone
from runtime.testing import MONDAY
from web.translations import LANGUAGES
from web.translations.catalogs import lacking


@given(st.integers(1, 60))
def test_a_temporary_failure_is_tried_48_times_every_300_seconds(tries: int) -> None:
    step = after(Answer.LATER, tries=tries, now=MONDAY)
    if tries <= 48:
        assert step == delivery.Step(State.TEMPORARY_FAILURE, MONDAY + timedelta(seconds=300))
    else:
        assert step == delivery.Step(State.TECHNICAL_FAILURE)


@pytest.mark.parametrize("answer", [Answer.TAKEN, Answer.NEVER, Answer.LOST])
def test_every_other_answer_is_the_last(answer: Answer) -> None:
    step = after(answer, tries=1, now=MONDAY)
    assert step.retry_at is None
    assert step.state not in delivery.OPEN


def test_a_message_stands_as_its_email_or_as_the_inbox() -> None:
    assert of_message(None) == of_message(State.NOT_SENT) == State.DELIVERED
    assert of_message(State.UNKNOWN) == State.UNKNOWN


def test_somebody_who_is_not_known_is_waited_for_an_hour() -> None:
    assert wait_for_contact(MONDAY, MONDAY) == MONDAY + timedelta(seconds=5)
    later = MONDAY + timedelta(minutes=30)
    assert wait_for_contact(MONDAY, later) == later + timedelta(seconds=60)
    assert wait_for_contact(MONDAY, MONDAY + timedelta(hours=1)) is None


def test_every_kind_has_a_rule_a_text_and_a_name() -> None:
    assert set(RULES) == set(Kind) == set(texts.TEXTS) == set(texts.KIND_NAMES)


def test_offers_and_cancellations_are_always_sent() -> None:
    always = {kind for kind, rule in RULES.items() if rule.always}
    assert always == {
        Kind.SIGN_UP_OFFERED,
        Kind.OFFER_EXPIRED,
        Kind.SIGN_UP_CANCELLED,
        Kind.SESSION_CANCELLED,
    }
    nothing = Preferences(everything=False, channels={Channel.EMAIL: False})
    for kind in always:
        assert refused(kind, Channel.EMAIL, nothing, consent=False) is Why.NOTHING


@pytest.mark.parametrize("kind", OPTIONAL)
def test_wishes_on_three_levels(kind: Kind) -> None:
    for everything, this_kind, channel, consent in product([True, False], repeat=4):
        wanted = Preferences(
            everything=everything, kinds={kind: this_kind}, channels={Channel.EMAIL: channel}
        )
        why = refused(kind, Channel.EMAIL, wanted, consent=consent)
        if not consent:
            assert why is Why.NO_CONSENT
        else:
            assert (why is Why.NOTHING) == (everything and this_kind and channel)
        assert refused(kind, Channel.IN_APP, wanted, consent=consent) is Why.NOTHING


@pytest.mark.parametrize(
    "wanted",
    [
        {"kinds": {"signup_offered": False}},
        {"kinds": {"gossip": False}},
        {"channels": {"in_app": False}},
        {"channels": {"pigeon": False}},
        {"everything": "perhaps"},
        {"all": True},
    ],
)
def test_wishes_that_cannot_be_had_are_refused(wanted: object) -> None:
    with pytest.raises(ValueError):
        Preferences.model_validate(wanted)


# texts

FULL = {
    "title": "Spazio compiti",
    "starts_at": "2026-12-01T15:30:00+00:00",
    "answer_by": "2026-11-30T21:15:00+00:00",
    "position": 3,
    "points": 10,
    "available": 25,
}
ROME = time_zone("Europe/Rome")


def said(language: str, kind: Kind, name: str = "", **data: object) -> texts.Said:
    return texts.say(
        texts.translations().of(language),
        kind,
        {**FULL, **data},
        zone=ROME,
        name=name,
    )


@pytest.mark.parametrize(("language", "kind"), list(product(LANGUAGES, Kind)))
def test_every_kind_is_said_in_every_language_with_nothing_left_open(
    language: str, kind: Kind
) -> None:
    found = said(language, kind)
    whole = " ".join([found.subject, *found.sentences])
    assert "{" not in whole
    assert found.direction == ("rtl" if language == "ar" else "ltr")
    if language != "en":
        english = said("en", kind)
        assert found.subject != english.subject
        assert all(a != b for a, b in zip(found.sentences, english.sentences, strict=True))


def test_every_sentence_has_its_translations() -> None:
    assert lacking("notifications") == []


def test_dates_are_those_of_the_reader_in_the_zone_of_the_centre() -> None:
    text = " ".join(said("it", Kind.SIGN_UP_OFFERED).sentences)
    assert "martedì 1 dicembre 2026 alle 16:30" in text
    assert "lunedì 30 novembre 2026 alle 22:15" in text
    assert "Tuesday, 1 December 2026" in " ".join(said("en", Kind.SIGN_UP_OFFERED).sentences)


def test_a_name_in_another_script_keeps_its_direction() -> None:
    arabic = said("ar", Kind.SIGN_UP_CONFIRMED, name="Maria")
    assert "\u2068Spazio compiti\u2069" in arabic.subject
    assert "\u2068Maria\u2069" in arabic.about
    assert "\u2068" not in said("it", Kind.SIGN_UP_CONFIRMED, name="Maria").subject
    assert (
        "\u2068\u0644\u064a\u0644\u0649\u2069"
        in said("it", Kind.SIGN_UP_CONFIRMED, name="\u0644\u064a\u0644\u0649").about
    )


def test_without_its_facts_a_message_says_that_there_is_news() -> None:
    to = texts.translations().of("en")
    found = texts.say(to, "signup_offered", {}, zone=ROME)
    assert found.subject == "There is news for you"
    assert texts.say(to, "of_next_year", {}, zone=ROME) == found


@pytest.mark.parametrize("kind", [k for k, rule in RULES.items() if rule.confidential])
def test_a_referral_is_told_in_neutral_words(kind: Kind) -> None:
    for language in LANGUAGES:
        assert said(language, kind).subject == said(language, Kind.REFERRAL_ACCEPTED).subject


@pytest.mark.parametrize(
    ("tag", "languages"),
    [
        ("it", ("it",)),
        ("ar-EG", ("ar",)),
        ("FR_ca", ("fr",)),
        ("", ("it", "en")),
        ("zh-Hans", ("it", "en")),
    ],
)
def test_the_language_of_the_person_or_two(tag: str, languages: tuple[str, ...]) -> None:
    assert texts.languages_for(tag) == languages
