"""BatchTicket and BatchResult: one training step to be run in another pool. Pure.

The state travels as a checkpoint in the run folder, never inside the ticket.
"""

from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True)
class BatchTicket:
    """Step `step` of `job_id`: from the checkpoint at `checkpoint` to one at `answer`, both below the runs folder.

    `deadline_at` is in seconds since the epoch; an answer after it is refused.
    """

    job_id: str
    attempt: int
    fence: int
    step: int
    checkpoint: str
    answer: str
    volume: str
    deadline_at: float
    reason: str

    @property
    def id(self) -> str:
        """Redelivery gives the same id, so running a ticket twice is harmless."""
        return f"{self.job_id}:{self.attempt}:{self.step}"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        return cls(**data)


@dataclass(frozen=True)
class BatchResult:
    """The answer: the checkpoint after the step, or why there is none."""

    ticket_id: str
    ok: bool
    checkpoint: str | None = None
    digest: str | None = None
    error: str | None = None
    worker: str = ""
    device: str = ""
    step_s: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        return cls(**data)
