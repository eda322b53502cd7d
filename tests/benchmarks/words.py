"""What ``docs/benchmarks.md`` says besides its numbers; the numbers come from the runs."""

from __future__ import annotations

INTRODUCTION = """
# How fast it is

Written by `make bench` from its own figures; `make bench ONLY=a,c` runs parts, `SCALE=0.1` makes
them smaller, `BENCH_WITHIN=1800` gives each more than its 900 seconds, `WRITE=1` writes this page.
Everything runs on one machine: broker, database, services and whoever loads them share its cores,
which is how a parish PC has it, and what a cluster would divide.

Where a figure is a ratio, the baseline and ours took turns (A B A B) in one run, on the same broker
and on copies of the same store, but where a part says that it has others: the speed of a shared
machine changes by half within an hour, so a number by itself says little and the ratio of a pair
says something. The median of the pairs counts; the smallest and the largest stand beside it.
Commits are on the disk in all of them (`synchronous=FULL`, `synchronous_commit=on`, Kafka with an
fsync for each append): all stores lie below `build/benchmarks`, and where that is a folder in
memory nothing is taken. The baselines are in `tests/benchmarks`, to be read and made better.

Each part says when it was taken. One that was not taken again stands as it was, maybe from another
machine of this kind; its ratios can be compared, its times less.
"""

BOUNDS: dict[str, str] = {
    "a": (
        "A sale is one write of the shop, one of its relay, one of cards, and one of the shop "
        "again when it hears of the points: each costs processor time in Python and one commit. "
        "The two services, their relays and consumers, the broker and the generator share the "
        "cores, and the slowest sales wait for one of them. On PostgreSQL the work of a write "
        "takes several times as long as on SQLite: each statement goes to the server and back. "
        "Since statements are run by the driver itself and a sale's products are locked and read "
        "in one, half of that time is gone: houses before and after, in turns on a slower machine "
        "at 25 sales/s, had 322 and 187, 387 and 167, 216 and 146 ms until the slowest of a "
        "hundred was visible on PostgreSQL, 105 and 83, 126 and 90, 100 and 70 on SQLite. Then "
        "the ways to the server were halved (`docs/decisions/0016`), and the last event of a key "
        "is found without reading all of that key: within an hour of one machine 68 ms became 55 "
        "on PostgreSQL by the shop's share of that. A third of what the two services use is the "
        "client library's asking, anew for each record, for more of all partitions. The look at "
        "the log that an idle relay takes every 30 s, some 20 ms, waits for three quiet seconds, "
        "and a transaction of the consumer takes 200 events at most on SQLite: whoever sells "
        "meanwhile waits for one of them. Sales count only while the catch-up or the rebuild goes "
        "on, which is some fifty to a hundred: the last records are read from the bus before the "
        "transaction that swaps the read models, and not in it. Backups are of a store that has "
        "grown and has caught up, one after the other without a pause, and each looks through "
        "what it copied for damage. What a sale waited for longest beside a rebuild was Python's "
        "garbage collector: every write kept what it had in hand in a ring of references, batches "
        "of events among it, and of a hundred thousand objects the collector took a fifth of a "
        "second. Hardly anything is left to it now."
    ),
    "b": (
        "Processor time of one thread. A profile of SQLite: nearly half of it is the policy, of "
        "which a third makes the event that it tells (model, headers, ids, JSON); a quarter turns "
        "rows into what the driver takes and writes them; a tenth looks up what the batch names; "
        "the read models are a twelfth, the commit a twentieth. Statements are built once and rows "
        "are written set by set, so twice as fast would need less Python for each event, not fewer "
        "statements. Bare SQL does the writing alone. Against the per-event handler the disk "
        "counts as well: it commits, and waits for it, as often as there are events, so that a "
        "machine with a slow processor and a fast disk shows a smaller ratio (5.7 on one, 10.5 on "
        "another). The standard library's JSON encoder, which is made anew for each value, was a "
        "twelfth. On PostgreSQL a quarter to a third of the time is the server's, waited for. "
        "A list of ids is one text in PostgreSQL's own way of writing arrays: the driver took 4.9 "
        "ms for a thousand of them, element by element, and takes 1.5 now. Then "
        "less was made for each event: without a bus 203, 196, 186, 193 and 184 µs of "
        "processor time on SQLite became 181, 184, 176, 176 and 185, in turns on a busy machine. "
        "Then instructions were counted, which others' work does not change: an event took 894 "
        "thousand of them without a bus on SQLite and takes 749 (callgrind, 600 events, without "
        "the kernel's). SQLite's driver had looked in three places for how each None, each bytes "
        "and each word of an enum is written; moments were written out by way of printf; the "
        "correlation was bound by a name that was made each time. The per-event handler on "
        "PostgreSQL locks, looks and writes in a statement each: one by one in the driver's "
        "pipeline the same rows took it 0.9 to 1.2 ms of processor time, and take 0.5 to 0.7."
    ),
    "c": (
        "One interpreter. The client library makes a future, a timer and checks of its own for "
        "each record that it is given, which was half of the processor time of an event and is "
        "what the bare producer spends; the relay fills the library's batches itself, one future "
        "for hundreds of records. What is left reads the row, makes its headers and marks it. "
        "While some rows wait for their acknowledgements the next are read and sent, and those "
        "before are marked, many in one statement: `executemany` lets other threads run at each "
        "row, and a row took a millisecond when the event loop was busy. Rows that come through "
        "the driver alone, marks that are no JSON, and a hash of the key that mixes all its words "
        "at once took SQLite from 0.43 to above the target. More rows under way at once changed "
        "nothing on PostgreSQL, where the server's part of marking (a new version of the row and "
        "four entries of indexes) was longer than all that the relay does: marks lie in narrow "
        "tables beside the outbox now, a third of the time. It also took the whole backlog and "
        "sorted it for each thousand rows until it was told not to."
    ),
    "d": (
        "Processor time of the one process: two fifths of it the loop's on SQLite (routing, "
        "sign-in, checking, three log lines, answer, the way to the writer and back), where the "
        "bare endpoint has FastAPI alone; then eight statements on the driver itself, as many as "
        "the bare endpoint's, and what the sale is made of. Of the writer's thread more than half "
        "is Python's interpreter, in so many functions that none stands out, a fifth SQLite, a "
        "seventh the kernel. A writer that begins at the end of the loop's turn and ids of "
        "movements in the order of time changed nothing; two rows of the outbox in one statement "
        "took longer (29 µs) than one by one (23 µs). On PostgreSQL it goes "
        "to the server and back four times, BEGIN and COMMIT among them, and each time the thread "
        "waits for its turn in the interpreter (one writer "
        "instead of two was slower, turns of Python's 5 ms no faster); statements go past the "
        "driver's cursors, and what nobody waits for goes along (`docs/decisions/0016`); the bare "
        "endpoint asks once and writes once, which sells a quarter more than the driver's "
        "pipeline (527 and 433, 564 and 449 a second, in turns; with four writers 666 and 614). "
        "It was fourteen times, and the look for the last event of a "
        "key read all events of that key, which grew with every sale of a product: without "
        "both, 381 sales a second became 591 on PostgreSQL within an hour of one machine, "
        "which an hour later gave 388. On SQLite a quarter of the writer's time was the "
        "commit, an eighth SQLAlchemy's taking and giving back of the connection: tills that "
        "wait at the same moment share both now, eight at most (`docs/decisions/0002`). In "
        "turns on a machine whose disk others used as well 195 sales a second became 497, with "
        "1.14 ms of processor for one instead of 1.63. The bare endpoint does so with all that "
        "wait: on a busy disk it sold two to four and a half times what it did with a commit "
        "for each. On PostgreSQL nothing is shared: rows of several sales would be locked in "
        "no order. Then savepoints went, for which SQLite keeps its pages twice, a request "
        "left nothing more to the garbage collector, rows became parameters one by one, the "
        "way to the writer and back lost its executor, and a route is looked for once: in "
        "turns on a busy machine a sale took 0.72 of the processor time that it took before on "
        "SQLite, 0.95 on PostgreSQL. Then FastAPI was no longer asked at each request what is "
        "known since the start, the log's lines of one turn of the loop were written together, a "
        "language was looked for only where somebody reads, and times and JSON passed SQLAlchemy "
        "by: 0.86 of it on SQLite, 0.94 on PostgreSQL, in turns on a busier machine (half of the "
        "turns from 0.81 to 0.92, and from 0.84 to 1.00). Then calls of Python functions were "
        "counted: 717 for a sale on SQLite, and 611 since its route keeps nothing open that a "
        "sale does not have, one function completes a line of the log instead of eight, and a "
        "single row is not turned into columns and back. A connection that was used within the "
        "last second is not asked whether it lives. Profiles took the statements of a sale from "
        "nineteen to eight, had them built once (the query for the last event of a key alone, "
        "built anew each time, was a third of the writer's time), checked a token's signature "
        "once, put "
        "the routes of a service before those of the house, and took SQLAlchemy out of the way "
        "of what is asked each time, which was nearly half of the writer's time. The last gave "
        "a quarter to a third more sales; before it 2.8 ms of processor were left for one, of "
        "17 at first."
    ),
    "e": (
        "Half of the idle memory is the six services': they are forked from one process that has "
        "loaded what they share, and pages that nobody wrote to since count once among them. A "
        "quarter is the broker's, an eighth each that of the supervisor and of the front door, "
        "which are programs of their own. Under sales every service takes some megabytes more, "
        "those that do the work twice as much. A consumer that applies a long log takes some 40 MB "
        "more for what was fetched ahead and its batches, and gives part of it back, so that the "
        "line through a short log may go down."
    ),
    "f": (
        "Processor time of one process, record by record, while the next records are fetched and "
        "decoded: fetching in the client library some 20 µs, decoding as much (half of it the "
        "check of the body), and some 40 for all read models and their store, of which 16 are the "
        "index of the timeline: it is filled with its table, row by row and each on a page of its "
        "own, for SQLite lets nobody write while it makes one. All are filled from one reading of "
        "the log into one set of tables and swapped in together: what was seen and what is to be "
        "looked up is asked once for each event, not once for each read model, which was half of "
        "the time. Python's garbage collector was a seventh, looking at the same batch of events "
        "again and again; it waits for 20,000 new objects now, and each batch goes without it. "
        "The swap changes names alone: on SQLite, where it made the indexes and dropped the old "
        "tables, it held a store of 2,500,000 timeline rows for some ten seconds. Deeper "
        "read-ahead was slower, larger batches keep others from the event loop. SQLite takes a "
        "third longer than PostgreSQL: a transaction of the rebuild ends when somebody else "
        "wants to write, and each commit writes some hundred pages. What is the same for any "
        "length of the log is multiplied as well where the time for a million is. Then the "
        "writer kept the pages that a transaction changes, of which many were written twice, and "
        "less was made for each event: in memory, without a bus, and with "
        "somebody who writes ten times a second, 69, 67, 67 and 74 µs of processor time for each "
        "became 63, 57, 57 and 60, in turns on a busy machine. A timeline that lies in the order "
        "of its households, one tree instead of three, took more processor time to fill, not less. "
        "On PostgreSQL everybody once waited for 1.9 s at the swap of a million: it held the live "
        "tables while it waited for autovacuum, which had come to the new ones and goes when "
        "somebody has waited for a second, table by table. The swap waits for it beside all "
        "others now, before it locks what they want. On a faster machine (AMD EPYC) the same "
        "million had taken 105 s on SQLite and 79.6 s on PostgreSQL nine hours before."
    ),
    "g": (
        "Two cores, which one replica, the database and the broker fill already: more replicas "
        "here only show that coordination costs little and that nothing is lost, twice or out of "
        "order. When the last of a burst was applied a third of what it told had been sent and "
        "read again; facts that come steadily carry that along, so half of the rate of a burst is "
        "more than half of what can go on. PostgreSQL keeps the plan of a statement that comes "
        "again and again, and counts a table that grows every minute: one replica that was given "
        "30,000 events at once looked for those of each batch by reading the whole inbox, each row "
        "against each id, 793 events a second and 757 in another run. What looks for many is "
        "planned anew since."
    ),
    "h": (
        "A consumer on SQLite: of the 110 µs that an event cost more in a store of 3 GB when it "
        "was profiled a third is the commit (hardly two rows of a transaction lie on the same "
        "page: households come in any order, and the ids of what is told followed none; in "
        "the order of their causes since, an event writes seven pages, not eight), a third are "
        "the households' buckets, seven of them where an empty store has one, to be read and "
        "added up before points are told; the rest is deeper indexes. A larger cache, a longer "
        "write-ahead log, reading by memory map and pages of half the size changed nothing. The "
        "times of (a) are those of the four slowest of 400 sales in each run, which is why they "
        "spread so far. Buckets came row by row, a tenth of the time; the first run measured "
        "the disk still writing down the copies of the stores, which are now on it before "
        "anything begins."
    ),
    "i": (
        "Searching for the beginning of very many words made a list of all households that match "
        "(120 ms of processor for one letter); it goes through them in their order now and stops "
        "when the page is full. A family's activities were looked for among everybody of the "
        "centre on SQLite (104 ms), which the first run with the stores of all six services "
        "showed; 6 ms by its household. The slowest now are the metrics, which count what waits."
    ),
    "j": (
        "The line: a page is painted when its style sheet is there, three round trips after the "
        "click. What blocks is laying the page out on the slowed processor; the most there is to "
        "lay out is the view of a household of fifteen, whose steps of the path stay closed until "
        "they are asked for. Scripts are small and run after it."
    ),
}
"""By part: what would have to change for a better figure, as the profiles show it."""
