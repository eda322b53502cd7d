"""Languages: catalogs read once at the start, one translator for each language.

The msgid is the English sentence. A package keeps its catalogs in
``locales/<language>/messages.po``; they are compiled in memory, so nothing has to be built. A
service's own sentence wins over web's. ``python -m web.translations check PACKAGE...`` names what
lacks a translation (``web.translations.catalogs``).
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, cached_property
from gettext import GNUTranslations
from importlib import resources

from babel.core import Locale, negotiate_locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from runtime.refusals import filled

LANGUAGES = ("it", "en", "ar", "es", "fr")
DEFAULT = "it"
SOURCE = "en"
"""The language of the msgids: it needs no catalog."""

NAMES = {"it": "Italiano", "en": "English", "ar": "العربية", "es": "Español", "fr": "Français"}


_LOCALES = {"en": "en_GB"}
"""English as it is written in Europe: 16 Nov 2026, 16:30."""


@dataclass(frozen=True)
class Translator:
    """One language: its sentences, its CLDR locale, its direction."""

    language: str
    catalogs: tuple[GNUTranslations, ...] = ()

    @cached_property
    def locale(self) -> Locale:
        return Locale.parse(_LOCALES.get(self.language, self.language))

    @property
    def direction(self) -> str:
        """``ltr`` or ``rtl``."""
        return self.locale.text_direction

    def gettext(self, msgid: str) -> str:
        """The sentence in this language, or the msgid when it has no translation."""
        if not msgid:
            return ""
        for catalog in self.catalogs:
            if (found := catalog.gettext(msgid)) != msgid:
                return found
        return msgid

    def ngettext(self, one: str, many: str, n: int) -> str:
        """The plural form that ``n`` asks for, by the catalog's own rule."""
        english = one if n == 1 else many
        for catalog in self.catalogs:
            if (found := catalog.ngettext(one, many, n)) not in (one, many):
                return found
        return english

    def say(self, msgid: str, **values: object) -> str:
        """The sentence with its ``{placeholders}`` filled after the translation."""
        text = self.gettext(msgid)
        return filled(text, values) if values else text


class Translations:
    """The translators of a process, read from the catalogs of ``packages`` in that order."""

    def __init__(self, *packages: str) -> None:
        ordered = tuple(dict.fromkeys((*packages, "web")))
        self._translators = {
            language: Translator(language, tuple(_catalogs(ordered, language)))
            for language in LANGUAGES
        }

    def of(self, language: str) -> Translator:
        """The translator of a language; of the default one when it is not ours."""
        return self._translators.get(language) or self._translators[DEFAULT]


def choose(*wanted: str, accept: str = "") -> str:
    """The first of ``wanted`` that we speak, else the best of an Accept-Language header."""
    for language in wanted:
        if language in LANGUAGES:
            return language
    return negotiate_locale(_accepted(accept), LANGUAGES, sep="-") or DEFAULT


def _accepted(header: str) -> list[str]:
    weighted: list[tuple[float, str]] = []
    for part in header[:200].split(","):
        name, _, parameter = part.strip().partition(";")
        try:
            weight = float(parameter.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        if name.strip() and weight > 0:
            weighted.append((weight, name.strip().lower()))
    return [name for _, name in sorted(weighted, key=lambda pair: -pair[0])]


def _catalogs(packages: Iterable[str], language: str) -> Iterable[GNUTranslations]:
    if language == SOURCE:
        return
    for package in packages:
        catalog = _catalog(package, language)
        if catalog is not None:
            yield catalog


@cache
def _catalog(package: str, language: str) -> GNUTranslations | None:
    """Read once for each process: a catalog takes longer than all else of an application."""
    file = resources.files(package) / "locales" / language / "messages.po"
    if not file.is_file():
        return None
    compiled = io.BytesIO()
    write_mo(compiled, read_po(io.BytesIO(file.read_bytes()), locale=language))
    compiled.seek(0)
    return GNUTranslations(compiled)


current: ContextVar[Translator] = ContextVar("translator")
"""The reader's language while a page is rendered."""
