"""What must hold at rest: the clients' record against the stores, and `verify`."""

from chaos.checks.all import Excused, Findings, check

__all__ = ["Excused", "Findings", "check"]
