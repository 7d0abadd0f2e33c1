"""The gate: no request without a key (or cookie) gets to a route, and none that a foreign page made the browser send.

Knows which paths are open to all, not what the routes behind them do.
"""

import time
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.routing import get_route_path
from starlette.types import ASGIApp, Receive, Scope, Send

from service.auth import ANYONE, COOKIE, Caller, Keys
from service.errors import Forbidden, ServiceError, TooManyRequests, Unauthenticated, service_problem
from service.settings import LOOPBACK

OPEN = {"/", "/favicon.ico", "/livez", "/readyz", "/session", "/docs", "/openapi.json"}
OPEN_FOLDERS = ("/web/",)
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}


class Gate:
    """Without `keys` everybody on this host is let in, by a loopback name only: no page elsewhere can rebind one."""

    def __init__(self, app: ASGIApp, keys: Keys | None, requests_per_s: float) -> None:
        self._app, self._keys = app, keys
        self._rates = Rates(requests_per_s)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                scope["caller"] = self._admit(scope)
            except ServiceError as error:
                await service_problem(Request(scope), error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _admit(self, scope: Scope) -> Caller | None:
        headers, path = Headers(scope=scope), get_route_path(scope)
        if self._keys is None and _host_name(headers) not in LOOPBACK:
            raise Forbidden("without keys this service answers to loopback names only")
        if scope["method"] not in SAFE_METHODS and _comes_from_elsewhere(headers):
            raise Forbidden("this request was made by a page of another origin")
        caller = self._caller(headers)
        if caller is None and not (path in OPEN or path.startswith(OPEN_FOLDERS)):
            raise Unauthenticated
        if caller is not None and (wait_s := self._rates.wait_s(caller.name)) > 0:
            raise TooManyRequests("too many requests with this key", headers={"Retry-After": str(int(wait_s) + 1)})
        return caller

    def _caller(self, headers: Headers) -> Caller | None:
        if self._keys is None:
            return ANYONE
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._keys.of_bearer(key.strip())
        cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE)
        return self._keys.of_cookie(cookie) if cookie else None


def _host_name(headers: Headers) -> str:
    host = headers.get("host", "")
    return host.partition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]


def _comes_from_elsewhere(headers: Headers) -> bool:
    """Browsers send Origin with every request that changes something; other clients send none."""
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2] != headers.get("host")


@dataclass
class Rates:
    """A token bucket a key: `per_s` requests, with a burst of twice as many."""

    per_s: float
    _buckets: dict[str, tuple[float, float]] = field(default_factory=dict)

    def wait_s(self, name: str) -> float:
        """Takes one token; the seconds to wait where there is none."""
        if self.per_s <= 0:
            return 0.0
        now = time.monotonic()
        tokens, then = self._buckets.get(name, (2 * self.per_s, now))
        tokens = min(2 * self.per_s, tokens + (now - then) * self.per_s)
        short = 1 - tokens
        self._buckets[name] = (tokens if short > 0 else tokens - 1, now)
        return short / self.per_s if short > 0 else 0.0
