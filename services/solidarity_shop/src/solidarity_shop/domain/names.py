"""Names as they are looked for: who types "caffe" means "caffè" too."""

from __future__ import annotations

import unicodedata

LETTERS = "àáâçèéêëìíîïñòóôùúûüÿ"

FOLDED = {
    **{letter: unicodedata.normalize("NFD", letter)[0] for letter in LETTERS},
    "œ": "oe",
    "æ": "ae",
}
"""What stands for what in Italian, Spanish and French; other scripts stay as they are. No more than
needed: a search asks for each in turn, and SQLite reads some 30 calls inside each other."""
_TABLE = str.maketrans(FOLDED)


def folded(key: str) -> str:
    """A key of a name (`store.name_key`) without accents."""
    return unicodedata.normalize("NFC", key).translate(_TABLE)


def hiding(key: str) -> dict[str, str]:
    """Of `FOLDED` what a stored name may have in place of letters of this folded key."""
    return {accented: plain for accented, plain in FOLDED.items() if plain in key}
