"""Recovery: what happens to a step that failed on an accelerator. Retry once, else another pool, else this CPU.

Works on a state that is already back at the step's beginning. Knows no queue and no other step.
"""

import gc
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from jobs.failover import HandOff, decide
from jobs.fault import Fault, FaultKind, Scope
from jobs.job import Pool
from worker.devices.classify import classify
from worker.devices.sticky import is_sticky
from worker.training import handoff
from worker.training.errors import DeviceFault, JobFault
from worker.training.fit import advice, memory_of
from worker.training.parts import Parts
from worker.training.reports import Reports

REPEATABLE = {FaultKind.OUT_OF_MEMORY, FaultKind.KERNEL_FAILED}
RECENT_STEPS = 100
TRY = "a lower training.lr, or look at the data around this step"


class Recovery:
    def __init__(self, parts: Parts, folder: Path, reports: Reports) -> None:
        self._parts, self._folder, self._reports = parts, folder, reports
        self._moved: list[int] = []
        self._short_of_memory: int | None = None
        self._cpu_step_s = 0.0

    def fault_of(self, error: Exception, k: int) -> Fault:
        """Raises DeviceFault or JobFault where the step cannot be saved on this device."""
        device = self._parts.device
        fault = classify(
            type(error).__name__, str(error), code=getattr(error, "error_code", None),
            sticky=lambda: is_sticky(device), step=k, device=device.name,
        )  # fmt: skip
        if fault is None or not device.is_accelerator:
            kind = fault.kind if fault is not None and fault.kind is FaultKind.HOST_MEMORY else FaultKind.USER_CODE
            raise JobFault(Fault(kind, f"{type(error).__name__}: {error}", k, device.name)) from error
        if fault.scope is Scope.DEVICE:
            raise DeviceFault(fault) from error
        return fault

    def recover(self, fault: Fault, k: int, scalars: dict[str, Any]) -> tuple[str, str]:
        """Computes step k after `fault`: (device, reason); the reason is empty when a retry here was enough.

        Raises DeviceFault when the job has to leave, JobFault when the step fails everywhere.
        """
        parts = self._parts
        if not parts.device.is_accelerator:
            raise JobFault(Fault(FaultKind.DIVERGED, fault.message, k, fault.device, TRY))
        if fault.kind in REPEATABLE and self._repeat(k):
            return parts.device.name, ""
        if fault.kind is FaultKind.OUT_OF_MEMORY:
            self._must_fit(fault, k)
        if not self._may_move(fault, k):
            raise DeviceFault(fault)
        self._reports.tell("fault", fault=fault.to_dict())
        self._moved.append(k)
        moved = handoff.move(fault, k, parts.state, scalars, self._folder, self._reports, self._cpu_step_s)
        moved = moved or self._run_here(fault, k)
        self._cpu_step_s = max(self._cpu_step_s, moved.step_s)
        return moved.device, fault.kind.value

    def _repeat(self, k: int) -> bool:
        """One clean retry on the same device, with its cache emptied."""
        gc.collect()
        if self._parts.device.torch.type == "cuda":
            torch.cuda.empty_cache()
        try:
            self._parts.step(k)
        except Exception as error:  # noqa: BLE001 - the same door as the first try
            self._parts.stepper.undo()
            self.fault_of(error, k)
            return False
        self._parts.state.ok.fill_(True)  # one that was not finite moves, and its state must say that it may
        return int(self._parts.state.step) == k + 1

    def _must_fit(self, fault: Fault, k: int) -> None:
        """Two batches in a row that fit not even an empty cache: the next ones will not either."""
        last, self._short_of_memory = self._short_of_memory, k
        if last == k - 1:
            hint = advice(fault.message, self._parts.schedule.batch_size, memory_of(self._parts.device.torch))
            raise DeviceFault(replace(fault, kind=FaultKind.TOO_LARGE, hint=hint))

    def _run_here(self, fault: Fault, k: int) -> handoff.Moved:
        started = time.monotonic()
        if not handoff.run_here(self._parts, k):
            raise JobFault(Fault(FaultKind.DIVERGED, f"not finite on the CPU either: {fault.message}", k, "cpu", TRY))
        return handoff.Moved("cpu", time.monotonic() - started)

    def _may_move(self, fault: Fault, k: int) -> bool:
        moved = sum(1 for step in self._moved if step > k - RECENT_STEPS)
        decision = decide(fault, pool=Pool.GPU, policy=self._parts.spec.failover, batches_moved=moved)
        return self._parts.built.moves_batches and isinstance(decision, HandOff)
