"""Which function makes which kind of fault."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from chaos.faults import bus, clock, groups, machine, processes, restore, stores, topics, wires
from chaos.faults.site import Site
from chaos.plan import Fault

FAULTS: dict[str, Callable[[Site, Fault], Awaitable[None]]] = {
    "kill": processes.kill,
    "all-killed": processes.kill_all,
    "kill-unmarked": processes.kill_unmarked,
    "kill-unpublished": processes.kill_unpublished,
    "freeze": processes.freeze,
    "all-frozen": processes.freeze_all,
    "restart": processes.restart,
    "all-restarted": processes.restart_all,
    "twice": processes.twice,
    "supervisor-killed": processes.supervisor_killed,
    "house-restarted": processes.house_restarted,
    "nursery-killed": processes.nursery_killed,
    "port-taken": processes.port_taken,
    "memory-exhausted": processes.memory_exhausted,
    "processor-taken": machine.processor_taken,
    "kafka-killed": processes.kill,
    "kafka-frozen": processes.freeze,
    "kafka-wiped": bus.wiped,
    "kafka-restored": bus.restored,
    "partition-lost": bus.partition_lost,
    "log-damaged": bus.log_damaged,
    "kafka-unreadable": bus.unreadable,
    "topic-anew": topics.anew,
    "partitions-added": topics.partitions_added,
    "records-deleted": topics.records_deleted,
    "records-repeated": topics.repeated,
    "records-foreign": topics.foreign,
    "records-flood": topics.flood,
    "records-refused": topics.refused,
    "settings-changed": topics.settings_changed,
    "rights-withdrawn": topics.rights_withdrawn,
    "reader-shut-out": topics.reader_shut_out,
    "user-removed": topics.user_removed,
    "group-forgotten": groups.forgotten,
    "group-moved": groups.moved,
    "topic-deleted": topics.deleted,
    "kafka-disk-full": stores.kafka_disk_full,
    "wire-cut": wires.cut,
    "wire-slow": wires.slow,
    "wire-stopped": wires.stopped,
    "store-locked": stores.locked,
    "store-vacuumed": stores.vacuumed,
    "disk-full": stores.disk_full,
    "files-exhausted": processes.files_exhausted,
    "postgresql-killed": processes.kill,
    "postgresql-frozen": processes.freeze,
    "connections-taken": stores.connections_taken,
    "store-read-only": stores.read_only,
    "sessions-ended": stores.terminated,
    "restore": restore.restore,
    "clock": clock.jump,
}
