"""The floor: how fast could a training step be at best on this machine? Operations over the rate of its matrix
products, bytes over the rate of its memory; the larger of the two times.

    python benchmarks/floor.py --device cpu --models EEGNeX EEGNet
"""

import argparse
import copy
import json
import sys
import time
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
warnings.filterwarnings("ignore")

import torch  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from worker.training.fast import accelerate  # noqa: E402

MODELS = ["EEGNeX", "EEGNet", "ShallowFBCSPNet", "Deep4Net", "EEGConformer"]
N_CHANS, N_TIMES = 129, 200
BYTES_A_WINDOW = N_CHANS * N_TIMES * 4  # each window is read from memory once


@cache
def flop_a_window(model: str, fast: bool, batch: int = 128) -> int:
    """Forward and backward, counted by products and convolutions; without elementwise operations and the optimizer."""
    import braindecode.models

    torch.manual_seed(0)
    module = getattr(braindecode.models, model)(n_chans=N_CHANS, n_outputs=1, n_times=N_TIMES, sfreq=100).train()
    if fast:
        module = accelerate(copy.deepcopy(module))
    n = batch if fast else 2  # braindecode's own grows with the windows alone, and takes long
    counter = FlopCounterMode(display=False)
    with counter:
        module(torch.randn(n, N_CHANS, N_TIMES)).sum().backward()
    return round(counter.get_total_flops() / n)


@cache
def rates(device: str) -> tuple[float, float]:
    """Operations a second of a large fp32 product without TF32, and bytes a second read and written by a large copy."""
    n, n_copied = (8192, 1 << 28) if device.startswith("cuda") else (2048, 1 << 26)
    a, b = torch.randn(n, n, device=device), torch.randn(n, n, device=device)
    source = torch.randn(n_copied, device=device)
    target = torch.empty_like(source)
    tf32, torch.backends.cuda.matmul.allow_tf32 = torch.backends.cuda.matmul.allow_tf32, False
    product_s, copy_s = _best_s(lambda: torch.mm(a, b), device), _best_s(lambda: target.copy_(source), device)
    torch.backends.cuda.matmul.allow_tf32 = tf32
    return 2 * n**3 / product_s, 2 * 4 * n_copied / copy_s


def floor_windows_per_s(model: str, device: str, batch: int = 128) -> float:
    flop_per_s, bytes_per_s = rates(device)
    return 1 / max(flop_a_window(model, True, batch) / flop_per_s, BYTES_A_WINDOW / bytes_per_s)


def row(model: str, device: str) -> dict[str, object]:
    flop_per_s, bytes_per_s = rates(device)
    ours, theirs = flop_a_window(model, True), flop_a_window(model, False)
    return {
        "model": model, "device": device, "mflop_a_window": round(ours / 1e6, 2),
        "mflop_a_window_braindecode": round(theirs / 1e6, 2), "fewer_operations": round(theirs / ours, 1),
        "product_gflop_per_s": round(flop_per_s / 1e9), "copy_gb_per_s": round(bytes_per_s / 1e9, 1),
        "floor_windows_per_s": round(floor_windows_per_s(model, device)),
    }  # fmt: skip


def _best_s(run: Callable[[], object], device: str) -> float:
    times = []
    for _ in range(6):
        started = time.perf_counter()
        run()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return min(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--models", nargs="+", default=MODELS)
    options = parser.parse_args()
    for model in options.models:
        print(json.dumps(row(model, options.device)), flush=True)


if __name__ == "__main__":
    main()
