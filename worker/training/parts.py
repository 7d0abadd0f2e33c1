"""Parts: all a run is made of, put together once from a spec, its data and a device. Knows no order of events."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch

from jobs.spec import JobSpec, Precision
from worker.data.prepare import Prepared
from worker.training import initial, order
from worker.training.augment import Augment, augment_of
from worker.training.batches import Batches, HostBatches, ResidentBatches, batches_of
from worker.training.build import Built, Shape, build
from worker.training.capture import Captured, CapturedStep
from worker.training.device import Device, device_of
from worker.training.drill import Driller
from worker.training.fast import launch_few
from worker.training.order import Schedule, shifts
from worker.training.state import TrainingState, lr_factor
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
    train: Batches
    validation: Batches
    captured: Captured
    augment: Augment
    may_compile: bool = False

    @property
    def steps(self) -> int:
        return self.spec.training.epochs * self.schedule.steps_per_epoch

    def step(self, k: int) -> None:
        """Runs step k on the state at k: rows, crops, augmentation, dropout and learning rate follow from k alone."""
        self.driller.step = k
        self.state.set_lr(self.lr_factor(k))
        if not self.built.moves_batches:
            torch.manual_seed(int(order.key(order.DROPOUT, self.spec.seed, k)) >> 1)
        self.stepper(*self.augment(k, *self.train(self.schedule.rows(k), self.crops(k))))

    def enqueue(self, first: int, last: int, one_by_one: bool = False) -> Iterator[int]:
        """Steps first..last-1, yielding after each how far it got; captured, as a window that is judged at its end,
        where that is possible."""
        captured = None if one_by_one or self.driller.due(first, last) else self.captured.step()
        if captured:
            self.stepper.open_window()
            self.state.set_lr(self.lr_factor(first))
            crops = [self.crops(k) for k in range(first, last)]
            rows = np.stack([self.schedule.rows(k) for k in range(first, last)])
            captured.load(rows, np.stack([c for c in crops if c is not None]) if crops[0] is not None else None)
        for k in range(first, last):
            captured.replay() if captured else self.step(k)
            yield k + 1
        if captured:
            self.stepper.judge_window()

    def lr_factor(self, k: int) -> float:
        training = self.spec.training
        return lr_factor(training.schedule, k // self.schedule.steps_per_epoch, training.epochs)

    def on_cpu(self, dtype: torch.dtype = torch.float32) -> "Parts":
        """The same run with an equal state on this process's CPU, sharing no tensor; drills stay behind.

        In float64 it says who is right where two devices differ.
        """
        cpu = device_of("cpu")
        twin = TrainingState(copy.deepcopy(self.state.model).to(dtype), self.spec.training, cpu.torch, self.spec.init)
        twin.restore({name: t.detach().cpu() for name, t in self.state.tensors().items()})
        stepper, driller = Stepper(twin, self.spec.training, Precision.FP32), Driller((), cpu, twin)
        train = HostBatches(self.data.train, cpu.torch, dtype)
        nowhere = Captured(_never, "the CPU has no graphs")
        return replace(self, device=cpu, state=twin, stepper=stepper, driller=driller, train=train, captured=nowhere)

    def crops(self, k: int) -> np.ndarray | None:
        """First samples of the crops of step k (batch_size,), or None where windows are taken whole."""
        max_shift = self.data.train.max_shift
        return shifts(self.schedule.batch_size, max_shift, self.spec.seed, k) if max_shift else None


def assemble(
    spec: JobSpec,
    data: Prepared,
    device: Device,
    runs_dir: Path | None = None,
    user_code: Path | None = None,
    may_compile: bool = False,
) -> Parts:
    """`may_compile`: this device's compiler has passed its test. Raises SpecCannotRun, UserCodeFailed."""
    device.make_current()
    shape = Shape(tuple(data.ch_names), data.train.n_times, float(data.sfreq))
    built = build(spec, shape, user_code)
    augment = augment_of(spec.augment, spec.seed, shape.n_chans, shape.n_times, shape.sfreq)
    taken = frozenset[str]() if spec.init is None else initial.load(built.model, spec.init, runs_dir)
    if spec.training.start_at_mean:
        initial.start_at_mean(built.model, float(data.train.target.mean()), taken)
    set_flags(spec, device)
    state = TrainingState(built.model, spec.training, device.torch, spec.init)
    driller = Driller(spec.drill, device, state)
    stepper = Stepper(state, spec.training, precision_of(spec, device), driller)
    schedule = Schedule(len(data.train), spec.training.batch_size, spec.seed)
    train, validation = batches_of(data.train, device.torch), batches_of(data.validation, device.torch)
    captured = Captured(
        lambda: CapturedStep(stepper, cast(ResidentBatches, train), schedule, data.train.max_shift > 0),
        why_not_captured(spec, built, train),
    )
    if captured.why_not is not None:
        launch_few(built.model)
    return Parts(
        spec, data, device, built, state, stepper, driller, schedule, train, validation, captured, augment,
        may_compile and captured.why_not is None,
    )  # fmt: skip


def why_not_captured(spec: JobSpec, built: Built, train: Batches) -> str | None:
    """A graph needs the signals on a GPU, and randomness that is counted on the device."""
    if not isinstance(train, ResidentBatches):
        return "the signals are not resident on a GPU"
    if not built.moves_batches:
        return f"{spec.model.name} draws from torch's generator"
    if spec.augment:
        return "augmentation draws on the host"
    return "deterministic runs step one by one" if spec.training.deterministic else None


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


def _never() -> CapturedStep:
    raise AssertionError("nothing to capture")
