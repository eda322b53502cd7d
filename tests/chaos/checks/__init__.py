"""What must hold at rest: the clients' record against the stores, and `verify`."""

from chaos.checks.all import Findings, check
from chaos.checks.excused import Excused

__all__ = ["Excused", "Findings", "check"]
