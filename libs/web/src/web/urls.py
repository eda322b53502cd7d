"""Paths and addresses: what is ours, what is safe to go to."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.requests import Request

_LOCAL = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]*")
RENEW = "/identity/renew"
CENTRE = "/identity/centre"
"""Where people of the whole foundation choose the centre to work in."""


def local_path(wanted: str | None, otherwise: str = "/") -> str:
    """``wanted`` when it is a path of this house, else ``otherwise``: nobody is sent elsewhere."""
    if not wanted or len(wanted) > 2000 or not _LOCAL.fullmatch(wanted):
        return otherwise
    parts = urlsplit(wanted)
    return wanted if not parts.scheme and not parts.netloc else otherwise


def with_query(path: str, **values: str) -> str:
    """The path with these values added to its query."""
    return f"{path}{'&' if '?' in path else '?'}{urlencode(values)}"


def drop(path: str, name: str) -> str:
    """The path without this value of its query."""
    bare, _, query = path.partition("?")
    left = [(key, value) for key, value in parse_qsl(query, keep_blank_values=True) if key != name]
    return f"{bare}?{urlencode(left)}" if left else bare


def here(request: Request) -> str:
    """Path and query of the request."""
    query = request.url.query
    return f"{request.url.path}?{query}" if query else request.url.path


def same_origin(origin: str, host: str, public_url: str) -> bool:
    """True when an Origin header names this house: its public address or the host asked for."""
    try:
        parts = urlsplit(origin)
    except ValueError:  # "http://[": no browser says so
        return False
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return False
    public = urlsplit(public_url)
    if (parts.scheme, parts.netloc.lower()) == (public.scheme, public.netloc.lower()):
        return True
    return parts.netloc.lower() == host.lower() and (
        parts.scheme == "https" or public.scheme != "https"
    )
