"""Once is once: a request that comes twice is done once and answered the same.

The key is the client's ``Idempotency-Key`` or the hidden nonce of a form. What the command gave
back is kept in the command's own transaction, so that there is never an effect without its answer.
Repeated with the same content the command is not run and its first value is returned; with other
content it is refused. Refusals are not kept: nothing was changed, so trying again is fair.

A store that comes back from a backup has forgotten its last answers, not what its events told: a
command whose effect bears the id of its request (`id_of`) knows it again there.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from pydantic import BaseModel, TypeAdapter
from pydantic_core import to_jsonable_python

from messaging import Transaction, tables
from runtime.ids import derived
from runtime.refusals import N_, Invalid

T = TypeVar("T")

KEPT = timedelta(days=7)
LONGEST_KEY = 190
_ASKED = "request"
_TAG = "~type"


@dataclasses.dataclass(frozen=True)
class Once:
    """Whose request it is, under which key, and what it asked (a digest)."""

    account_id: str
    key: str
    digest: str

    def wrap(self, fn: Callable[[Transaction], T]) -> Callable[[Transaction], T]:
        """``fn``, run at most once for this key and always answering the same."""

        def once(tx: Transaction) -> T:
            self._one_at_a_time(tx.connection)
            known = self.known(tx.connection)
            if known is not None:
                return cast(T, known[0])
            tx.memo[_ASKED] = derived("request", self.account_id, self.key)
            value = fn(tx)
            tx.connection.execute(
                sa.insert(tables.idempotency).values(
                    account_id=self.account_id,
                    key=self.key,
                    digest=self.digest,
                    status=200,
                    answer=encoded(value),
                    at=tx.now,
                )
            )
            return value

        return once

    def known(self, connection: sa.Connection) -> tuple[Any] | None:
        """The value that was kept, alone in a tuple; None when this was not done yet.

        Raises Invalid("idempotency.other_content") when it was done with other content.
        """
        kept = tables.idempotency
        mine = (kept.c.account_id == self.account_id) & (kept.c.key == self.key)
        row = connection.execute(sa.select(kept).where(mine)).one_or_none()
        if row is None:
            return None
        if row.digest != self.digest:
            raise other_content()
        return (decoded(row.answer),)

    def _one_at_a_time(self, connection: sa.Connection) -> None:
        """The same key waits for the first to end; SQLite has one writer anyway."""
        if connection.dialect.name == "postgresql":
            name = f"idempotency {self.account_id} {self.key}"
            connection.execute(
                sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(name, 0)))
            )


def key_of(header: str) -> str:
    """A well-formed Idempotency-Key; raises Invalid otherwise."""
    key = header.strip()
    if not 1 <= len(key) <= LONGEST_KEY or not key.isascii() or not key.isprintable():
        raise Invalid(
            "idempotency.key",
            N_("The Idempotency-Key must be 1 to 190 printable ASCII characters."),
            field="Idempotency-Key",
        )
    return key


def digest(*parts: bytes) -> str:
    """What was asked, in 64 characters."""
    seen = hashlib.sha256()
    for part in parts:
        seen.update(len(part).to_bytes(8, "big"))
        seen.update(part)
    return seen.hexdigest()


def forget(connection: sa.Connection, now: datetime) -> None:
    """Delete answers older than seven days."""
    known = tables.idempotency
    connection.execute(sa.delete(known).where(known.c.at < now - KEPT))


def encoded(value: Any) -> Any:
    """A command's value as JSON that ``decoded`` turns back into the same value.

    Taken are what JSON has, dates, decimals, enums, pydantic models and dataclasses, and lists,
    tuples and dicts of them; anything else is a TypeError, so that it is seen in the first test.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, list):
        return [encoded(item) for item in value]
    if type(value) is tuple:
        return {_TAG: "tuple", "value": [encoded(item) for item in value]}
    if type(value) is dict and all(type(key) is str for key in value):
        return {key: encoded(item) for key, item in value.items()}
    kind = type(value)
    known = (BaseModel, Enum, datetime, date, Decimal)
    if not isinstance(value, known) and not dataclasses.is_dataclass(kind):
        raise TypeError(f"a command returned {kind.__name__}, which cannot be kept as its answer")
    plain = TypeAdapter(kind).dump_python(value, mode="json")
    return {_TAG: f"{kind.__module__}:{kind.__qualname__}", "value": plain}


def decoded(kept: Any) -> Any:
    """The value that ``encoded`` kept."""
    if isinstance(kept, list):
        return [decoded(item) for item in kept]
    if not isinstance(kept, dict):
        return kept
    if _TAG not in kept:
        return {key: decoded(item) for key, item in kept.items()}
    if kept[_TAG] == "tuple":
        return tuple(decoded(item) for item in kept["value"])
    module, _, name = str(kept[_TAG]).partition(":")
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None:  # renamed by an update between the two requests: the plain values still serve
        return kept["value"]
    return TypeAdapter(found).validate_json(json.dumps(to_jsonable_python(kept["value"])))


def id_of(tx: Transaction) -> str:
    """The id of what a command makes: the same for the same account and key, also in a store that
    has forgotten the answer; a new one where the request has no key."""
    return str(tx.memo.get(_ASKED) or tx.ids.new())


def other_content() -> Invalid:
    """What was done under this key was something else."""
    return Invalid(
        "idempotency.other_content",
        N_("This was already sent once with other content."),
        N_("Open the page again and start from there; with a program, use a new key."),
    )
