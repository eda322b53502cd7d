"""Sign-ups and registers: as they were told, and nobody signed up or off who did not ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa

from chaos.checks.excused import Excused, What, attendance
from chaos.checks.points import PER_ATTENDANCE
from chaos.checks.rows import rows
from chaos.checks.told import Told

LIVE = ("confirmed", "waiting", "offered")
ALREADY = "signup.already"
"""Also the answer to who asks again, where a restored store has forgotten its first answer."""


def sign_ups(told: Told, activities: sa.Connection, excused: Excused) -> Iterator[str]:
    found = {
        row.id: row
        for row in rows(activities, "SELECT id, session_id, person_id, state, reason FROM sign_up")
    }
    asked: Counter[tuple[str, str]] = Counter()
    for op_id, op in told.of("sign-up").items():
        who = op.asked["session"], op.asked["person"]
        again = "activities" in excused.restored and op.answer.get("reason") == ALREADY
        asked[who] += op.told is not False or again
        for sign_up in op.answer.get("sign_ups", []) if op.told else []:
            row = found.get(sign_up)
            if row is None:
                if not excused.before(What.SIGN_UP, sign_up, op.at):
                    yield f"sign-up {sign_up} ({op_id}) was acknowledged and is lost"
            elif (row.session_id, row.person_id) != who:
                yield f"sign-up {sign_up} is not as it was asked"
    yield from _more_than_asked(asked, found.values())
    cancelled = {
        op.asked["sign_up"]: op
        for op in told.of("sign-up-cancelled").values()
        if op.told is not False
    }
    for sign_up, op in cancelled.items():
        row = found.get(sign_up)
        forgotten = excused.before(What.CANCELLATION, sign_up, op.at)
        if op.told and row is not None and row.state in LIVE and not forgotten:
            yield f"sign-up {sign_up} was cancelled and is {row.state}"
    for row in found.values():
        by_itself = row.state == "expired" or row.reason == "session_cancelled"
        if row.state not in LIVE and row.id not in cancelled and not by_itself:
            yield f"sign-up {row.id} is {row.state} ({row.reason}) and nobody asked for it"


def _more_than_asked(
    asked: Counter[tuple[str, str]], there: Iterable[sa.Row[Any]]
) -> Iterator[str]:
    live: Counter[tuple[str, str]] = Counter()
    of_all: Counter[tuple[str, str]] = Counter()
    for row in there:
        who = row.session_id, row.person_id
        of_all[who] += 1
        live[who] += row.state in LIVE
    for who, count in live.items():
        if count > 1:
            yield f"{who[1]} is signed up {count} times for session {who[0]}"
    for who, count in of_all.items():
        if count > asked[who]:
            yield (
                f"{who[1]} has {count} sign-ups for session {who[0]},"
                f" and {asked[who]} were asked for"
            )


def registers(
    told: Told, activities: sa.Connection, cards: sa.Connection, excused: Excused
) -> Iterator[str]:
    """The last register that was told stands, and cards has given points for just that."""
    marks = {
        (row.session_id, row.person_id): (bool(row.present), row.revision)
        for row in rows(
            activities, "SELECT session_id, person_id, present, revision FROM attendance"
        )
    }
    for session, ops in told.registers.items():
        at = max((k for k, op in enumerate(ops) if op.told), default=-1)
        unknown_after = any(op.told is None for op in ops[at + 1 :])
        if at < 0 or unknown_after or excused.before(What.REGISTER, session, ops[at].at):
            continue
        for person, present in ops[at].asked["present"].items():
            mark, _ = marks.get((session, person), (False, 0))  # who walks in and is absent: none
            if mark != present:
                yield f"register of {session}: {person} was told {present}, is {mark}"
    rewarded = {
        (row.session_id, row.person_id): (bool(row.present), row.revision, row.credited)
        for row in rows(
            cards, "SELECT session_id, person_id, present, revision, credited FROM attendance"
        )
    }
    for who, (present, revision) in marks.items():
        expected = (present, revision, PER_ATTENDANCE if present else 0)
        has = rewarded.get(who)
        heard = has and excused.ever(What.ATTENDANCE, attendance(*who, has[1]))
        if has != expected and not heard:
            yield f"attendance {who}: cards has {has}, not {expected}"
    net: Counter[tuple[str, str]] = Counter()
    for row in rows(
        cards,
        "SELECT t.origin, sum(e.points) AS points FROM transfer t JOIN entry e"
        " ON e.transfer_id = t.id WHERE t.kind IN ('attendance', 'attendance_corrected')"
        " GROUP BY t.origin, e.account HAVING e.account IN ('household', 'uncovered')",
    ):
        session, person, _revision = row.origin.split(":")
        net[session, person] += row.points
    for who, (_, _, credited) in rewarded.items():
        if net[who] != credited:
            yield f"attendance {who}: {net[who]} points were moved, {credited} stand credited"
    for who in net.keys() - rewarded.keys():
        yield f"attendance {who}: {net[who]} points were moved for nobody's attendance"
