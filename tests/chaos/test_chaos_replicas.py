"""Two replicas of each service that clients talk to, on PostgreSQL, for a minute."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack

import pytest

from chaos.checks.order import deadlocks, out_of_order
from chaos.faults import Site
from chaos.faults.processes import second_copy
from chaos.faults.stores import administration
from chaos.load import Load
from chaos.options import Options
from chaos.plan import SELLERS, Round
from chaos.record import Record
from chaos.rounds import come_right
from chaos.run import new_folder, open_site
from messaging.bus import Bus
from vicinato.kafka.broker import ADMIN

pytestmark = [pytest.mark.chaos, pytest.mark.kafka, pytest.mark.timeout(1200)]

SECONDS = 60


async def test_two_replicas_keep_order_and_do_everything_once_without_a_deadlock() -> None:
    options = Options(1, minutes=1, faults=1, database="postgres", rate=15.0, kinds=())
    async with open_site(options, new_folder()) as (site, small, record):
        load = Load(site.client, small, options.rate, options.seed)
        async with AsyncExitStack() as stack:
            for name in SELLERS:
                await stack.enter_async_context(second_copy(site, name, signal.SIGTERM))
            load.start()
            await asyncio.sleep(SECONDS)
            await load.stop()
            await _holds(site, record)
        assert load.failures == []
        assert load.count > SECONDS
        assert await out_of_order(_bus(site)) == []
        with administration(site) as connection:
            assert list(deadlocks(connection)) == []


async def _holds(site: Site, record: Record) -> None:
    found = await come_right(Round(1, (), silent=False, quiet=3), site, record)
    assert found.wrong == []


def _bus(site: Site) -> Bus:
    return Bus(f"127.0.0.1:{site.bus.port}", ADMIN, site.folder.kafka_secrets.get(ADMIN))
