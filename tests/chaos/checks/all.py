"""Everything that is compared, on one moment of all stores."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from house import House

from chaos.checks import calendar, facts
from chaos.checks.excused import Excused
from chaos.checks.log import CopiedBus
from chaos.checks.told import read
from messaging.bus import Bus
from messaging.catalogue import services
from vicinato.kafka.broker import ADMIN
from vicinato.programs.service import store_url
from vicinato.settings import SERVICES
from vicinato.verify import verify
from vicinato.verify.snapshot import snapshot


@dataclass
class Findings:
    """What does not hold, as sentences, and how much was looked at."""

    wrong: list[str] = field(default_factory=list)
    looked_at: int = 0
    told: int = 0

    @property
    def holds(self) -> bool:
        return not self.wrong


def check(
    house: House, bus_port: int, lines: Iterable[dict[str, Any]], excused: Excused
) -> Findings:
    """The record of the clients, `verify`, and the true calendar. Raises what a house that is not
    there raises."""
    found = Findings()
    urls = {name: store_url(name, house.settings, house.folder) for name in SERVICES}
    told = read(lines)
    found.told = sum(op.told is True for ops in told.ops.values() for op in ops.values())
    with tempfile.TemporaryDirectory(prefix="vicinato-chaos-") as scratch, ExitStack() as stack:
        stores = {
            name: stack.enter_context(snapshot(url, Path(scratch))) for name, url in urls.items()
        }
        found.wrong += facts.all_facts(told, stores, excused)
        found.wrong += calendar.nothing_early(stores)
    secret = house.folder.kafka_secrets.get(ADMIN)
    copied: Any = CopiedBus(Bus(f"127.0.0.1:{bus_port}", ADMIN, secret))
    report = verify(services(), urls, copied)
    found.looked_at = sum(finding.looked_at for finding in report.findings)
    found.wrong += [f"verify: {one}" for one in report.differences if not excused.difference(one)]
    if report.on_the_way:
        found.wrong.append(f"verify: {report.on_the_way} facts are still on the way")
    return found
