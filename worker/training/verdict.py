"""Audits, the CPU lane's half: repeat a device's step from the same state and compare; where they differ ask float64.

What is compared is what the step added to the optimizer's first moments, which is the gradient as it was used, and the
buffers: so a captured or compiled step is judged by what it did. Knows no queue.
"""

import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from jobs.audit import LIMIT, Finding, Verdict, settle
from jobs.spec import Precision, Training
from worker.training import checkpoint
from worker.training.parts import Parts

State = dict[str, Tensor]
WORST = 1e30
FIRST_MOMENT = {"adamw": "exp_avg", "adamax": "exp_avg", "sgd": "momentum_buffer"}


def audit(parts: Parts, folder: Path, first: int, steps: int) -> Verdict:
    """The first step that does not agree, else the one that was furthest off. `parts` are the job's, on this CPU.

    Raises CheckpointDamaged.
    """
    started = time.monotonic()
    verdicts = []
    for k in range(first, first + steps):
        verdicts.append(_audit_step(parts, folder, k))
        if verdicts[-1].finding is not Finding.AGREES:
            return _timed(verdicts[-1], started)
    return _timed(max(verdicts, key=lambda v: v.error), started)


def _audit_step(parts: Parts, folder: Path, k: int) -> Verdict:
    before, scalars = checkpoint.read(folder / str(k))
    after, _ = checkpoint.read(folder / str(k + 1))
    precision = Precision(scalars["precision"])
    if after["scale"] < before["scale"]:
        return Verdict(Finding.AGREES, k, 0.0, "skipped: its loss scale was too large")
    here = repeat(parts, before, k)
    error = distance(parts, before, after, here)
    if error <= LIMIT[precision]:
        return Verdict(Finding.AGREES, k, error)
    return _settle(parts, k, precision, error, before, after, here)


def _settle(
    parts: Parts, k: int, precision: Precision, error: float, before: State, after: State, here: State
) -> Verdict:
    try:
        exact = repeat(parts.on_cpu(torch.float64), before, k)
    except (RuntimeError, TypeError) as failure:
        return Verdict(Finding.UNSETTLED, k, error, f"the model does not run in float64: {failure}"[:500])
    device_error, cpu_error = (distance(parts, before, state, exact) for state in (after, here))
    detail = f"from float64 the device is {device_error:.1e} away, the CPU {cpu_error:.1e}"
    return Verdict(settle(device_error, cpu_error, precision), k, error, detail)


def repeat(parts: Parts, before: State, k: int) -> State:
    """The state after step k."""
    parts.state.restore(before)
    parts.step(k)
    return {name: t.detach().clone() for name, t in parts.state.tensors().items()}


def distance(parts: Parts, before: State, got: State, want: State) -> float:
    """The largest of three errors: relative L2 of the gradient and of the buffers, and strayed parameters. WORST where
    it is not a number."""
    training, buffers = parts.spec.training, [f"model.{name}" for name, _ in parts.state.model.named_buffers()]
    weights = [f"model.{name}" for name, _ in parts.state.model.named_parameters()]
    errors = (
        relative(gradient(training, before, got), gradient(training, before, want)),
        relative(flat(got, buffers), flat(want, buffers)),
        strayed(*(flat(state, weights) for state in (before, got, want))),
    )
    return max(error if error < WORST else WORST for error in errors)


def strayed(before: Tensor, got: Tensor, want: Tensor) -> float:
    """How many times further apart than updates can be the furthest parameter is; 0 where none is too far.

    No closer look is possible: where a gradient is zero but for rounding, Adam takes whole steps in either direction.
    """
    apart, update = (got - want).abs().max(), (want - before).abs().max()
    times = float(apart / (4 * update + 1e-6 * want.abs().max()))
    return 0.0 if times <= 1 else times


def gradient(training: Training, before: State, after: State) -> Tensor:
    """All parameters' in one row, float64, up to a constant: m(k+1) - kept * m(k) (Kingma & Ba, 2015, algorithm 1)."""
    slot = FIRST_MOMENT[training.optimizer]
    kept = training.momentum if training.optimizer == "sgd" else 0.9
    names = sorted(name for name in after if name.startswith("optim.") and name.endswith(f".{slot}"))
    return torch.cat([(after[name].double() - kept * before[name].double()).flatten() for name in names])


def flat(state: State, names: list[str]) -> Tensor:
    """The floating-point ones of `names` in one row, float64."""
    rows = [state[name].double().flatten() for name in names if name in state and state[name].is_floating_point()]
    return torch.cat(rows) if rows else torch.zeros(0, dtype=torch.float64)


def relative(got: Tensor, want: Tensor) -> float:
    """||got - want|| / ||want||."""
    return float((got - want).norm() / want.norm().clamp_min(1e-30)) if want.numel() else 0.0


def _timed(verdict: Verdict, started: float) -> Verdict:
    return replace(verdict, seconds=round(time.monotonic() - started, 3))
