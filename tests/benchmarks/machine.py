"""What the figures were taken on: no names, no paths."""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from benchmarks.figures import percentile

LIBRARIES = ("faststream", "aiokafka", "sqlalchemy", "psycopg", "fastapi", "uvicorn", "pydantic")
FSYNCS = 300
IN_MEMORY = frozenset({"tmpfs", "ramfs"})
"""File systems whose fsync does nothing: what is committed there was never on a disk."""


def described(folder: Path) -> dict[str, Any]:
    """Processor, memory, the disk of the stores' folder, system and versions."""
    fsync = fsync_times(folder)
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "file_system": file_system(folder),
        "fsync_ms_p50": round(percentile(fsync, 0.5) * 1000, 3),
        "fsync_ms_p99": round(percentile(fsync, 0.99) * 1000, 3),
        "kernel": platform.release().split("-")[0],
        "python": sys.version.split()[0],
        "sqlite": sqlite3.sqlite_version,
        **{name: version(name) for name in LIBRARIES},
    }


def file_system(folder: Path) -> str:
    """Of the mount on which a folder lies: ``ext4``, ``tmpfs``; "" where nobody says so."""
    mounts = {Path(one.mountpoint): one.fstype for one in psutil.disk_partitions(all=True)}
    there = folder.resolve()
    return next((mounts[one] for one in (there, *there.parents) if one in mounts), "")


def fsync_times(folder: Path) -> list[float]:
    """Seconds that an ``fdatasync`` of one page takes in the folder where the stores will be."""
    times = []
    with tempfile.TemporaryFile(dir=folder) as page:
        for _ in range(FSYNCS):
            os.write(page.fileno(), b"\0" * 4096)
            begun = time.perf_counter()
            os.fdatasync(page.fileno())
            times.append(time.perf_counter() - begun)
    return times


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if _linux() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _linux() -> bool:
    return sys.platform.startswith("linux")


def steal() -> float:
    """Seconds of processor time that the host gave to others so far; it explains an odd run."""
    return float(getattr(psutil.cpu_times(), "steal", 0.0))
