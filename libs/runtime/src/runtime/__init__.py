"""What every process needs and no domain: settings, store, clock, ids, logs, telemetry, jobs."""
