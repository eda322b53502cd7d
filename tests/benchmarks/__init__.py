"""`make bench`: how fast the house is, on numbers that anybody can take again.

Each part is a module with ``run(place) -> list[Figure]``. Baselines and ours alternate in one run
(A B A B): the speed of a shared machine changes by half within an hour, the ratio of a pair that
was taken together does not. Results are JSON in ``build/benchmarks``; ``docs/benchmarks.md`` is
written from them.
"""
