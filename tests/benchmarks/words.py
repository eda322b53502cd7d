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

BOUNDS: dict[str, str] = {
    "a": (
        "A sale is one write of the shop, one of its relay, one of cards, and one of the shop "
        "again when it hears of the points: each costs processor time in Python and one commit. "
        "On a machine that is busy with other things these times are those of its scheduler."
    ),
    "b": (
        "Not the bus, which costs little beside the work, but the work: SQLAlchemy statements that "
        "are put together for every event (the read models write row by row) and the models of "
        "events read and made. Bare SQL is so far ahead because it does the writing alone, in "
        "sets. A batch whose statements are built once and whose read models write sets comes "
        "next. An earlier pair of each with 2,000 events, on a quiet machine, gave 1.1 (SQLite) "
        "and 1.0 (PostgreSQL) of the same work without a bus, 9.2 and 5.9 times the per-event "
        "handler, and 0.06 and 0.07 of bare SQL: of the per-event handler not enough. Its rate in "
        "a run beside other load says more of the scheduler than of the handler."
    ),
    "c": (
        "On SQLite the marks: each row is updated with its partition and offset, and the relay "
        "waits for a thousand acknowledgements before it reads the next thousand. Reading ahead "
        "while acknowledgements are awaited comes next."
    ),
    "d": (
        "Processor time of the one process: a third of it the request (routing, sign-in, checking, "
        "answer, log lines), most of the rest SQLAlchemy on the way to eleven statements, where "
        "the bare endpoint has seven on the driver itself. Profiles took the statements of a sale "
        "from nineteen to eleven, had them built once, checked a token's signature once, and put "
        "the routes of a service before those of the house: 17 ms of processor for a sale became "
        "6.4 ms on the same busy machine."
    ),
    "i": (
        "Searching for the beginning of very many words made a list of all households that match "
        "(120 ms of processor for one letter of 100,000 households); it goes through them in their "
        "order now and stops when the page is full (5 ms)."
    ),
}
"""By part: what would have to change for a better figure, as the profiles show it."""
