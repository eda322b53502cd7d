"""The straight way to an endpoint: what FastAPI finds out anew for each request (who is asked
first, what goes into which parameter, how the content is to be read) is known when the route is
made, and so is that nothing of the request has to be closed at its end."""

from __future__ import annotations

import inspect
from typing import Any

from fastapi import params
from fastapi.exceptions import RequestValidationError, ResponseValidationError
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.auth import Door

_JSON = "application/json"


class StraightRoute(APIRoute):
    """A route to an endpoint that takes ids of the path, one model as JSON and a `Call`, and gives
    a model; any other is a route of FastAPI's. In the same order the same is asked, checked and
    refused. What is no JSON goes FastAPI's way.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        door, body, answer = self._door(), self.body_field, self.response_field
        if door is not None and body is not None and answer is not None:
            self.app = self._straight(self.app, door, body, answer)

    def _straight(self, usual: ASGIApp, door: tuple[Door, str], body: Any, answer: Any) -> ASGIApp:
        """What answers a request: itself, or by the usual way."""
        ask, call = door
        ids = [(field, field.name, ("path", field.name)) for field in self.dependant.path_params]
        endpoint, status = self.endpoint, self.status_code or 200

        async def straight(scope: Scope, receive: Receive, send: Send) -> None:
            request = Request(scope, receive, send)
            if request.headers.get("content-type") != _JSON:
                await usual(scope, receive, send)
                return
            try:
                content = await request.body()
            except ClientDisconnect:
                await usual(scope, receive, send)
                return
            try:
                sent = await request.json()
            except Exception:

                async def again() -> Message:
                    return {"type": "http.request", "body": content, "more_body": False}

                await usual(scope, again, send)  # which knows what to say
                return
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
            response = Response(answer.serialize_json(found), status, media_type=_JSON)
            await response(scope, receive, send)

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
