"""`vicinato verify`: recomputes every invariant of the architecture across all stores.

It looks at snapshots of the stores and leaves nothing behind, so that it may run beside a centre at
work. Facts that are still on their way are counted, not called lost.
"""

from vicinato.verify.report import Finding, Report, verify

__all__ = ["Finding", "Report", "verify"]
