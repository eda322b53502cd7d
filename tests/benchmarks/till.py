"""Tills: sales over HTTP at a rate that does not care how fast they are answered (open loop)."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import psycopg
import sqlalchemy as sa

from benchmarks import facts
from benchmarks.figures import percentile
from benchmarks.served import Line, Lines, own_cpu
from runtime.ids import SystemIds
from web.roles import Role
from web.testing import token

PATH = f"/shop/api/tills/{facts.TILL}/sales"
LOOK_EVERY = 0.002
LAST_SEEN_WITHIN = 30.0
"""Seconds after the last answer."""


def till_token() -> str:
    """A till's API token that the benches' stores believe."""
    return token(Role.TILL, centre=facts.CENTRE, scopes=["shop:read", "shop:write"])


def sale_body(sale_id: str, household: int, product: int) -> bytes:
    """A sale of one piece in cash, with a card."""
    return json.dumps(
        {
            "id": sale_id,
            "card": {"number": facts.card_number(household)},
            "lines": [{"product_id": facts.product(product), "quantity": 1}],
            "payments": [{"method": "cash", "amount_cents": 350}],
        }
    ).encode()


@dataclass
class Sale:
    """Moments of a sale, in seconds of the machine's clock; 0: not yet, or nobody looked."""

    id: str
    due: float
    acknowledged: float = 0.0
    seen: float = 0.0


@dataclass
class Sold:
    """What a run at a rate gave."""

    sales: list[Sale] = field(default_factory=list)
    generator_cpu: float = 0.0
    """Share of a core that the generator itself used."""

    def answered(self) -> list[float]:
        """Seconds from when a sale was due to its answer."""
        return [sale.acknowledged - sale.due for sale in self.sales]

    def visible_after_answer(self) -> list[float]:
        """Seconds from the answer to the row in the ledger."""
        return [max(0.0, sale.seen - sale.acknowledged) for sale in self.sales]

    def visible_after_due(self) -> list[float]:
        """Seconds from when a sale was due to the row in the ledger."""
        return [sale.seen - sale.due for sale in self.sales]


class Watch:
    """Looks into the ledger of cards, by a reader of its own, for the sales that were sent."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._open: dict[str, Sale] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def expect(self, sale: Sale) -> None:
        """This sale is on its way."""
        self._open[f"credit:sale:{sale.id}"] = sale

    def wait(self, within: float) -> int:
        """Until the last of them was seen, or this long; how many were not."""
        until = time.time() + within
        while self._open and time.time() < until:
            time.sleep(LOOK_EVERY)
        return len(self._open)

    def _run(self) -> None:
        address = sa.make_url(self._url)
        if address.get_backend_name() == "sqlite":
            reader = sqlite3.connect(str(address.database), isolation_level=None)
            self._look(lambda causes: _in_sqlite(reader, causes))
            reader.close()
            return
        # Always by its key: planned for an empty table it would read more of it at each look.
        by_key = "-c enable_seqscan=off"
        with psycopg.connect(self._url, autocommit=True, options=by_key) as server:
            self._look(
                lambda causes: [
                    cause
                    for (cause,) in server.execute(
                        "SELECT cause FROM transfer WHERE cause = ANY(%s)", (list(causes),)
                    )
                ]
            )

    def _look(self, there: Callable[[Sequence[str]], Sequence[str]]) -> None:
        while not self._stop.wait(LOOK_EVERY):
            if wanted := list(self._open)[:500]:
                found = there(wanted)
                now = time.time()
                for cause in found:
                    self._open.pop(cause).seen = now


def _in_sqlite(reader: sqlite3.Connection, causes: Sequence[str]) -> list[str]:
    marks = ",".join("?" * len(causes))
    query = f"SELECT cause FROM transfer WHERE cause IN ({marks})"
    return [cause for (cause,) in reader.execute(query, causes)]


async def sell(
    port: int,
    rate: float,
    seconds: float,
    *,
    households: int,
    watch: Watch | None = None,
    warm_up: float = 2.0,
    seed: int = 7,
    over: asyncio.Event | None = None,
) -> Sold:
    """Sales at a Poisson rate for a time, or until something is `over`. Each is sent when it is
    due, whatever became of those before it, and counted from then. Those of the warm-up are not
    counted. Their ids are made as the till's page makes them.

    Raises RuntimeError when a sale was refused, or was not seen long after the last was answered:
    what is left then would be the time of others.
    """
    dice, ids = random.Random(seed), SystemIds()
    lines = Lines(port, till_token())
    sold = Sold()
    sent: list[asyncio.Task[None]] = []
    cpu = own_cpu()
    start = time.time() + 0.1
    due, ends = start, start + warm_up + seconds

    async def one(sale: Sale, body: bytes, counted: bool) -> None:
        status, answer = await lines.ask("POST", PATH, body)
        sale.acknowledged = time.time()
        if status != 201:
            raise RuntimeError(f"a sale was answered with {status}: {answer[:200]!r}")
        if counted:
            sold.sales.append(sale)

    while (due := due + dice.expovariate(rate)) < ends:
        await asyncio.sleep(max(0.0, due - time.time()))
        if over is not None and over.is_set():
            break
        sale = Sale(ids.new(), due)
        if watch is not None:
            watch.expect(sale)
        body = sale_body(sale.id, dice.randrange(households), dice.randrange(facts.PRODUCTS))
        sent.append(asyncio.create_task(one(sale, body, due >= start + warm_up)))
    await asyncio.gather(*sent)
    sold.generator_cpu = (own_cpu() - cpu) / (time.time() - start)
    if watch is not None:
        unseen = await asyncio.to_thread(watch.wait, LAST_SEEN_WITHIN)
        if unseen:
            raise RuntimeError(f"{unseen} of {len(sent)} sales never became visible")
    lines.close()
    return sold


async def sell_all(port: int, connections: int, seconds: float, *, households: int) -> float:
    """Sales per second when every till sends its next as soon as the last was answered."""
    dice, ids = random.Random(11), SystemIds()
    credential = till_token()
    counts: list[int] = []
    begun = time.monotonic()

    async def one_till() -> None:
        line, count = Line(port, credential), 0
        while time.monotonic() - begun < seconds:
            body = sale_body(ids.new(), dice.randrange(households), dice.randrange(facts.PRODUCTS))
            status, answer = await line.ask("POST", PATH, body)
            if status != 201:
                raise RuntimeError(f"a sale was answered with {status}: {answer[:200]!r}")
            count += 1
        line.close()
        counts.append(count)

    await asyncio.gather(*(one_till() for _ in range(connections)))
    return sum(counts) / (time.monotonic() - begun)


def milliseconds(values: Sequence[float]) -> dict[str, Any]:
    """p50, p99 and greatest, in milliseconds."""
    return {
        "p50": round(percentile(values, 0.5) * 1000, 1),
        "p99": round(percentile(values, 0.99) * 1000, 1),
        "max": round(max(values, default=float("nan")) * 1000, 1),
        "count": len(values),
    }
