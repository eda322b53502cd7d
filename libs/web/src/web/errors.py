"""Everything that can go wrong, turned into an answer in one place.

Under ``/api/`` the answer is a problem (RFC 9457) with a stable ``reason``, a sentence in the
reader's language and a next step; elsewhere it is a page of the house with the same words. Nothing
of the inside is ever shown: an unexpected error gives the correlation id to find it by.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import sqlalchemy.exc
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from runtime.failures import is_transient
from runtime.logging import get_logger
from runtime.refusals import N_, Refusal
from web.auth import RENEWING, SignInNeeded, seen
from web.call import CENTRE_MISSING, Call
from web.csrf import SAFE
from web.parts import parts_of
from web.rates import TooFast, TooMany
from web.sentences import field_of, sentence
from web.translations import Translator
from web.urls import CENTRE, RENEW, here, with_query

log = get_logger()

RETRY_AFTER = 5

TITLES = {
    400: N_("The request cannot be understood"),
    401: N_("You are not signed in"),
    403: N_("This is not allowed"),
    404: N_("There is nothing here"),
    405: N_("This cannot be done here"),
    409: N_("This cannot be done now"),
    413: N_("This is too large"),
    415: N_("This kind of content is not understood"),
    422: N_("Something has to be corrected"),
    429: N_("Please wait a moment"),
    500: N_("Something went wrong here"),
    503: N_("Not available at this moment"),
}

_PLAIN = {
    400: (N_("The request is damaged or incomplete."), N_("Go back and try again.")),
    404: (N_("There is nothing at this address."), N_("Go to the home page and look from there.")),
    405: (N_("This address does not take this kind of request."), ""),
    413: (N_("More was sent than is taken at once."), N_("Send less, or divide it.")),
    415: (N_("This kind of content is not understood."), ""),
}


class FieldProblem(BaseModel):
    """One input at fault."""

    field: str
    reason: str
    sentence: str


class ProblemAnswer(BaseModel):
    """``application/problem+json``: why it was not done, in words and for machines."""

    type: str
    title: str
    status: int
    detail: str
    reason: str
    next_step: str = ""
    errors: list[FieldProblem] = []
    correlation: str = ""


@dataclass
class Problem:
    """What is said of an error, already in the reader's language."""

    status: int
    reason: str
    detail: str
    next_step: str = ""
    errors: list[FieldProblem] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)


def install(app: FastAPI) -> None:
    """Answer every expected error of an app by ``answer``."""
    for kind in (Refusal, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, answer)


async def answer(request: Request, error: Exception) -> Response:
    """The answer to an error: a problem, a page, or the way to sign in."""
    wants_page = not is_api(request)
    if isinstance(error, SignInNeeded) and wants_page:
        return _renew(request)
    call = await seen(request)
    if wants_page and _asks_where(error, call):
        return RedirectResponse(with_query(CENTRE, next=here(request)), status_code=303)
    problem = problem_of(error, call.to, call.correlation)
    if problem.status >= 500:
        _tell(problem, error)
    if wants_page:
        return _page(call, problem)
    return _json(call, problem)


def _asks_where(error: Exception, call: Call) -> bool:
    """Whether a page is of one centre, and somebody of the whole foundation has chosen none."""
    return (
        isinstance(error, Refusal)
        and error.reason == CENTRE_MISSING
        and call.caller.foundation
        and call.request.method in SAFE
    )


def is_api(request: Request) -> bool:
    """True for addresses that programs use: JSON, live channels, operations."""
    path = request.url.path
    prefix = parts_of(request).service.prefix
    inside = path.removeprefix(prefix)
    return inside.startswith(("/api/", "/live/")) or inside in (
        "/livez",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/asyncapi.json",
    )


def problem_of(error: Exception, to: Translator, correlation: str) -> Problem:
    """What to say of an error."""
    if isinstance(error, Refusal):
        return _refused(error, to)
    if isinstance(error, RequestValidationError):
        return _invalid(error, to)
    if isinstance(error, HTTPException):
        detail, step = _PLAIN.get(error.status_code, (TITLES.get(error.status_code, ""), ""))
        try:
            reason = HTTPStatus(error.status_code).name.lower()
        except ValueError:
            reason = "error"
        return Problem(
            error.status_code,
            f"http.{reason}",
            to.say(detail),
            to.say(step),
            headers=dict(error.headers or {}),
        )
    if isinstance(error, sqlalchemy.exc.DataError):
        return Problem(
            422,
            "input.value",
            to.say(N_("One of the values cannot be kept as it is.")),
            to.say(N_("Look for unusual characters or very large numbers.")),
        )
    if is_transient(error):
        return Problem(
            503,
            "store.away",
            to.say(N_("Nothing was saved: the store does not answer at this moment.")),
            to.say(N_("Wait a moment and try again.")),
            headers={"Retry-After": str(RETRY_AFTER)},
        )
    return Problem(
        500,
        "internal",
        to.say(N_("It is our fault, not yours. Nothing was saved.")),
        to.say(
            N_("Try again; if it happens again, tell us this number: {correlation}."),
            correlation=correlation,
        ),
    )


def _refused(error: Refusal, to: Translator) -> Problem:
    detail = to.say(error.sentence, **error.values)
    problem = Problem(error.status, error.reason, detail, to.say(error.next_step, **error.values))
    if error.field:
        problem.errors.append(FieldProblem(field=error.field, reason=error.reason, sentence=detail))
    if error.status == 401:
        problem.headers["WWW-Authenticate"] = 'Bearer realm="vicinato"'
    if error.status == 503:
        problem.headers["Retry-After"] = str(RETRY_AFTER)
    if isinstance(error, TooFast | TooMany):
        problem.headers["Retry-After"] = str(error.after)
    return problem


def _invalid(error: RequestValidationError, to: Translator) -> Problem:
    problem = Problem(
        422,
        "input.invalid",
        to.say(N_("Some of what was sent is missing or not valid.")),
        to.say(N_("Correct what is named and send it again.")),
    )
    for found in error.errors():
        location = [part for part in found["loc"] if part != "body"] or list(found["loc"])
        if found["type"] == "json_invalid":
            location = ["body"]
        problem.errors.append(
            FieldProblem(
                field=field_of(location),
                reason=str(found["type"]),
                sentence=sentence(found, to),
            )
        )
    return problem


def _renew(request: Request) -> Response:
    """To identity and back; 307 keeps the method and the form."""
    safe = request.method in SAFE
    answer = RedirectResponse(
        with_query(RENEW, next=here(request)), status_code=303 if safe else 307
    )
    answer.set_cookie(
        RENEWING,
        "1",
        max_age=10,
        httponly=True,
        samesite="lax",
        secure=parts_of(request).secure,
    )
    return answer


def _json(call: Call, problem: Problem) -> Response:
    body: dict[str, Any] = ProblemAnswer(
        type=f"urn:vicinato:problem:{problem.reason}",
        title=call.say(TITLES.get(problem.status, TITLES[500])),
        status=problem.status,
        detail=problem.detail,
        reason=problem.reason,
        next_step=problem.next_step,
        errors=problem.errors,
        correlation=call.correlation,
    ).model_dump()
    return JSONResponse(
        body,
        problem.status,
        headers={**problem.headers, "Content-Language": call.language},
        media_type="application/problem+json",
    )


def _page(call: Call, problem: Problem) -> Response:
    title = call.say(TITLES.get(problem.status, TITLES[500]))
    try:
        page = call.render(
            "error.html",
            problem.status,
            problem=problem,
            heading=title,
            correlation=call.correlation if problem.status >= 500 else "",
        )
    except Exception:  # the error page itself must not fail
        log.exception("web.error_page.failed")
        page = HTMLResponse(f"<!doctype html><title>Vicinato</title><p>{title}</p>", problem.status)
    page.headers.update(problem.headers)
    return page


def _tell(problem: Problem, error: Exception) -> None:
    if problem.status == 503:
        log.warning("web.request.unavailable", reason=problem.reason, error=error)
    else:
        log.error("web.request.failed", reason=problem.reason, exc_info=error)
