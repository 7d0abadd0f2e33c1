"""Every request to the service, as a value: what to send, and how to read the answer. Sends nothing itself.

The synchronous and the asynchronous client share this module; each only adds a transport.
"""

import uuid
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import httpx

from eegq.errors import ErrandFailed, JobCancelled, JobFailed, WaitTimeout
from eegq.resources import FINAL, Event, EventPage, Job, Page

T = TypeVar("T")
LONG_POLL_S = 20.0
ERRAND_POLL_S = 0.5
NO_SUCH_RANGE = 416
LAST_EVENTS = FINAL | {"deleted"}
JSON = dict[str, Any]


@dataclass(frozen=True)
class Call(Generic[T]):
    """`held_s` is how long the service may hold the answer back; `repeatable` calls are retried.

    `also_fine` are statuses that `parse` knows to read besides the successes.
    """

    method: str
    path: str
    parse: Callable[[httpx.Response], T]
    params: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    held_s: float = 0.0
    repeatable: bool = True
    also_fine: tuple[int, ...] = ()


@dataclass(frozen=True)
class Pause:
    """What a generator of calls yields to have its driver wait."""

    seconds: float


# --- jobs ---------------------------------------------------------------------------------------------------------


def create_job(spec: Mapping[str, Any], idempotency_key: str | None = None) -> Call[Job]:
    headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
    return Call("POST", "/v1/jobs", _job, body=dict(spec), headers=headers)


def dry_run(spec: Mapping[str, Any]) -> Call[JSON]:
    """The spec as the service would keep it, and the recordings it would take; nothing is created."""
    return Call("POST", "/v1/jobs", _json, {"dry_run": "true"}, body=dict(spec))


def retrieve_job(job_id: str, wait_s: float = 0.0) -> Call[Job]:
    """With `wait_s` the service answers at the next change, or after that time."""
    params = {"wait": f"{wait_s:g}"} if wait_s else {}
    return Call("GET", f"/v1/jobs/{job_id}", _job, params, held_s=wait_s)


def list_jobs(after: str | None = None, limit: int = 20, **filters: str | None) -> Call[Page]:
    params = {key: value for key, value in {"after": after, "limit": limit, **filters}.items() if value is not None}
    return Call("GET", "/v1/jobs", lambda response: Page.model_validate(response.json()), params)


def act_on_job(job_id: str, action: str) -> Call[Job]:
    """`cancel`, `pause` and `resume`: doing them twice is doing them once."""
    return Call("POST", f"/v1/jobs/{job_id}/{action}", _job)


def retry_job(job_id: str, epochs: int | str | None = None, idempotency_key: str | None = None) -> Call[Job]:
    """With `epochs` (a number, or `+50` more) it goes on from the job's last state."""
    headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
    body = None if epochs is None else {"epochs": epochs}
    return Call("POST", f"/v1/jobs/{job_id}/retry", _job, body=body, headers=headers)


def delete_job(job_id: str) -> Call[None]:
    return Call("DELETE", f"/v1/jobs/{job_id}", lambda response: None)


def job_events(job_id: str, after: str | None = None) -> Call[EventPage]:
    params = {"limit": 1000, **({"after": after} if after else {})}
    return Call("GET", events_path(job_id), lambda response: EventPage.model_validate(response.json()), params)


def job_metrics(job_id: str, name: str | None = None, max_points: int | None = None) -> Call[list[JSON]]:
    params = {key: value for key, value in (("name", name), ("max_points", max_points)) if value is not None}
    return Call("GET", f"/v1/jobs/{job_id}/metrics", _rows, params)


def job_ledger(job_id: str, device: str | None = None) -> Call[list[JSON]]:
    return Call("GET", f"/v1/jobs/{job_id}/ledger", _rows, {"device": device} if device else {})


def steps_by_device(job_id: str) -> Call[dict[str, int]]:
    """How many live steps each device computed."""
    return Call("GET", f"/v1/jobs/{job_id}/ledger", lambda response: response.json()["steps_by_device"])


def job_checkpoints(job_id: str) -> Call[list[JSON]]:
    return Call("GET", f"/v1/jobs/{job_id}/checkpoints", _rows)


def job_logs(job_id: str, offset: int = 0) -> Call[bytes]:
    """The log from byte `offset` on; empty where there is no more yet."""
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    return Call("GET", f"/v1/jobs/{job_id}/logs", _bytes_from_there, headers=headers, also_fine=(NO_SUCH_RANGE,))


def events_path(job_id: str) -> str:
    return f"/v1/jobs/{job_id}/events"


def artifact_path(job_id: str, name: str) -> str:
    return f"/v1/jobs/{job_id}/artifacts/{name}"


def job_artifacts(job_id: str) -> Call[list[JSON]]:
    return Call("GET", f"/v1/jobs/{job_id}/artifacts", _rows)


def read_artifact(job_id: str, name: str) -> Call[bytes]:
    return Call("GET", artifact_path(job_id, name), lambda response: response.content)


def job_alerts(job_id: str) -> Call[list[JSON]]:
    return Call("GET", f"/v1/jobs/{job_id}/alerts", _rows)


# --- what surrounds them ------------------------------------------------------------------------------------------


def get(path: str) -> Call[Any]:
    return Call("GET", f"/v1/{path}", lambda response: response.json())


def get_rows(path: str) -> Call[list[JSON]]:
    return Call("GET", f"/v1/{path}", _rows)


def alert_secret(anew: bool = False) -> Call[str]:
    """What signs the alerts of one's jobs. Another one each time `anew` is sent, so that is not repeated."""
    method = "POST" if anew else "GET"
    return Call(method, "/v1/alerts/secret", lambda response: response.json()["secret"], repeatable=not anew)


def create_submission(jobs: Mapping[str, str | None]) -> Call[JSON]:
    """The same jobs give the same submission, so the call may be repeated."""
    return Call("POST", "/v1/submissions", _json, body={name: job for name, job in jobs.items() if job})


def submission_zip_path(submission_id: str) -> str:
    return f"/v1/submissions/{submission_id}/submission.zip"


def ask_preflight(name: str, task: Any) -> Call[JSON]:
    return Call("POST", f"/v1/datasets/{name}/preflight", _json, body={"task": task})


def preflight_page_path(name: str) -> str:
    return f"/v1/datasets/{name}/preflight.html"


def upload_weights(name: str, content: bytes) -> Call[JSON]:
    """`content` is a safetensors file; uploaded again it replaces the earlier one."""
    headers = {"Content-Type": "application/octet-stream"}
    return Call("PUT", f"/v1/weights/{name}", _json, content=content, headers=headers, held_s=120.0)


# --- several requests in a row: generators that yield calls and are sent the answers --------------------------------


def wait(job_id: str, timeout_s: float | None, clock: Callable[[], float]) -> Generator[Call[Job], Job, Job]:
    """Long-polls until the job has succeeded. Raises JobFailed, JobCancelled, WaitTimeout."""
    deadline = None if timeout_s is None else clock() + timeout_s
    job = yield retrieve_job(job_id)
    while not job.final:
        left_s = LONG_POLL_S if deadline is None else deadline - clock()
        if left_s <= 0:
            raise WaitTimeout(job.to_dict(), timeout_s or 0.0)
        job = yield retrieve_job(job_id, min(LONG_POLL_S, left_s))
    if job.status == "failed":
        raise JobFailed(job.to_dict())
    if job.status == "cancelled":
        raise JobCancelled(job.to_dict())
    return job


def every_job(limit: int | None, filters: Mapping[str, str | None]) -> Generator[Call[Page], Page, list[Job]]:
    """Pages until there are no more, or `limit` jobs."""
    jobs: list[Job] = []
    after = None
    while limit is None or len(jobs) < limit:
        page = yield list_jobs(after, 100 if limit is None else min(100, limit - len(jobs)), **filters)
        jobs += page.data
        if not page.has_more or not page.data:
            break
        after = page.data[-1].id
    return jobs


def every_event(job_id: str) -> Generator[Call[EventPage], EventPage, list[Event]]:
    events: list[Event] = []
    more = True
    while more:
        page = yield job_events(job_id, events[-1].id if events else None)
        events += page.data
        more = page.has_more
    return events


def until_done(asked: Call[JSON], path: Callable[[JSON], str]) -> Generator[Call[JSON] | Pause, JSON, JSON]:
    """Has something done by a worker and polls until it is. Raises ErrandFailed."""
    errand = yield asked
    while errand["state"] not in ("done", "failed"):
        yield Pause(ERRAND_POLL_S)
        errand = yield get(path(errand))
    if errand["state"] == "failed":
        raise ErrandFailed(errand.get("error") or "no reason given")
    return errand


def submission_until_done(jobs: Mapping[str, str | None]) -> Generator[Call[JSON] | Pause, JSON, JSON]:
    return until_done(create_submission(jobs), lambda errand: f"submissions/{errand['id']}")


def preflight_until_done(name: str, task: Any) -> Generator[Call[JSON] | Pause, JSON, JSON]:
    return until_done(ask_preflight(name, task), lambda errand: f"datasets/{name}/preflight")


# --- reading answers ----------------------------------------------------------------------------------------------


def _job(response: httpx.Response) -> Job:
    return Job.model_validate(response.json())


def _rows(response: httpx.Response) -> list[JSON]:
    body = response.json()
    return body["data"] if isinstance(body, dict) else body


def _json(response: httpx.Response) -> JSON:
    return response.json()


def _bytes_from_there(response: httpx.Response) -> bytes:
    return b"" if response.status_code == NO_SUCH_RANGE else response.content
