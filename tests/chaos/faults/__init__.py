"""The faults, one function for each kind of `chaos.plan`."""

from chaos.faults.kinds import FAULTS
from chaos.faults.site import Site

__all__ = ["FAULTS", "Site"]
