"""(d) Sales accepted per second over HTTP.

Eight tills send their next sale as soon as the last was answered, over connections that stay open.
Ours is the shop as it runs, with everything that a request goes through (sign-in, checks, metrics,
log lines, errors), once without a bus, which is the same work as the baseline's and the target, and
once with relay and broker busy on the same cores. The baseline is `benchmarks.bare_shop`.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from benchmarks import facts
from benchmarks.figures import Figure, ratio
from benchmarks.place import Place
from benchmarks.served import own_cpu, served
from benchmarks.till import sell_all
from runtime.store import Store
from solidarity_shop.app import SERVICE
from vicinato.testing.brokers import TestKafka

HOUSEHOLDS = 2_000
TILLS = 8
SECONDS = 4.0


async def run(place: Place) -> list[Figure]:
    """The ratios, engine by engine."""
    figures = place.figures
    for engine in place.engines:
        template = new_shop(place, engine)
        alone, whole = [], []
        cpu = 0.0
        for turn in range(place.rounds):
            bare, _ = await rate(place, template, None, bare=True)
            mine, cpu = await rate(place, template, None)
            alone.append((bare, mine))
            # A broker of its own: a relay takes in what it finds in its topic and does not know.
            kafka = place.new_kafka(f"kafka-{engine}-{turn}")
            whole.append((bare, (await rate(place, template, kafka))[0]))
            kafka.kill()
        figures.append(ratio(f"{engine}: of a bare endpoint, without a bus", alone, 0.6))
        figures[-1].details["generators_share_of_a_core"] = round(cpu, 2)
        figures.append(
            ratio(f"{engine}: of a bare endpoint, relay and broker at work", whole, None)
        )
    return figures


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
) -> tuple[float, float]:
    """Sales per second on a copy of this store, and the generator's share of a core."""
    url = place.copy(template)
    with ExitStack() as stack:
        command = ("-m", "benchmarks.bare_shop") if bare else ()
        extra = {"PYTHONPATH": str(Path(__file__).parents[1])}
        shop = stack.enter_context(served("shop", url, kafka, command=command, extra=extra))
        await sell_all(shop.port, TILLS, 1.0, households=households)
        before = own_cpu()
        found = await sell_all(shop.port, TILLS, seconds, households=households)
        share = (own_cpu() - before) / seconds
    place.drop(url)
    return found, share
