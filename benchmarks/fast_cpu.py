"""How much faster is a training step on a CPU with the exact fast forwards?

Forward, mean squared error, backward and AdamW in float32, braindecode's own module against the accelerated one, in
alternating blocks of one run. Prints a JSON line a case and writes them to --out.

    python benchmarks/fast_cpu.py --models EEGNeX --batches 32 128 512 --threads 2 --out benchmarks/results/x.jsonl
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import braindecode
import torch
from braindecode import models
from torch import nn

from worker.training.fast import accelerate, describe

N_CHANS, N_TIMES, SFREQ = 129, 200, 100


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")
    rows = [measure(name, batch, options) for name in options.models for batch in options.batches]
    if options.out:
        options.out.write_text("".join(json.dumps(row) + "\n" for row in rows))


def measure(name: str, batch: int, options: argparse.Namespace) -> dict[str, object]:
    """Median seconds a step of both, over `rounds` blocks that alternate; one JSON line."""
    torch.manual_seed(0)
    theirs = getattr(models, name)(n_chans=N_CHANS, n_outputs=1, n_times=N_TIMES, sfreq=SFREQ).train()
    ours = accelerate(copy.deepcopy(theirs))
    x, y = torch.randn(batch, N_CHANS, N_TIMES), torch.randn(batch, 1)
    steps = {"braindecode": training_step(theirs, x, y), "fast": training_step(ours, x, y)}
    times_s: dict[str, list[float]] = {key: [] for key in steps}
    for key, step in steps.items():
        step()
        step_s = _seconds(step, 1)
        times_s[key].append(step_s)
    n_steps = {key: max(1, round(options.block_s / seconds[0])) for key, seconds in times_s.items()}
    times_s = {key: [] for key in steps}
    for _ in range(options.rounds):
        for key, step in steps.items():
            times_s[key].append(_seconds(step, n_steps[key]))
    row = {
        "model": name,
        "batch": batch,
        "path": describe(ours),
        **{f"{key}_windows_per_s": round(batch / statistics.median(times_s[key]), 1) for key in steps},
        "ratio": round(statistics.median(times_s["braindecode"]) / statistics.median(times_s["fast"]), 2),
        "ratios": sorted(round(a / b, 2) for a, b in zip(times_s["braindecode"], times_s["fast"], strict=True)),
        "threads": options.threads,
        "processor": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "braindecode": braindecode.__version__,
    }
    print(json.dumps(row), flush=True)
    return row


def training_step(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> Callable[[], None]:
    """Forward, loss, backward and a fused AdamW update, as a function of nothing."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        optimizer.step()

    return step


def _seconds(step: Callable[[], None], n_steps: int) -> float:
    start = time.perf_counter()
    for _ in range(n_steps):
        step()
    return (time.perf_counter() - start) / n_steps


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["EEGNeX", "EEGNet"])
    parser.add_argument("--batches", nargs="+", type=int, default=[32, 128, 512])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--block-s", type=float, default=1.0)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
