"""The attendance register of a session: complete each time, corrected by revisions.

A register says of everybody with a confirmed place whether they were there, and adds who came
without one (a walk-in) as long as seats allow. Whoever has a place and is not named was absent.
Taking the same register again changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass


@dataclass(frozen=True)
class Mark:
    """What the register holds of one person. ``revision`` counts from 1 and grows by changes.

    ``expected`` says whether they had a confirmed place; a walk-in had none.
    """

    present: bool
    revision: int
    expected: bool


@dataclass(frozen=True)
class Taking:
    """The register after it was taken: every mark, who changed, and the sums.

    ``absent`` counts those who were expected; a walk-in marked by mistake and taken off again is
    not absent.
    """

    marks: Mapping[str, Mark]
    changed: tuple[str, ...]
    present: int
    absent: int

    @property
    def there(self) -> frozenset[str]:
        return frozenset(person_id for person_id, mark in self.marks.items() if mark.present)


def take(*, expected: Set[str], before: Mapping[str, Mark], named: Mapping[str, bool]) -> Taking:
    """The register after ``named`` was handed in whole.

    ``expected`` are the people with a confirmed place. Somebody without a place who is named absent
    and was never marked is nobody the register speaks of.
    """
    told = dict.fromkeys([*expected, *before], False) | dict(named)
    marks: dict[str, Mark] = {}
    changed: list[str] = []
    for person_id, present in told.items():
        old = before.get(person_id)
        if old is None and not present and person_id not in expected:
            continue
        revision = 0 if old is None else old.revision
        if old is None or old.present != present:
            revision += 1
            changed.append(person_id)
        marks[person_id] = Mark(present, revision, person_id in expected)
    return Taking(
        marks,
        tuple(sorted(changed)),
        present=sum(mark.present for mark in marks.values()),
        absent=sum(mark.expected and not mark.present for mark in marks.values()),
    )


def seats_needed(*, begun: bool, holding: Set[str], present: Set[str]) -> int:
    """Seats that a register asks for.

    Before the session begins, whoever holds a place (confirmed or offered) may still come, so a
    walk-in may not take their seat; once it has begun only who is there counts.
    """
    return len(present) if begun else len(holding | present)
