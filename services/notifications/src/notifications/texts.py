"""What a message says, in plain words (B1), in the reader's language.

Sentences are English msgids with {placeholders}; they name neither an organisation nor why somebody
needs help. Dates are those of CLDR in the centre's time zone. A message whose facts are not known
(any more) says only that there is news.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from string import Formatter
from typing import Any
from zoneinfo import ZoneInfo

from babel import dates

from notifications.domain.kinds import Kind
from runtime.refusals import N_
from web import formats
from web.translations import LANGUAGES, Translations, Translator

BILINGUAL = ("it", "en")
"""For somebody whose language nobody knows, or that the house does not write."""

ISOLATE, POP = "\u2068", "\u2069"
"""Keep a name in one script from turning the order of a sentence in another."""


@dataclass(frozen=True)
class Text:
    """A subject and sentences, as msgids."""

    subject: str
    sentences: tuple[str, ...]


_WHEN = N_("It is on {day} at {time}.")
_AVAILABLE = N_("You have {available} now.")
_COME_BY = N_("Come by or call the centre: we will tell you more.")

TEXTS: Mapping[str, Text] = {
    Kind.SIGN_UP_CONFIRMED: Text(
        N_("The place is confirmed: {title}"),
        (
            N_("The place for {title} is confirmed."),
            _WHEN,
            N_("If you cannot come, please tell us: somebody else is waiting."),
        ),
    ),
    Kind.SIGN_UP_WAITLISTED: Text(
        N_("You are on the waiting list: {title}"),
        (
            N_("There is no free place for {title} now."),
            _WHEN,
            N_(
                "You are number {position} on the waiting list. We will write when a place is free."
            ),
        ),
    ),
    Kind.SIGN_UP_OFFERED: Text(
        N_("A place is free: {title}"),
        (
            N_("A place for {title} is free, and we keep it for you."),
            _WHEN,
            N_("Please answer by {answer_day} at {answer_time}: after that it goes to the next."),
        ),
    ),
    Kind.OFFER_EXPIRED: Text(
        N_("The place went to somebody else: {title}"),
        (
            N_("We kept a place for {title}, but had no answer in time."),
            N_("If you still want to come, sign up again."),
        ),
    ),
    Kind.SIGN_UP_CANCELLED: Text(
        N_("The sign-up was cancelled: {title}"),
        (
            N_("The centre has cancelled the sign-up for {title}."),
            N_("It was for {day} at {time}."),
            _COME_BY,
        ),
    ),
    Kind.SESSION_CANCELLED: Text(
        N_("It does not take place: {title}"),
        (
            N_("{title} does not take place."),
            N_("It was for {day} at {time}."),
            N_("We are sorry. You do not have to do anything."),
        ),
    ),
    Kind.POINTS_FOR_ATTENDANCE: Text(
        N_("New points for you"),
        (N_("You got {points} for taking part in an activity."), _AVAILABLE),
    ),
    Kind.POINTS_ALLOWANCE: Text(
        N_("Your points are here"),
        (N_("You got {points} for the new period."), _AVAILABLE),
    ),
    Kind.POINTS_EXPIRED: Text(
        N_("Some points have expired"),
        (N_("You did not use {points} in time: they are gone."), _AVAILABLE),
    ),
    Kind.REFERRAL_ACCEPTED: Text(
        N_("There is news about your request"),
        (N_("Somebody will take care of your request."), _COME_BY),
    ),
    Kind.REFERRAL_REJECTED: Text(
        N_("There is news about your request"),
        (N_("We are looking for another way together with you."), _COME_BY),
    ),
    Kind.REFERRAL_COMPLETED: Text(
        N_("There is news about your request"),
        (N_("Your request is closed."), _COME_BY),
    ),
    Kind.WELCOME: Text(
        N_("Welcome"),
        (
            N_("You are registered at the centre. We are glad that you are here."),
            N_("Come by when you want: the door is open."),
        ),
    ),
}

NEWS = Text(N_("There is news for you"), (N_("There is news for you at the centre."),))

KIND_NAMES: Mapping[str, str] = {
    Kind.SIGN_UP_CONFIRMED: N_("Place confirmed"),
    Kind.SIGN_UP_WAITLISTED: N_("On the waiting list"),
    Kind.SIGN_UP_OFFERED: N_("Place offered"),
    Kind.OFFER_EXPIRED: N_("Offer expired"),
    Kind.SIGN_UP_CANCELLED: N_("Sign-up cancelled"),
    Kind.SESSION_CANCELLED: N_("Activity cancelled"),
    Kind.POINTS_FOR_ATTENDANCE: N_("Points for taking part"),
    Kind.POINTS_ALLOWANCE: N_("Points of the period"),
    Kind.POINTS_EXPIRED: N_("Points expired"),
    Kind.REFERRAL_ACCEPTED: N_("Request taken on"),
    Kind.REFERRAL_REJECTED: N_("Request not taken on"),
    Kind.REFERRAL_COMPLETED: N_("Request closed"),
    Kind.WELCOME: N_("Welcome"),
}


@dataclass(frozen=True)
class Said:
    """A message in one language. ``about`` names whom it is about, or is empty."""

    language: str
    direction: str
    subject: str
    about: str
    sentences: tuple[str, ...]


def say(
    to: Translator, kind: str, data: Mapping[str, Any], *, zone: ZoneInfo, name: str = ""
) -> Said:
    """The message in the language of ``to``."""
    values = _values(to, data, zone)
    text = TEXTS.get(kind, NEWS)
    if not all(_names(msgid) <= values.keys() for msgid in (text.subject, *text.sentences)):
        text = NEWS
    return Said(
        language=to.language,
        direction=to.direction,
        subject=to.say(text.subject, **values),
        about=to.say(N_("For {name}"), name=_isolated(to, name)) if name else "",
        sentences=tuple(to.say(sentence, **values) for sentence in text.sentences),
    )


def languages_for(language: str) -> tuple[str, ...]:
    """The languages to write to somebody in, from a BCP 47 tag: one, or two when in doubt."""
    primary = language.replace("_", "-").partition("-")[0].lower()
    return (primary,) if primary in LANGUAGES else BILINGUAL


def kind_name(to: Translator, kind: str) -> str:
    """What a kind of message is called."""
    return to.say(KIND_NAMES[kind]) if kind in KIND_NAMES else kind


@cache
def translations() -> Translations:
    """The catalogs, read once in a process."""
    return Translations("notifications")


@cache
def _names(msgid: str) -> frozenset[str]:
    return frozenset(name for _, name, _, _ in Formatter().parse(msgid) if name)


def _values(to: Translator, data: Mapping[str, Any], zone: ZoneInfo) -> dict[str, object]:
    values: dict[str, object] = {}
    if data.get("title"):
        values["title"] = _isolated(to, data["title"])
    for key, prefix in (("starts_at", ""), ("answer_by", "answer_")):
        if key in data:
            moment = datetime.fromisoformat(data[key]).astimezone(zone)
            values[f"{prefix}day"] = dates.format_date(moment, "full", locale=to.locale)
            values[f"{prefix}time"] = formats.clock_time(to, moment, zone)
    if "position" in data:
        values["position"] = formats.number(to, data["position"])
    for key in ("points", "available"):
        if key in data:
            values[key] = formats.points(to, data[key])
    return values


def _isolated(to: Translator, text: object) -> str:
    """One line of somebody else's words, that keeps its own direction where it matters."""
    line = " ".join(str(text).split())
    foreign = to.direction == "rtl" or any("\u0590" <= letter <= "\u08ff" for letter in line)
    return f"{ISOLATE}{line}{POP}" if foreign else line
