"""What does fault protection cost where nothing fails? The same step with and without it, in alternating blocks.

    python benchmarks/protection.py --device cuda:0 --model EEGNeX --pairs 40

A: the engine's step (finite gate, shadows, a look at the device and a commit a window). B: the same forward, backward
and optimizer without them. The figure is the median of A/B - 1 over pairs with a bootstrapped 95 % interval.
"""

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
from torch import Tensor  # noqa: E402

from benchmarks.synthetic import synthetic  # noqa: E402
from jobs.spec import JobSpec  # noqa: E402
from worker.training.batches import ResidentBatches  # noqa: E402
from worker.training.capture import Captured, CapturedStep  # noqa: E402
from worker.training.device import device_of  # noqa: E402
from worker.training.parts import Parts, assemble  # noqa: E402
from worker.training.step import Stepper  # noqa: E402


class Unprotected(Stepper):
    """Forward, backward, optimizer: what any loop does."""

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


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory() as folder:
        data = synthetic(Path(folder), options.windows, 100)
        spec = JobSpec.model_validate(
            {"model": options.model, "training": {"batch_size": options.batch_size, "epochs": 10_000}}
        )
        device = device_of(options.device)
        guarded, bare = assemble(spec, data, device), without(assemble(spec, data, device))
        blocks = {"protected": block(guarded, options.steps), "bare": block(bare, options.steps)}
        for run in blocks.values():
            run()
        ratios = [pair(blocks, swap=i % 2 == 1) for i in range(options.pairs)]
    low, high = interval(np.array(ratios))
    print(json.dumps({
        "model": options.model, "device": device.description, "batch": options.batch_size, "pairs": options.pairs,
        "steps_a_block": options.steps, "captured": guarded.captured.why_not or "yes",
        "overhead_percent": round(100 * float(np.median(ratios)), 2),
        "interval_95": [round(100 * low, 2), round(100 * high, 2)],
    }))  # fmt: skip


def without(parts: Parts) -> Parts:
    stepper = Unprotected(parts.state, parts.spec.training, parts.stepper.precision)
    make = lambda: CapturedStep(stepper, cast(ResidentBatches, parts.train), parts.schedule, crops=False)  # noqa: E731
    return replace(parts, stepper=stepper, captured=Captured(make, parts.captured.why_not))


def block(parts: Parts, steps: int) -> Callable[[], float]:
    at = [0]

    def run() -> float:
        began = time.perf_counter()
        for _ in parts.enqueue(at[0], at[0] + steps):
            pass
        at[0] = int(parts.state.step)
        return time.perf_counter() - began

    return run


def pair(blocks: dict[str, Callable[[], float]], swap: bool) -> float:
    """A/B - 1; every other pair begins with B."""
    names = ("bare", "protected") if swap else ("protected", "bare")
    times = {name: blocks[name]() for name in names}
    return times["protected"] / times["bare"] - 1


def interval(ratios: np.ndarray) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    medians = [np.median(rng.choice(ratios, len(ratios))) for _ in range(2000)]
    return float(np.quantile(medians, 0.025)), float(np.quantile(medians, 0.975))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", default="EEGNeX")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--windows", type=int, default=4_096)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=40)
    return parser.parse_args()


if __name__ == "__main__":
    main()
