"""Which function makes which kind of fault."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from chaos.faults import bus, clock, processes, restore, stores, wires
from chaos.faults.site import Site
from chaos.plan import Fault

FAULTS: dict[str, Callable[[Site, Fault], Awaitable[None]]] = {
    "kill": processes.kill,
    "all-killed": processes.kill_all,
    "kill-unmarked": processes.kill_unmarked,
    "kill-unpublished": processes.kill_unpublished,
    "freeze": processes.freeze,
    "twice": processes.twice,
    "kafka-killed": processes.kill,
    "kafka-frozen": processes.freeze,
    "kafka-wiped": bus.wiped,
    "kafka-restored": bus.restored,
    "topic-anew": bus.topic_anew,
    "partitions-added": bus.partitions_added,
    "records-deleted": bus.records_deleted,
    "kafka-disk-full": stores.kafka_disk_full,
    "wire-cut": wires.cut,
    "wire-slow": wires.slow,
    "wire-stopped": wires.stopped,
    "store-locked": stores.locked,
    "disk-full": stores.disk_full,
    "files-exhausted": processes.files_exhausted,
    "postgresql-killed": processes.kill,
    "sessions-ended": stores.terminated,
    "restore": restore.restore,
    "clock": clock.jump,
}
