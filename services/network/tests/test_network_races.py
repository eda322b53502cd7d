"""Writing about a household beside its being forgotten, by two connections of PostgreSQL: whoever
comes second sees what the first has done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from contracts.cards import HouseholdErased
from messaging.testing import Bench, Beside
from network import commands, store
from network.app import SERVICE
from network.models import NewReferral
from runtime.clock import FixedClock
from runtime.ids import Ids, SequenceIds
from runtime.refusals import Refusal
from runtime.testing import fresh_store

from .network_cases import CENTRE, NOW, SECRET, STAFF, prepare, registered, rows, withdrawn

WITHOUT_CONSENT: list[dict[str, Any]] = [{"override_reason": "Minor in danger"}, {"draft": True}]


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with fresh_store("postgresql", SERVICE.package, SERVICE.metadata, tmp_path) as made:
        yield made


@pytest.fixture
def bench(url: str, clock: FixedClock, ids: Ids) -> Iterator[Bench]:
    """With a household that never said whether it agrees."""
    with Bench(SERVICE, url, clock=clock, ids=ids) as made:
        prepare(made)
        made.deliver(registered("h2"))
        yield made


@pytest.fixture
def replica(bench: Bench, url: str, clock: FixedClock) -> Iterator[Bench]:
    """A second process on the same store, which is asked; the first one hears."""
    with Bench(SERVICE, url, clock=clock, ids=SequenceIds(10_000_000)) as made:
        yield made


def ask(bench: Bench, household: str = "h2", **more: Any) -> str:
    return bench.run(asking(household, **more))


def asking(household: str = "h2", **more: Any) -> Callable[[Any], str]:
    asked = NewReferral(
        area="home", household_id=household, to_organisation_id="auser", note=SECRET, **more
    )
    return lambda tx: commands.record_referral(tx, STAFF, asked, centre_id=CENTRE).id


def erased() -> HouseholdErased:
    at = NOW + timedelta(days=1)
    return HouseholdErased(household_id="h2", centre_id=CENTRE, erased_at=at)


def before_commit(bench: Bench, then: Callable[[], None]) -> Any:
    """The bench's way to write what it hears, with this behind it in the same transaction."""

    def write(work: Callable[[sa.Connection], Any]) -> Any:
        def whole(connection: sa.Connection) -> Any:
            outcome = work(connection)
            then()
            return outcome

        return bench.store.write_now(whole)

    return write


@pytest.mark.parametrize("more", WITHOUT_CONSENT, ids=["override", "draft"])
def test_what_was_asked_beside_the_erasure_is_cancelled_and_forgotten(
    bench: Bench, replica: Bench, more: dict[str, Any]
) -> None:
    other = Beside(bench, lambda: bench.deliver(erased()))

    def work(tx: Any) -> str:
        made = asking(**more)(tx)
        other.begin()
        return made

    replica.run(work)
    other.result()
    assert [row["state"] for row in rows(bench, store.referral)] == ["cancelled"]
    assert rows(bench, store.referral_text) == []


@pytest.mark.parametrize("more", WITHOUT_CONSENT, ids=["override", "draft"])
def test_what_is_asked_while_the_erasure_is_written_is_refused(
    bench: Bench, replica: Bench, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    other = Beside(bench, lambda: ask(replica, **more))
    monkeypatch.setattr(bench, "_write", before_commit(bench, other.begin))
    bench.deliver(erased(), twice=False)
    with pytest.raises(Refusal, match=r"household\.unknown"):
        other.result()
    assert rows(bench, store.referral) == []
    assert rows(bench, store.referral_text) == []


def test_what_was_asked_beside_the_withdrawal_is_cancelled(bench: Bench, replica: Bench) -> None:
    other = Beside(bench, lambda: bench.deliver(withdrawn("h1", NOW + timedelta(hours=1))))

    def work(tx: Any) -> str:
        made = asking("h1")(tx)
        other.begin()
        return made

    replica.run(work)
    other.result()
    assert [row["state"] for row in rows(bench, store.referral)] == ["cancelled"]


def test_what_is_asked_while_the_withdrawal_is_written_is_refused(
    bench: Bench, replica: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Beside(bench, lambda: ask(replica, "h1"))
    monkeypatch.setattr(bench, "_write", before_commit(bench, other.begin))
    bench.deliver(withdrawn("h1", NOW + timedelta(hours=1)), twice=False)
    with pytest.raises(Refusal, match=r"consent\.missing"):
        other.result()
    assert rows(bench, store.referral) == []
