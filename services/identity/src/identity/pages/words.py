"""What a centre says of itself: written by its coordinator, read by everybody."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from babel.dates import get_day_names
from fastapi import APIRouter, Depends
from pydantic import AfterValidator, BaseModel, Field, Json
from starlette.responses import Response

from contracts.identity import Role
from identity import queries
from identity.commands import centres
from identity.commands.centres import Words
from identity.domain import hours
from identity.domain.accounts import LANGUAGES
from identity.domain.addresses import PHONE
from runtime.refusals import Invalid
from web import Call, Form, allow, forms
from web.formats import zone_of
from web.translations import NAMES, Translator

router = APIRouter(include_in_schema=False)

WORDS = "/identity/centre/words"

Leads = Annotated[Call, Depends(allow(Role.ADMINISTRATOR, Role.COORDINATOR))]


Text = Annotated[str, Field(max_length=2000), AfterValidator(centres.plain)]
Line = Annotated[str, Field(max_length=80)]


class Written(BaseModel):
    """A text for each language, hours for each day of the week."""

    about_it: Text = ""
    about_en: Text = ""
    about_ar: Text = ""
    about_es: Text = ""
    about_fr: Text = ""
    day_0: Line = ""
    day_1: Line = ""
    day_2: Line = ""
    day_3: Line = ""
    day_4: Line = ""
    day_5: Line = ""
    day_6: Line = ""
    address: Annotated[str, Field(max_length=300)] = ""
    directions: Annotated[str, Field(max_length=1000), AfterValidator(centres.plain)] = ""
    phone: Annotated[str, Field(max_length=40, pattern=PHONE)] = ""


class WordsForm(Written):
    """The form; what it showed travels with it."""

    seen: Json[Written]


@router.get(WORDS)
async def words_page(call: Leads, done: Annotated[str, Field(max_length=10)] = "") -> Response:
    """The form with what is said now."""
    centre = call.centre_or(None)
    words = _typed(await call.query(lambda c: queries.words(c, centre)))
    form = call.blank(WordsForm, forms.showing(words))
    return await _page(call, centre, form, done=done == "yes")


@router.post(WORDS)
async def say(call: Leads) -> Response:
    """Write it; the public home shows it at once."""
    centre = call.centre_or(None)
    form = await call.form(WordsForm)
    if form.ok:
        try:
            words, seen = _words(form.data), _words(form.data.seen)
        except Invalid as refusal:
            form.refuse(refusal)
        else:
            await form.command(lambda tx: centres.say_of_itself(tx, centre, words, seen=seen))
    if not form.ok:
        now = _typed(await call.query(lambda c: queries.words(c, centre)))
        forms.renew(form, now, centres.changed_meanwhile())
        return await _page(call, centre, form)
    return call.redirect(f"{WORDS}?done=yes")


def told(call: Call, words: Words | None, now: datetime, zone: str) -> dict[str, Any] | None:
    """What the public home shows of a centre, in the reader's language where there is one."""
    if words is None:
        return None
    language = call.language if call.language in words.about else next(iter(words.about), "")
    local = now.astimezone(zone_of(zone))
    names = day_names(call.to)
    return {
        "about": words.about.get(language, ""),
        "language": language,
        "address": words.address,
        "directions": words.directions,
        "phone": words.phone,
        "opening": hours.opening(words.hours, local) if words.hours else None,
        "week": [
            (names[day], hours.written(words.hours.get(day, ())), day == str(local.weekday()))
            for day in hours.DAYS
        ]
        if words.hours
        else [],
    }


def day_names(to: Translator) -> Mapping[str, str]:
    """The days of the week as they stand alone, by their number from Monday."""
    found = get_day_names("wide", context="stand-alone", locale=to.locale)
    return {day: found[int(day)] for day in hours.DAYS}


def _typed(words: Words | None) -> Written:
    if words is None:
        return Written()
    return Written(
        **{f"about_{code}": text for code, text in words.about.items()},
        **{f"day_{day}": hours.written(spans) for day, spans in words.hours.items()},
        address=words.address,
        directions=words.directions,
        phone=words.phone,
    )


def _words(typed: Written) -> Words:
    """Raises Invalid with the day at fault."""
    given = typed.model_dump()
    return Words(
        about={code: given[f"about_{code}"].strip() for code in LANGUAGES},
        hours={day: hours.parsed(given[f"day_{day}"], f"day_{day}") for day in hours.DAYS},
        address=typed.address.strip(),
        directions=typed.directions.strip(),
        phone=typed.phone.strip(),
    )


async def _page(call: Call, centre: str, form: Form[WordsForm], *, done: bool = False) -> Response:
    names = dict(await call.query(queries.centre_names))
    return call.render(
        "centre_words.html",
        form.status,
        form=form,
        centre=names.get(centre, ""),
        texts=[(code, NAMES[code]) for code in LANGUAGES],
        days=day_names(call.to),
        here=WORDS,
        done=done,
    )
