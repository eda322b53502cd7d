"""A store that forgot: own events give the state back; and checks that find what is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cards import checks, commands, store
from cards.app import SERVICE
from cards.domain.card import BlockReason, digest_of, new_token
from cards.models import Adjustment, HouseholdChange, MemberChange
from cards.recover import RECOVER
from contracts import Event, events
from contracts.cards import Purpose, Stage
from messaging.envelope import decode, wire_headers
from messaging.tables import idempotency, outbox
from messaging.testing import Bench
from messaging.transaction import Transaction
from runtime import migrations
from runtime.clock import FixedClock
from runtime.ids import SequenceIds
from runtime.refusals import Invalid
from runtime.testing import postgresql_database
from web.answers import KEPT, Once, forget

OWN = (
    store.household,
    store.person,
    store.consent,
    store.card,
    store.bucket,
    store.transfer,
    store.entry,
    store.hold,
    store.refund,
    store.attendance,
    store.earning_rule,
    store.search_word,
)
AT = datetime(2026, 11, 29, tzinfo=UTC)
APART = {
    "transfer": {"id", "note", "actor", "at"},
    "household": {"changed_at"},
    "person": {"position", "stage_at"},
    "card": {"issued_at", "blocked_at"},
    "hold": {"placed_at", "ended_at"},
    "refund": {"sale_id"},
}
"""What no event tells. The id of a redemption is nobody's but the store's: its cause stands for
it."""


def everything(bench: Bench) -> dict[str, list[dict[str, Any]]]:
    def read(connection: sa.Connection) -> dict[str, list[dict[str, Any]]]:
        found = {}
        known = connection.execute(sa.select(store.transfer.c.id, store.transfer.c.cause))
        causes = {transfer_id: cause for transfer_id, cause in known}  # noqa: C416
        for table in OWN:
            rows = connection.execute(sa.select(table)).mappings()
            left = APART.get(table.name, set())
            plain = [{k: v for k, v in row.items() if k not in left} for row in rows]
            for row in plain:
                if "transfer_id" in row:
                    row["transfer_id"] = causes[row["transfer_id"]]
            found[table.name] = sorted(plain, key=str)
        return found

    return bench.read(read)


def a_lot_happens(bench: Any, clock: FixedClock) -> None:
    house, other = bench.household(consents=[Purpose.MESSAGES]), bench.household("Zoe", "Ugo")
    bench.rule(per_euro=2, per_attendance=5, valid_days=2)
    house.give(50, clock.now() + timedelta(hours=5))
    house.give(30)
    bench.deliver(
        house.asks(20, sale="s1"),
        house.buys(money=700, points=15, sale="s1"),
        house.asks(900, sale="s2"),
        house.buys(points=90, sale="s3"),
        house.attends(),
        house.attends(present=False, revision=2),
        house.asks(3, sale="s4"),
        house.cancels(sale="s4"),
        other.buys(money=500, sale="s5"),
        other.asks(4, sale="s6"),
        other.returns(money=500, sale="s5"),
        *corrected(other, "partly", spent=3),
        *corrected(other, "all", spent=7),
    )
    amina = house.person_id
    for command in (
        lambda tx: commands.change_stage(tx, house.id, amina, Stage.AUTONOMY),
        lambda tx: commands.change_household(
            tx,
            house.id,
            HouseholdChange(zone="x", members=[MemberChange(id=amina, email="a@example.org")]),
        ),
        lambda tx: commands.withdraw_consent(tx, house.id, Purpose.MESSAGES),
        lambda tx: commands.block_card(tx, house.card_id, BlockReason.STOLEN),
        lambda tx: commands.replace_card(tx, other.card_id, digest_of(new_token()) or ""),
    ):
        bench.run(command)
    third = bench.household("Bea")
    third.give(9)
    bench.run(lambda tx: commands.erase_household(tx, third.id))
    clock.advance(timedelta(days=3))
    bench.tick()


def corrected(house: Any, session: str, spent: int) -> list[Event]:
    """Present, absent by mistake when points were spent, present again."""
    return [
        house.attends(session=session),
        house.buys(points=spent, sale=session),
        house.attends(False, 2, session=session),
        house.attends(True, 3, session=session),
    ]


def adopt(bench: Bench, service_log: list[Any]) -> None:
    """Give events to `recover` as a restored store does."""

    def absorb(connection: sa.Connection, item: Any) -> None:
        tx = Transaction(
            SERVICE,
            connection,
            now=item.content.time,
            ids=bench.ids,
            centre=item.content.centre,
        )
        RECOVER[type(item.content.event)](tx, item.content)
        tx.flush()
        assert tx.told == []

    for item in service_log:
        bench.store.write_now(lambda c, item=item: absorb(c, item))


def told(bench: Any) -> list[Any]:
    """What the service told, as it lies on the bus."""
    rows = bench.read(lambda c: c.execute(sa.select(outbox).order_by(outbox.c.row)).all())
    return [
        decode(
            bench._record(
                row.topic,
                row.key.encode(),
                row.body,
                wire_headers(row.headers, previous=row.previous, cause=row.cause, era=0),
            )
        )
        for row in rows
    ]


@pytest.mark.parametrize("people_first", [True, False])
def test_own_events_give_the_state_back(
    bench: Any, clock: FixedClock, ids: SequenceIds, tmp_path: Path, people_first: bool
) -> None:
    a_lot_happens(bench, clock)
    items = told(bench)
    items.sort(key=lambda item: (item.record.topic == "cards.people") != people_first)
    with Bench(SERVICE, f"sqlite:///{tmp_path / 'empty.db'}", clock=clock, ids=ids) as restored:
        adopt(restored, items)
        wanted, found = everything(bench), everything(restored)
        for name in wanted:
            assert found[name] == wanted[name], name
        adopt(restored, items)  # whatever comes again changes nothing
        assert everything(restored) == found
        for check in SERVICE.checks:
            differences = restored.read(lambda c, check=check: list(check.run(c)))
            assert not differences, differences


def test_points_given_by_hand_are_given_once_when_they_are_asked_for_again_after_a_restore(
    bench: Any, clock: FixedClock, ids: SequenceIds, tmp_path: Path
) -> None:
    """The answers that were kept are as old as the backup; the transfers came back from the bus."""
    house = bench.household()

    def ask(of: Any, points: int, key: str = "key-1", account: str = "coordinator") -> int:
        asked = Adjustment(points=points, reason="helped at Christmas")
        once = Once(account, key, f"{points}")
        work = once.wrap(lambda tx: commands.adjust_points(tx, house.id, asked))
        return of.run(work, actor=account).available

    assert ask(bench, 20) == ask(bench, 20) == 20
    assert ask(bench, -5, "key-2") == 15
    with Bench(SERVICE, f"sqlite:///{tmp_path / 'empty.db'}", clock=clock, ids=ids) as restored:
        adopt(restored, told(bench))
        assert ask(restored, 20) == ask(restored, -5, "key-2") == 15
        with pytest.raises(Invalid, match=r"idempotency\.other_content"):
            ask(restored, 21)
        assert ask(restored, 20, account="somebody else") == 35
        clock.advance(KEPT + timedelta(seconds=1))
        restored.run(lambda tx: forget(tx.connection, tx.now))
        assert ask(restored, 20) == 55, "a key holds as long as its answer is kept"
        restored.run(lambda tx: tx.connection.execute(sa.delete(idempotency)) and None)
        assert ask(restored, 20) == 55
        assert restored.read(lambda c: checks.check_ledger(c)) == []


def test_every_own_event_can_be_recovered() -> None:
    assert set(RECOVER) == {*events("cards.events"), *events("cards.people")}


BREAKAGES: list[tuple[str, str]] = [
    ("UPDATE entry SET points = points + 1 WHERE line = 0", "transfer.sums_to_zero"),
    ("UPDATE entry SET points = points + 1 WHERE line = 0", "ledger.sums_to_zero"),
    ("UPDATE bucket SET balance = balance + 1", "bucket.equals_entries"),
    ("DELETE FROM bucket", "bucket.equals_entries"),
    ("UPDATE bucket SET held = held - 1 WHERE held > 0", "bucket.held_equals_holds"),
    ("UPDATE hold SET captured = captured + 1 WHERE state = 'captured'", "hold.booked"),
    ("UPDATE hold SET state = 'released' WHERE state = 'captured'", "hold.booked"),
    ("UPDATE hold SET ended_at = NULL WHERE state = 'captured'", "hold.ended"),
    ("UPDATE hold SET sale_id = 'one', state = 'placed', ended_at = NULL", "hold.open_of_sale"),
    ("UPDATE attendance SET credited = credited + 5", "attendance.credited"),
    ("UPDATE attendance SET uncovered = 5", "attendance.uncovered"),
    ("DELETE FROM transfer", "entry.of_a_transfer"),
    ("DELETE FROM entry", "transfer.has_entries"),
    ("UPDATE household SET holder_id = 'nobody'", "household.holder"),
    ("UPDATE person SET erased_at = stage_at", "person.erased"),
]


def test_checks_name_what_is_wrong(bench: Any, clock: FixedClock) -> None:
    house = bench.household()
    house.give(50)
    bench.deliver(house.asks(10, sale="s1"), house.buys(points=10, sale="s1"))
    bench.deliver(house.asks(10, sale="s2"), house.attends())
    for statement, expected in BREAKAGES:
        names: set[str] = set()

        def broken(
            connection: sa.Connection, statement: str = statement, names: set[str] = names
        ) -> None:
            connection.execute(sa.text(statement))
            for check in SERVICE.checks:
                names.update(difference.check for difference in check.run(connection))
            raise Undone

        with pytest.raises(Undone):
            bench.store.write_now(broken)
        assert expected in names, (statement, names)
    assert bench.read(checks.ledger_imbalance) == 0
    bench.store.write_now(
        lambda c: c.execute(sa.text("UPDATE entry SET points = points + 3 WHERE line = 0"))
    )
    assert bench.read(checks.ledger_imbalance) != 0
    bench.store.write_now(
        lambda c: c.execute(sa.text("UPDATE entry SET points = points - 3 WHERE line = 0"))
    )


class Undone(Exception):  # noqa: N818
    """Rolls a broken store back."""


def test_the_database_itself_refuses_less_than_zero(bench: Any) -> None:
    house = bench.household()
    house.give(5)
    with pytest.raises(sa.exc.IntegrityError):
        bench.store.write_now(lambda c: c.execute(sa.text("UPDATE bucket SET balance = -1")))
    with pytest.raises(sa.exc.IntegrityError):
        bench.store.write_now(
            lambda c: c.execute(sa.text("INSERT INTO transfer SELECT 'again', household_id, "
                                        "centre_id, kind, cause, origin, note, actor, at "
                                        "FROM transfer"))
        )  # fmt: skip


def test_the_schema_goes_up_down_and_up(empty_url: str) -> None:
    migrations.upgrade(empty_url, "cards")
    assert migrations.difference(empty_url, "cards", SERVICE.metadata) == []
    migrations.downgrade(empty_url, "cards")
    migrations.upgrade(empty_url, "cards")
    migrations.check(empty_url, "cards")


def test_what_corrections_could_not_take_is_read_from_the_ledger(empty_url: str) -> None:
    """In a store of a version that did not keep it on the attendance."""
    migrations.upgrade(empty_url, "cards", SERVICE.metadata, "0003")
    engine = migrations.migration_engine(empty_url)
    with engine.begin() as connection:
        for session, revision, points in (("s:1", 2, 3), ("s:1", 4, 2), ("s:2", 2, 0)):
            origin = f"{session}:p1:{revision}"
            connection.execute(
                sa.insert(store.transfer).values(
                    id=origin,
                    household_id="h1",
                    centre_id="c1",
                    kind="attendance_corrected",
                    cause=f"debit:attendance_corrected:{origin}",
                    origin=origin,
                    note="",
                    actor="system",
                    at=AT,
                )
            )
            entries = {"activities": 5, "household": points - 5} | (
                {"uncovered": -points} if points else {}
            )
            for line, (account, moved) in enumerate(entries.items()):
                connection.execute(
                    sa.insert(store.entry).values(
                        transfer_id=origin, line=line, account=account, points=moved
                    )
                )
        for session in ("s:1", "s:2"):
            connection.execute(
                sa.text("INSERT INTO attendance VALUES (:session, 'p1', 'h1', 4, :present, 0)"),
                {"session": session, "present": False},
            )
    migrations.upgrade(empty_url, "cards", SERVICE.metadata)
    with engine.connect() as connection:
        rows = connection.execute(
            sa.select(store.attendance.c.session_id, store.attendance.c.uncovered)
        )
        assert {session: uncovered for session, uncovered in rows} == {"s:1": 5, "s:2": 0}  # noqa: C416
    engine.dispose()


def test_a_product_of_before_is_for_sale_until_it_is_told_anew(empty_url: str) -> None:
    """Also one that a replica of the version before writes beside a newer one."""
    migrations.upgrade(empty_url, "cards", SERVICE.metadata, "0006")
    engine = migrations.migration_engine(empty_url)
    product = store.product_seen
    columns = ("product_id", "centre_id", "minimum", "changed_at")
    of_before = sa.table(product.name, *(sa.column(name, product.c[name].type) for name in columns))

    def written(product_id: str) -> None:
        values = dict(zip(columns, (product_id, "c1", 3, AT), strict=True))
        with engine.begin() as connection:
            connection.execute(sa.insert(of_before).values(values))

    written("p1")
    for _ in range(2):
        migrations.upgrade(empty_url, "cards", SERVICE.metadata)
        with engine.connect() as connection:
            assert set(connection.execute(sa.select(product.c.sellable)).scalars()) == {True}
        migrations.downgrade(empty_url, "cards", SERVICE.metadata, "0006")
    migrations.upgrade(empty_url, "cards", SERVICE.metadata)
    written("p2")
    with engine.connect() as connection:
        assert list(connection.execute(sa.select(product.c.sellable)).scalars()) == [True, True]
    engine.dispose()


def test_words_are_ordered_by_code_point_after_a_migration() -> None:
    with postgresql_database() as url:
        migrations.upgrade(url, "cards")
        engine = migrations.migration_engine(url)
        with engine.connect() as connection:
            collation = connection.scalar(
                sa.text(
                    "SELECT collation_name FROM information_schema.columns "
                    "WHERE table_name = 'search_word' AND column_name = 'word'"
                )
            )
        engine.dispose()
        assert collation == "C"
