"""The translator's tool: every sentence of a package, and what lacks a translation.

``python -m web.translations check cards`` names each sentence without a translation, by language,
and ends with 1 when there is one; ``extract`` brings ``locales/<language>/messages.po`` up to date:
new sentences with an empty translation, old ones gone, the rest as it was; ``unreviewed`` writes
what no human has looked at yet (``web.translations.review``).

Sentences are found in templates (``_``, ``gettext``, ``ngettext``, ``{% trans %}``) and in code
(also ``N_`` and ``say``). Those of ``runtime`` and ``messaging`` are translated in web's catalogs,
and what web translates no service has to.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from web.translations import LANGUAGES, SOURCE

TRANSLATED = tuple(language for language in LANGUAGES if language != SOURCE)
ALSO = {"web": ("runtime", "messaging")}
"""Packages whose sentences have their translations in the catalogs of another."""

FIXED = datetime(2026, 1, 1, tzinfo=UTC)
"""The dates in the headers say nothing; fixed ones keep an update from changing every file."""

_METHODS = [("**.py", "python"), ("**/templates/**.html", "jinja2.ext:babel_extract")]
_OPTIONS = {"**/templates/**.html": {"silent": "false"}}
_KEYWORDS: dict[str, tuple[int, ...] | None] = {
    "_": None,
    "N_": None,
    "gettext": None,
    "ngettext": (1, 2),
    "say": None,
}
_PLACEHOLDER = re.compile(r"%\((\w+)\)s|\{(\w+)\}")


def sentences(package: str) -> Catalog:
    """Every sentence of a package (and of those it speaks for), without translations."""
    found = Catalog(project="Vicinato", charset="utf-8")
    for name in (package, *ALSO.get(package, ())):
        for _file, _line, message, comments, context in extract_from_dir(
            str(_folder(name)), _METHODS, _OPTIONS, _KEYWORDS
        ):
            if message and message != ("",):
                found.add(message, auto_comments=comments, context=context)
    return found


def read(package: str, language: str) -> Catalog:
    """The catalog of a package in a language; an empty one when there is none yet."""
    file = catalog_file(package, language)
    if not file.is_file():
        return Catalog(locale=language, charset="utf-8")
    return read_po(io.BytesIO(file.read_bytes()), locale=language)


def catalog_file(package: str, language: str) -> Path:
    return _folder(package) / "locales" / language / "messages.po"


def lacking(package: str) -> list[str]:
    """What is wrong with the translations of a package: one line for each sentence and language."""
    faults: list[str] = []
    wanted = sentences(package)
    for language in TRANSLATED:
        known = read(package, language)
        shared = read("web", language)
        for message in _messages(wanted):
            translated = known.get(message.id) or shared.get(message.id)
            if (fault := _fault(message, translated, known.num_plurals)) is not None:
                faults.append(f"{package} {language}: {fault}: {' / '.join(texts_of(message.id))}")
    return faults


def extract(package: str) -> None:
    """Bring the package's catalogs up to date with its sentences."""
    wanted = sentences(package)
    for language in TRANSLATED:
        known = read(package, language)
        shared = read("web", language) if package != "web" else Catalog(locale=language)
        made = Catalog(
            locale=language,
            header_comment=known.header_comment,
            project="Vicinato",
            version="1",
            creation_date=FIXED,
            revision_date=FIXED,
            fuzzy=False,
        )
        # Babel puts placeholders where it is told nothing; the headers shall name nobody.
        made.msgid_bugs_address = made.last_translator = made.language_team = ""
        for message in _messages(wanted):
            before = known.get(message.id)
            if before is None and shared.get(message.id) is not None:
                continue
            made.add(message.id, before.string if before is not None else "")
        file = catalog_file(package, language)
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as out:
            write_po(out, made, width=100, no_location=True, sort_output=True, omit_header=False)


def main(arguments: Sequence[str]) -> int:
    """``check``, ``extract``, ``unreviewed``: 0, 1 with faults, 2 for a wrong call."""
    if len(arguments) < 2 or arguments[0] not in ("check", "extract", "unreviewed"):
        sys.stderr.write("usage: python -m web.translations check|extract|unreviewed PACKAGE...\n")
        return 2
    what, *packages = arguments
    unknown = [package for package in packages if find_spec(package) is None]
    if unknown:
        sys.stderr.write(f"there is no package {', '.join(unknown)}\n")
        return 2
    if what == "unreviewed":
        from web.translations.review import write_unreviewed

        count = write_unreviewed(packages, sys.stdout)
        sys.stderr.write(f"{count} translations that nobody has looked at yet\n")
        return 0
    if what == "extract":
        for package in packages:
            extract(package)
        return 0
    faults = [fault for package in packages for fault in lacking(package)]
    sys.stdout.writelines(f"{fault}\n" for fault in faults)
    return 1 if faults else 0


def _messages(catalog: Catalog) -> Iterable[Message]:
    return (message for message in catalog if message.id)


def _fault(message: Message, translated: Message | None, plurals: int) -> str | None:
    if translated is None:
        return "no translation"
    texts = texts_of(translated.string)
    if not all(texts) or (message.pluralizable and len(texts) < plurals):
        return "no translation"
    if translated.fuzzy:
        return "unsure translation"
    wanted = _placeholders(texts_of(message.id)[-1])
    for text in texts:
        # A plural form may leave the number out ("one card"), but never invent a placeholder.
        named = _placeholders(text)
        if named - wanted or (not message.pluralizable and wanted - named):
            return "other placeholders"
    return None


def _placeholders(text: str) -> set[str]:
    return {first or second for first, second in _PLACEHOLDER.findall(text)}


def texts_of(text: str | Sequence[str] | None) -> tuple[str, ...]:
    """One text, or all plural forms of it."""
    return (text or "",) if text is None or isinstance(text, str) else tuple(text)


def _folder(package: str) -> Path:
    return Path(str(resources.files(package)))
