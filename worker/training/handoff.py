"""A batch that moves: the state at k goes to a file, a CPU lane runs the same step, the state at k+1 comes back.

Knows no queue: it asks through the reports and waits for the answer.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.fault import Fault
from worker.training import checkpoint
from worker.training.errors import CheckpointDamaged
from worker.training.parts import Parts
from worker.training.reports import Reports
from worker.training.state import TrainingState

LEAST_DEADLINE_S = 30.0
PATIENCE = 10  # times a CPU's step


@dataclass(frozen=True)
class Moved:
    """Where the step was computed, and how long it took there without the way."""

    device: str
    step_s: float


def deadline_s(step_s: float) -> float:
    """How long to wait for a batch whose step takes `step_s` on a CPU; 0 while that is not known."""
    return max(LEAST_DEADLINE_S, PATIENCE * step_s)


def move(
    fault: Fault, k: int, state: TrainingState, scalars: dict[str, Any], folder: Path, reports: Reports, step_s: float
) -> Moved | None:
    """Asks for step k elsewhere and adopts the state after it; None if that did not come in time."""
    before, after = folder / f"{k}.before", folder / f"{k}.after"
    checkpoint.write(before, state.tensors(), {**scalars, "step": k})
    wait_s = deadline_s(step_s)
    reports.tell("ticket", wait_s * 2, step=k, before=str(before), after=str(after), deadline_s=wait_s,
                 reason=fault.kind.value)  # fmt: skip
    answer = reports.answer(k, wait_s)
    if answer is None or not answer.get("ok"):
        return None
    try:
        state.restore(checkpoint.read(after)[0])
    except CheckpointDamaged:
        return None
    return Moved(answer["device"], answer.get("step_s", 0.0))


def run_here(parts: Parts, k: int) -> bool:
    """The same step on this process's CPU, when no lane answered in time; whether it was finite."""
    twin = parts.on_cpu()
    twin.step(k)
    finite = bool(twin.state.ok)
    if finite:
        parts.state.restore(twin.state.tensors())
    return finite
