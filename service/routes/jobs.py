"""Jobs: submit, list, look at, stop, go on, forget. Routes translate; the store decides."""

from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, BackgroundTasks, Header, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from jobs.errors import SpecRefused, WrongState
from jobs.fault import FaultKind
from jobs.job import Job, JobState, Pool
from jobs.spec import JobId, JobSpec
from service import door, ringing
from service.auth import Caller
from service.body import JsonRoute
from service.deps import BackendDep, Reader, Root, Submitter, owned
from service.longpoll import etag, newer
from service.schemas import DryRun, JobPage, JobView, iso_moment, job_view

router = APIRouter(prefix="/jobs", tags=["jobs"], route_class=JsonRoute)
POLL_AGAIN_S = "1"
IsoMoment = Annotated[datetime, BeforeValidator(iso_moment)]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key", pattern=r"^[\x21-\x7e]{1,255}$", description="the same key and body give the same job"
    ),
]


@router.post(
    "",
    status_code=202,
    response_model=JobView,
    responses={200: {"model": DryRun, "description": "Checked only (`dry_run=true`)"}},
    openapi_extra={"x-problems": [422, 429]},
)
def submit(
    spec: JobSpec,
    backend: BackendDep,
    caller: Submitter,
    root: Root,
    response: Response,
    after_answer: BackgroundTasks,
    idempotency_key: IdempotencyKey = None,
    dry_run: Annotated[bool, Query(description="check the spec and make no job")] = False,
) -> Any:
    """Queues a training job. `{"task": "challenge1", "dataset": "demo"}` is a whole one."""
    sources = [{"release": s.release, "path": s.path} for s in door.admit(spec, backend)]
    if dry_run:
        return JSONResponse(DryRun(spec=spec, sources=sources).model_dump(mode="json"))
    job, made = backend.store.submit(
        spec, owner=caller.owner, sources=sources, idempotency_key=idempotency_key or "",
        max_active=backend.settings.max_active_jobs,
    )  # fmt: skip
    if made:
        after_answer.add_task(ringing.ring, backend.bell, backend.fleet, job.pool)
    return _accepted(response, job, root, caller, replayed=not made)


@router.get("", openapi_extra={"x-problems": [404]})
def list_jobs(
    backend: BackendDep,
    caller: Reader,
    root: Root,
    response: Response,
    status: JobState | None = None,
    pool: Annotated[Pool | None, Query(description="the pool it runs or last ran in")] = None,
    model: Annotated[str | None, Query(max_length=128)] = None,
    dataset: Annotated[str | None, Query(max_length=64)] = None,
    tag: Annotated[str | None, Query(max_length=128)] = None,
    owner: Annotated[str | None, Query(max_length=64)] = None,
    reason: Annotated[FaultKind | None, Query(description="what a job failed of, e.g. `poison`")] = None,
    created_after: Annotated[IsoMoment | None, Query(description="ISO 8601; UTC where it names no zone")] = None,
    after: Annotated[JobId | None, Query(description="the last job of the page in front")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> JobPage:
    """Newest first. The next page is in the `Link` header too."""

    def match(job: Job) -> bool:
        return (
            (pool is None or (bool(job.attempts) and job.attempts[-1].pool is pool))
            and (model is None or job.spec.model.name == model)
            and (dataset is None or job.spec.dataset.name == dataset)
            and (tag is None or tag in job.spec.tags)
            and (owner is None or job.owner == owner)
            and (reason is None or (job.error is not None and job.error.kind is reason))
        )

    since = created_after.timestamp() if created_after else 0.0
    jobs = backend.store.page(state=status, before=after, limit=limit + 1, since=since, match=match)
    page, more = jobs[:limit], len(jobs) > limit
    filters = {"status": status, "pool": pool, "model": model, "dataset": dataset, "tag": tag, "owner": owner,
               "reason": reason}  # fmt: skip
    if more:
        response.headers["Link"] = _next_link(root, page[-1].id, limit, {**filters, "created_after": created_after})
    return JobPage(
        data=[job_view(job, root, caller) for job in page], has_more=more, after=page[-1].id if more else None
    )


@router.get("/{job_id}", response_model=JobView, responses={304: {"description": "Unchanged"}})
async def get_job(
    job_id: JobId,
    backend: BackendDep,
    caller: Reader,
    root: Root,
    response: Response,
    if_none_match: Annotated[str | None, Header(max_length=256)] = None,
    wait: Annotated[float, Query(ge=0, le=30, description="seconds to wait for a change")] = 0,
) -> Any:
    """One job. With `wait` it answers as soon as something changes (from `If-None-Match`, else from now) or it ends."""
    job = await newer(backend.hub, backend.store.get, job_id, if_none_match, wait)
    if if_none_match == etag(job):
        return Response(status_code=304, headers={"ETag": etag(job)})
    response.headers["ETag"] = etag(job)
    return job_view(job, root, caller)


@router.delete("/{job_id}", status_code=204, openapi_extra={"x-problems": [409]})
def delete(job_id: JobId, backend: BackendDep, caller: Submitter) -> None:
    """Forgets a job that has ended, with its files."""
    owned(caller, backend.store.get(job_id).owner)
    backend.store.delete(job_id)
    backend.runs.delete(job_id)


@router.post("/{job_id}/cancel", status_code=202, openapi_extra={"x-problems": [409]})
def cancel(job_id: JobId, backend: BackendDep, caller: Submitter, root: Root) -> JobView:
    """A queued job ends now, a running one within seconds. Asking again does no harm."""
    owned(caller, backend.store.get(job_id).owner)
    return job_view(backend.store.cancel(job_id), root, caller)


@router.post("/{job_id}/pause", status_code=202, openapi_extra={"x-problems": [409]})
def pause(job_id: JobId, backend: BackendDep, caller: Submitter, root: Root) -> JobView:
    """A running job gives its worker back at its next checkpoint and waits to be resumed."""
    owned(caller, backend.store.get(job_id).owner)
    return job_view(backend.store.pause(job_id), root, caller)


@router.post("/{job_id}/resume", status_code=202, openapi_extra={"x-problems": [409]})
def resume(job_id: JobId, backend: BackendDep, caller: Submitter, root: Root, after_answer: BackgroundTasks) -> JobView:
    """Ends a pause."""
    owned(caller, backend.store.get(job_id).owner)
    job = backend.store.resume(job_id)
    after_answer.add_task(ringing.ring, backend.bell, backend.fleet, job.pool)
    return job_view(job, root, caller)


class Retry(BaseModel):
    """Nothing: again from the beginning. With `epochs`: on from the parent's last state."""

    model_config = ConfigDict(extra="forbid")

    epochs: int | Annotated[str, Field(pattern=r"^\+[1-9]\d{0,3}$")] | None = Field(
        None, description="how many in all, or `+50` more than the parent asked for", examples=["+50"]
    )


@router.post("/{job_id}/retry", status_code=202, openapi_extra={"x-problems": [409, 429]})
def retry(
    job_id: JobId,
    backend: BackendDep,
    caller: Submitter,
    root: Root,
    response: Response,
    after_answer: BackgroundTasks,
    body: Retry | None = None,
    idempotency_key: IdempotencyKey = None,
) -> JobView:
    """A new job with the same spec that names this one as its parent."""
    parent = backend.store.get(job_id)
    owned(caller, parent.owner)
    if not parent.state.final:
        raise WrongState(f"{parent.id} is {parent.state}", hint="only a job that has ended can be retried")
    epochs = body.epochs if body else None
    if epochs is not None and parent.checkpoint is None:
        raise WrongState(f"{parent.id} left no checkpoint", hint="retry without `epochs` begins again")
    spec = parent.spec if epochs is None else with_epochs(parent.spec, epochs)
    door.admit(spec, backend)
    job, made = backend.store.submit(
        spec, owner=caller.owner, sources=parent.sources, idempotency_key=idempotency_key or "", parent_id=parent.id,
        checkpoint=parent.checkpoint if epochs is not None else None, max_active=backend.settings.max_active_jobs,
    )  # fmt: skip
    if made:
        after_answer.add_task(ringing.ring, backend.bell, backend.fleet, job.pool)
    return _accepted(response, job, root, caller, replayed=not made)


def with_epochs(spec: JobSpec, epochs: int | str) -> JobSpec:
    """The spec with another number of epochs, checked as a whole again. Raises SpecRefused."""
    wanted = spec.training.epochs + int(epochs) if isinstance(epochs, str) else epochs
    data = spec.model_dump()
    try:
        return JobSpec.model_validate({**data, "training": {**data["training"], "epochs": wanted}})
    except ValidationError as error:
        raise SpecRefused(f"{wanted} epochs: {error.errors()[0]['msg']}", "/epochs") from error


def _accepted(response: Response, job: Job, root: str, caller: Caller, *, replayed: bool) -> JobView:
    response.headers["Location"] = f"{root}/jobs/{job.id}"
    response.headers["Retry-After"] = POLL_AGAIN_S
    response.headers["ETag"] = etag(job)
    if replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return job_view(job, root, caller)


def _next_link(root: str, after: str, limit: int, filters: dict[str, Any]) -> str:
    given = {name: value for name, value in filters.items() if value is not None}
    return f'<{root}/jobs?{urlencode({**given, "after": after, "limit": limit})}>; rel="next"'
