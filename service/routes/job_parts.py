"""What lies below one job: events, metrics, ledger, logs, checkpoints, artefacts."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import PlainTextResponse

from jobs.job import Job, JobState
from jobs.spec import JobId
from service import files, sse
from service.deps import Backend, BackendDep, Reader, Root
from service.errors import NotFound, TooManyStreams
from service.runs import newest_per_step, thinned
from service.schemas import (
    ArtifactView,
    CheckpointView,
    EventPage,
    LedgerRun,
    LedgerView,
    Listing,
    Metrics,
    MetricsRow,
)  # fmt: skip

router = APIRouter(prefix="/jobs/{job_id}", tags=["job"])
EVENT_ID = r"^\d{1,19}-\d{1,19}$"
ALL_EVENTS = 20_000  # more than a stream holds
ROW_FIELDS = tuple(MetricsRow.model_fields)


@router.get(
    "/events",
    response_model=EventPage,
    responses={200: {"content": {sse.MEDIA_TYPE: {"schema": {"type": "string"}}}}, 204: {"description": "Ended"}},
)
async def events(
    job_id: JobId,
    request: Request,
    backend: BackendDep,
    caller: Reader,
    after: Annotated[str | None, Query(pattern=EVENT_ID, description="events later than this one")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    type: Annotated[list[str], Query(max_length=16, description="only these; repeat it for several")] = [],  # noqa: B006
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", pattern=EVENT_ID)] = None,
) -> Any:
    """What happened, oldest first. With `Accept: text/event-stream` a stream that ends when the job does."""
    job = await to_thread.run_sync(backend.store.get, job_id)
    start = last_event_id or after or "-"

    def read(last_id: str, count: int) -> list[dict[str, Any]]:
        return _events(backend, job_id, last_id, count, frozenset(type))

    if sse.MEDIA_TYPE not in request.headers.get("accept", ""):
        rows = await to_thread.run_sync(read, start, limit + 1)
        page = rows[:limit]
        return EventPage(data=page, has_more=len(rows) > limit, after=page[-1]["id"] if page else after)
    if job.state.final and not await to_thread.run_sync(read, start, 1):
        return Response(status_code=204)  # tells an EventSource not to come back
    if backend.hub.full(caller.name):
        raise TooManyStreams("too many clients follow events")
    return sse.stream(sse.of_job(backend.hub, caller.name, read, job_id, start))


def _events(backend: Backend, job_id: str, after: str, limit: int, types: frozenset[str]) -> list[dict[str, Any]]:
    """From the stream, or from the run's folder once the stream has expired; all types where none is named.

    Raises UnknownJob.
    """
    found = backend.store.events(job_id, after, ALL_EVENTS if types else limit)
    if not found and backend.store.get(job_id).state.final:
        kept = backend.runs.rows(job_id, "events.jsonl")
        found = [row for row in kept if after == "-" or _order(row["id"]) > _order(after)]
    return [event for event in found if not types or event["type"] in types][:limit]


def _order(event_id: str) -> tuple[int, int]:
    milliseconds, _, number = event_id.partition("-")
    return int(milliseconds), int(number)


@router.get("/metrics", response_model=Metrics, responses={200: {"content": {"text/csv": {}}}})
def metrics(
    job_id: JobId,
    backend: BackendDep,
    _: Reader,
    name: Annotated[list[str], Query(max_length=64, description="only these; repeat it for several")] = [],  # noqa: B006
    max_points: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    format: Literal["json", "csv"] = "json",
) -> Any:
    """One row an evaluation, thinned to `max_points`, the first and the last among them."""
    rows = newest_per_step(_metrics_rows(backend, backend.store.get(job_id)))
    names = [key for key in dict.fromkeys(key for row in rows for key in row) if key not in ROW_FIELDS]
    wanted = [key for key in names if not name or key in name]
    data = [{key: row[key] for key in (*ROW_FIELDS, *wanted) if key in row} for row in thinned(rows, max_points)]
    if format == "csv":
        return PlainTextResponse(_csv(data, [*ROW_FIELDS, *wanted]), media_type="text/csv")
    return Metrics(names=wanted, n_rows=len(rows), data=[MetricsRow(**row) for row in data])


def _metrics_rows(backend: Backend, job: Job) -> list[dict[str, Any]]:
    """From the run's folder; from the events where the worker's folder is not the service's."""
    rows = backend.runs.rows(job.id, "metrics.jsonl")
    return rows or [
        event["data"] for event in backend.store.events(job.id, limit=ALL_EVENTS) if event["type"] == "metrics"
    ]


def _csv(rows: Sequence[dict[str, Any]], columns: list[str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


@router.get("/ledger")
def ledger(
    job_id: JobId, backend: BackendDep, _: Reader, device: Annotated[str | None, Query(max_length=128)] = None
) -> LedgerView:
    """Where each step was computed, in runs of neighbours, and why steps were moved."""
    job = backend.store.get(job_id)
    rows = [vars(run) for run in backend.ledger.runs(job_id)]
    if not rows and job.state.final:
        rows = backend.runs.rows(job_id, "ledger.jsonl")
    runs = [LedgerRun(**row) for row in rows]
    steps: Counter[str] = Counter()
    for run in runs:
        if not run.superseded:
            steps[run.device] += run.last - run.first + 1
    shown = [run for run in runs if device is None or run.device == device]
    return LedgerView(data=shown, steps_by_device=dict(steps), n_steps=sum(steps.values()))


@router.get(
    "/logs",
    response_class=PlainTextResponse,
    responses={206: {"description": "The range asked for"}, 304: {"description": "Unchanged"}},
    openapi_extra={"x-problems": [416]},
)
def logs(
    job_id: JobId,
    request: Request,
    backend: BackendDep,
    _: Reader,
    tail: Annotated[int | None, Query(ge=1, le=10_000, description="only the last lines")] = None,
) -> Any:
    """What the trainer printed, all attempts. `Range: bytes=N-` gives what came after the first N bytes."""
    backend.store.get(job_id)
    if tail is not None:
        return PlainTextResponse(backend.runs.tail(job_id, tail))
    log = backend.runs.artifact(job_id, "log.txt")
    if log is None:
        return PlainTextResponse("")
    return files.send(request, log.path, media_type="text/plain; charset=utf-8")


@router.get("/checkpoints")
def checkpoints(job_id: JobId, backend: BackendDep, _: Reader) -> Listing[CheckpointView]:
    """The states that are kept, oldest first."""
    job = backend.store.get(job_id)
    current = job.checkpoint.step if job.checkpoint and not job.state.final else None
    found = backend.runs.checkpoints(job_id)
    return Listing(data=[CheckpointView(**vars(c), current=c.step == current) for c in found])


@router.get("/artifacts")
def artifacts(job_id: JobId, backend: BackendDep, _: Reader, root: Root) -> Listing[ArtifactView]:
    """The files that are there by now."""
    backend.store.get(job_id)
    here = f"{root}/jobs/{job_id}/artifacts"
    found = backend.runs.artifacts(job_id)
    return Listing(data=[ArtifactView(**vars(f), url=f"{here}/{f.name}") for f in found])


@router.get(
    "/artifacts/{name}",
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": {}}},
        206: {"description": "The range asked for"},
        304: {"description": "Unchanged"},
    },
    openapi_extra={"x-problems": [416]},
)
def artifact(
    job_id: JobId,
    name: Annotated[str, Path(max_length=64)],
    request: Request,
    backend: BackendDep,
    _: Reader,
) -> Any:
    """One file, with ranges."""
    job = backend.store.get(job_id)
    found = backend.runs.artifact(job_id, name)
    if found is None:
        hint = None if job.state is JobState.SUCCEEDED else f"the job is {job.state}"
        raise NotFound(f"{job_id} has no artefact {name!r}", hint)
    return files.send(request, found.path, name=found.name)
