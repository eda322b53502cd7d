"""The ledger of one transaction: loaded and locked together, changed in memory, written set by set.

A batch of the bus names its households, holds and sales; ``Ledger.load`` locks the households in
the order of their ids (two replicas would deadlock otherwise) and reads everything of them with one
query per table. Policies then work on memory alone; what they changed is written at the flush of
the transaction, one statement per table, whatever the number of events. The lock on a household
guards its buckets, holds, sales, refunds and attendances as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from cards import store
from cards.domain.earning import DEFAULT_ZONE, Rule, in_order, rule_at, zone_of
from cards.domain.points import NEVER, Bucket, Entry, HouseholdAccount, Part, TransferKind
from cards.store.rows import (
    AttendanceRow,
    HoldRow,
    HoldState,
    HouseholdRow,
    SaleRow,
    SaleState,
)
from messaging import Transaction
from runtime.named import among
from runtime.prepared import Prepared
from runtime.scheduler import JOB, WAITING
from runtime.store import ensure, insert, upsert
from web import live

EXPIRY_JOB = "cards.points_expiry"
TIMEOUT_JOB = "cards.hold_timeout"
HOLD_LASTS = timedelta(hours=24)
"""After that the shop has forgotten to end it (DESIGN §3.11); the shop's own limit is 15 min."""


@dataclass
class _Changes:
    """What must be written at the next flush."""

    accounts: set[str] = field(default_factory=set)
    holds: set[str] = field(default_factory=set)
    sales: set[str] = field(default_factory=set)
    attendances: set[tuple[str, str]] = field(default_factory=set)
    new_parts: list[dict[str, Any]] = field(default_factory=list)
    jobs: dict[tuple[str, str], datetime] = field(default_factory=dict)
    expiries: set[datetime] = field(default_factory=set)
    ended_holds: list[str] = field(default_factory=list)


def _of(table: sa.Table, key: str, *columns: str) -> Prepared:
    """Rows of a table, or some of their columns, whose key is one of those wanted."""
    found = [table.c[name] for name in columns] or list(table.c)
    return Prepared(lambda dialect: sa.select(*found).where(among(dialect, table.c[key])))


_HOUSEHOLDS = Prepared(
    lambda dialect: (
        sa.select(store.household.c.id, store.household.c.centre_id, store.household.c.erased_at)
        .where(among(dialect, store.household.c.id))
        .order_by(store.household.c.id)
        .with_for_update()
    )
)
"""Locked, in the order of their ids."""
_BUCKETS = _of(store.bucket, "household_id")
_SALES = _of(store.sale, "id")
_OWNERS_BY_SALE = _of(store.sale, "id", "household_id")
_HOLDS = _of(store.hold, "id")
_HOLDS_OF_SALES = _of(store.hold, "sale_id")
_OWNERS_BY_HOLD = _of(store.hold, "id", "household_id")
_OWNERS_BY_HOLD_OF_SALE = _of(store.hold, "sale_id", "household_id")
_PARTS = _of(store.hold_part, "hold_id")
_REFUNDS = _of(store.refund, "id", "id")
_ATTENDANCES = _of(store.attendance, "session_id")
_RULES = _of(
    store.earning_rule,
    "centre_id",
    *("centre_id", "from_time", "id", "per_euro", "per_attendance", "valid_days"),
)
_ZONES = _of(store.centre_seen, "centre_id", "centre_id", "time_zone")
_TIME_OUTS = Prepared(
    lambda dialect: sa.delete(JOB).where(
        JOB.c.name == TIMEOUT_JOB, JOB.c.period == "", among(dialect, JOB.c.subject)
    )
)
"""Of holds that have ended: not due any more."""


class Ledger:
    """See the module. One per transaction: ``Ledger.of(tx)``."""

    def __init__(self, tx: Transaction) -> None:
        self.tx = tx
        self.households: dict[str, HouseholdRow] = {}
        self.accounts: dict[str, HouseholdAccount] = {}
        self.holds: dict[str, HoldRow] = {}
        self.holds_of_sale: dict[str, set[str]] = {}
        self.sales: dict[str, SaleRow] = {}
        self.refunds: set[str] = set()
        self.attendances: dict[tuple[str, str], AttendanceRow] = {}
        self.moved: set[str] = set()
        self._rules: dict[str, list[Rule]] = {}
        self._zones: dict[str, ZoneInfo] = {}
        self._looked_up: dict[str, set[Any]] = defaultdict(lambda: {""})
        self._changes = _Changes()
        self._registered = False

    @classmethod
    def of(cls, tx: Transaction) -> Ledger:
        """The ledger of this transaction."""
        ledger = tx.memo.get("ledger")
        if not isinstance(ledger, cls):
            ledger = tx.memo["ledger"] = cls(tx)
        return ledger

    # -- reading -------------------------------------------------------------------------------

    def load(
        self,
        *,
        households: Collection[str] = (),
        sales: Collection[str] = (),
        holds: Collection[str] = (),
        refunds: Collection[str] = (),
        attendances: Collection[tuple[str, str]] = (),
    ) -> None:
        """Lock these households and read what is named; what was read before is left alone.

        ``sales`` brings the holds of those sales too. Whoever names a sale or hold names its
        household as well, or asks ``owners`` for it first.
        """
        new_households = self._new("household", households)
        new_sales = self._new("sale", sales)
        new_holds = self._new("hold", holds)
        new_refunds = self._new("refund", refunds)
        new_sessions = self._new("session", [session for session, _ in attendances])
        if not (new_households or new_sales or new_holds or new_refunds or new_sessions):
            return
        connection = self.tx.connection
        self._load_households(connection, new_households)
        self._load_sales(connection, new_sales)
        self._load_holds(connection, new_sales, new_holds)
        if new_refunds:
            self.refunds.update(_REFUNDS.scalars(connection, wanted=new_refunds))
        if new_sessions:
            for row in _ATTENDANCES.all(connection, wanted=new_sessions):
                self.attendances[row["session_id"], row["person_id"]] = AttendanceRow(**row)

    def owners(self, *, sales: Iterable[str] = (), holds: Iterable[str] = ()) -> set[str]:
        """The households of these sales and holds, for events that do not say it."""
        found: set[str] = set()
        if wanted := sorted(set(sales)):
            for query in (_OWNERS_BY_HOLD_OF_SALE, _OWNERS_BY_SALE):
                found.update(query.scalars(self.tx.connection, wanted=wanted))
        if wanted := sorted(set(holds)):
            found.update(_OWNERS_BY_HOLD.scalars(self.tx.connection, wanted=wanted))
        return found - {""}

    def household(self, household_id: str) -> HouseholdRow | None:
        """The household, locked; None when nobody here knows it."""
        if household_id not in self.households:
            self.load(households=[household_id])
        return self.households.get(household_id)

    def account(self, household_id: str) -> HouseholdAccount:
        """The buckets of a household that is known."""
        if household_id not in self.accounts:
            self.load(households=[household_id])
        return self.accounts[household_id]

    def open_hold_of(self, sale_id: str) -> HoldRow | None:
        """The open hold of a sale; there is never more than one."""
        for hold_id in self.holds_of_sale.get(sale_id, ()):
            if self.holds[hold_id].open:
                return self.holds[hold_id]
        return None

    def rule(self, centre_id: str, moment: datetime) -> Rule:
        """The earning rule of a centre at a moment."""
        if centre_id not in self._rules:
            self.load_centres([centre_id])
        return rule_at(self._rules[centre_id], moment)

    def zone(self, centre_id: str) -> ZoneInfo:
        """The time zone of a centre, by which its days end."""
        if centre_id not in self._zones:
            self.load_centres([centre_id])
        return self._zones[centre_id]

    def load_centres(self, centres: Collection[str]) -> None:
        """Read the rules and the time zones of these centres."""
        new = self._new("centre", centres)
        if not new:
            return
        rules: dict[str, list[Rule]] = {centre_id: [] for centre_id in new}
        for centre_id, *rule in _RULES.tuples(self.tx.connection, wanted=new):
            rules[centre_id].append(Rule(*rule))
        self._rules.update({centre_id: in_order(found) for centre_id, found in rules.items()})
        self._zones.update({centre_id: zone_of(DEFAULT_ZONE) for centre_id in new})
        for centre_id, name in _ZONES.tuples(self.tx.connection, wanted=new):
            self._zones[centre_id] = zone_of(name)

    # -- writing -------------------------------------------------------------------------------

    def post(
        self,
        household: HouseholdRow,
        kind: TransferKind,
        cause: str,
        origin: str,
        entries: Sequence[Entry],
        *,
        note: str = "",
        transfer_id: str = "",
    ) -> str:
        """Book a transfer whose parts were already moved in the account; gives its id.

        ``cause`` is unique for ever: what is booked twice fails, and with it the transaction.
        """
        # Words are written as plain text: what is more than that SQLite's driver asks to adapt.
        transfer_id = transfer_id or self.tx.ids.new()
        self.tx.collect(
            store.transfer,
            {
                "id": transfer_id,
                "household_id": household.id,
                "centre_id": household.centre_id,
                "kind": str(kind),
                "cause": cause,
                "origin": origin,
                "note": note,
                "actor": self.tx.actor,
                "at": self.tx.now,
            },
        )
        for line, entry in enumerate(entries):
            self.tx.collect(
                store.entry,
                {
                    "transfer_id": transfer_id,
                    "line": line,
                    "account": str(entry.account),
                    "expires_at": entry.expires_at,
                    "points": entry.points,
                },
            )
        self.account_changed(household.id)
        return transfer_id

    def account_changed(self, household_id: str) -> None:
        """The buckets of this household are to be written."""
        self._changes.accounts.add(household_id)
        if not self.moved:
            self.tx.after_commit(self._say_moved)
        self.moved.add(household_id)
        self._will_write()

    def _say_moved(self) -> None:
        """Pages that show these points fetch them again."""
        for household_id in self.moved:
            live.publish("household", household_id)

    def put_hold(self, hold: HoldRow) -> None:
        """A hold is new or has changed."""
        if hold.id not in self.holds:
            self.holds[hold.id] = hold
            self.holds_of_sale.setdefault(hold.sale_id, set()).add(hold.id)
            self._changes.new_parts += [
                {"hold_id": hold.id, "expires_at": part.expires_at, "points": part.points}
                for part in hold.parts
            ]
            if hold.open:
                self._changes.jobs[TIMEOUT_JOB, hold.id] = hold.placed_at + HOLD_LASTS
        elif not hold.open:
            self._changes.ended_holds.append(hold.id)
        self._changes.holds.add(hold.id)
        self._will_write()

    def put_sale(self, sale: SaleRow) -> None:
        """A sale has ended, or a refund changed what is known of it."""
        self.sales[sale.id] = sale
        self._changes.sales.add(sale.id)
        self._will_write()

    def put_refund(self, refund_id: str, sale_id: str, household_id: str) -> None:
        """A refund is booked."""
        self.refunds.add(refund_id)
        self.tx.collect(
            store.refund,
            {
                "id": refund_id,
                "sale_id": sale_id,
                "household_id": household_id,
                "at": self.tx.now,
            },
        )

    def put_attendance(self, row: AttendanceRow) -> None:
        """An attendance was recorded or corrected."""
        key = (row.session_id, row.person_id)
        self.attendances[key] = row
        self._changes.attendances.add(key)
        self._will_write()

    def _will_write(self) -> None:
        if not self._registered:
            self._registered = True
            self.tx.before_flush(self._write)

    def _write(self, connection: sa.Connection) -> None:
        self._registered = False
        changes, self._changes = self._changes, _Changes()
        self._write_buckets(connection, changes)
        upsert(
            connection,
            store.hold,
            [_hold_values(self.holds[hold_id]) for hold_id in sorted(changes.holds)],
            key=("id",),
        )
        insert(connection, store.hold_part, changes.new_parts)
        upsert(
            connection,
            store.sale,
            [_sale_values(self.sales[sale_id]) for sale_id in sorted(changes.sales)],
            key=("id",),
        )
        upsert(
            connection,
            store.attendance,
            [_values(self.attendances[key]) for key in sorted(changes.attendances)],
            key=("session_id", "person_id"),
        )
        ensure(
            connection,
            JOB,
            [_job(name, subject, due) for (name, subject), due in sorted(changes.jobs.items())],
        )
        if changes.ended_holds:
            _TIME_OUTS.run(connection, wanted=changes.ended_holds)

    def _write_buckets(self, connection: sa.Connection, changes: _Changes) -> None:
        kept: list[dict[str, Any]] = []
        empty: list[dict[str, Any]] = []
        for household_id in sorted(changes.accounts):
            account = self.accounts[household_id]
            for when in sorted(account.changed):
                bucket = account.buckets[when]
                if bucket.balance == 0 and bucket.held == 0:
                    empty.append({"a": household_id, "b": when})
                    del account.buckets[when]
                    continue
                kept.append(
                    {
                        "household_id": household_id,
                        "expires_at": when,
                        "balance": bucket.balance,
                        "held": bucket.held,
                    }
                )
                if bucket.free > 0 and when != NEVER:
                    # One row serves every bucket of that moment; it is due at once when freed
                    # points come back into a bucket whose time has passed.
                    changes.expiries.add(when)
            account.changed.clear()
        changes.jobs.update({(EXPIRY_JOB, when.isoformat()): when for when in changes.expiries})
        upsert(connection, store.bucket, kept, key=("household_id", "expires_at"))
        if empty:
            table = store.bucket
            connection.execute(
                sa.delete(table).where(
                    table.c.household_id == sa.bindparam("a"),
                    table.c.expires_at == sa.bindparam("b"),
                ),
                empty,
            )

    def _new(self, kind: str, keys: Collection[Any]) -> list[Any]:
        known = self._looked_up[kind]
        if known.issuperset(keys):
            return []
        new = set(keys) - known
        known |= new
        return sorted(new)

    def _load_households(self, connection: sa.Connection, ids: list[str]) -> None:
        if not ids:
            return
        for household_id, centre_id, erased_at in _HOUSEHOLDS.tuples(connection, wanted=ids):
            self.households[household_id] = HouseholdRow(
                household_id, centre_id, erased_at is not None
            )
            self.accounts[household_id] = HouseholdAccount()
        for household_id, expires_at, balance, held in _BUCKETS.tuples(connection, wanted=ids):
            account = self.accounts.get(household_id)
            if account is not None:
                account.buckets[expires_at] = Bucket(expires_at, balance, held)

    def _load_sales(self, connection: sa.Connection, ids: list[str]) -> None:
        if ids:
            for row in _SALES.all(connection, wanted=ids):
                self.sales[row["id"]] = SaleRow(**{**row, "state": SaleState(row["state"])})

    def _load_holds(self, connection: sa.Connection, sales: list[str], holds: list[str]) -> None:
        open_ids: list[str] = []
        for query, ids in ((_HOLDS_OF_SALES, sales), (_HOLDS, holds)):
            for row in query.all(connection, wanted=ids) if ids else ():
                if row["id"] in self.holds:
                    continue
                hold = HoldRow(**{**row, "state": HoldState(row["state"])})
                self.holds[hold.id] = hold
                self.holds_of_sale.setdefault(hold.sale_id, set()).add(hold.id)
                if hold.open:
                    open_ids.append(hold.id)
        parts: dict[str, list[Part]] = {}
        if open_ids:
            for hold_id, expires_at, points in _PARTS.tuples(connection, wanted=open_ids):
                parts.setdefault(hold_id, []).append(Part(expires_at, points))
        for hold_id, found in parts.items():
            self.holds[hold_id].parts = tuple(sorted(found, key=lambda part: part.expires_at))


def _values(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in type(row).__slots__}


def _sale_values(sale: SaleRow) -> dict[str, Any]:
    return {
        "id": sale.id,
        "household_id": sale.household_id,
        "state": str(sale.state),
        "money_cents": sale.money_cents,
        "refunded_cents": sale.refunded_cents,
        "per_euro": sale.per_euro,
        "uncovered": sale.uncovered,
        "ended_at": sale.ended_at,
    }


def _hold_values(hold: HoldRow) -> dict[str, Any]:
    values = _values(hold)
    del values["parts"]
    return values


def _job(name: str, subject: str, due: datetime) -> dict[str, Any]:
    return {
        "name": name,
        "period": "",
        "subject": subject,
        "due": due,
        "state": WAITING,
        "tries": 0,
        "data": {},
        "error": None,
    }
