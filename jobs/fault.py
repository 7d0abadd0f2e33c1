"""Fault: a classified cause, and the scope its kind implies. Pure; message texts are worker.devices.classify's."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self


class Scope(StrEnum):
    """How much a fault takes with it."""

    BATCH = "batch"
    DEVICE = "device"
    ATTEMPT = "attempt"
    JOB = "job"


class FaultKind(StrEnum):
    OUT_OF_MEMORY = "out_of_memory"  # the device's memory, after one clean retry
    TOO_LARGE = "too_large"  # a batch never fits the device's memory
    NON_FINITE = "non_finite"
    KERNEL_FAILED = "kernel_failed"  # one operation failed; the context lives
    CONTEXT_LOST = "context_lost"
    DEVICE_LOST = "device_lost"
    HARDWARE = "hardware"  # uncorrectable memory, off the bus, or the driver holds a process: a person must look
    UNSUPPORTED = "unsupported"  # no code for this card in the build
    WRONG_RESULT = "wrong_result"  # an audit or a device test found wrong numbers
    HANG = "hang"
    KILLED = "killed"  # the trainer died by a signal or without a word
    HOST_MEMORY = "host_memory"  # the kernel killed it for memory
    STOPPED = "stopped"  # the worker was told to stop
    WORKER_LOST = "worker_lost"  # the lease ran out
    STORAGE = "storage"  # a disk is full or a network folder away
    SPEC = "spec"
    DATA = "data"
    USER_CODE = "user_code"  # a Python error in what the user chose
    DIVERGED = "diverged"  # not finite on the CPU either
    INTERNAL = "internal"  # a bug of eegq
    POISON = "poison"  # crashed too often without a newer checkpoint


SCOPE = {
    FaultKind.OUT_OF_MEMORY: Scope.BATCH,
    FaultKind.TOO_LARGE: Scope.DEVICE,
    FaultKind.NON_FINITE: Scope.BATCH,
    FaultKind.KERNEL_FAILED: Scope.BATCH,
    FaultKind.CONTEXT_LOST: Scope.DEVICE,
    FaultKind.DEVICE_LOST: Scope.DEVICE,
    FaultKind.HARDWARE: Scope.DEVICE,
    FaultKind.UNSUPPORTED: Scope.DEVICE,
    FaultKind.WRONG_RESULT: Scope.DEVICE,
    FaultKind.HANG: Scope.DEVICE,
    FaultKind.KILLED: Scope.DEVICE,
    FaultKind.HOST_MEMORY: Scope.ATTEMPT,
    FaultKind.STOPPED: Scope.ATTEMPT,
    FaultKind.WORKER_LOST: Scope.ATTEMPT,
    FaultKind.STORAGE: Scope.ATTEMPT,
    FaultKind.SPEC: Scope.JOB,
    FaultKind.DATA: Scope.JOB,
    FaultKind.USER_CODE: Scope.JOB,
    FaultKind.DIVERGED: Scope.JOB,
    FaultKind.INTERNAL: Scope.JOB,
    FaultKind.POISON: Scope.JOB,
}


@dataclass(frozen=True)
class Fault:
    """What happened, where and at which step; `message` is for a person, `hint` says what to do about it."""

    kind: FaultKind
    message: str
    step: int | None = None
    device: str | None = None
    hint: str | None = None
    exit_status: int | None = None

    @property
    def scope(self) -> Scope:
        return SCOPE[self.kind]

    def to_dict(self) -> dict[str, Any]:
        return {k: v for k, v in {**asdict(self), "kind": self.kind.value}.items() if v is not None}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        return cls(**{**data, "kind": FaultKind(data["kind"])})
