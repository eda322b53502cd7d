"""The straight way to an endpoint: what FastAPI finds out anew for each request (who is asked
first, what goes into which parameter, how the content is to be read) is known when the route is
made."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import params
from fastapi.exceptions import RequestValidationError, ResponseValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from web.auth import Door

_JSON = "application/json"


class StraightRoute(APIRoute):
    """A route to an endpoint that takes ids of the path, one model as JSON and a `Call`, and gives
    a model; any other is a route of FastAPI's. In the same order the same is asked, checked and
    refused. What is no JSON goes FastAPI's way.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers a request."""
        usual = super().get_route_handler()
        door, body, answer = self._door(), self.body_field, self.response_field
        if door is None or body is None or answer is None:
            return usual
        ask, call = door
        ids = [(field, field.name, ("path", field.name)) for field in self.dependant.path_params]
        endpoint, status = self.endpoint, self.status_code or 200

        async def straight(request: Request) -> Response:
            if request.headers.get("content-type") != _JSON:
                return await usual(request)
            try:
                sent = await request.json()
            except HTTPException:
                raise
            except Exception:
                return await usual(request)  # which knows what to say
            given: dict[str, Any] = {call: await ask(request)}
            wrong: list[Any] = []
            for field, name, place in ids:
                given[name], errors = field.validate(request.path_params[name], loc=place)
                wrong += errors
            given[body.name], errors = body.validate(sent, loc=("body",))
            wrong += errors
            if wrong:
                raise RequestValidationError(wrong, body=sent)
            result = await endpoint(**given)
            found, wrong = answer.validate(result, loc=("response",))
            if wrong:
                raise ResponseValidationError(wrong, body=result)
            return Response(answer.serialize_json(found), status, media_type=_JSON)

        return straight

    def _door(self) -> tuple[Door, str] | None:
        """Who is asked first, and as which parameter the endpoint takes its call; None where the
        endpoint takes something else as well."""
        taken, body = self.dependant, self.body_field
        doors = [one for one in taken.dependencies if isinstance(one.call, Door) and one.name]
        if len(doors) != 1 or body is None or isinstance(body.field_info, params.Form):
            return None
        (door,) = doors
        names = {door.name, body.name, *(field.name for field in taken.path_params)}
        if names != set(inspect.signature(self.endpoint).parameters) or self.dependencies:
            return None
        assert isinstance(door.call, Door)
        assert door.name is not None
        return door.call, door.name
