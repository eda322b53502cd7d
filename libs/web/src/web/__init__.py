"""What every page and endpoint needs: who asks, forms, layout, translations, errors, live parts.

A service imports its names from here; ``web.live``, ``web.rates``, ``web.tokens`` and
``web.testing`` are modules of their own.
"""

from typing import TYPE_CHECKING

from web.auth import SignInNeeded, allow, public
from web.call import Call
from web.forms import Day, Euros, Form
from web.paging import Page, Paged, Paging
from web.roles import Caller, Role
from web.urls import local_path

if TYPE_CHECKING:
    from web.app import build

__all__ = [
    "Call",
    "Caller",
    "Day",
    "Euros",
    "Form",
    "Page",
    "Paged",
    "Paging",
    "Role",
    "SignInNeeded",
    "allow",
    "build",
    "local_path",
    "public",
]


def __getattr__(name: str) -> object:
    """``web.build`` is loaded when it is asked for: routers are imported by it, not before."""
    if name == "build":
        from web.app import build as made

        return made
    raise AttributeError(name)
