"""Parts: all a run is made of, put together once from a spec, its data and a device. Knows no order of events."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from jobs.spec import JobSpec, Precision
from worker.data.prepare import Prepared
from worker.training import initial
from worker.training.batches import HostBatches
from worker.training.build import Built, Shape, build
from worker.training.device import Device
from worker.training.drill import Driller
from worker.training.order import Schedule, shifts
from worker.training.state import TrainingState
from worker.training.step import Stepper


@dataclass(frozen=True)
class Parts:
    """`steps` is the whole run's; `schedule` says which rows step k takes."""

    spec: JobSpec
    data: Prepared
    device: Device
    built: Built
    state: TrainingState
    stepper: Stepper
    driller: Driller
    schedule: Schedule
    train: HostBatches
    validation: HostBatches

    @property
    def steps(self) -> int:
        return self.spec.training.epochs * self.schedule.steps_per_epoch

    def step(self, k: int) -> None:
        """Runs step k on the state at k."""
        self.driller.step = k
        self.stepper(*self.train(self.schedule.rows(k), self.crops(k)))

    def crops(self, k: int) -> np.ndarray | None:
        """First samples of the crops of step k (batch_size,), or None where windows are taken whole."""
        max_shift = self.data.train.max_shift
        return shifts(self.schedule.batch_size, max_shift, self.spec.seed, k) if max_shift else None


def assemble(
    spec: JobSpec, data: Prepared, device: Device, runs_dir: Path | None = None, user_code: Path | None = None
) -> Parts:
    """Raises SpecCannotRun, UserCodeFailed."""
    shape = Shape(tuple(data.ch_names), data.train.n_times, float(data.sfreq))
    built = build(spec, shape, user_code)
    if spec.init is not None:
        initial.load(built.model, spec.init, runs_dir)
    elif spec.training.start_at_mean:
        initial.start_at_mean(built.model, float(data.train.target.mean()))
    set_flags(spec, device)
    state = TrainingState(built.model, spec.training, device.torch, spec.init)
    driller = Driller(spec.drill, device, state)
    stepper = Stepper(state, spec.training, precision_of(spec, device), driller)
    schedule = Schedule(len(data.train), spec.training.batch_size, spec.seed)
    train, validation = HostBatches(data.train, device.torch), HostBatches(data.validation, device.torch)
    return Parts(spec, data, device, built, state, stepper, driller, schedule, train, validation)


def precision_of(spec: JobSpec, device: Device) -> Precision:
    """The CPU computes in fp32 whatever is asked: its bf16 convolutions were found wrong. `auto` is fp32 everywhere
    but on CUDA, where it allows TF32."""
    asked = spec.training.precision
    if device.torch.type != "cuda":
        return Precision.FP32
    if asked is Precision.AUTO:
        return Precision.TF32 if device.kind == "cuda" and not spec.training.deterministic else Precision.FP32
    return asked


def set_flags(spec: JobSpec, device: Device) -> None:
    """TF32 only where it was chosen, and deterministic algorithms only where they were asked for."""
    tf32 = precision_of(spec, device) is Precision.TF32
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.use_deterministic_algorithms(spec.training.deterministic)
    torch.backends.cudnn.benchmark = not spec.training.deterministic
