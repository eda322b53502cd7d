"""What no browser would send never breaks anything: every route answers with a problem or a page,
and never that it is our fault."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from web import csrf
from web.roles import Role
from web.testing import ORIGIN, Client, token

from .routes import Rule, rules_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

SESSION = "session-of-account-1"
LINKS = {"household": "household-1", "organisation": "organisation-1", "producer": "producer-1"}
UNSAFE = ("POST", "PUT", "PATCH", "DELETE")

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
DEEP = b"[" * 200_000
BODIES: dict[str, tuple[str, bytes]] = {
    "nothing": (JSON, b""),
    "not UTF-8": (JSON, b'{"name": "\xff\xfe"}'),
    "UTF-16": (JSON, '{"name": "x"}'.encode("utf-16")),
    "half a pair": (JSON, b'{"name": "\\ud800", "\\udfff": "\\ud800", "text": "\\ud800"}'),
    "NUL": (JSON, b'{"name": "a\\u0000b", "text": "\\u0000", "email": "\\u0000"}'),
    "deep": (JSON, DEEP),
    "deep and closed": (JSON, b'{"members":' * 500 + b"1" + b"}" * 500),
    "no number": (JSON, b'{"capacity": NaN, "points": Infinity, "price_cents": -Infinity}'),
    "a number too large": (JSON, b'{"points": 1' + b"0" * 400 + b', "capacity": 1e999}'),
    "a number of digits": (JSON, b'{"points": ' + b"9" * 5000 + b"}"),
    "a list": (JSON, b"[1, 2]"),
    "a word": (JSON, b'"word"'),
    "half": (JSON, b'{"name": "x'),
    "another kind": ("text/xml", b"<name>x</name>"),
    "no kind": ("", b'{"name": "x"}'),
    "a kind that is none": ("application/json; charset=\xff", b"{}"),
    "a form": (FORM, b"name=%ff%00&%ff=%&a.b.c.d.e.f.g=1&a=2&members.0.x=1&members.x=2"),
    "many fields": (FORM, b"a=1&" * 3000),
    "a file as a field": (
        "multipart/form-data; boundary=b",
        b'--b\r\nContent-Disposition: form-data; name="%s"; filename="x"\r\n\r\nx\r\n--b--\r\n',
    ),
    "no boundary": ("multipart/form-data", b"--b\r\n"),
    "half a part": ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data"),
    "large": (JSON, b'{"name": "' + b"x" * 1_100_000 + b'"}'),
}
"""Content type and body by what is wrong with it."""

NAMES = (
    *("name", "language", "email", "password", "next", "typed", "code", "quantity", "cents"),
    *("amount", "points", "title", "reason", "person_ids", "members.0.given_name", "capacity"),
)
"""Fields of forms, sent as files."""

SEGMENTS = ("%00", "%ff..%2f..%2fetc%2fpasswd", "x" * 3000 + "'%20OR%201=1--", "%ed%a0%80%0d%0aa:b")
QUERIES = (
    "after=%00&limit=-1&lang=%00&state=%00&kind=%ff&centre_id=%00&from=%00&q=" + "x" * 3000,
    "after=WyJhIiwiYiJd&day=0000-00-00&since=9999-12-31T23:59:59Z&household=%ed%a0%80",
    "after=%ff&limit=9" + "9" * 5000 + "&year=99999999999999999999&show=%00&area=%00&zone=%00",
)


def whole(answer: httpx.Response, path: str) -> str:
    """What is wrong with an answer; "" when it is a problem, a page or what was asked for."""
    if answer.status_code >= 500:
        return f"{answer.status_code} {answer.text[:200]}"
    kind = answer.headers.get("content-type", "")
    if answer.status_code >= 400:
        wanted = "application/problem+json" if "/api/" in path or "/live/" in path else "text/html"
        if not kind.startswith(wanted):
            return f"{answer.status_code} as {kind}"
    return ""


def everybody() -> str:
    return token(*Role, centre="centre-1", **LINKS)


def signed() -> dict[str, str]:
    return {"Origin": ORIGIN, "X-CSRF-Token": csrf.token_of(SESSION)}


async def test_no_body_breaks_anything(client: Client) -> None:
    client.sign_in(everybody())
    wrong = []
    for rule in rules_of(client.service):
        if rule.method not in UNSAFE:
            continue
        for what, (kind, body) in bodies(rule):
            headers = {name: value.encode() for name, value in signed().items()}
            if kind:
                headers["Content-Type"] = kind.encode("latin-1")
            answer = await client.http.request(
                rule.method, rule.address(), content=body, headers=headers
            )
            if found := whole(answer, rule.path):
                wrong.append((rule.route, what, found))
    assert not wrong


def bodies(rule: Rule) -> Iterator[tuple[str, tuple[str, bytes]]]:
    """Bodies for a route: some are the edge's and are tried once, on a route that all have."""
    for what, (kind, body) in BODIES.items():
        page = "/api/" not in rule.path
        if what in ("deep", "large", "many fields") and not rule.path.endswith("clock/confirm"):
            continue
        if page and kind == JSON and what not in ("half", "half a pair"):
            continue
        if what == "a file as a field":
            parts = b"".join(body.partition(b"--b--")[0] % name.encode() for name in NAMES)
            yield what, (kind, parts + b"--b--\r\n")
        else:
            yield what, (kind, body)


async def test_no_path_or_query_breaks_anything(client: Client) -> None:
    client.sign_in(everybody())
    wrong = []
    for rule in rules_of(client.service):
        names = [part.split(":")[0] for part in rule.path.split("{")[1:]]
        places = [name.partition("}")[0] for name in names]
        paths = [rule.address(**dict.fromkeys(places, odd)) for odd in SEGMENTS if places]
        if rule.method == "GET":
            paths += [f"{rule.address()}?{query}" for query in QUERIES]
        for path in paths:
            answer = await client.http.request(rule.method, path, headers=signed(), content=b"")
            if found := whole(answer, rule.path):
                wrong.append((rule.route, path[:80], found))
    assert not wrong


async def test_no_header_breaks_anything(client: Client) -> None:
    path = f"{client.service.prefix}/api/clock"
    confirm = f"{path}/confirm"
    wrong = []
    for headers in (
        [("Authorization", "Bearer " + "x" * 9000)],
        [("Authorization", "Bearer a.b.c"), ("Authorization", "Bearer d.e.f")],
        [("Authorization", b"Bearer \xff\xfe")],
        [("Authorization", "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.")],
        [("Cookie", b"token=\xff; session=\xff")],
        [("Cookie", "token=" + "a" * 9000)],
        [("Accept-Language", b"\xff\xfe")],
        [("Accept-Language", "en;q=x,it;q=" + "9" * 5000)],
        [("X-Correlation-ID", b"\xff")],
        [("traceparent", "00-" + "0" * 32)],
        [("Content-Length", "9" * 5000)],
        [("Content-Length", "-1"), ("Content-Length", "2")],
        [("Origin", b"http://[\xff")],
        [("Origin", "http://[::1")],
        [("Host", b"\xff")],
        [("Host", "elsewhere.example"), ("X-Forwarded-Host", "elsewhere.example")],
        [("Idempotency-Key", b"\xff")],
        [("Idempotency-Key", "x" * 5000)],
        [("X-CSRF-Token", b"\xff")],
        [("Content-Type", b"\xff")],
        [("Content-Type", "multipart/form-data; boundary=" + "x" * 5000)],
    ):
        for signed_in in ("", everybody()):
            for method, where in (("GET", path), ("POST", confirm), ("POST", "/nowhere")):
                client.sign_in(signed_in)
                sent = [(k.encode(), v if isinstance(v, bytes) else v.encode()) for k, v in headers]
                answer = await client.http.request(method, where, headers=sent)
                if found := whole(answer, where):
                    wrong.append((method, where, headers[0][0], str(headers[0][1])[:40], found))
                if "elsewhere.example" in answer.text + str(answer.headers):
                    wrong.append((method, where, "Host is told again"))
    assert not wrong
