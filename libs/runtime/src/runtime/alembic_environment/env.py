"""The one Alembic environment of all services; `runtime.migrations` passes the connection in."""

from __future__ import annotations

from alembic import context

from runtime.migrations import OPTIONS

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=context.config.attributes["metadata"],
    **OPTIONS,
)
with context.begin_transaction():
    context.run_migrations()
