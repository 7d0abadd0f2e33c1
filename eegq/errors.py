"""Everything eegq raises.

EegqError
├── UsageError             what was typed does not fit together
├── CannotStart            something that `eegq up` needs is missing or taken
├── ChildDied              a process of `eegq up` ended by itself
├── ServiceUnreachable     no answer over HTTP
├── JobFailed              the job that was waited for failed
├── JobCancelled           … was cancelled
├── WaitTimeout            … was not done in time
├── ErrandFailed           a submission or a preflight could not be made
├── NotGenuine             an alert that the service did not sign
└── ApiError               the service answered with a problem (RFC 9457)
    ├── Unauthorized (401)  Forbidden (403)  NotFound (404)  Conflict (409)
    ├── TooLarge (413)      Invalid (400, 415, 422)
    ├── RateLimited (429)   Unavailable (502, 503, 504)
    └── ServerError (other 5xx)
"""

from pathlib import Path
from typing import Any


class EegqError(Exception):
    """Base of all; its text is for a person."""


class UsageError(EegqError):
    """What was typed does not fit together."""


class CannotStart(EegqError):
    """Something that `eegq up` needs is missing or taken; the text says what to do."""


class ChildDied(EegqError):
    """A process of `eegq up` ended by itself."""

    def __init__(self, name: str, status: int, log: Path, tail: str) -> None:
        how = f"was killed by signal {-status}" if status < 0 else f"ended with exit status {status}"
        super().__init__(f"{name} {how}; its log ({log}) ends with:\n{tail}")
        self.name, self.status = name, status


class ServiceUnreachable(EegqError):
    """No answer over HTTP: refused, timed out, or cut off."""


class JobFailed(EegqError):
    """The job that was waited for failed; `job` is the resource."""

    def __init__(self, job: dict[str, Any]) -> None:
        error = job.get("error") or {}
        super().__init__(f"{job['id']} failed: {error.get('message') or 'no reason given'}")
        self.job = job


class JobCancelled(EegqError):
    """The job that was waited for was cancelled; `job` is the resource."""

    def __init__(self, job: dict[str, Any]) -> None:
        super().__init__(f"{job['id']} was cancelled")
        self.job = job


class WaitTimeout(EegqError):
    """The job was not done in time; it goes on. `job` is the resource."""

    def __init__(self, job: dict[str, Any], timeout_s: float) -> None:
        super().__init__(f"{job['id']} is still {job['status']} after {timeout_s:g} s")
        self.job = job


class ErrandFailed(EegqError):
    """A submission or a preflight could not be made; the text is the worker's reason."""


class NotGenuine(EegqError):
    """An alert that the service did not sign, or signed too long ago."""


class ApiError(EegqError):
    """The service answered with problem+json; its members are attributes."""

    def __init__(self, status: int, problem: dict[str, Any], retry_after_s: float | None = None) -> None:
        self.status = status
        self.title = str(problem.get("title") or f"HTTP {status}")
        self.detail = str(problem.get("detail") or "")
        self.hint = problem.get("hint")
        self.errors: list[dict[str, Any]] = problem.get("errors") or []
        self.request_id = problem.get("request_id")
        self.retry_after_s = retry_after_s
        super().__init__(self._text())

    def _text(self) -> str:
        lines = [f"{self.title} ({self.status})" + (f": {self.detail}" if self.detail else "")]
        lines += [f"  {e.get('pointer', '')}: {e.get('detail', '')}" for e in self.errors]
        return "\n".join(lines + ([f"  hint: {self.hint}"] if self.hint else []))


class Unauthorized(ApiError):
    """No key, or one the service does not know."""


class Forbidden(ApiError):
    """The key's scopes or owner do not allow it."""


class NotFound(ApiError):
    """No such job, artefact or name."""


class Conflict(ApiError):
    """The job's state does not allow it."""


class TooLarge(ApiError):
    """The body is over the service's limit."""


class Invalid(ApiError):
    """The request or the spec is not valid; `errors` points at the fields."""


class RateLimited(ApiError):
    """Too many requests or active jobs; `retry_after_s` says how long to wait."""


class Unavailable(ApiError):
    """The service is up but cannot serve, e.g. because Redis is away."""


class ServerError(ApiError):
    """A fault of the service; `request_id` finds it in its log."""


BY_STATUS: dict[int, type[ApiError]] = {
    400: Invalid, 401: Unauthorized, 403: Forbidden, 404: NotFound, 409: Conflict, 413: TooLarge, 415: Invalid,
    422: Invalid, 429: RateLimited, 502: Unavailable, 503: Unavailable, 504: Unavailable,
}  # fmt: skip


def api_error(status: int, problem: dict[str, Any], retry_after_s: float | None = None) -> ApiError:
    """The error of `status`'s class."""
    fallback = ServerError if status >= 500 else ApiError
    return BY_STATUS.get(status, fallback)(status, problem, retry_after_s)
