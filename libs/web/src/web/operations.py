"""What the machinery around a service asks: alive, ready, figures, and its two contracts.

``/livez`` says that the process makes progress; ``/readyz`` that the store answers too (Kafka is
soft: with it away, tills and desks go on). ``/metrics`` is on the service's own port only.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from messaging import asyncapi
from runtime.telemetry import Metrics
from web.errors import ProblemAnswer
from web.parts import parts_of

OF_EVERY_SERVICE = "machine"
"""The tag, in OpenAPI, of the endpoints that every service has."""

_UNSAFE = frozenset({"post", "put", "patch", "delete"})


def router(prefix: str) -> APIRouter:
    made = APIRouter(include_in_schema=False)

    async def livez(request: Request) -> JSONResponse:
        good, told = await parts_of(request).health.livez()
        return JSONResponse(told, 200 if good else 503)

    async def readyz(request: Request) -> JSONResponse:
        good, told = await parts_of(request).health.readyz()
        return JSONResponse(told, 200 if good else 503)

    async def metrics(request: Request) -> Response:
        text = await parts_of(request).figures.page()
        return Response(text, media_type=Metrics.CONTENT_TYPE)

    async def openapi(request: Request) -> JSONResponse:
        return JSONResponse(request.app.openapi())

    async def async_api(request: Request) -> JSONResponse:
        return JSONResponse(asyncapi.document(parts_of(request).service))

    made.add_api_route("/metrics", metrics)
    for base in ("", prefix):
        made.add_api_route(f"{base}/livez", livez)
        made.add_api_route(f"{base}/readyz", readyz)
        made.add_api_route(f"{base}/openapi.json", openapi)
        made.add_api_route(f"{base}/asyncapi.json", async_api)
    return made


def document(app: FastAPI, prefix: str, *, title: str) -> dict[str, Any]:
    """OpenAPI of the JSON endpoints: pages are left out, problems and Idempotency-Key are in."""
    made = get_openapi(title=title, version="1", routes=app.routes)
    paths = {path: item for path, item in made.get("paths", {}).items() if _is_api(path, prefix)}
    made["paths"] = paths
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    problem = ProblemAnswer.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["ProblemAnswer"] = problem
    content = {
        "application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemAnswer"}}
    }
    for item in paths.values():
        for method, operation in item.items():
            responses = operation.setdefault("responses", {})
            if "HTTPValidationError" in str(responses.get("422")):
                del responses["422"]
            for status, told in responses.items():
                if str(status)[0] in "45":  # whoever names a refusal says why, not how it looks
                    told["content"] = content
            responses["default"] = {"description": "Why it was not done", "content": content}
            if method in _UNSAFE:
                operation.setdefault("parameters", []).append(_IDEMPOTENCY_KEY)
    return made


def _is_api(path: str, prefix: str) -> bool:
    return path.startswith(f"{prefix}/api/")


_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Repeated with the same content: done once, answered the same. Kept 7 days.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 190},
}
