"""How a request's body is read: JSON only, said so by its content type, finite, and not nested without end."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute

from service.errors import BodyTooLarge, BodyTooSlow, MalformedBody, WrongContentType

MAX_BYTES = 64 * 1024
MAX_S = 10.0


class JsonRequest(Request):
    async def body(self) -> bytes:
        """Raises BodyTooLarge, BodyTooSlow."""
        if not hasattr(self, "_body"):
            try:
                async with asyncio.timeout(MAX_S):
                    self._body = await self._read()
            except TimeoutError:
                raise BodyTooSlow(f"the body was not here within {MAX_S:g} s") from None
        return self._body

    async def _read(self) -> bytes:
        chunks, size = [], 0
        async for chunk in self.stream():
            chunks.append(chunk)
            size += len(chunk)
            if size > MAX_BYTES:
                raise BodyTooLarge(f"the body is larger than {MAX_BYTES // 1024} kB")
        return b"".join(chunks)

    async def json(self) -> Any:
        """Raises MalformedBody."""
        if not hasattr(self, "_json"):
            self._json = parsed(await self.body())
        return self._json


class JsonRoute(APIRoute):
    """A route whose body, where it has one, is JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            request = JsonRequest(request.scope, request.receive)
            if self.body_field is not None and await request.body():
                _check_content_type(request)
                await request.json()  # here, as FastAPI turns whatever it raises into a 400
            return await handle(request)

        return strict


def parsed(body: bytes) -> Any:
    try:
        return json.loads(body, parse_constant=_refuse_constant, parse_float=_finite_float)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise MalformedBody(f"the body is not JSON: {reason}") from error


def _check_content_type(request: Request) -> None:
    sent = request.headers.get("content-type", "")
    kind = sent.partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise WrongContentType(
            f"the body must be application/json, not {sent or 'without a content type'}",
            hint="curl: use --json instead of -d, or add -H 'Content-Type: application/json'",
        )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _finite_float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:20]} is too large a number")
    return value
