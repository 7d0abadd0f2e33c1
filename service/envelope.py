"""The outermost layer of every request: its id, its log line, its time, security headers, and the /v1 name.

Knows no route and no key.
"""

import re
import secrets
import time

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.metrics import HttpTimes

log = structlog.get_logger("http")
VERSION = "/v1"
REQUEST_ID = re.compile(r"^[\w.-]{1,64}$")
JOB = re.compile(r"job_[0-9a-z]{16}")
CONTENT_POLICY = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"


class Envelope:
    def __init__(self, app: ASGIApp, times: HttpTimes) -> None:
        self._app, self._times = app, times

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name_version(scope)
        scope["request_id"] = request_id = _request_id(Headers(scope=scope))
        started, status, location = time.perf_counter(), 500, ""

        async def send_with_headers(message: Message) -> None:
            nonlocal status, location
            if message["type"] == "http.response.start":
                status, headers = message["status"], MutableHeaders(scope=message)
                location = headers.get("location", "")
                _add_headers(headers, request_id)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "none")
            self._times.observe(scope["method"], route, status, seconds)
            log.info(
                "request", method=scope["method"], path=scope["path"], status=status, ms=round(seconds * 1000, 1),
                request_id=request_id, caller=getattr(scope.get("caller"), "name", None), job=_job(scope, location),
            )  # fmt: skip


def name_version(scope: Scope) -> None:
    """/v1/jobs is /jobs: the prefix becomes the root path, so that links keep it."""
    if scope["path"].startswith(VERSION + "/"):
        scope["root_path"] = scope.get("root_path", "") + VERSION


def _job(scope: Scope, location: str) -> str | None:
    """The job that the request is about, or that it made."""
    named = JOB.search(f"{scope['path']} {location}")
    return named.group() if named else None


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if REQUEST_ID.match(given) else f"req_{secrets.token_hex(8)}"


def _add_headers(headers: MutableHeaders, request_id: str) -> None:
    headers["X-Request-ID"] = request_id
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "no-referrer"
    headers.setdefault("Content-Security-Policy", CONTENT_POLICY)
    headers.setdefault("Cache-Control", "no-store")
