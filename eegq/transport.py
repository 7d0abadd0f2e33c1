"""How a Call becomes HTTP, with what both clients share: address, key, time limits, errors, retries."""

from collections.abc import Mapping
from typing import Any

import httpx
import tenacity

from eegq import __version__
from eegq.calls import Call
from eegq.errors import RateLimited, ServiceUnreachable, Unavailable, api_error

CONNECT_S = 5.0
ANSWER_S = 20.0
QUIET_STREAM_S = 60.0
STREAM_RECONNECTS = 8


def http_options(url: str, key: str | None) -> dict[str, Any]:
    """Arguments for httpx.Client and httpx.AsyncClient."""
    headers = {"User-Agent": f"eegq/{__version__}", "Accept": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    loopback = httpx.URL(url).host in ("127.0.0.1", "localhost", "::1")
    return {"base_url": url, "headers": headers, "timeout": _timeout(0.0), "trust_env": not loopback}


def request_options(call: Call[Any]) -> dict[str, Any]:
    """Arguments for `request` of either client."""
    options: dict[str, Any] = {
        "method": call.method, "url": call.path, "params": dict(call.params), "headers": dict(call.headers),
        "timeout": _timeout(call.held_s),
    }  # fmt: skip
    if call.content is not None:
        return {**options, "content": call.content}
    return options if call.body is None else {**options, "json": call.body}


def stream_options(last_id: str) -> dict[str, Any]:
    """Arguments for an event stream behind `last_id`; the service sends a comment at least every 15 s."""
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
    if last_id:
        headers["Last-Event-ID"] = last_id
    return {"headers": headers, "timeout": httpx.Timeout(QUIET_STREAM_S, connect=CONNECT_S)}


def reconnect_wait_s(attempt: int) -> float:
    return min(5.0, 0.2 * 2**attempt)


def retry_options(call: Call[Any], retry_for_s: float) -> dict[str, Any]:
    """Arguments for tenacity.Retrying and AsyncRetrying: only what may be repeated, only while it may help."""
    stop = tenacity.stop_after_delay(retry_for_s) if call.repeatable else tenacity.stop_after_attempt(1)
    return {
        "retry": tenacity.retry_if_exception_type((ServiceUnreachable, Unavailable, RateLimited)),
        "wait": _wait_s,
        "stop": lambda state: stop(state) or _asked_s(state) > retry_for_s,
        "reraise": True,
    }


def check(response: httpx.Response, also_fine: tuple[int, ...] = ()) -> None:
    """Raises the ApiError that the answer stands for; the body must have been read."""
    if response.is_success or response.status_code in also_fine:
        return
    raise api_error(response.status_code, _problem(response), _retry_after_s(response.headers))


def unreachable(url: str, error: httpx.TransportError) -> ServiceUnreachable:
    return ServiceUnreachable(f"no answer from {url}: {error or type(error).__name__}")


def _timeout(held_s: float) -> httpx.Timeout:
    return httpx.Timeout(ANSWER_S + held_s, connect=CONNECT_S)


def _problem(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        body = None
    return body if isinstance(body, dict) else {"detail": response.text[:500]}


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    try:
        return float(headers["Retry-After"])
    except (KeyError, ValueError):
        return None


_backoff_s = tenacity.wait_exponential_jitter(initial=0.2, max=5.0, jitter=0.2)


def _asked_s(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    return getattr(error, "retry_after_s", None) or 0.0


def _wait_s(state: tenacity.RetryCallState) -> float:
    return max(_backoff_s(state), _asked_s(state))
