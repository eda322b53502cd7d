"""How numbers, money, points and times look in the reader's language, by CLDR.

Moments are aware UTC datetimes and are shown in a centre's time zone, which is always named: one
that is forgotten would be wrong for some centres and seen by none of the others. Each function
takes the translator first; ``web.pages`` offers them as template filters without it.
"""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel import dates, numbers

from web.translations import Translator

ZONE = ZoneInfo("Europe/Rome")
"""The zone of centres that name none."""


def zone_of(name: str) -> ZoneInfo:
    """The zone of an IANA name; the default one when it is not known."""
    try:
        return ZoneInfo(name) if name else ZONE
    except (ZoneInfoNotFoundError, ValueError):
        return ZONE


def money(to: Translator, cents: int) -> str:
    """Whole cents of euro: 150 is ``1,50 €``."""
    return numbers.format_currency(Decimal(cents) / 100, "EUR", locale=to.locale)


def number(to: Translator, value: int | float | Decimal) -> str:
    return numbers.format_decimal(value, locale=to.locale)


def percent(to: Translator, value: int) -> str:
    """A share in hundredths: 15 is ``15%``, in French ``15 %``."""
    return numbers.format_percent(Decimal(value) / 100, locale=to.locale)


def points(to: Translator, value: int) -> str:
    """Whole points with their word: ``1 punto``, ``120 punti``."""
    shown = number(to, value)
    return to.ngettext("%(num)s point", "%(num)s points", abs(value)) % {"num": shown}


def day(to: Translator, value: date | datetime, zone: ZoneInfo) -> str:
    """``16 nov 2026``: a date, or the day of a moment in the centre's zone."""
    return dates.format_date(_local(value, zone), format="medium", locale=to.locale)


def day_month(to: Translator, value: date) -> str:
    """``16 nov``: where the year goes without saying."""
    return dates.format_skeleton("MMMd", value, locale=to.locale)


def clock_time(to: Translator, value: datetime | time, zone: ZoneInfo) -> str:
    """``16:30``; a bare time is shown as it is."""
    shown = value.astimezone(zone) if isinstance(value, datetime) else value
    return dates.format_time(shown, format="short", locale=to.locale)


def moment(to: Translator, value: datetime, zone: ZoneInfo) -> str:
    """``16 nov 2026, 16:30``."""
    return f"{day(to, value, zone)}, {clock_time(to, value, zone)}"


def weekday(to: Translator, value: datetime, zone: ZoneInfo) -> str:
    """``lun 16 nov, 16:30``: a moment near enough that its day of the week says more than the
    year."""
    day = dates.format_skeleton("MMMEd", _local(value, zone), locale=to.locale)
    return f"{day}, {clock_time(to, value, zone)}"


def longday(to: Translator, value: date | datetime, zone: ZoneInfo) -> str:
    """``lunedì 16 novembre 2026``: the heading of a day."""
    return dates.format_date(_local(value, zone), format="full", locale=to.locale)


def tongue(to: Translator, code: str) -> str:
    """The name of a language in the reader's: ``ar`` is ``arabo``; a code that CLDR does not know
    stays as it is."""
    names = to.locale.languages
    return str(names.get(code.replace("-", "_")) or names.get(code.partition("-")[0]) or code)


def initials(name: str) -> str:
    """One or two letters by which a person is known again beside the name: ``AB``.

    Letters that join (Arabic) are kept apart by a zero-width non-joiner.
    """
    words = [word for word in name.split() if word[0].isalpha()]
    letters = [word[0].upper() for word in (words[:1] + words[-1:] if len(words) > 1 else words)]
    return "\u200c".join(letters) or "?"


def _local(value: date, zone: ZoneInfo) -> date:
    """A moment in the zone; a date stays what it is."""
    return value.astimezone(zone) if isinstance(value, datetime) else value
