"""`vicinato restored`: stores that were put back by other means than `vicinato restore`.

In containers a dump is loaded by PostgreSQL's own tools, in a cluster its operator brings the
server back. Then the stores are as they were, and their services do not know it: each would tell
and decide anew what it has told and decided since. `mark` says so to them before they are started,
`open` lets them open when they have taken back what the bus knows.
"""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer
from rich.console import Console

from vicinato import settings
from vicinato.commands.cluster import bring_up, no_database
from vicinato.commands.machine import DATES
from vicinato.folder import Folder
from vicinato.refusals import CommandError, Exit

if TYPE_CHECKING:
    import sqlalchemy as sa

    from messaging.restoring import Restoring
    from vicinato.backup.staging import Journal, Target

OPENED_WITHIN = 3600


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Stores put back by other means than `restore`.")
    group.command()(mark)
    group.command("open")(open_)
    app.add_typer(group, name="restored")


def mark(
    taken_at: Annotated[
        datetime, typer.Option(formats=DATES, help="The moment of the backup, UTC.")
    ],
    only: Annotated[
        list[str] | None, typer.Option(help="Only the store of this service; may be repeated.")
    ] = None,
    staged: Annotated[
        bool, typer.Option("--staged", help="They lie in databases NAME_restoring still.")
    ] = False,
    new_secrets: Annotated[
        bool,
        typer.Option(
            "--new-secrets",
            help="The passwords of that time are not here: the first administrator gets the one"
            " of first-admin.json.",
        ),
    ] = False,
    older: Annotated[
        bool,
        typer.Option("--older", help="Also one of more than 90 days: erasures may be missing."),
    ] = False,
) -> None:
    """Mark stores that were put back, while their services are stopped.

    Brings their schemas up as well. Started, their services answer 503, take back from the bus
    what they told after the backup, and wait for `vicinato restored open`. Marking again changes
    nothing.
    """
    import psycopg

    from vicinato.backup.put_back import target_of

    wanted = _settings()
    moment = taken_at.replace(tzinfo=UTC)
    _can_be(moment, older=older)
    names = _chosen(only or [])
    target = target_of(wanted, Folder(wanted.data))
    urls = {name: target.staged(name) if staged else target.urls[name] for name in names}
    try:
        busy = [name for name, url in urls.items() if _is_at_work(url)]
    except psycopg.OperationalError as error:
        raise no_database(str(error).splitlines()[0]) from error
    if busy:
        raise CommandError(
            Exit.SECOND_COPY,
            f"At work on their databases: {', '.join(busy)}. Stop the services first, then mark."
            " Nothing was changed.",
            f"In funzione: {', '.join(busy)}. Prima fermare i servizi. Non è stato cambiato nulla.",
        )
    bring_up(urls)
    for name, url in urls.items():
        fresh = _mark(url, moment, new_secrets=new_secrets)
        print(f"{name}: {'marked' if fresh else 'was marked already'}.")
    print("Start the services now; `vicinato restored open` opens them when they have recovered.")


def open_(
    within: Annotated[
        int, typer.Option(min=1, help="Seconds that the services may take to recover.")
    ] = OPENED_WITHIN,
) -> int:
    """Wait until the services of marked stores have recovered, verify everything, and open them.

    Tells what came back, and what the old databases knew and did not, where such lie beside them as
    NAME_aside_STAMP. Ends with 1 when something does not hold; they are open all the same. Without
    a marked store it does nothing.
    """
    from messaging.bus import BusAway
    from vicinato.backup.finish import opened
    from vicinato.backup.put_back import target_of
    from vicinato.commands.restore import show
    from vicinato.commands.verify import administrators_bus

    wanted = _settings()
    folder = Folder(wanted.data)
    target = target_of(wanted, folder)
    marks = _marks(target.urls)
    if not marks:
        print("No store is marked as put back; nothing was changed.")
        return 0
    console = Console(highlight=False, soft_wrap=True)
    print(f"Waiting for {', '.join(marks)}: each takes back what the bus knows.", flush=True)
    deadline = time.monotonic() + within
    try:
        done = opened(
            target,
            _journal(target, marks),
            administrators_bus(wanted, folder),
            tell=lambda lines: show(console, lines),
            say=lambda what: print(what, flush=True),
            stopped=lambda: time.monotonic() > deadline,
        )
    except BusAway as error:
        raise CommandError(
            Exit.KAFKA,
            f"The services have recovered, but {error}; run this again when it does.",
            "I servizi hanno recuperato, ma il bus non risponde: ripetere il comando quando"
            " risponde.",
        ) from error
    if done is None:
        left = ", ".join(_not_recovered(target.urls, marks))
        raise CommandError(
            Exit.NOT_READY,
            f"Not recovered within {within} seconds: {left}. Are the services started? Their logs"
            " say what they wait for. Run this again then; nothing was changed.",
            f"Non hanno recuperato in {within} secondi: {left}. I servizi sono avviati? I loro log"
            " dicono che cosa aspettano. Poi ripetere il comando; non è stato cambiato nulla.",
        )
    print("\nThe services are open.")
    return 0 if done.holds else 1


def _settings() -> settings.Settings:
    """Of an installation whose PostgreSQL is looked after elsewhere. Raises CommandError."""
    wanted = settings.load()
    if not wanted.database.startswith("postgresql://"):
        raise CommandError(
            Exit.SETTING,
            "DATABASE=postgresql://… must say where the stores are that were put back. A file of"
            " `vicinato backup` is put back by `vicinato restore`.",
            "DATABASE=postgresql://… deve dire dove sono gli archivi ripristinati. Una copia fatta"
            " con `vicinato backup` si rimette con `vicinato restore`.",
        )
    return wanted


def _can_be(moment: datetime, *, older: bool) -> None:
    """Whether a backup may be of that moment. Raises CommandError."""
    from vicinato.commands.restore import OLDEST

    age = datetime.now(UTC) - moment
    if age.total_seconds() < 0:
        raise CommandError(
            Exit.SETTING,
            f"{moment:%Y-%m-%d %H:%M:%S} UTC is still to come: --taken-at is when the backup was"
            " made, in UTC.",
            f"{moment:%Y-%m-%d %H:%M:%S} UTC deve ancora venire: --taken-at è il momento della"
            " copia, in UTC.",
        )
    if age > OLDEST and not older:
        raise CommandError(
            Exit.REFUSED,
            f"The backup is {age.days} days old: names that were erased more than {OLDEST.days}"
            " days ago may come back. With --older it is marked all the same; erase them again"
            " then. Nothing was changed.",
            f"La copia ha {age.days} giorni: potrebbero tornare nomi cancellati da più di"
            f" {OLDEST.days} giorni. Con --older si accetta lo stesso. Non è stato cambiato nulla.",
        )


def _chosen(only: list[str]) -> list[str]:
    for name in only:
        if name not in settings.SERVICES:
            raise CommandError(
                Exit.SETTING,
                f"There is no service {name!r}; there are {', '.join(settings.SERVICES)}.",
                f"Non c'è un servizio {name!r}; ci sono: {', '.join(settings.SERVICES)}.",
            )
    return [name for name in settings.SERVICES if name in only] or list(settings.SERVICES)


def _is_at_work(url: str) -> bool:
    """Whether a service is connected to its database: it would not see the mark, and go on writing.
    Who looks after the server has a role of their own."""
    import psycopg

    with psycopg.connect(url, connect_timeout=10) as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND usename = current_user AND pid <> pg_backend_pid()"
        ).fetchone()
    return bool(found and found[0])


def _mark(url: str, taken_at: datetime, *, new_secrets: bool) -> bool:
    """False when the store has that mark already."""
    from messaging import restoring
    from messaging.marks import last_row
    from messaging.tables import write_meta
    from runtime.store import Store
    from vicinato.backup.copies import LIFE

    store = Store(url, readers=1)
    try:
        there = store.read_now(restoring.read)
        if there is not None and there.taken_at == taken_at:
            return False
        made = restoring.Restoring(
            str(uuid.uuid4()), taken_at, store.read_now(last_row), new_secrets
        )

        def write(connection: sa.Connection) -> None:
            restoring.mark(connection, made)
            write_meta(connection, LIFE, str(uuid.uuid4()))

        store.write_now(write)
    finally:
        store.close_now()
    return True


def _marks(urls: Mapping[str, str]) -> dict[str, Restoring]:
    """The marks of the stores that have one. Raises CommandError."""
    from messaging import restoring
    from runtime import migrations
    from runtime.failures import is_transient
    from runtime.logging import told
    from runtime.store import Store

    found = {}
    for name, url in urls.items():
        try:
            if migrations.current(url) is None:
                continue
            store = Store(url, readers=1)
            try:
                there = store.read_now(restoring.read)
            finally:
                store.close_now()
        except Exception as error:
            if not is_transient(error):
                raise
            raise no_database(told(error)) from error
        if there is not None:
            found[name] = there
    return found


def _journal(target: Target, marks: Mapping[str, Restoring]) -> Journal:
    """What is put back, as `vicinato restore` would have written it down; each time apart."""
    from vicinato.backup.staging import Journal

    services: dict[tuple[str, datetime], list[str]] = defaultdict(list)
    for name, mark in marks.items():
        for put in _not_told(target, name, mark):
            services[put].append(name)
    puts = [
        Journal(
            phase="put",
            backup="",
            taken_at=moment,
            product="",
            stamp=stamp,
            services=names,
            new_machine=any(marks[name].new_machine for name in names),
        )
        for (stamp, moment), names in sorted(services.items())
    ]
    return puts[-1].model_copy(update={"unfinished": puts[:-1]})


def _not_told(target: Target, service: str, mark: Restoring) -> list[tuple[str, datetime]]:
    """The times that a store was put back since its service was open, the last first: the stamp of
    the old database, "" where there is none any more, and the moment of the backup.

    An old database that has a mark itself was put back, and laid aside before it opened.
    """
    found, last = [], mark
    for stamp in _stamps(target, service):
        found.append((stamp, last.taken_at))
        before = _marks({service: target.aside(service, stamp)})
        if not before:
            return found
        last = before[service]
    return [*found, ("", last.taken_at)]


def _stamps(target: Target, service: str) -> list[str]:
    """Of the old databases of a service that lie aside, the last first."""
    import psycopg

    prefix = urlsplit(target.aside(service, "")).path.removeprefix("/")
    with psycopg.connect(target.urls[service], connect_timeout=10) as connection:
        rows = connection.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname::text, %s)"
            " ORDER BY datname DESC",
            (prefix,),
        ).fetchall()
    return [str(name).removeprefix(prefix) for (name,) in rows]


def _not_recovered(urls: Mapping[str, str], names: Iterable[str]) -> list[str]:
    from messaging import restoring
    from runtime.store import Store

    left = []
    for name in names:
        store = Store(urls[name], readers=1)
        try:
            if store.read_now(restoring.recovered) is None:
                left.append(name)
        finally:
            store.close_now()
    return left
