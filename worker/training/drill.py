"""Drills: faults on purpose, on accelerators only. Hooks into the step's probe; knows nothing of recovery."""

import os
import signal
import time
from collections.abc import Sequence

import torch

from jobs.spec import Drill
from worker.training.device import Device
from worker.training.state import TrainingState

OOM_TEXT = "CUDA out of memory. Tried to allocate 7.10 GiB (drill)"
STICKY_TEXT = "CUDA error: an illegal memory access was encountered (drill)"
SLOW_S = 2.0


class Driller:
    """Called as the step's probe. `step` is the step about to run; each drill fires `times` times a process."""

    def __init__(self, drills: Sequence[Drill], device: Device, state: TrainingState) -> None:
        self._left = {i: d.times for i, d in enumerate(drills)} if device.is_accelerator else {}
        self._drills, self._state = drills, state
        self.step = 0

    def __call__(self, where: str) -> None:
        for i, drill in enumerate(self._drills):
            if self._left.get(i, 0) and drill.step == self.step and drill.where == where:
                self._left[i] -= 1
                self._fire(drill)

    def due(self, first: int, last: int) -> bool:
        """Whether a drill waits in steps first..last-1: those run one by one, where the probe is called."""
        return any(self._left.get(i, 0) and first <= d.step < last for i, d in enumerate(self._drills))

    def _fire(self, drill: Drill) -> None:
        match drill.kind:
            case "oom":
                raise torch.OutOfMemoryError(OOM_TEXT)
            case "sticky":
                raise RuntimeError(STICKY_TEXT)
            case "abort":
                os.abort()
            case "segfault":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "hang":
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
                time.sleep(86_400)
            case "slow":
                time.sleep(SLOW_S)
            case "nan":
                self._poison(float("nan"))
            case "bitflip":
                self._poison(None)

    @torch.no_grad()
    def _poison(self, value: float | None) -> None:
        """Into the first gradient if there is one, else the first parameter: a NaN, or one flipped exponent bit."""
        parameters = [p for p in self._state.model.parameters() if p.requires_grad]
        target = next((p.grad for p in parameters if p.grad is not None), parameters[0])
        flat = target.data.view(-1)  # past autograd's count of versions, as a fault would be
        if value is not None:
            flat[0] = value
        else:
            flat[:1].view(torch.int32).bitwise_xor_(1 << 24)
