"""Job and Attempt as plain values, and the table of states. Pure: the store reads and writes them."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from jobs.fault import Fault
from jobs.spec import JobSpec, Placement


class Pool(StrEnum):
    GPU = "gpu"
    CPU = "cpu"


CPU_BATCH_QUEUE = "cpu.batch"
ERRAND_QUEUE = "errands"


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return not TRANSITIONS[self]


TRANSITIONS = {
    JobState.QUEUED: {JobState.RUNNING, JobState.CANCELLED},
    JobState.RUNNING: {JobState.QUEUED, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED},
    JobState.SUCCEEDED: set(),
    JobState.FAILED: set(),
    JobState.CANCELLED: set(),
}


class Order(StrEnum):
    """What a running attempt is told to do: stop for good, or give the job back at a checkpoint."""

    CANCEL = "cancel"
    PAUSE = "pause"
    DRAIN = "drain"  # the worker stops
    MOVE_UP = "move_up"  # a healthy GPU is idle


class Outcome(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REQUEUED = "requeued"
    LOST = "lost"


@dataclass(frozen=True)
class Attempt:
    """One run of a job by one worker. Times are seconds since the epoch."""

    number: int
    pool: Pool
    worker: str
    device: str
    fence: int
    started_at: float
    ended_at: float | None = None
    outcome: Outcome | None = None
    fault: Fault | None = None
    resumed_at: int | None = None

    def duration_s(self, now: float) -> float:
        return max(0.0, (self.ended_at or now) - self.started_at)


@dataclass(frozen=True)
class Checkpoint:
    """Where the durable state at `step` lies: `path` is relative to the runs folder, `volume` names that folder."""

    step: int
    path: str
    volume: str
    digest: str = ""


@dataclass(frozen=True)
class Claim:
    """What a worker gets when it takes a job: the fence goes into every write it makes."""

    job: "Job"
    attempt: int
    fence: int


@dataclass(frozen=True)
class Job:
    """A spec plus its life, as read from the store at one `revision`."""

    id: str
    owner: str
    spec: JobSpec
    state: JobState
    pool: Placement
    fence: int
    revision: int
    created_at: float
    queued_at: float
    updated_at: float
    sources: tuple[dict[str, str], ...] = ()
    started_at: float | None = None
    finished_at: float | None = None
    phase: str | None = None
    held: bool = False
    cancel_requested: bool = False
    parent_id: str | None = None
    progress: dict[str, Any] | None = None
    best: dict[str, Any] | None = None
    checkpoint: Checkpoint | None = None
    attempts: tuple[Attempt, ...] = ()
    error: Fault | None = None
    batches_moved: int = 0
    requeues: int = 0
    crashes: int = 0
    last_reason: str | None = None
    artifacts: dict[str, Any] = field(default_factory=dict)

    def time_on(self, pool: Pool, now: float) -> float:
        """Seconds spent running in `pool`, over all attempts."""
        return sum(a.duration_s(now) for a in self.attempts if a.pool is pool)

    def time_queued(self, now: float) -> float:
        """Seconds spent waiting, first wait and every requeue together."""
        alive = (self.finished_at or now) - self.created_at
        return max(0.0, alive - self.time_on(Pool.GPU, now) - self.time_on(Pool.CPU, now))
