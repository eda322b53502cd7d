"""`vicinato restored`: what is marked and when, and what is refused. That the services then recover
and are opened is tried on a whole house."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from messaging import restoring
from messaging.tables import write_meta
from runtime.store import Store
from vicinato import cli
from vicinato.commands import restored
from vicinato.databases import create
from vicinato.refusals import CommandError, Exit
from vicinato.settings import SERVICES

from .host import Host

pytestmark = [pytest.mark.xdist_group("compose-postgresql"), pytest.mark.timeout(240)]

TAKEN = (datetime.now(UTC) - timedelta(days=1)).replace(microsecond=0)


def at(moment: datetime) -> list[str]:
    return ["--taken-at", f"{moment:%Y-%m-%dT%H:%M:%S}"]


Run = Callable[..., int]


@pytest.fixture
def run(host: Host, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`vicinato restored` in a job; its exit code."""
    for name, value in host.job.items():
        monkeypatch.setenv(name, value)

    def call(*words: str) -> int:
        with pytest.raises(SystemExit) as ended:
            cli.run(["restored", *words])
        return int(ended.value.code or 0)

    return call


@pytest.fixture
def cards(host: Host) -> Iterator[Store]:
    """The store of cards alone, which was never put back."""
    host.anew(["cards"])
    store = Store(host.url("cards"), readers=1, writers=1)
    yield store
    store.close_now()


def test_a_mark_stays_as_it_was_when_it_is_set_again(host: Host, cards: Store, run: Run) -> None:
    cards.close_now()
    host.tell("cards")
    assert run("mark", "--only", "cards", *at(TAKEN)) == 0
    host.tell("cards")
    assert run("mark", "--only", "cards", *at(TAKEN)) == 0
    mark = host.mark("cards")
    assert mark is not None
    assert (mark.taken_at, mark.last_row) == (TAKEN, 1)


def test_what_was_recovered_under_another_mark_counts_no_more(
    host: Host, cards: Store, run: Run
) -> None:
    """A backup that was made in the middle of a restore brings that one's mark along."""

    def ready(url: str) -> restoring.Recovered | None:
        store = Store(url, readers=1)
        try:
            return store.read_now(restoring.recovered)
        finally:
            store.close_now()

    earlier = restoring.Restoring("b", TAKEN - timedelta(days=1), 0)
    cards.write_now(lambda c: restoring.mark(c, earlier))
    cards.write_now(lambda c: write_meta(c, restoring.READY, "yes"))
    cards.close_now()
    assert ready(host.url("cards")) is not None
    assert run("mark", "--only", "cards", *at(TAKEN)) == 0
    assert ready(host.url("cards")) is None


def test_a_store_at_which_its_service_is_at_work_is_not_marked(
    host: Host, cards: Store, run: Run
) -> None:
    cards.close_now()
    with psycopg.connect(host.url("cards")), pytest.raises(CommandError, match="cards") as refusal:
        cli.run(["restored", "mark", "--only", "cards", *at(TAKEN)])
    assert refusal.value.code is Exit.SECOND_COPY
    assert host.mark("cards") is None


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (at(datetime.now(UTC) + timedelta(hours=1)), Exit.SETTING),
        (at(datetime.now(UTC) - timedelta(days=91)), Exit.REFUSED),
        ([*at(TAKEN), "--only", "till"], Exit.SETTING),
        ([*at(TAKEN), "--only", "shop"], Exit.DATABASE),
    ],
    ids=["still to come", "too old", "no such service", "no such database"],
)
def test_a_mark_that_cannot_be_is_refused(
    host: Host, cards: Store, run: Run, words: list[str], code: Exit
) -> None:
    cards.close_now()
    with pytest.raises(CommandError) as refusal:
        cli.run(["restored", "mark", *words])
    assert refusal.value.code is code
    assert host.mark("cards") is None


def test_an_old_backup_is_marked_when_somebody_insists(host: Host, cards: Store, run: Run) -> None:
    cards.close_now()
    old = at(datetime.now(UTC) - timedelta(days=91))
    assert run("mark", "--only", "cards", "--older", *old) == 0
    assert host.mark("cards") is not None


def test_a_house_with_its_own_stores_is_told_of_restore(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE", raising=False)
    for words in (["mark", *at(TAKEN)], ["open"]):
        with pytest.raises(CommandError, match="vicinato restore") as refusal:
            cli.run(["restored", *words])
        assert refusal.value.code is Exit.SETTING


@pytest.fixture
def house(host: Host, cards: Store) -> Store:
    """All six stores are there; the one of cards."""
    urls = {name: host.url(name) for name in SERVICES}
    create(host.server, urls)
    return cards


def test_where_nothing_is_marked_there_is_nothing_to_open(
    house: Store, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where a store has no schema yet."""
    assert run("open") == 0
    assert "No store is marked" in capsys.readouterr().out


def test_services_that_do_not_recover_are_named_and_stay_closed(
    host: Host, house: Store, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.close_now()
    monkeypatch.setenv("KAFKA", "127.0.0.1:1")  # it is asked when they have
    monkeypatch.setenv("KAFKA_ADMIN_USER", "admin")
    monkeypatch.setenv("KAFKA_ADMIN_SECRET_FILE", str(host.secrets / "kafka-admin"))
    assert run("mark", "--only", "cards", *at(TAKEN)) == 0
    with pytest.raises(CommandError, match="within 1 seconds: cards") as refusal:
        cli.run(["restored", "open", "--within", "1"])
    assert refusal.value.code is Exit.NOT_READY
    assert host.mark("cards") is not None


def test_stores_of_two_moments_are_told_apart(host: Host, house: Store) -> None:
    earlier = TAKEN - timedelta(days=1)
    marks = {
        "cards": restoring.Restoring("a", TAKEN, 1),
        "shop": restoring.Restoring("b", earlier, 1, new_machine=True),
    }
    latest = restored._journal(host.target, marks).latest()
    assert {name: one.taken_at for name, one in latest.items()} == {"cards": TAKEN, "shop": earlier}
    assert {name for name, one in latest.items() if one.new_machine} == {"shop"}
