"""What no human has looked at yet.

Every translation counts as unreviewed until somebody who speaks the language has put it, with their
name, into ``docs/translations-reviewed.csv`` (columns ``package, language, english, translation,
who``). A translation that changes afterwards is unreviewed again, since the row holds its words.
``make translations`` writes the rest, in the same columns, into ``build/unreviewed.csv``: fill
``who`` in and move the rows over.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from web.translations.catalogs import TRANSLATED, read, texts_of

HEAD = ("package", "language", "english", "translation", "who")
REVIEWED = Path("docs/translations-reviewed.csv")

Row = tuple[str, str, str, str]


def translations(package: str) -> Iterator[Row]:
    """Every translated sentence of a package; plural forms are joined by `` / ``."""
    for language in TRANSLATED:
        for message in read(package, language):
            if message.id and any(texts_of(message.string)):
                english, translated = texts_of(message.id), texts_of(message.string)
                yield package, language, " / ".join(english), " / ".join(translated)


def reviewed(file: Path = REVIEWED) -> set[Row]:
    """The rows of the file that bear a name."""
    if not file.is_file():
        return set()
    with file.open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines)
        return {
            (row["package"], row["language"], row["english"], row["translation"])
            for row in rows
            if row["who"]
        }


def write_unreviewed(packages: Iterable[str], out: TextIO, file: Path = REVIEWED) -> int:
    """Write what is unreviewed of these packages; gives how many there are."""
    seen = reviewed(file)
    rows = [row for package in packages for row in translations(package) if row not in seen]
    table = csv.writer(out)
    table.writerow(HEAD)
    table.writerows((*row, "") for row in rows)
    return len(rows)
