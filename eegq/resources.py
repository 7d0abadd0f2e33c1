"""What the service answers, as typed values. Unknown fields are kept, so that a newer service is no error."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

FINAL = frozenset({"succeeded", "failed", "cancelled"})


class Resource(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, as the service sent them."""
        return self.model_dump(mode="json")


class Progress(Resource):
    epoch: int | None = None
    epochs: int | None = None
    step: int | None = None
    steps: int | None = None
    windows_per_s: float | None = None


class Placement(Resource):
    requested: str = "auto"
    pool: str | None = None
    device: str | None = None
    worker: str | None = None


class Recovery(Resource):
    batches_moved: int = 0
    jobs_requeued: int = 0
    last_reason: str | None = None


class Fault(Resource):
    kind: str
    message: str = ""
    step: int | None = None
    device: str | None = None
    hint: str | None = None


class Attempt(Resource):
    number: int
    pool: str
    worker: str
    device: str | None = None
    outcome: str | None = None
    fault: Fault | None = None


class Best(Resource):
    metric: str = "nrmse"
    value: float | None = None
    epoch: int | None = None
    step: int | None = None
    baseline: float | None = None


class Job(Resource):
    id: str
    status: str
    phase: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    estimated_finish: datetime | None = None
    spec: dict[str, Any] = {}
    seed: int | None = None
    metadata: dict[str, str] = {}
    parent_id: str | None = None
    progress: Progress | None = None
    placement: Placement = Placement()
    recovery: Recovery = Recovery()
    attempts: list[Attempt] = []
    best: Best | None = None
    durations: dict[str, float | None] = {}
    error: Fault | None = None
    revision: int = 0

    @property
    def final(self) -> bool:
        return self.status in FINAL


class Page(Resource):
    """Jobs, newest first; `has_more` says that `after=` the last one there are others."""

    data: list[Job]
    has_more: bool = False


class Event(Resource):
    """One event of a job's stream; `id` resumes the stream behind it."""

    id: str
    type: str
    data: dict[str, Any] = {}
    at: datetime | None = None


class EventPage(Resource):
    data: list[Event]
    has_more: bool = False
