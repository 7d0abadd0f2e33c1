"""What does fault protection cost where nothing fails? The same steps with and without it, in alternating blocks.

    python benchmarks/protection.py --device cuda:0 --model EEGNeX --pairs 40

A: the engine's loop (finite gate, shadows, a look at the device and a commit a window, a checkpoint every 2 s written
behind it, orders). B: the same batches, forward, backward and optimizer without any of it. The figure is the median of
A/B - 1 over pairs with a bootstrapped 95 % interval, by the clock and by the time of the thread that trains: other
programs on the machine disturb the first.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from benchmarks.synthetic import synthetic  # noqa: E402
from jobs.spec import JobSpec  # noqa: E402
from worker.training.batches import ResidentBatches  # noqa: E402
from worker.training.capture import Captured, CapturedStep  # noqa: E402
from worker.training.device import device_of  # noqa: E402
from worker.training.loop import Loop  # noqa: E402
from worker.training.parts import Parts, assemble  # noqa: E402
from worker.training.step import Stepper  # noqa: E402


class Unprotected(Stepper):
    """Forward, backward, optimizer: what any loop does."""

    def open_window(self) -> None:
        return

    def judge_window(self) -> None:
        return

    def in_window(self, x: Tensor, y: Tensor) -> None:
        self(x, y)

    def __call__(self, x: Tensor, y: Tensor) -> None:
        state = self.state
        state.model.train()
        with self._autocast():
            loss = self._loss(self._forward(x).reshape(-1).float(), y)
        loss.backward()
        state.optimizer.step()
        state.loss_sum.add_(loss.detach())
        state.step.add_(1)
        state.optimizer.zero_grad(set_to_none=True)


class Confirming:
    """A supervisor that is content: every checkpoint is published."""

    def __init__(self) -> None:
        self._orders: list[dict[str, Any]] = []

    def tell(self, type: str, next_within_s: float = 0.0, **fields: Any) -> None:
        if type == "checkpoint":
            self._orders.append({"type": "published", "step": fields["step"]})

    def orders(self) -> list[dict[str, Any]]:
        orders, self._orders = self._orders, []
        return orders

    def answer(self, step: int, timeout_s: float) -> dict[str, Any] | None:
        return None


@dataclass(frozen=True)
class Cost:
    """Seconds a step, by the clock and by this thread's processor time."""

    wall_s: float
    thread_s: float


def main() -> None:
    options = parse()
    if options.threads:
        torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        data = synthetic(Path(folder), options.windows, 100)
        spec = JobSpec.model_validate(
            {"model": options.model, "training": {"batch_size": options.batch_size, "epochs": 10_000}}
        )
        device = device_of(options.device)
        guarded, bare = assemble(spec, data, device), without(assemble(spec, data, device))
        loop = Loop(guarded, Path(folder) / "run", 1, Confirming())
        blocks = {"protected": protected(loop, options.steps), "bare": block(bare, options.steps)}
        for run in blocks.values():
            run()
        costs = [pair(blocks, swap=i % 2 == 1) for i in range(options.pairs)]
        saved = len(list((Path(folder) / "run").glob("checkpoints/*/*")))
        loop._writer.wait()
    walls = [c["protected"].wall_s / c["bare"].wall_s - 1 for c in costs]
    threads = [c["protected"].thread_s / c["bare"].thread_s - 1 for c in costs]
    print(json.dumps({
        "model": options.model, "device": device.description, "torch": torch.__version__,
        "at": time.strftime("%Y-%m-%d"),
        "threads": torch.get_num_threads(), "batch": options.batch_size, "pairs": options.pairs,
        "steps_a_block": options.steps, "captured": guarded.captured.why_not or "yes",
        "ms_a_step": round(1e3 * float(np.median([c["bare"].wall_s for c in costs])), 3),
        "overhead_percent": percent(walls), "interval_95": interval(np.array(walls)),
        "thread_overhead_percent": percent(threads), "thread_interval_95": interval(np.array(threads)),
        "checkpoints_kept": saved, "load": round(os.getloadavg()[0], 1), "wall_ratios": [round(w, 4) for w in walls],
        "thread_ratios": [round(t, 4) for t in threads],
    }))  # fmt: skip


def protected(loop: Loop, steps: int) -> Callable[[], Cost]:
    """At least `steps` steps in the loop's own windows; the epoch's score is no part of protection and left out."""

    def run() -> Cost:
        first, began = loop.k, started()
        while loop.k < first + steps:
            loop._train_window()
            loop._save_if_due(False)
            loop._obey()
        return since(began, loop.k - first)

    return run


def without(parts: Parts) -> Parts:
    stepper = Unprotected(parts.state, parts.spec.training, parts.stepper.precision)
    make = lambda: CapturedStep(stepper, cast(ResidentBatches, parts.train), parts.schedule, crops=False)  # noqa: E731
    return replace(parts, stepper=stepper, captured=Captured(make, parts.captured.why_not))


def block(parts: Parts, steps: int) -> Callable[[], Cost]:
    at = [0]

    def run() -> Cost:
        began = started()
        for _ in parts.enqueue(at[0], at[0] + steps):
            pass
        at[0] = int(parts.state.step)
        return since(began, steps)

    return run


def started() -> tuple[float, float]:
    return time.perf_counter(), time.thread_time()


def since(began: tuple[float, float], steps: int) -> Cost:
    return Cost((time.perf_counter() - began[0]) / steps, (time.thread_time() - began[1]) / steps)


def pair(blocks: dict[str, Callable[[], Cost]], swap: bool) -> dict[str, Cost]:
    """Every other pair begins with B."""
    names = ("bare", "protected") if swap else ("protected", "bare")
    return {name: blocks[name]() for name in names}


def percent(ratios: list[float]) -> float:
    return round(100 * float(np.median(ratios)), 2)


def interval(ratios: np.ndarray) -> list[float]:
    """Of the median, in percent."""
    rng = np.random.default_rng(0)
    medians = [np.median(rng.choice(ratios, len(ratios))) for _ in range(2000)]
    return [round(100 * float(np.quantile(medians, q)), 2) for q in (0.025, 0.975)]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", default="EEGNeX")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--windows", type=int, default=4_096)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--threads", type=int, help="of the CPU; torch's own number by default")
    parser.add_argument("--pairs", type=int, default=40)
    return parser.parse_args()


if __name__ == "__main__":
    main()
