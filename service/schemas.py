"""What the API answers with: typed models, so that a NaN becomes null instead of breaking a response.

Knows how a job looks from outside, not where it is kept.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from jobs.device import Health
from jobs.fault import Fault, FaultKind, Scope
from jobs.job import Attempt, Job, JobState, Outcome, Pool
from jobs.spec import JobSpec, Placement
from service.auth import Caller
from service.numbers import FiniteJson, Number


def _moment(value: Any) -> Any:
    return datetime.fromtimestamp(value, UTC) if isinstance(value, int | float) else value


def iso_moment(value: Any) -> Any:
    """A moment as text; pydantic alone would take numbers too. Raises ValueError."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.replace(tzinfo=UTC) if isinstance(moment, datetime) and moment.tzinfo is None else moment


Moment = Annotated[datetime, BeforeValidator(_moment)]


T = TypeVar("T")


class Listing(BaseModel, Generic[T]):
    """Every list comes as an object, so that it can tell more one day."""

    data: list[T]


class Progress(BaseModel):
    epoch: int = 0
    epochs: int = 0
    step: int = 0
    steps: int = 0
    windows_per_s: Number = None


class PlacementView(BaseModel):
    requested: Placement
    pool: Pool | None = Field(description="where it runs, or ran last; null before its first attempt")
    device: str | None
    worker: str | None


class Recovery(BaseModel):
    """What went wrong and was put right without the user."""

    batches_moved: int
    jobs_requeued: int
    last_reason: str | None


class FaultView(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    kind: FaultKind
    scope: Scope
    message: str
    step: int | None = None
    device: str | None = None
    hint: str | None = None
    exit_status: int | None = None


class AttemptView(BaseModel):
    number: int
    pool: Pool
    worker: str
    device: str
    started_at: Moment
    ended_at: Moment | None
    outcome: Outcome | None
    fault: FaultView | None
    resumed_at_step: int | None


class Best(BaseModel):
    metric: str = "nrmse"
    value: Number = None
    epoch: int | None = None
    step: int | None = None
    baseline: Number = None


class Durations(BaseModel):
    """As of `updated_at`."""

    queued_s: float
    gpu_s: float
    cpu_s: float


class JobView(BaseModel):
    """A job. `revision` grows with every event; it is the ETag's first part."""

    id: str
    owner: str
    status: JobState
    phase: str | None
    created_at: Moment
    queued_at: Moment = Field(description="when it last began to wait")
    updated_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    estimated_finish: Moment | None
    spec: JobSpec
    seed: int
    tags: tuple[str, ...]
    metadata: dict[str, str]
    parent_id: str | None
    cancel_requested: bool
    progress: Progress | None
    placement: PlacementView
    recovery: Recovery
    attempts: list[AttemptView]
    best: Best | None
    durations: Durations
    error: FaultView | None
    artifacts: FiniteJson = Field(description="what the worker listed at the end")
    urls: dict[str, str]
    revision: int


class JobPage(BaseModel):
    data: list[JobView]
    has_more: bool
    after: str | None = Field(description="`after` of the next page")


class DryRun(BaseModel):
    """What `?dry_run=true` answers: the spec as it would be kept, and the recordings' roots."""

    spec: JobSpec
    sources: list[dict[str, str]]


class EventView(BaseModel):
    id: str = Field(description="`after` and `Last-Event-ID` take it")
    type: str
    seq: int
    at: Moment
    data: FiniteJson


class EventPage(BaseModel):
    data: list[EventView]
    has_more: bool
    after: str | None


class MetricsRow(BaseModel):
    """One evaluation; beside these fields, every metric by its name."""

    model_config = ConfigDict(extra="allow")

    epoch: int | None = None
    step: int | None = None
    at: Number = None
    attempt: int | None = None
    device: str | None = None


class Metrics(BaseModel):
    names: list[str]
    n_rows: int = Field(description="before thinning to `max_points`")
    data: list[MetricsRow]


class LedgerRun(BaseModel):
    """Steps first..last (inclusive), computed by one attempt on one device; `reason` says why they were moved."""

    attempt: int
    first: int
    last: int
    device: str
    reason: str | None = None
    digest: str | None = None
    superseded: bool = False


class LedgerView(BaseModel):
    data: list[LedgerRun]
    steps_by_device: dict[str, int] = Field(description="live steps; those behind a resumed checkpoint do not count")
    n_steps: int


class CheckpointView(BaseModel):
    step: int
    fence: int
    size_bytes: int
    written_at: Moment
    current: bool = Field(description="the job would resume here")


class ArtifactView(BaseModel):
    name: str
    size_bytes: int
    modified_at: Moment
    url: str


class TestView(BaseModel):
    """One device test, or a capability, whose lack is not held against the device; further fields are its own."""

    model_config = ConfigDict(extra="allow")
    __test__ = False

    test: str | None = None
    capability: str | None = None
    ok: bool | None = None
    detail: str | None = None
    seconds: Number = None


class DeviceView(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    device: str
    health: Health
    reason: str | None
    since: Moment
    retest_at: Moment | None
    opened: int = Field(description="how often its breaker has opened")
    needs_a_person: bool
    tests: list[TestView] = []


class WorkerView(BaseModel):
    name: str
    pool: Pool
    ready: bool
    seen_at: Moment
    info: FiniteJson


class PoolView(BaseModel):
    pool: Placement = Field(description="`auto` holds the jobs that either pool may take")
    depth: int
    oldest_s: Number
    running: int
    workers: list[WorkerView]
    advice: str | None = Field(None, description="what to do where nothing will run")


def job_view(job: Job, root: str, caller: Caller) -> JobView:
    """The resource, as of the job's last change: the same revision gives the same bytes.

    Alerts are shown to those alone who know the owner's secrets: the address of a channel is one.
    """
    last = job.attempts[-1] if job.attempts else None
    now = job.updated_at
    return JobView(
        id=job.id,
        owner=job.owner,
        status=job.state,
        phase="paused" if job.held and job.state is JobState.QUEUED else job.phase,
        created_at=job.created_at,
        queued_at=job.queued_at,
        updated_at=now,
        started_at=job.started_at,
        finished_at=job.finished_at,
        estimated_finish=_estimated_finish(job),
        spec=job.spec if caller.knows(job.owner) else job.spec.model_copy(update={"alerts": ()}),
        seed=job.spec.seed,
        tags=job.spec.tags,
        metadata=job.spec.metadata,
        parent_id=job.parent_id,
        cancel_requested=job.cancel_requested,
        progress=Progress(**job.progress) if job.progress else None,
        placement=PlacementView(
            requested=job.spec.placement,
            pool=last.pool if last else None,
            device=last.device if last else None,
            worker=last.worker if last else None,
        ),
        recovery=Recovery(batches_moved=job.batches_moved, jobs_requeued=job.requeues, last_reason=job.last_reason),
        attempts=[_attempt_view(attempt) for attempt in job.attempts],
        best=Best(**job.best) if job.best else None,
        durations=Durations(
            queued_s=round(job.time_queued(now), 3),
            gpu_s=round(job.time_on(Pool.GPU, now), 3),
            cpu_s=round(job.time_on(Pool.CPU, now), 3),
        ),
        error=_fault_view(job.error),
        artifacts=job.artifacts,
        urls=urls(job.id, root),
        revision=job.revision,
    )


def urls(job_id: str, root: str = "") -> dict[str, str]:
    here = f"{root}/jobs/{job_id}"
    parts = ("events", "metrics", "logs", "ledger", "checkpoints", "artifacts", "alerts", "cancel", "retry")
    return {"self": here, **{part: f"{here}/{part}" for part in parts}}


def _attempt_view(attempt: Attempt) -> AttemptView:
    return AttemptView(
        number=attempt.number,
        pool=attempt.pool,
        worker=attempt.worker,
        device=attempt.device,
        started_at=attempt.started_at,
        ended_at=attempt.ended_at,
        outcome=attempt.outcome,
        fault=_fault_view(attempt.fault),
        resumed_at_step=attempt.resumed_at,
    )


def _fault_view(fault: Fault | None) -> FaultView | None:
    return FaultView.model_validate(fault) if fault else None


def _estimated_finish(job: Job) -> float | None:
    """From the steps left and the speed last reported."""
    progress = job.progress or {}
    rate, steps = progress.get("windows_per_s"), progress.get("steps", 0)
    if job.state is not JobState.RUNNING or not rate or rate <= 0 or not steps:
        return None
    left = max(0, steps - progress.get("step", 0))
    return job.updated_at + left * job.spec.training.batch_size / rate
