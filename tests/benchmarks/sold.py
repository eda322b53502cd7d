"""(d) Sales accepted per second over HTTP.

Eight tills send their next sale as soon as the last was answered, over connections that stay open.
Ours is the shop as it runs, with everything that a request goes through (sign-in, checks, metrics,
log lines, errors), once without a bus, which is the same work as the baseline's and the target, and
once with a relay and a broker of its own busy on the same cores, which the baseline does without.
The baseline is `benchmarks.bare_shop`: what its tills wait for together shares a commit on SQLite,
as with ours. There both once more on a disk that takes 5 ms more for each fsync, as that of an old
PC does.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from benchmarks import facts
from benchmarks.figures import Figure, left_out, ratio
from benchmarks.place import Place
from benchmarks.served import own_cpu, served
from benchmarks.slow_disk import NoSlowDisk
from benchmarks.till import sell_all
from runtime.store import Store
from solidarity_shop.app import SERVICE
from vicinato.testing.brokers import TestKafka

HOUSEHOLDS = 2_000
TILLS = 8
SECONDS = 4.0


async def run(place: Place) -> list[Figure]:
    """The ratios, engine by engine."""
    figures, seconds = place.figures, max(1.0, SECONDS * place.scale)
    for engine in place.engines:
        template = new_shop(place, engine)
        alone, whole = [], []
        cpu = 0.0
        for turn in range(place.rounds):
            bare, _ = await rate(place, template, None, bare=True, seconds=seconds)
            mine, cpu = await rate(place, template, None, seconds=seconds)
            alone.append((bare, mine))
            # A broker of its own: a relay takes in what it finds in its topic and does not know.
            kafka = place.new_kafka(f"kafka-{engine}-{turn}")
            whole.append((bare, (await rate(place, template, kafka, seconds=seconds))[0]))
            kafka.kill()
        figures.append(ratio(f"{engine}: of a bare endpoint, without a bus", alone, 0.6))
        figures[-1].details["generators_share_of_a_core"] = round(cpu, 2)
        figures.append(
            ratio(f"{engine}: of a bare endpoint, relay and broker at work", whole, None)
        )
    figures.append(await _slow_disk(place, seconds))
    return figures


async def _slow_disk(place: Place, seconds: float) -> Figure:
    name = "sqlite, 5 ms more for each fsync: of a bare endpoint, without a bus"
    try:
        slow = await place.slow_disk()
    except NoSlowDisk as reason:
        return left_out(name, reason)
    template = new_shop(place, "sqlite")
    pairs = []
    for _ in range(place.rounds):
        bare, _ = await rate(place, template, None, bare=True, seconds=seconds, extra=slow)
        mine, _ = await rate(place, template, None, seconds=seconds, extra=slow)
        pairs.append((bare, mine))
    return ratio(name, pairs, None)


def new_shop(place: Place, engine: str) -> str:
    """A shop's store with a till, products and cards."""
    url = place.new_store(SERVICE, engine)
    store = Store(url)
    facts.fill_shop(store, HOUSEHOLDS)
    store.close_now()
    return url


async def rate(
    place: Place,
    template: str,
    kafka: TestKafka | None,
    *,
    bare: bool = False,
    seconds: float = SECONDS,
    households: int = HOUSEHOLDS,
    extra: Mapping[str, str] | None = None,
) -> tuple[float, float]:
    """Sales per second on a copy of this store, and the generator's share of a core. `extra` goes
    into the environment of who is measured."""
    url = place.copy(template)
    with ExitStack() as stack:
        command = ("-m", "benchmarks.bare_shop") if bare else ()
        given = {"PYTHONPATH": str(Path(__file__).parents[1]), **(extra or {})}
        shop = stack.enter_context(served("shop", url, kafka, command=command, extra=given))
        await sell_all(shop.port, TILLS, 1.0, households=households)
        before = own_cpu()
        found = await sell_all(shop.port, TILLS, seconds, households=households)
        share = (own_cpu() - before) / seconds
    place.drop(url)
    return found, share
