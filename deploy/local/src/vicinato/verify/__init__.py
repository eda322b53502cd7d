"""`vicinato verify`: whether the stores' files are whole, and every invariant across them anew.

It looks at snapshots of the stores and leaves nothing behind, so that it may run beside a centre at
work. Facts that are still on their way are counted, not called lost.
"""

from vicinato.verify.report import Finding, Report, verify

__all__ = ["Finding", "Report", "verify"]
