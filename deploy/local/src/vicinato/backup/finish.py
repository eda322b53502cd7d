"""The end of a restore: the services have recovered, everything is verified, told, and opened."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import sqlalchemy as sa

from vicinato.backup.aside import KEPT_DAYS
from vicinato.backup.staging import Journal, Target, journal_of, write
from vicinato.secrets import write_private

if TYPE_CHECKING:
    from messaging.bus import Bus
    from messaging.restoring import Recovered
    from runtime.store import Store
    from vicinato.verify import Report

LOOK_EVERY = 0.5
NAMED = 50
"""Facts of a kind that are named one by one in the report."""


@dataclass
class Lost:
    """Acknowledged facts of the old stores that did not come back: (service, type, id, time).
    `kept`: the stamps under which there are old stores."""

    facts: list[tuple[str, str, str, str]] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    kept: set[str] = field(default_factory=set)


@dataclass
class Finished:
    """What came of a restore."""

    lines: list[str]
    holds: bool


def finish(
    target: Target,
    bus: Bus | None,
    *,
    say: Callable[[str], None] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Finished | None:
    """Waits until the services of the restore have recovered, verifies, tells and opens them.

    The report is written before anything opens: broken off at any place, it is ended when it is
    called again, and with the same report. Without a bus nothing is compared with it. None when
    there is nothing to finish, or `stopped` said so meanwhile.

    Raises OSError when the report cannot be written.
    """
    from messaging import restoring
    from runtime.store import Store

    journal = journal_of(target.folder)
    if journal is None or journal.phase == "putting":
        return None
    stores = {name: Store(target.urls[name], readers=1) for name in journal.latest()}
    try:
        if journal.phase == "put":
            found = _recovered(stores, say, stopped)
            if found is None:
                return None
            journal = _tell(target, bus, journal, stores, found, say)
        say("opening")
        for store in stores.values():
            store.write_now(restoring.lift)
    finally:
        for store in stores.values():
            store.close_now()
    shutil.rmtree(target.folder.restore)
    return Finished(journal.lines, journal.holds)


def opened(
    target: Target,
    journal: Journal,
    bus: Bus | None,
    *,
    tell: Callable[[list[str]], None],
    say: Callable[[str], None] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Finished | None:
    """The same for stores that were put back by somebody else: nothing is written down in a folder,
    `tell` is told the report before anything opens. None when `stopped` said so before all had
    recovered."""
    from messaging import restoring
    from runtime.store import Store

    stores = {name: Store(target.urls[name], readers=1) for name in journal.latest()}
    try:
        found = _recovered(stores, say, stopped)
        if found is None:
            return None
        lines, holds, _ = _verified(target, bus, journal, stores, found, say)
        tell(lines)
        for store in stores.values():
            store.write_now(restoring.lift)
    finally:
        for store in stores.values():
            store.close_now()
    return Finished(lines, holds)


def _recovered(
    stores: Mapping[str, Store], say: Callable[[str], None], stopped: Callable[[], bool]
) -> dict[str, Recovered] | None:
    """What came back in each; None when `stopped` said so meanwhile."""
    found: dict[str, Recovered] = {}
    while True:
        for name, store in stores.items():
            back = store.read_now(_back)
            if name not in found and back is not None:
                found[name] = back
                say(f"{name} has recovered ({len(found)} of {len(stores)})")
        if len(found) == len(stores):
            return found
        if stopped():
            return None
        time.sleep(LOOK_EVERY)


def _back(connection: sa.Connection) -> Recovered | None:
    """A store without a mark is open already: an earlier end was broken off behind it."""
    from messaging import restoring

    if restoring.read(connection) is None:
        return restoring.Recovered()
    return restoring.recovered(connection)


def _tell(
    target: Target,
    bus: Bus | None,
    journal: Journal,
    stores: Mapping[str, Store],
    found: Mapping[str, Recovered],
    say: Callable[[str], None],
) -> Journal:
    """Verifies everything and writes the report. From here on the services may open."""
    lines, holds, kept = _verified(target, bus, journal, stores, found, say)
    where = " and ".join(f"aside/{stamp}" for stamp in kept)
    lines.append(
        f"The old stores lie in {where} for {KEPT_DAYS} days, then they are deleted."
        if kept
        else "There were no old stores to keep."
    )
    path = target.folder.aside / journal.stamp / "report.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_private(path, "\n".join(lines) + "\n")
    told = journal.model_copy(update={"phase": "told", "lines": lines, "holds": holds})
    write(target.folder, told)
    return told


def _verified(
    target: Target,
    bus: Bus | None,
    journal: Journal,
    stores: Mapping[str, Store],
    found: Mapping[str, Recovered],
    say: Callable[[str], None],
) -> tuple[list[str], bool, list[str]]:
    """The report, whether everything holds, and the stamps under which old stores can be read."""
    from messaging.catalogue import services
    from vicinato.verify import verify

    say("verifying")
    report = verify(services(), target.urls, bus)
    lost = _lost(target, journal, stores)
    return _told(journal, found, report, lost), report.holds, sorted(lost.kept)


def _lost(target: Target, journal: Journal, stores: Mapping[str, Store]) -> Lost:
    """What the old stores had acknowledged and the new ones do not know."""
    lost = Lost()
    for name, store in stores.items():
        told: dict[str, tuple[str, str]] = {}
        for one in (one for one in journal.puts if name in one.services):
            old = _old_outbox(target, one, name)
            if old is not None:
                lost.kept.add(one.stamp)
                told.update((key, (kind, at)) for key, kind, at in old)
            elif name not in lost.unreadable:
                lost.unreadable.append(name)
        known = _known(store, list(told))
        lost.facts += [
            (name, kind, key, at) for key, (kind, at) in told.items() if key not in known
        ]
    return lost


_ROWS = "SELECT id, type, at FROM outbox ORDER BY"


def _old_outbox(
    target: Target, journal: Journal, service: str
) -> list[tuple[str, str, str]] | None:
    """Id, type and time of everything that the old store had told; None when there is none, or it
    cannot be read."""
    try:
        if target.server:
            url = target.aside(service, journal.stamp)
            with psycopg.connect(url, connect_timeout=10) as server:
                rows = server.execute(f'{_ROWS} "row"').fetchall()
        else:
            path: Path = target.folder.aside / journal.stamp / f"{service}.db"
            if not path.exists():
                return None
            with closing(sqlite3.connect(path)) as connection:
                rows = connection.execute(f'{_ROWS} "row"').fetchall()
    except (sqlite3.Error, psycopg.Error):
        return None
    return [(str(a), str(b), str(c)) for a, b, c in rows]


def _known(store: Store, ids: Sequence[str]) -> set[str]:
    from messaging.tables import outbox

    known: set[str] = set()
    for start in range(0, len(ids), 900):
        part = ids[start : start + 900]
        known.update(
            store.read_now(
                lambda c, p=part: list(  # type: ignore[misc]
                    c.scalars(sa.select(outbox.c.id).where(outbox.c.id.in_(p)))
                )
            )
        )
    return known


def _told(
    journal: Journal, found: Mapping[str, Recovered], report: Report, lost: Lost
) -> list[str]:
    """The report, in lines."""
    latest = journal.latest()
    puts = [one for one in journal.puts if one in latest.values()]
    lines = [
        f"Put back: {', '.join(_of(one, latest))}, as of {one.taken_at:%Y-%m-%d %H:%M:%S} UTC"
        + (f" (backup {one.backup}, made by version {one.product})." if one.product else ".")
        for one in puts
    ]
    lines += ["", "Came back from the bus, told after the backup:"]
    back = [
        f"  {name}: {count} {kind}"
        for name, one in found.items()
        for kind, count in one.events.items()
    ]
    lines += back or ["  nothing"]
    copied = [
        f"  {name}: {one.copied[name]} facts" for name, one in latest.items() if name in one.copied
    ]
    if copied:
        lines += ["Of these, came from the second copy of the outbox first:", *copied]
    damaged = [
        f"  {name}: {one.damaged[name]} lines"
        for name, one in latest.items()
        if name in one.damaged
    ]
    if damaged:
        lines += ["Damaged in the second copy; what they told is not from there:", *damaged]
    without = [
        f"  {name}: {kind} {key}"
        for name, one in found.items()
        for key, kind in one.without_state.items()
    ]
    if without:
        lines += ["On the bus, but what they changed could not be brought back:", *without]
    lines += ["", "Acknowledged before the loss and not come back:"]
    lines += [f"  {name}: {kind} {key} of {at}" for name, kind, key, at in lost.facts[:NAMED]]
    if len(lost.facts) > NAMED:
        lines.append(f"  and {len(lost.facts) - NAMED} more")
    if not lost.facts:
        lines.append("  nothing, as far as the old stores can be read")
    for one in puts:
        if gone := [name for name in _of(one, latest) if name in lost.unreadable]:
            reached = (
                "had reached neither the bus nor the second copy, which is made every minute,"
                if one.second_copy
                else "had not reached the bus"
            )
            lines.append(
                f"  The old stores of {', '.join(gone)} are not there or cannot be read:"
                f" what was done there after {one.taken_at:%Y-%m-%d %H:%M:%S} UTC and {reached}"
                " is gone and cannot be named. Erasures among it must be done again."
            )
    lines += ["", "Verified:"]
    good = sum(1 for one in report.findings if not one.differences)
    lines.append(
        f"  {good} of {len(report.findings)} checks hold, {len(report.differences)} differences;"
        f" {report.on_the_way} facts on their way."
    )
    lines += [f"  {difference}" for difference in report.differences[:NAMED]]
    lines += [f"  {note}" for note in report.notes]
    lines += [""]
    if "identity" in latest:
        lines.append("Everybody signs in again; API tokens are made anew.")
        if latest["identity"].new_machine:
            lines.append("The first administrator's password is in secrets/first-admin.json.")
    if "notifications" in latest:
        lines.append("E-mails that were open count as unknown and are not sent again.")
    return lines


def _of(one: Journal, latest: Mapping[str, Journal]) -> list[str]:
    """The services whose stores are those that this restore put back."""
    return [name for name in one.services if latest[name] is one]
