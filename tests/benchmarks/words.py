"""What ``docs/benchmarks.md`` says besides its numbers; the numbers come from the runs."""

from __future__ import annotations

INTRODUCTION = """
# How fast it is

Written by `make bench` from its own figures; `make bench ONLY=a,c` runs parts, `SCALE=0.1` makes
them smaller, `WRITE=1` writes this page. Everything runs on one machine: broker, database, services
and whoever loads them share its cores, which is how a parish PC has it, and what a cluster would
divide.

Where a figure is a ratio, the baseline and ours took turns (A B A B) in one run, on the same broker
and on copies of the same store: the speed of a shared machine changes by half within an hour, so a
number by itself says little and the ratio of a pair says something. The median of the pairs counts;
the smallest and the largest stand beside it. Commits are on the disk in all of them
(`synchronous=FULL`, `synchronous_commit=on`, Kafka with an fsync for each append). The baselines
are in `tests/benchmarks`, to be read and made better.
"""

BOUNDS: dict[str, str] = {}
"""By part: what would have to change for a better figure, as the profiles show it."""
