"""AuditTicket and Verdict: steps that a device has computed, to be computed again on the CPU and compared. Pure.

The states around the steps travel as checkpoints in the run folder, never inside the ticket.
"""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

from jobs.spec import Precision

CPU_LIMIT = 1e-4
LIMIT = {Precision.FP32: 1e-4, Precision.TF32: 1e-2, Precision.FP16: 1e-2, Precision.BF16: 1e-2}
# How much further from float64 than the CPU's fp32 a device may be on the very same batch: its unit of rounding
# against fp32's; in fp32 ten, for another order of summation.
COARSENESS = {Precision.FP32: 10.0, Precision.TF32: 2.0**13, Precision.FP16: 2.0**13, Precision.BF16: 2.0**16}


class Finding(StrEnum):
    AGREES = "agrees"
    DEVICE_WRONG = "device_wrong"
    CPU_WRONG = "cpu_wrong"
    UNSETTLED = "unsettled"  # they differ, and float64 does not say who is right


def settle(device_error: float, cpu_error: float, precision: Precision) -> Finding:
    """Who is wrong, by the distance of each to float64 (relative L2).

    A gradient that nearly cancels is far off in any arithmetic: the CPU's own distance says how far it may be.
    """
    limit = LIMIT[precision]
    if cpu_error <= CPU_LIMIT:
        allowed = max(limit, COARSENESS[precision] * cpu_error)
        return Finding.AGREES if device_error <= allowed else Finding.DEVICE_WRONG
    return Finding.CPU_WRONG if device_error <= limit else Finding.UNSETTLED


@dataclass(frozen=True)
class AuditTicket:
    """Steps `first` .. `first + steps - 1`. `folder` (below the runs folder) holds the states at `first` and after
    each of them, named by their step. `deadline_at` is in seconds since the epoch."""

    job_id: str
    attempt: int
    fence: int
    first: int
    steps: int
    folder: str
    volume: str
    deadline_at: float

    @property
    def id(self) -> str:
        return f"{self.job_id}:{self.attempt}:{self.first}:audit"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        return cls(**data)


@dataclass(frozen=True)
class Verdict:
    """`error`: relative L2 distance of the device to the CPU, the worst of gradient and buffers, at `step`."""

    finding: Finding
    step: int
    error: float
    detail: str = ""
    worker: str = ""
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        return cls(**{**data, "finding": Finding(data["finding"])})
